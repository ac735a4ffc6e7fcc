"""What `replica/` wants from a log store; `wal.Wal` keeps it on disk, `memory.MemoryLogStore` in memory.

One ordered stream: each `Write` is one atomic, checksummed unit; units become durable in the order they
were appended. Only `append` blocks on the disk, and only one thread calls it; `read` may be called from
another thread at the same time.

The log begins behind its *base*: (0, 0) at first, later the last entry that a snapshot stands for. What is up to the
base is forgotten, so whoever writes a base must have its snapshot on disk already.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def check_entries(entries: Sequence[Entry], base: int, last: int) -> None:
    """Raises BrokenInvariant unless `entries` are consecutive and begin within or directly behind `base`+1..`last`."""
    for index, entry in enumerate(entries, entries[0].index if entries else 0):
        if not base < index <= last + 1:
            raise BrokenInvariant(f"entry {index} written to a log of {base + 1}..{last}: a gap")
        if entry.index != index:
            raise BrokenInvariant(f"entry {entry.index} written where {index} is due")
        last = index


def check_base(new: Position, old: Position) -> None:
    """Raises BrokenInvariant when `new` cannot follow `old` as a log's base."""
    if new[0] < old[0] or (new[0] == old[0] and new != old):
        raise BrokenInvariant(f"base {new} (index, term) written to a log that begins behind {old}")
