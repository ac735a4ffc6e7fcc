"""The sorted set: members with scores, and their order by (score, name).

The dict of `Keyed` tells a member's score, a second structure the order: a plain sorted list of pairs while the set is
compact (128 members at most: `bisect` and a small move of memory beat everything), else a `SortedList`, which is made
of such lists and knows how many pairs lie before each.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from math import ceil, inf, nextafter
from struct import Struct
from typing import Any, Final, NamedTuple, Self

from sortedcontainers import SortedList

from raftkv.machines.redis.graveyard import bury_parts
from raftkv.machines.redis.keyed import Keyed
from raftkv.machines.redis.sizes import block_bytes
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.replies import Walk

Pair = tuple[float, bytes]
"""(score, name): the order of sorted sets."""

_DOUBLE: Final = Struct(">d")
_COMPACT: Final = b"listpack"
_PAIR_BYTES: Final = 32 + 64
"""A score, and the pair in the order that holds it too."""

_CUT_MIN: Final = 16
"""Fewer pairs are taken out one by one."""

_MOST: Final = 3
"""Where so many members go for each that stays, a dict of these is made: to delete a member takes half a microsecond,
as it is nowhere near the last one in memory, to walk over it a tenth."""

_SLOT_BYTES: Final = 10
"""Of a pair in a SortedList, with spare room."""


class ScoreRange(NamedTuple):
    """From `low` to `high`, each with or without itself."""

    low: float
    high: float
    excludes_low: bool = False
    excludes_high: bool = False


class NameRange(NamedTuple):
    """Names from `low` to `high`, each with or without itself; None: no limit. `is_empty`: nothing fits, as from "+"
    on."""

    low: bytes | None
    high: bytes | None
    excludes_low: bool = False
    excludes_high: bool = False
    is_empty: bool = False


class _Order(SortedList):  # type: ignore[misc]
    """It knows what a SortedList is made of (its lists of some thousand pairs, the last pair of each, its length), for
    three things that this does not do:

    - A copy shares the lists, and each of the two copies those near a pair before it inserts or removes it. Else a copy
      would touch millions of pairs.
    - A range of pairs is taken out as a whole. A SortedList takes them out one by one, 9 seconds for a million.
    - Its pairs are freed in slices, as the members of `Keyed` are.
    """

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        super().__init__(pairs)
        self.shared: set[int] = set()
        """Ids of lists that a copy may have too."""

    def __del__(self, bury_parts: Callable[[list[list[Pair]]], None] = bury_parts) -> None:
        bury_parts(self._lists)

    def copy(self) -> _Order:
        copied = type(self)()
        copied._lists, copied._maxes, copied._len = self._lists.copy(), self._maxes.copy(), self._len
        self.shared = set(map(id, self._lists))
        copied.shared = self.shared.copy()
        return copied

    def make_own(self, pair: Pair) -> None:
        """To be called before `pair` comes or goes while lists are shared: its list may be joined to the one before."""
        lists = self._lists
        place = bisect_left(self._maxes, pair)
        for number in range(max(0, place - 1), min(len(lists), place + 1)):
            if id(lists[number]) in self.shared:
                self.shared.discard(id(lists[number]))
                lists[number] = lists[number].copy()

    def cut(self, first: int, behind: int) -> None:
        """Take out the pairs at these places, not all and not none. What is left of their lists and the next ones makes
        new lists of the usual length."""
        lists = self._lists
        number, place = self._pos(first)
        last, last_place = self._pos(behind - 1)
        start, stop = max(0, number - 1), last + 2
        joined = [pair for each in lists[start:number] for pair in each]
        joined += lists[number][:place] + lists[last][last_place + 1 :]
        joined += [pair for each in lists[last + 1 : stop] for pair in each]
        size = ceil(len(joined) / max(1, round(len(joined) / self._load)))
        made = [joined[at : at + size] for at in range(0, len(joined), size)] if joined else []
        gone, lists[start:stop] = lists[start:stop], made
        self._maxes[start:stop] = [each[-1] for each in made]
        self._len -= behind - first
        self._index.clear()
        self.shared.difference_update(map(id, gone))


class SortedSet(Keyed[float]):
    """Name -> score; change it by `set_score` and `discard` alone."""

    __slots__ = ("_order",)
    type_name = "zset"

    def __init__(self, members: dict[bytes, float] | None = None, *, is_compact: bool = True) -> None:
        super().__init__(members, is_compact=is_compact)
        pairs = [(score, name) for name, score in self.members.items()]
        self._order: Any = sorted(pairs) if is_compact else _Order(pairs)

    @classmethod
    def made_of(cls, members: dict[bytes, float], thresholds: Thresholds) -> Self:
        """With the encoding that its members ask for."""
        fits = len(members) <= thresholds.zset_max_listpack_entries
        longest = thresholds.zset_max_listpack_value
        is_compact = fits and all(len(name) <= longest for name in members)
        return cls(
            {name: score + 0.0 for name, score in members.items()} if is_compact else members, is_compact=is_compact
        )

    @property
    def encoding(self) -> str:
        return "listpack" if self.is_compact else "skiplist"

    def set_score(self, name: bytes, score: float, thresholds: Thresholds) -> None:
        """Add the member, or give it another score."""
        before = self.members.get(name)
        if before is not None:
            self._take_out((before, name))
        elif self.is_compact:
            has_room = len(self.members) < thresholds.zset_max_listpack_entries
            if not has_room or len(name) > thresholds.zset_max_listpack_value:
                self.make_large()
        if self.is_compact:
            score += 0.0  # a listpack holds -0 as the integer 0
            insort(self._order, (score, name))
        else:
            if self._order.shared:
                self._order.make_own((score, name))
            self._order.add((score, name))
        self.put(name, score)

    def make_large(self) -> None:
        """It is no compact one from now on."""
        self.is_compact = False
        self._order = _Order(self._order)

    def discard(self, name: bytes) -> bool:
        score = self.members.get(name)
        if score is None:
            return False
        self._take_out((score, name))
        return super().discard(name)

    def discard_at(self, first: int, behind: int) -> list[Pair]:
        """Take out the pairs at these places, not all of them."""
        pairs = self.pairs(first, behind)
        if len(pairs) < _CUT_MIN or self.is_compact:
            for _, name in pairs:
                self.discard(name)
        else:
            self._order.cut(first, behind)
            self._forget(pairs)
        return pairs

    def _forget(self, gone: list[Pair]) -> None:
        if len(gone) < _MOST * len(self._order):
            for _, name in gone:
                super().discard(name)
        else:
            left = {name for _, name in self._order}
            self.replace_members({name: score for name, score in self.members.items() if name in left})

    def _take_out(self, pair: Pair) -> None:
        if self.is_compact:
            del self._order[bisect_left(self._order, pair)]
        else:
            if self._order.shared:
                self._order.make_own(pair)
            self._order.remove(pair)

    # Order

    def place(self, pair: Pair) -> int:
        """How many pairs come before this one."""
        found: int = bisect_left(self._order, pair) if self.is_compact else self._order.bisect_left(pair)
        return found

    def pairs(self, first: int, behind: int) -> list[Pair]:
        """The pairs at these places, without the last."""
        found: list[Pair] = self._order[first:behind]
        return found

    def walk(self, first: int, behind: int, *, backwards: bool) -> Walk:
        """As `pairs`, of a set that is not compact, to be walked whatever becomes of it."""
        order = self._order.copy()
        return Walk(behind - first, lambda: order.islice(first, behind, reverse=backwards))

    def places_by_score(self, wanted: ScoreRange) -> tuple[int, int]:
        """The range as places: (first, behind the last); equal when it is empty."""
        first = self._behind(wanted.low) if wanted.excludes_low else self.place((wanted.low, b""))
        behind = self.place((wanted.high, b"")) if wanted.excludes_high else self._behind(wanted.high)
        return (first, behind) if first < behind else (0, 0)

    def _behind(self, score: float) -> int:
        return len(self) if score == inf else self.place((nextafter(score, inf), b""))

    def places_by_name(self, wanted: NameRange) -> tuple[int, int]:
        """As `places_by_score`. Means something only where all scores are equal."""
        if wanted.is_empty or not self.members:
            return (0, 0)
        score = self._order[0][0]
        first, behind = 0, len(self)
        if wanted.low is not None:  # b"\\0" behind a name makes the next one
            first = self.place((score, wanted.low + b"\0" if wanted.excludes_low else wanted.low))
        if wanted.high is not None:
            behind = self.place((score, wanted.high if wanted.excludes_high else wanted.high + b"\0"))
        return (first, behind) if first < behind else (0, 0)

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        return (0, [name for _, name in self._order]) if self.is_compact else super().page(cursor, count)

    # As a collection

    def copy(self) -> Self:
        copied = type(self)(is_compact=self.is_compact)
        copied.members = dict(self.members)
        copied._order = self._order.copy()
        return copied

    def frozen(self) -> Self:
        frozen = super().frozen()
        if not frozen._order:  # otherwise it is a whole copy already
            frozen._order = self._order.copy()
        return frozen

    def digest_parts(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        for score, name in self._order:
            yield name
            yield _DOUBLE.pack(score)

    def pieces(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        for name, score in self.members.items():
            yield name
            yield _DOUBLE.pack(score)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        scores: Iterable[float] = (_DOUBLE.unpack(piece)[0] for piece in pieces[2::2])
        return cls(dict(zip(pieces[1::2], scores, strict=True)), is_compact=pieces[0] == _COMPACT)

    def size_bytes(self, samples: int) -> int:
        order = block_bytes(self._order) if self.is_compact else len(self) * _SLOT_BYTES
        return super().size_bytes(samples) + order

    @staticmethod
    def value_bytes(value: float) -> int:  # noqa: ARG004
        return _PAIR_BYTES
