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
        changed, hard_state = self._log, self._hard_state
        for write in writes:
            changed = _changed(changed, write)
            hard_state = write.hard_state or hard_state
        self._log, self._hard_state = changed, hard_state

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


_Held = tuple[Position, list[Entry]]


def _terms(entries: list[Entry]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for entry in entries:
        if not runs or runs[-1][1] != entry.term:
            runs.append((entry.index, entry.term))
    return runs


def _changed(held: _Held, write: Write) -> _Held:
    (base, base_term), entries = held
    if write.base is not None:
        check_base(write.base, (base, base_term))
        index, term = write.base
        agrees = index == base or (base < index <= base + len(entries) and entries[index - base - 1].term == term)
        entries = entries[index - base :] if agrees else []
        base, base_term = index, term
    if write.entries:
        first = write.entries[0].index
        if not base < first <= base + len(entries) + 1:
            raise BrokenInvariant(f"entry {first} written behind last index {base + len(entries)}: a gap")
        for index, entry in enumerate(write.entries, first):
            if entry.index != index:
                raise BrokenInvariant(f"entry {entry.index} written where {index} is due")
        entries = [*entries[: first - base - 1], *write.entries]
    return (base, base_term), entries
