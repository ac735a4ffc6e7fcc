"""What a search for places asks for, read word by word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from raftkv.machines.redis import geohash
from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.geo import number_of, place_of, unit_of
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.replies import Error

_NOT_A_PLACE: Final = Error("ERR could not decode requested zset member")


@dataclass(slots=True)
class Search:
    """Filled word by word, as in Redis: what is wrong is told when it is read, so the first mistake is the one told.

    source: None: the key is missing, and nothing is said about members that cannot be found in it.
    centre: (longitude, latitude). size: radius, or width and height, in units of `unit_m` metres.
    most: 0: all. order: 1 ascending, -1 descending, 0 as found. target: where to store.
    """

    source: SortedSet | None
    centre: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, ...] = ()
    unit_m: float = 1.0
    origin: bytes = b""
    most: int = 0
    any: bool = False
    order: int = 0
    shown: frozenset[bytes] = frozenset()
    target: bytes | None = None
    stores_distances: bool = False

    def read(self, words: list[bytes], options: _Options) -> None:
        at = 0
        while at < len(words):
            count, read = options.get(words[at].upper(), (0, None))
            values = words[at + 1 : at + 1 + count]
            if read is None or len(values) < count:
                raise Refused(SYNTAX)
            read(self, *values)
            at += 1 + count

    # Where

    def from_member(self, name: bytes) -> None:
        self._start_from(b"FROMMEMBER")
        if self.source is None:
            return
        if (score := self.source.members.get(name)) is None:
            raise Refused(_NOT_A_PLACE)
        self.centre = geohash.decode(score)

    def from_place(self, longitude: bytes, latitude: bytes) -> None:
        self._start_from(b"FROMLONLAT")
        self.centre = place_of(longitude, latitude)

    def _start_from(self, origin: bytes) -> None:
        if self.origin not in (b"", origin):
            raise Refused(SYNTAX)
        self.origin = origin

    def by_radius(self, radius: bytes, unit: bytes) -> None:
        if len(self.size) == 2:
            raise Refused(SYNTAX)
        size = number_of(radius, Error("ERR need numeric radius"))
        if size < 0:
            raise Refused(Error("ERR radius cannot be negative"))
        self.size, self.unit_m = (size,), unit_of(unit)

    def by_box(self, width: bytes, height: bytes, unit: bytes) -> None:
        if len(self.size) == 1:
            raise Refused(SYNTAX)
        size = number_of(width, Error("ERR need numeric width")), number_of(height, Error("ERR need numeric height"))
        if min(size) < 0:
            raise Refused(Error("ERR height or width cannot be negative"))
        self.size, self.unit_m = size, unit_of(unit)

    def shape(self) -> geohash.Shape:
        measure = geohash.distance if self.target is None else geohash.same_distance
        if len(self.size) == 1:
            return geohash.Circle(*self.centre, self.size[0] * self.unit_m, measure)
        width, height = self.size
        return geohash.Box(*self.centre, width, height, self.unit_m, measure)

    # What of it

    def at_most(self, count: bytes) -> None:
        self.most = integer(count)
        if self.most <= 0:
            raise Refused(Error("ERR COUNT must be > 0"))

    def take_any(self) -> None:
        self.any = True

    def ascending(self) -> None:
        self.order = 1

    def descending(self) -> None:
        self.order = -1

    def show(self, what: bytes) -> None:
        self.shown |= {what}

    def store(self, target: bytes, *, distances: bool) -> None:
        self.target, self.stores_distances = target, distances

    def store_distances(self) -> None:
        self.stores_distances = True


_Options = dict[bytes, tuple[int, Callable[..., None]]]
"""Word -> how many values follow it, and what takes them."""

COMMON: Final[_Options] = {
    b"WITHDIST": (0, partial(Search.show, what=b"distance")),
    b"WITHHASH": (0, partial(Search.show, what=b"score")),
    b"WITHCOORD": (0, partial(Search.show, what=b"place")),
    b"ANY": (0, Search.take_any),
    b"ASC": (0, Search.ascending),
    b"DESC": (0, Search.descending),
    b"COUNT": (1, Search.at_most),
}
STORING: Final[_Options] = {
    **COMMON,
    b"STORE": (1, partial(Search.store, distances=False)),
    b"STOREDIST": (1, partial(Search.store, distances=True)),
}
SEARCHING: Final[_Options] = {
    **COMMON,
    b"FROMMEMBER": (1, Search.from_member),
    b"FROMLONLAT": (2, Search.from_place),
    b"BYRADIUS": (2, Search.by_radius),
    b"BYBOX": (3, Search.by_box),
}
SEARCHING_TO_STORE: Final[_Options] = {**SEARCHING, b"STOREDIST": (0, Search.store_distances)}
