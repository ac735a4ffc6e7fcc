"""Where each entry lies on disk, and the log's terms: 16 bytes of memory for an entry.

An entry's place is one number: segment in the upper bits, offset in the lower 40. The CRC is kept as well, so
that a reader can check a single entry without its batch. Not thread-safe; `wal.py` guards it.

Forgetting up to a base only moves a mark; the columns are moved together once half of them is forgotten. So cutting
costs each entry one move of its 16 bytes, however often the log is cut.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

from raftkv.errors import BrokenInvariant
from raftkv.storage.interface import Position, check_range

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

Place = tuple[int, int, int]
"""place, length, CRC."""


class EntryIndex:
    """Entries behind `base`. `runs` are their terms as (first index, term), oldest first."""

    def __init__(self) -> None:
        self._places = array("Q")
        self._lengths = array("I")
        self._crcs = array("I")
        self._origin = 0  # the columns begin with the entry behind this one; at most the base
        self.base: Position = (0, 0)
        self.runs: list[tuple[int, int]] = []
        self._last_term = -1

    @property
    def last(self) -> int:
        """The last index, that of the base when no entry is held."""
        return self._origin + len(self._places)

    def has(self, position: Position) -> bool:
        """Whether the log has that entry with that term; the base counts."""
        index, term = position
        if index == self.base[0]:
            return position == self.base
        return self.base[0] < index <= self.last and self.runs[self._run_of(index)][1] == term

    def _run_of(self, index: int) -> int:
        return bisect_right(self.runs, index, key=lambda run: run[0]) - 1

    def add(self, index: int, term: int, place: int, length: int, crc: int) -> None:
        """Puts an entry at `index`; it and everything behind it is forgotten first."""
        if index != self._origin + len(self._places) + 1:
            self._forget_from(index)
        if term != self._last_term:
            self.runs.append((index, term))
            self._last_term = term
        self._places.append(place)
        self._lengths.append(length)
        self._crcs.append(crc)

    def _forget_from(self, index: int) -> None:
        if not self.base[0] < index <= self.last:
            raise BrokenInvariant(f"entry {index} in a log of {self.base[0] + 1}..{self.last}: a gap")
        for column in (self._places, self._lengths, self._crcs):
            del column[index - self._origin - 1 :]
        while self.runs and self.runs[-1][0] >= index:
            self.runs.pop()
        self._last_term = self.runs[-1][1] if self.runs else -1

    def begin_behind(self, base: Position) -> None:
        """Forgets everything: the log begins behind `base`."""
        for column in (self._places, self._lengths, self._crcs):
            del column[:]
        self._origin, self.base = base[0], base
        self.runs, self._last_term = [], -1

    def forget_to(self, base: Position) -> None:
        """Forgets what is up to `base`, which the log has."""
        index = base[0]
        if not self.base[0] <= index <= self.last:
            raise BrokenInvariant(f"base {index} in a log of {self.base[0] + 1}..{self.last}")
        if index == self.last:
            self.begin_behind(base)
            return
        run = self._run_of(index + 1)
        self.runs[: run + 1] = [(index + 1, self.runs[run][1])]
        self.base = base
        forgotten = index - self._origin
        if 2 * forgotten > len(self._places):
            for column in (self._places, self._lengths, self._crcs):
                del column[:forgotten]
            self._origin = index

    def first_place(self) -> int | None:
        """The place of the oldest entry, None when there is none. No entry lies before it."""
        return self._places[self.base[0] - self._origin] if self.base[0] < self.last else None

    def places(self, first: int, last: int, bytes_max: int) -> list[Place]:
        """Places of `first`..`last`, fewer when `bytes_max` is reached, but at least one."""
        check_range(first, last, self.base[0], self.last)
        start, end = first - self._origin - 1, last - self._origin
        lengths, total, stop = self._lengths, 0, start
        while stop < end:
            total += lengths[stop]
            if total > bytes_max and stop > start:
                break
            stop += 1
        part = slice(start, stop)
        return list(zip(self._places[part], lengths[part], self._crcs[part], strict=True))
