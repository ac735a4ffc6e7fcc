"""What `replica.py` wants from a log store; `wal.Wal` keeps it on disk, `memory.MemoryLogStore` in memory.

One ordered stream: each `Write` is one atomic, checksummed unit; units become durable in the order they
were appended. Only `append` blocks on the disk, and only one thread calls it; `read` may be called from
another thread at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from raftkv.raft.messages import Entry, HardState


class Write(msgspec.Struct, frozen=True, gc=False):
    """One unit for the disk. Either part may be missing, never both.

    `entries` are consecutive. When the first one's index is not last + 1, everything in the log from that
    index on is replaced (the conflicting suffix of the paper's section 5.3).
    """

    hard_state: HardState | None
    entries: Sequence[Entry]


class Recovered(msgspec.Struct, frozen=True):
    """What opening a log store found: the newest hard state, and all entries it holds, oldest first, as
    terms only (entries themselves are fetched with `read`): `terms` is a list of (first index, term) runs."""

    hard_state: HardState
    first_index: int
    last_index: int
    terms: list[tuple[int, int]]


class LogStore(Protocol):
    recovered: Recovered

    def append(self, writes: Sequence[Write]) -> None:
        """Make `writes` durable, all with one sync. Blocks. Raises StorageFailed: then the process stops."""

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries `first`..`last` (both included), cut after about `bytes_max` bytes but at least one.
        Raises StorageCorrupt when a checksum disagrees."""

    def close(self) -> None: ...
