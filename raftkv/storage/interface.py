"""What `replica/` wants from a log store; `wal.Wal` keeps it on disk, `memory.MemoryLogStore` in memory.

One ordered stream: each `Write` is one atomic, checksummed unit; units become durable in the order they
were appended. Only `append` blocks on the disk, and only one thread calls it; `read` may be called from
another thread at the same time.

The log begins behind its *base*: (0, 0) at first, later the last entry that a snapshot stands for. What is up to the
base is forgotten, so whoever writes a base must have its snapshot on disk already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from raftkv.errors import BrokenInvariant
from raftkv.raft.messages import Entry, HardState

Position = tuple[int, int]
"""An entry's index and term."""


class Write(msgspec.Struct, frozen=True, gc=False):
    """One unit for the disk. Each part may be missing, but not all of them.

    `base` comes into force first. When the log has that entry with that term, what is up to it is forgotten and
    what follows is kept (the log was compacted, or a snapshot of what it has arrived); otherwise everything is
    forgotten (a snapshot of another, committed history arrived), and the log begins behind it. A base never goes back.

    `entries` are consecutive. When the first one's index is not last + 1, everything in the log from that
    index on is replaced (the conflicting suffix of the paper's section 5.3).
    """

    hard_state: HardState | None
    entries: Sequence[Entry]
    base: Position | None = None


class Recovered(msgspec.Struct, frozen=True):
    """What opening a log store found: the newest hard state, and all entries it holds, oldest first, as
    terms only (entries themselves are fetched with `read`): `terms` is a list of (first index, term) runs.

    `base`: index and term of the last entry that was forgotten, (0, 0) when none was; `first_index` follows it, and
    `last_index` is not below it. `memberships`: index and data of the entries that change the membership.
    """

    hard_state: HardState
    first_index: int
    last_index: int
    terms: list[tuple[int, int]]
    base: Position = (0, 0)
    memberships: list[tuple[int, bytes]] = []


class LogStore(Protocol):
    recovered: Recovered

    def append(self, writes: Sequence[Write]) -> None:
        """Make `writes` durable, all with one sync (a base begins another one). Blocks. Raises StorageFailed: then
        the process stops."""

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries `first`..`last` (both included), cut after about `bytes_max` bytes but at least one.
        Raises StorageCorrupt when a checksum disagrees, BrokenInvariant for what is not there."""

    def close(self) -> None: ...


def check_range(first: int, last: int, base: int, held: int) -> None:
    """Raises BrokenInvariant when entries were asked for that the store does not hold."""
    if not base < first <= last <= held:
        raise BrokenInvariant(f"entries {first}..{last} asked for, {base + 1}..{held} are held")


def check_base(new: Position, old: Position) -> None:
    """Raises BrokenInvariant when `new` cannot follow `old` as a log's base."""
    if new[0] < old[0] or (new[0] == old[0] and new != old):
        raise BrokenInvariant(f"base {new} (index, term) written to a log that begins behind {old}")


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot stands for: the state after the entry (`index`, `term`), with the members as of then.

    `time_ms`: when it was begun, by the log's clock. `membership`: msgpack of `raft/membership.py`. The machine, its
    version and the cluster say who can use it. All of it is in the file's header, and is the same on every member that
    was sent the file.
    """

    index: int
    term: int
    time_ms: int
    membership: bytes
    machine: str
    machine_version: int
    cluster_id: str


class SnapshotInfo(msgspec.Struct, frozen=True):
    """A complete snapshot of a store; equal by value. `size_bytes`: of the whole file, which is what is sent."""

    meta: SnapshotMeta
    size_bytes: int


class SnapshotWriter(Protocol):
    """A snapshot in the making, for one thread. After an OSError, `finish` or `abandon` nothing is left of it but what
    `finish` made; `write` and `finish` then raise OSError (EBADF), `abandon` does nothing."""

    def write(self, kind: int, data: bytes) -> None:
        """Appends a slice. `kind`: what it is a part of, 1 or more (`replica/taking.py`). May block on the disk. Raises
        OSError: then this snapshot is given up, and the store is as before."""

    def finish(self) -> SnapshotInfo:
        """Makes it durable and puts it in `list`, in place of one of the same entry. Blocks. Raises OSError: then
        nobody may rely on it."""

    def abandon(self) -> None:
        """Removes it. Never fails."""


class SnapshotReader(Protocol):
    """An open snapshot, for one thread. It stays as it was opened, also when the store prunes or replaces it."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file as they are, unchecked; fewer at its end. Raises StorageCorrupt when the disk cannot."""

    def slices(self) -> Iterator[tuple[int, bytes]]:
        """(kind, data) as they were written. Raises StorageCorrupt, at the first damaged slice, or after the last one
        when some are missing: what was made of them until then is good for nothing."""

    def close(self) -> None: ...


class SnapshotReceiver(Protocol):
    """A file that another member sends, for one thread; ends as a `SnapshotWriter` does."""

    @property
    def offset(self) -> int:
        """So many bytes are here."""

    def write(self, data: bytes) -> None:
        """Appends bytes of the file. May block on the disk. Raises OSError, and StorageCorrupt when there are more than
        were announced: then what came is dropped."""

    def finish(self) -> SnapshotInfo:
        """Reads and checks all of it, makes it durable and puts it in `list`. Blocks. Raises StorageCorrupt when it is
        damaged, not what was announced, or of another cluster or machine, and OSError: then it is dropped."""

    def abandon(self) -> None:
        """Drops what came. Never fails."""


class SnapshotStore(Protocol):
    """A member's snapshots. `list` and `open` may be called from one thread while another does the rest."""

    def list(self) -> list[SnapshotInfo]:
        """The complete ones, newest first. Costs nothing."""

    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        """Begins one. Raises OSError."""

    def open(self, info: SnapshotInfo) -> SnapshotReader:
        """Raises FileNotFoundError when it was pruned or replaced since it was listed, StorageCorrupt when its header
        is damaged."""

    def receive(self, index: int, term: int, size_bytes: int) -> SnapshotReceiver:
        """Begins to receive one, as it was announced. Raises OSError."""

    def prune(self, keep: int) -> None:
        """Removes the oldest ones beyond `keep`, never the newest. Raises OSError: then some are still there."""
