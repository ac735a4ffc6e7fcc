"""A log store in memory: for tests, and for the simulator, which decides itself what a crash loses.

An append is durable at once. To crash a member, make a new store from the writes that are to survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raftkv.errors import BrokenInvariant, StorageFailed
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.interface import LogStore, Position, Recovered, Write, check_base, check_range


class MemoryLogStore(LogStore):
    """`writes`: what an earlier life of the store holds already, oldest first."""

    recovered: Recovered

    def __init__(self, writes: Iterable[Write] = ()) -> None:
        # Replaced as one, or changed by one slice assignment: a reader in another thread never sees half of a change.
        self._log: tuple[Position, list[Entry]] = (0, 0), []
        self._hard_state = HardState()
        self._closed = False
        for write in writes:
            self.append([write])
        base, entries = self._log
        members = [(entry.index, entry.data) for entry in entries if entry.kind == EntryKind.MEMBERSHIP]
        last = base[0] + len(entries)
        self.recovered = Recovered(self._hard_state, base[0] + 1, last, _terms(entries), base, members)

    def append(self, writes: Sequence[Write]) -> None:
        """See LogStore. Raises BrokenInvariant when indexes do not fit, with nothing changed by that write."""
        if self._closed:
            raise StorageFailed("the log is closed")
        for write in writes:
            base, entries = self._log
            if write.base is not None:
                base, entries = write.base, _behind(write.base, base, entries)
            _check(write.entries, base[0], base[0] + len(entries))
            self._log = base, entries
            if write.entries:
                entries[write.entries[0].index - base[0] - 1 :] = write.entries
            self._hard_state = write.hard_state or self._hard_state

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """See LogStore; sizes are those of the entries' data."""
        (base, _), entries = self._log
        check_range(first, last, base, base + len(entries))
        found: list[Entry] = []
        total = 0
        for entry in entries[first - base - 1 : last - base]:
            total += len(entry.data)
            if found and total > bytes_max:
                break
            found.append(entry)
        return found

    def close(self) -> None:
        self._closed = True


def _terms(entries: list[Entry]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for entry in entries:
        if not runs or runs[-1][1] != entry.term:
            runs.append((entry.index, entry.term))
    return runs


def _behind(new: Position, old: Position, entries: list[Entry]) -> list[Entry]:
    """What `Write.base` leaves of the entries behind the base `old`."""
    check_base(new, old)
    at = new[0] - old[0]
    has_it = at == 0 or (at <= len(entries) and entries[at - 1].term == new[1])
    return entries[at:] if has_it else []


def _check(entries: Sequence[Entry], base: int, last: int) -> None:
    if not entries:
        return
    first = entries[0].index
    if not base < first <= last + 1:
        raise BrokenInvariant(f"entry {first} written to a log of {base + 1}..{last}: a gap")
    for index, entry in enumerate(entries, first):
        if entry.index != index:
            raise BrokenInvariant(f"entry {entry.index} written where {index} is due")
