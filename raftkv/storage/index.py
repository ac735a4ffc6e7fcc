"""Where each entry lies on disk, and the log's terms: 16 bytes of memory for an entry.

An entry's place is one number: segment in the upper bits, offset in the lower 40. The CRC is kept as well, so
that a reader can check a single entry without its batch. Not thread-safe; `wal.py` guards it.

What is up to the base is forgotten (a snapshot has it). Its columns go in one piece when they are half of all, so that
a cut costs nothing by itself, and all cuts together as much as one move of every number.
"""

from __future__ import annotations

from array import array

from raftkv.errors import BrokenInvariant
from raftkv.storage.interface import Position, check_range

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

Place = tuple[int, int, int]
"""place, length, CRC."""


class EntryIndex:
    """The entries behind `base`. `runs` are their terms as (first index, term), oldest first."""

    def __init__(self) -> None:
        self.base: Position = (0, 0)
        self._places = array("Q")
        self._lengths = array("I")
        self._crcs = array("I")
        self._held_from = 1
        """Index of the first entry in the columns; it may lie below the base."""
        self.runs: list[tuple[int, int]] = []
        self._last_term = -1

    @property
    def last(self) -> int:
        """The last index, that of the base when empty."""
        return self._held_from + len(self._places) - 1

    def add(self, index: int, term: int, place: int, length: int, crc: int) -> None:
        """Puts an entry at `index`; it and everything behind it is forgotten first."""
        if index != self._held_from + len(self._places):
            self._forget_from(index)
        if term != self._last_term:
            self.runs.append((index, term))
            self._last_term = term
        self._places.append(place)
        self._lengths.append(length)
        self._crcs.append(crc)

    def _forget_from(self, index: int) -> None:
        if not self.base[0] < index <= self.last:
            raise BrokenInvariant(f"entry {index} behind last index {self.last}: a gap")
        for column in (self._places, self._lengths, self._crcs):
            del column[index - self._held_from :]
        while self.runs and self.runs[-1][0] >= index:
            self.runs.pop()
        self._last_term = self.runs[-1][1] if self.runs else -1

    def has(self, position: Position) -> bool:
        """Whether the log agrees with one that has that entry."""
        index, term = position
        if index == self.base[0]:
            return term == self.base[1]
        return self.base[0] < index <= self.last and self._term(index) == term

    def _term(self, index: int) -> int:
        return next(term for first, term in reversed(self.runs) if first <= index)

    def begin_behind(self, base: Position) -> None:
        """See `Write.base`."""
        if self.has(base):
            self._drop_up_to(base)
        else:
            self.forget_all(base)

    def forget_all(self, base: Position) -> None:
        self.base, self._held_from = base, base[0] + 1
        self._places, self._lengths, self._crcs = array("Q"), array("I"), array("I")
        self.runs, self._last_term = [], -1

    def _drop_up_to(self, base: Position) -> None:
        index = base[0]
        self.base = base
        later = [run for run in self.runs if run[0] > index + 1]
        if index < self.last:
            later.insert(0, (index + 1, self._term(index + 1)))
        self.runs = later
        self._last_term = later[-1][1] if later else -1
        dropped = index + 1 - self._held_from
        if 2 * dropped >= len(self._places):
            for column in (self._places, self._lengths, self._crcs):
                del column[:dropped]
            self._held_from = index + 1

    def segment_of_first(self) -> int | None:
        """The segment in which the oldest entry lies; None when there is none."""
        at = self.base[0] + 1 - self._held_from
        return self._places[at] >> OFFSET_BITS if at < len(self._places) else None

    def places(self, first: int, last: int, bytes_max: int) -> list[Place]:
        """Places of `first`..`last`, fewer when `bytes_max` is reached, but at least one."""
        check_range(first, last, self.base[0], self.last)
        start, end = first - self._held_from, last - self._held_from + 1
        lengths, total, stop = self._lengths, 0, start
        while stop < end:
            total += lengths[stop]
            if total > bytes_max and stop > start:
                break
            stop += 1
        part = slice(start, stop)
        return list(zip(self._places[part], lengths[part], self._crcs[part], strict=True))
