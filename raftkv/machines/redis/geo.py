"""Places: sorted sets whose scores are geohashes (geohash.py). GEOADD is a ZADD, and searches are ranges of scores.

A search visits the nine cells around its shape and asks each place in them whether it is within. All commands that search
are one: GEOSEARCH's options stand at fixed positions in the GEORADIUS family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from raftkv.machines.redis import geohash
from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import parse_double
from raftkv.machines.redis.partial_sort import first_in_order
from raftkv.machines.redis.refusals import NOT_A_FLOAT, SYNTAX, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, flag, key, key_spec, keyword_key, row
from raftkv.machines.redis.sorted_set import ScoreRange, SortedSet
from raftkv.machines.redis.zset_ranges import store
from raftkv.machines.redis.zsets import zadd
from raftkv.machines.replies import NULL_ARRAY, Error, Reply, SpelledDouble

_UNITS_M: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
_NO_UNIT: Final = Error("ERR unsupported unit provided. please use M, KM, FT, MI")
_NOT_A_PLACE: Final = Error("ERR could not decode requested zset member")
_SLICE: Final = 1000
"""Members taken from the sorted set at a time: COUNT with ANY may stop early."""


def _place(longitude_text: bytes, latitude_text: bytes) -> tuple[float, float]:
    """Raises Refused."""
    longitude, latitude = _number(longitude_text, NOT_A_FLOAT), _number(latitude_text, NOT_A_FLOAT)
    if abs(longitude) > geohash.LONGITUDE_MAX or abs(latitude) > geohash.LATITUDE_MAX:
        raise Refused(Error(f"ERR invalid longitude,latitude pair {longitude:f},{latitude:f}"))
    return longitude, latitude


def _number(text: bytes, otherwise: Error) -> float:
    number = parse_double(text)
    if number is None:
        raise Refused(otherwise)
    return number


def _unit_m(text: bytes) -> float:
    if (unit_m := _UNITS_M.get(text.upper())) is None:
        raise Refused(_NO_UNIT)
    return unit_m


# Places by name


def geoadd(db: Database, argv: list[bytes]) -> Reply:
    at = 2
    while at < len(argv) and argv[at].upper() in (b"NX", b"XX", b"CH"):
        at += 1
    options, places = argv[2:at], argv[at:]
    if len(places) % 3 or {b"NX", b"XX"} <= {option.upper() for option in options}:
        return SYNTAX
    pairs = []
    for longitude, latitude, name in zip(places[::3], places[1::3], places[2::3], strict=True):
        pairs += [b"%d" % geohash.encode(*_place(longitude, latitude)), name]
    return zadd(db, [b"ZADD", argv[1], *options, *pairs])


def geopos(db: Database, argv: list[bytes]) -> Reply:
    scores = _scores(db, argv[1], argv[2:])
    return [NULL_ARRAY if score is None else _coordinates(*geohash.decode(score)) for score in scores]


def geohash_(db: Database, argv: list[bytes]) -> Reply:
    scores = _scores(db, argv[1], argv[2:])
    return [None if score is None else geohash.text_of(*geohash.decode(score)) for score in scores]


def geodist(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) > 5:
        return SYNTAX
    unit_m = _unit_m(argv[4]) if len(argv) == 5 else 1.0
    one, other = _scores(db, argv[1], argv[2:4])
    if one is None or other is None:
        return None
    return _distance_text(geohash.distance(*geohash.decode(one), *geohash.decode(other)) / unit_m)


def _scores(db: Database, key_name: bytes, names: list[bytes]) -> list[float | None]:
    found = db.peek_as(key_name, SortedSet)
    return [None if found is None else found.members.get(name) for name in names]


def _coordinates(longitude: float, latitude: float) -> Reply:
    """17 digits behind the point, without zeros at the end."""
    texts = [(b"%.17f" % number).rstrip(b"0").rstrip(b".") for number in (longitude, latitude)]
    return [SpelledDouble(text) for text in texts]


def _distance_text(distance: float) -> bytes:
    return b"%.4f" % distance


# What a search asks for


@dataclass(slots=True)
class _Search:
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
        self.centre = _place(longitude, latitude)

    def _start_from(self, origin: bytes) -> None:
        if self.origin not in (b"", origin):
            raise Refused(SYNTAX)
        self.origin = origin

    def by_radius(self, radius: bytes, unit: bytes) -> None:
        if len(self.size) == 2:
            raise Refused(SYNTAX)
        size = _number(radius, Error("ERR need numeric radius"))
        if size < 0:
            raise Refused(Error("ERR radius cannot be negative"))
        self.size, self.unit_m = (size,), _unit_m(unit)

    def by_box(self, width: bytes, height: bytes, unit: bytes) -> None:
        if len(self.size) == 1:
            raise Refused(SYNTAX)
        size = _number(width, Error("ERR need numeric width")), _number(height, Error("ERR need numeric height"))
        if min(size) < 0:
            raise Refused(Error("ERR height or width cannot be negative"))
        self.size, self.unit_m = size, _unit_m(unit)

    def shape(self) -> geohash.Shape:
        if len(self.size) == 1:
            return geohash.Circle(*self.centre, self.size[0] * self.unit_m)
        return geohash.Box(*self.centre, *self.size, self.unit_m)

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

_COMMON: Final[_Options] = {
    b"WITHDIST": (0, partial(_Search.show, what=b"distance")),
    b"WITHHASH": (0, partial(_Search.show, what=b"score")),
    b"WITHCOORD": (0, partial(_Search.show, what=b"place")),
    b"ANY": (0, _Search.take_any),
    b"ASC": (0, _Search.ascending),
    b"DESC": (0, _Search.descending),
    b"COUNT": (1, _Search.at_most),
}
_STORING: Final[_Options] = {
    **_COMMON,
    b"STORE": (1, partial(_Search.store, distances=False)),
    b"STOREDIST": (1, partial(_Search.store, distances=True)),
}
_SEARCHING: Final[_Options] = {
    **_COMMON,
    b"FROMMEMBER": (1, _Search.from_member),
    b"FROMLONLAT": (2, _Search.from_place),
    b"BYRADIUS": (2, _Search.by_radius),
    b"BYBOX": (3, _Search.by_box),
}
_SEARCHING_TO_STORE: Final[_Options] = {**_SEARCHING, b"STOREDIST": (0, _Search.store_distances)}


# The commands that search


def _georadius(db: Database, argv: list[bytes], *, may_store: bool) -> Reply:
    search = _Search((db.fetch_as if may_store else db.peek_as)(argv[1], SortedSet))
    search.from_place(argv[2], argv[3])
    search.by_radius(argv[4], argv[5])
    search.read(argv[6:], _STORING if may_store else _COMMON)
    return _answer(db, search, "STORE option in GEORADIUS")


def _georadiusbymember(db: Database, argv: list[bytes], *, may_store: bool) -> Reply:
    search = _Search((db.fetch_as if may_store else db.peek_as)(argv[1], SortedSet))
    if search.source is not None:
        search.from_member(argv[2])
        search.by_radius(argv[3], argv[4])
    search.read(argv[5:], _STORING if may_store else _COMMON)
    return _answer(db, search, "STORE option in GEORADIUS")


Handler = Callable[[Database, list[bytes]], Reply]
georadius: Final[Handler] = partial(_georadius, may_store=True)
georadius_ro: Final[Handler] = partial(_georadius, may_store=False)
georadiusbymember: Final[Handler] = partial(_georadiusbymember, may_store=True)
georadiusbymember_ro: Final[Handler] = partial(_georadiusbymember, may_store=False)


def geosearch(db: Database, argv: list[bytes]) -> Reply:
    search = _Search(db.peek_as(argv[1], SortedSet))
    search.read(argv[2:], _SEARCHING)
    _require_shape(search, argv[0])
    return _answer(db, search, "")


def geosearchstore(db: Database, argv: list[bytes]) -> Reply:
    search = _Search(db.fetch_as(argv[2], SortedSet), target=argv[1])
    search.read(argv[3:], _SEARCHING_TO_STORE)
    _refuse_to_show(search, "GEOSEARCHSTORE")
    _require_shape(search, argv[0])
    return _answer(db, search, "GEOSEARCHSTORE")


def _refuse_to_show(search: _Search, who: str) -> None:
    if search.target is not None and search.shown:
        raise Refused(Error(f"ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"))


def _require_shape(search: _Search, command: bytes) -> None:
    name = command.decode()
    if not search.origin:
        raise Refused(Error(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"))
    if not search.size:
        raise Refused(Error(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"))


class _Found(NamedTuple):
    name: bytes
    score: float
    place: tuple[float, float]
    distance: float


def _answer(db: Database, search: _Search, who: str) -> Reply:
    _refuse_to_show(search, who)
    if search.any and not search.most:
        raise Refused(Error("ERR the ANY argument requires COUNT argument"))
    found = _in_order(search, _found(search))
    if search.target is None:
        return [_shown(search, each) for each in found]
    distances = search.stores_distances
    members = {each.name: each.distance / search.unit_m if distances else each.score for each in found}
    return store(db, search.target, members)


def _found(search: _Search) -> list[_Found]:
    if search.source is None:
        return []
    return list(islice(_within(search.source, search.shape()), search.most if search.any else None))


def _within(source: SortedSet, shape: geohash.Shape) -> Iterator[_Found]:
    for low, high in geohash.ranges(shape):
        first, behind = source.places_by_score(ScoreRange(low, high, excludes_high=True))
        for start in range(first, behind, _SLICE):
            for score, name in source.pairs(start, min(start + _SLICE, behind)):
                place = geohash.decode(score)
                distance = shape.distance_to(*place)
                if distance is not None:
                    yield _Found(name, score, place, distance)


def _in_order(search: _Search, found: list[_Found]) -> list[_Found]:
    """The first `most` of them; the nearest, unless it was said that any will do, or an order."""
    most = search.most or len(found)
    order = search.order or (0 if search.any or not search.most else 1)
    if not order:
        return found[:most]
    return [found[position] for position in first_in_order([order * each.distance for each in found], most)]


def _shown(search: _Search, found: _Found) -> Reply:
    if not search.shown:
        return found.name
    shown: list[Reply] = [found.name]
    if b"distance" in search.shown:
        shown.append(_distance_text(found.distance / search.unit_m))
    if b"score" in search.shown:
        shown.append(int(found.score))
    if b"place" in search.shown:
        shown.append(_coordinates(*found.place))
    return shown


_GEO: Final[dict[str, Any]] = {"acl": "geo", "group": "geo"}
_UNIT: Final = argument("unit", "oneof", arguments=[flag("M"), flag("KM"), flag("FT"), flag("MI")])
_ORDER: Final = argument("order", "oneof", flags=OPTIONAL, arguments=[flag("ASC"), flag("DESC")])
_COUNT: Final = argument("count", "integer", token="COUNT")
_LIMIT: Final = argument("count", "block", flags=OPTIONAL, arguments=[_COUNT, flag("ANY", flags=OPTIONAL)])
_LIMIT_WITH_VERSION: Final = argument(
    "count", "block", flags=OPTIONAL, arguments=[_COUNT, flag("ANY", since="6.2.0", flags=OPTIONAL)]
)
_PLACE: Final = (argument("longitude", "double"), argument("latitude", "double"))
_SHOWN: Final = tuple(flag(word, flags=OPTIONAL) for word in ("WITHCOORD", "WITHDIST", "WITHHASH"))
_TARGETS: Final = (
    key(spec=1, token="STORE", flags=OPTIONAL),
    key(spec=2, token="STOREDIST", flags=OPTIONAL),
)
_FROM: Final = argument(
    "from",
    "oneof",
    arguments=[
        argument("member", "string", token="FROMMEMBER"),
        argument("longitude_latitude", "block", token="FROMLONLAT", arguments=[*_PLACE]),
    ],
)
_BY: Final = argument(
    "by",
    "oneof",
    arguments=[
        argument("circle", "block", arguments=[argument("radius", "double", token="BYRADIUS"), _UNIT]),
        argument(
            "box",
            "block",
            arguments=[argument("width", "double", token="BYBOX"), argument("height", "double"), _UNIT],
        ),
    ],
)
_SEARCH_COMPLEXITY: Final = "O(N+log(M)), N being the number of places in the cells around the shape and M of all"


def _read_and_stored(start: int) -> tuple[Any, ...]:
    return (
        key_spec("RO access"),
        *(keyword_key("OW update", word, start) for word in ("STORE", "STOREDIST")),
    )


ROWS: Final = (
    row(
        "geoadd",
        -5,
        geoadd,
        "write denyoom",
        keys=(key_spec("RW update"),),
        since="3.2.0",
        summary="Adds places to a sorted set, or moves them",
        complexity="O(log(N)) for each place, N being the size of the sorted set",
        arguments=(
            key(),
            argument("condition", "oneof", since="6.2.0", flags=OPTIONAL, arguments=[flag("NX"), flag("XX")]),
            argument("change", "pure-token", token="CH", since="6.2.0", flags=OPTIONAL),
            argument(
                "longitude_latitude_member", "block", flags=MULTIPLE, arguments=[*_PLACE, argument("member", "string")]
            ),
        ),
        history=(("6.2.0", "CH, NX and XX"),),
        **_GEO,
    ),
    row(
        "geodist",
        -4,
        geodist,
        "readonly",
        keys=(key_spec("RO access"),),
        since="3.2.0",
        summary="Tells how far two places are from each other",
        complexity="O(1)",
        arguments=(
            key(),
            argument("member1", "string"),
            argument("member2", "string"),
            argument("unit", "oneof", flags=OPTIONAL, arguments=_UNIT["arguments"]),
        ),
        **_GEO,
    ),
    row(
        "geohash",
        -2,
        geohash_,
        "readonly",
        keys=(key_spec("RO access"),),
        since="3.2.0",
        summary="Tells the geohashes of places as text",
        complexity="O(N), N being the number of members asked for",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        **_GEO,
    ),
    row(
        "geopos",
        -2,
        geopos,
        "readonly",
        keys=(key_spec("RO access"),),
        since="3.2.0",
        summary="Tells longitudes and latitudes of places",
        complexity="O(N), N being the number of members asked for",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        **_GEO,
    ),
    row(
        "georadius",
        -6,
        georadius,
        "write denyoom movablekeys",
        keys=_read_and_stored(6),
        since="3.2.0",
        summary="Lists or stores the places within a distance of a point",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key(),
            *_PLACE,
            argument("radius", "double"),
            _UNIT,
            *_SHOWN,
            _LIMIT_WITH_VERSION,
            _ORDER,
            *_TARGETS,
        ),
        history=(("6.2.0", "ANY"), ("7.0.0", "Units in upper case, too")),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="GEOSEARCH and GEOSEARCHSTORE with FROMLONLAT and BYRADIUS",
        **_GEO,
    ),
    row(
        "georadius_ro",
        -6,
        georadius_ro,
        "readonly",
        keys=(key_spec("RO access"),),
        since="3.2.10",
        summary="Lists the places within a distance of a point",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key(),
            *_PLACE,
            argument("radius", "double"),
            _UNIT,
            *_SHOWN,
            _LIMIT_WITH_VERSION,
            _ORDER,
        ),
        history=(("6.2.0", "ANY"),),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="GEOSEARCH with FROMLONLAT and BYRADIUS",
        **_GEO,
    ),
    row(
        "georadiusbymember",
        -5,
        georadiusbymember,
        "write denyoom movablekeys",
        keys=_read_and_stored(5),
        since="3.2.0",
        summary="Lists or stores the places within a distance of a member",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key(),
            argument("member", "string"),
            argument("radius", "double"),
            _UNIT,
            *_SHOWN,
            _LIMIT,
            _ORDER,
            *_TARGETS,
        ),
        history=(("7.0.0", "Units in upper case, too"),),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="GEOSEARCH and GEOSEARCHSTORE with FROMMEMBER and BYRADIUS",
        **_GEO,
    ),
    row(
        "georadiusbymember_ro",
        -5,
        georadiusbymember_ro,
        "readonly",
        keys=(key_spec("RO access"),),
        since="3.2.10",
        summary="Lists the places within a distance of a member",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key(),
            argument("member", "string"),
            argument("radius", "double"),
            _UNIT,
            *_SHOWN,
            _LIMIT,
            _ORDER,
        ),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="GEOSEARCH with FROMMEMBER and BYRADIUS",
        **_GEO,
    ),
    row(
        "geosearch",
        -7,
        geosearch,
        "readonly",
        keys=(key_spec("RO access"),),
        since="6.2.0",
        summary="Lists the places within a circle or a box",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key(),
            _FROM,
            _BY,
            _ORDER,
            _LIMIT,
            *_SHOWN,
        ),
        history=(("7.0.0", "Units in upper case, too"),),
        **_GEO,
    ),
    row(
        "geosearchstore",
        -8,
        geosearchstore,
        "write denyoom",
        keys=(
            key_spec("OW update"),
            key_spec("RO access", index=2),
        ),
        since="6.2.0",
        summary="Stores the places within a circle or a box",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(
            key("destination"),
            key("source", spec=1),
            _FROM,
            _BY,
            _ORDER,
            _LIMIT,
            flag("STOREDIST", flags=OPTIONAL),
        ),
        history=(("7.0.0", "Units in upper case, too"),),
        **_GEO,
    ),
)
