"""What a log directory holds beside its segments: LOCK and IDENTITY.

LOCK is held with `flock` for as long as the store is open and contains the holder's process id. Writing
that id is also the probe that tells whether the file system can write durably in one call.

IDENTITY is a small JSON file that says whose log this is and which segment is the newest. It is replaced
whenever a segment is begun, after the segment has its name: a crash between the two leaves the number one
too small, which is harmless; a number too large means that somebody removed segments. Segments that a snapshot has made
needless are removed after IDENTITY says so (`oldest_segment`); what a crash leaves of them goes at the next opening.
"""

from __future__ import annotations

import errno
from zlib import crc32

import msgspec

from raftkv.errors import StorageCorrupt
from raftkv.storage.damage import RESTORE, corrupt
from raftkv.storage.files import Files

LOCK = "LOCK"
IDENTITY = "IDENTITY"
TEMPORARY = ".tmp"
FORMAT_VERSION = 1

_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose log it is. All three must agree with the settings, or the log is refused."""

    cluster_id: str
    member_id: int
    machine: str


class Identity(msgspec.Struct, frozen=True):
    """The content of IDENTITY."""

    format_version: int
    cluster_id: str
    member_id: int
    machine: str
    newest_segment: int
    oldest_segment: int = 1
    crc: int | None = None
    """Of the other fields. Without it (older files) no segment may have been removed: a flipped bit in
    `oldest_segment` would otherwise drop a part of the log."""

    def checksum(self) -> int:
        return crc32(msgspec.json.encode(msgspec.structs.replace(self, crc=None)))


class DirectoryLock:
    """The lock of one directory. Also refuses a second store of the same process."""

    def __init__(self, files: Files, directory: str) -> None:
        """Raises StorageCorrupt when the directory is in use, naming the process when it is known."""
        self._files, self._path = files, f"{directory}/{LOCK}"
        self._fd = files.create(self._path)
        if not files.lock(self._fd):
            holder = files.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            files.close(self._fd)
            raise StorageCorrupt(
                f"{self._path}: directory in use by process {holder}. What to do: stop that process, "
                "or give this member a directory of its own."
            )

    def write_holder(self, *, dsync: bool) -> bool:
        """Writes the process id; False when durable writes in one call were asked for and are not supported."""
        data = f"{self._files.process_id()}\n".encode()
        self._files.truncate(self._fd, 0)
        if not dsync:
            self._files.pwritev(self._fd, [data], 0)
            return True
        try:
            self._files.pwritev_dsync(self._fd, [data], 0)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            return False
        return True

    def release(self) -> None:
        """The file stays: removing it would let two processes hold locks on two files of the same name."""
        self._files.close(self._fd)


def load_identity(files: Files, directory: str) -> Identity | None:
    """None when the directory is new. Raises StorageCorrupt when the file is damaged or of another version."""
    path = f"{directory}/{IDENTITY}"
    if IDENTITY not in files.list(directory):
        return None
    try:
        identity = msgspec.json.decode(files.read_whole(path), type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise corrupt(path, 0, f"unreadable identity ({error})") from error
    if identity.format_version != FORMAT_VERSION:
        raise corrupt(path, 0, unknown_version(identity.format_version), "use the program that wrote it")
    sound = identity.oldest_segment == 1 if identity.crc is None else identity.crc == identity.checksum()
    if not sound:
        raise corrupt(path, 0, "checksum of the identity is wrong")
    return identity


def store_identity(files: Files, directory: str, owner: Owner, newest_segment: int, oldest_segment: int) -> None:
    identity = Identity(
        FORMAT_VERSION, owner.cluster_id, owner.member_id, owner.machine, newest_segment, oldest_segment
    )
    identity = msgspec.structs.replace(identity, crc=identity.checksum())
    files.replace_whole(directory, IDENTITY, msgspec.json.encode(identity) + b"\n")


def unknown_version(version: int) -> str:
    return f"format version {version} is unknown, this program knows {FORMAT_VERSION}"


def check_owner(path: str, found: Owner, expected: Owner) -> None:
    """Raises StorageCorrupt when a file belongs to another cluster, member or machine."""
    for field, name in (("cluster_id", "cluster"), ("member_id", "member"), ("machine", "machine")):
        is_, wanted = getattr(found, field), getattr(expected, field)
        if is_ != wanted:
            what = f"belongs to {name} {is_!r}, the settings say {wanted!r}"
            raise corrupt(path, 0, what, "correct the settings, or name the directory that is this member's")


def owner_of(identity: Identity) -> Owner:
    return Owner(identity.cluster_id, identity.member_id, identity.machine)


def missing_segment(path: str, why: str) -> StorageCorrupt:
    return corrupt(path, 0, f"segment is missing: {why}", f"put the file back, or: {RESTORE}")
