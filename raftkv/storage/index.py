"""Where each entry lies on disk, and the log's terms: 16 bytes of memory for an entry.

An entry's place is one number: segment in the upper bits, offset in the lower 40. The CRC is kept as well, so
that a reader can check a single entry without its batch. Not thread-safe; `wal.py` guards it.
"""

from __future__ import annotations

from array import array

from raftkv.errors import BrokenInvariant

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

Place = tuple[int, int, int]
"""place, length, CRC."""


class EntryIndex:
    """Entries from index 1 on. `runs` are the terms as (first index, term), oldest first."""

    def __init__(self) -> None:
        self._places = array("Q")
        self._lengths = array("I")
        self._crcs = array("I")
        self.runs: list[tuple[int, int]] = []
        self._last_term = -1

    @property
    def last(self) -> int:
        """The last index, 0 when empty."""
        return len(self._places)

    def add(self, index: int, term: int, place: int, length: int, crc: int) -> None:
        """Puts an entry at `index`; it and everything behind it is forgotten first."""
        count = len(self._places)
        if index != count + 1:
            self._forget_from(index)
        if term != self._last_term:
            self.runs.append((index, term))
            self._last_term = term
        self._places.append(place)
        self._lengths.append(length)
        self._crcs.append(crc)

    def _forget_from(self, index: int) -> None:
        if not 1 <= index <= len(self._places):
            raise BrokenInvariant(f"entry {index} behind last index {len(self._places)}: a gap")
        for column in (self._places, self._lengths, self._crcs):
            del column[index - 1 :]
        while self.runs and self.runs[-1][0] >= index:
            self.runs.pop()
        self._last_term = self.runs[-1][1] if self.runs else -1

    def places(self, first: int, last: int, bytes_max: int) -> list[Place]:
        """Places of `first`..`last`, fewer when `bytes_max` is reached, but at least one."""
        check_range(first, last, len(self._places))
        lengths, total, stop = self._lengths, 0, first - 1
        while stop < last:
            total += lengths[stop]
            if total > bytes_max and stop >= first:
                break
            stop += 1
        part = slice(first - 1, stop)
        return list(zip(self._places[part], lengths[part], self._crcs[part], strict=True))


def check_range(first: int, last: int, held: int) -> None:
    """Raises BrokenInvariant when entries were asked for that the store does not hold."""
    if not 1 <= first <= last <= held:
        raise BrokenInvariant(f"entries {first}..{last} asked for, 1..{held} are held")
