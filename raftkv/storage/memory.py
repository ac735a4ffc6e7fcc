"""A log store in memory: for tests, and for the simulator, which decides itself what a crash loses.

An append is durable at once. To crash a member, make a new store from the writes that are to survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raftkv.errors import BrokenInvariant, StorageFailed
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.index import check_range
from raftkv.storage.interface import LogStore, Recovered, Write


class MemoryLogStore(LogStore):
    """`writes`: what an earlier life of the store holds already, oldest first."""

    recovered: Recovered

    def __init__(self, writes: Iterable[Write] = ()) -> None:
        self._entries: list[Entry] = []
        self._hard_state = HardState()
        self._closed = False
        for write in writes:
            self.append([write])
        self.recovered = Recovered(self._hard_state, 1, len(self._entries), self._terms())

    def _terms(self) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        for entry in self._entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        return runs

    def append(self, writes: Sequence[Write]) -> None:
        """See LogStore. Raises BrokenInvariant when indexes do not fit, with nothing changed."""
        if self._closed:
            raise StorageFailed("the log is closed")
        _check(writes, len(self._entries))
        for write in writes:
            if write.hard_state is not None:
                self._hard_state = write.hard_state
            if write.entries:
                # One slice assignment, so that a reader in another thread never sees the suffix half replaced.
                self._entries[write.entries[0].index - 1 :] = write.entries

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """See LogStore; sizes are those of the entries' data. Raises BrokenInvariant for what is not there."""
        check_range(first, last, len(self._entries))
        found: list[Entry] = []
        total = 0
        for entry in self._entries[first - 1 : last]:
            total += len(entry.data)
            if found and total > bytes_max:
                break
            found.append(entry)
        return found

    def close(self) -> None:
        self._closed = True


def _check(writes: Sequence[Write], last_index: int) -> None:
    for write in writes:
        if not write.entries:
            continue
        first = write.entries[0].index
        if not 1 <= first <= last_index + 1:
            raise BrokenInvariant(f"entry {first} written behind last index {last_index}: a gap")
        for index, entry in enumerate(write.entries, first):
            if entry.index != index:
                raise BrokenInvariant(f"entry {entry.index} written where {index} is due")
        last_index = first + len(write.entries) - 1
