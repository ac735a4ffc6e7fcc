"""The sentences in which the storage floor refuses: each names file, offset, what is wrong and what to do."""

from __future__ import annotations

from raftkv.errors import StorageCorrupt, StorageFailed

RESTORE = (
    "keep this directory, set it aside, and restore this member from the others: let it rejoin with an empty "
    "directory, under a new member id where membership can be changed, because an empty log forgets the "
    "member's votes. Never do so on a majority of the members: acknowledged writes would be lost"
)


def corrupt(path: str, offset: int, what: str, todo: str = RESTORE) -> StorageCorrupt:
    """The error for a log that must not be used. `offset` is in bytes from the file's start."""
    return StorageCorrupt(f"{path} at byte {offset}: {what}. What to do: {todo}.")


def failed(path: str, offset: int, doing: str, error: OSError) -> StorageFailed:
    """The error for a write or sync that the operating system refused."""
    return StorageFailed(
        f"{path} at byte {offset}: {doing} failed: {error.strerror or error} (errno {error.errno}). "
        "What to do: see to the disk (space, quota, permissions, hardware, kernel log), then start this member again; "
        "everything acknowledged so far is on disk."
    )
