"""What is near: GEOSEARCH and the GEORADIUS family.

A search visits the nine cells around its shape (geohash.py) and asks each place in them whether it is within. All these
commands are one: what is an option of GEOSEARCH stands at a fixed position in the GEORADIUS family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from raftkv.machines.redis import geohash
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.geo import GEO, PLACE, UNIT, coordinates, distance_text
from raftkv.machines.redis.geo_query import COMMON, SEARCHING, SEARCHING_TO_STORE, STORING, Search
from raftkv.machines.redis.partial_sort import first_in_order
from raftkv.machines.redis.refusals import Refused
from raftkv.machines.redis.rows import OPTIONAL, argument, flag, key, key_spec, keyword_key, row
from raftkv.machines.redis.sorted_set import ScoreRange, SortedSet
from raftkv.machines.redis.zset_ranges import store
from raftkv.machines.replies import Error, Reply

_SLICE: Final = 1000
"""Members taken from the sorted set at a time: COUNT with ANY may stop early."""


# The commands that search


def _georadius(db: Database, argv: list[bytes], *, may_store: bool) -> Reply:
    search = Search((db.fetch_as if may_store else db.peek_as)(argv[1], SortedSet))
    search.from_place(argv[2], argv[3])
    search.by_radius(argv[4], argv[5])
    search.read(argv[6:], STORING if may_store else COMMON)
    _check(search, "STORE option in GEORADIUS")
    return _answer(db, search)


def _georadiusbymember(db: Database, argv: list[bytes], *, may_store: bool) -> Reply:
    search = Search((db.fetch_as if may_store else db.peek_as)(argv[1], SortedSet))
    if search.source is not None:
        search.from_member(argv[2])
        search.by_radius(argv[3], argv[4])
    search.read(argv[5:], STORING if may_store else COMMON)
    _check(search, "STORE option in GEORADIUS")
    return _answer(db, search)


Handler = Callable[[Database, list[bytes]], Reply]
georadius: Final[Handler] = partial(_georadius, may_store=True)
georadius_ro: Final[Handler] = partial(_georadius, may_store=False)
georadiusbymember: Final[Handler] = partial(_georadiusbymember, may_store=True)
georadiusbymember_ro: Final[Handler] = partial(_georadiusbymember, may_store=False)


def geosearch(db: Database, argv: list[bytes]) -> Reply:
    search = Search(db.peek_as(argv[1], SortedSet))
    search.read(argv[2:], SEARCHING)
    _check(search, "GEOSEARCH", argv[0])
    return _answer(db, search)


def geosearchstore(db: Database, argv: list[bytes]) -> Reply:
    search = Search(db.fetch_as(argv[2], SortedSet), target=argv[1])
    search.read(argv[3:], SEARCHING_TO_STORE)
    _check(search, "GEOSEARCHSTORE", argv[0])
    return _answer(db, search)


def _check(search: Search, who: str, command: bytes | None = None) -> None:
    """What can be told only when all words are read. command: its name as it was spelled, where words say the shape."""
    if search.target is not None and search.shown:
        raise Refused(Error(f"ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"))
    if command is not None and not search.origin:
        raise Refused(_one_of("FROMMEMBER or FROMLONLAT", command))
    if command is not None and not search.size:
        raise Refused(_one_of("BYRADIUS and BYBOX", command))
    if search.any and not search.most:
        raise Refused(Error("ERR the ANY argument requires COUNT argument"))


def _one_of(choices: str, command: bytes) -> Error:
    return Error(f"ERR exactly one of {choices} can be specified for {command.decode()}")


# What they answer


_Found = tuple[float, bytes, float]
"""(distance, name, score)"""


def _answer(db: Database, search: Search) -> Reply:
    found = _in_order(search, _found(search))
    if search.target is None:
        return [_shown(search, each) for each in found]
    distances = search.stores_distances
    members = {name: distance / search.unit_m if distances else score for distance, name, score in found}
    return store(db, search.target, members)


def _found(search: Search) -> list[_Found]:
    if search.source is None:
        return []
    return list(islice(_within(search.source, search.shape()), search.most if search.any else None))


def _within(source: SortedSet, shape: geohash.Shape) -> Iterator[_Found]:
    decode, distance_to = geohash.decode, shape.distance_to
    for low, high in geohash.ranges(shape):
        first, behind = source.places_by_score(ScoreRange(low, high, excludes_high=True))
        for start in range(first, behind, _SLICE):
            for score, name in source.pairs(start, min(start + _SLICE, behind)):
                distance = distance_to(*decode(score))
                if distance is not None:
                    yield distance, name, score


def _in_order(search: Search, found: list[_Found]) -> list[_Found]:
    """The first `most` of them; the nearest, unless it was said that any will do, or an order."""
    most = search.most or len(found)
    order = search.order or (0 if search.any or not search.most else 1)
    if not order:
        return found[:most]
    return [found[position] for position in first_in_order([order * distance for distance, _, _ in found], most)]


def _shown(search: Search, found: _Found) -> Reply:
    distance, name, score = found
    if not search.shown:
        return name
    shown: list[Reply] = [name]
    if b"distance" in search.shown:
        shown.append(distance_text(distance / search.unit_m))
    if b"score" in search.shown:
        shown.append(int(score))
    if b"place" in search.shown:
        shown.append(coordinates(*geohash.decode(score)))
    return shown


_ORDER: Final = argument("order", "oneof", flags=OPTIONAL, arguments=[flag("ASC"), flag("DESC")])
_COUNT: Final = argument("count", "integer", token="COUNT")
_LIMIT: Final = argument("count", "block", flags=OPTIONAL, arguments=[_COUNT, flag("ANY", flags=OPTIONAL)])
_LIMIT_WITH_VERSION: Final = argument(
    "count", "block", flags=OPTIONAL, arguments=[_COUNT, flag("ANY", since="6.2.0", flags=OPTIONAL)]
)
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
        argument("longitude_latitude", "block", token="FROMLONLAT", arguments=[*PLACE]),
    ],
)
_BY: Final = argument(
    "by",
    "oneof",
    arguments=[
        argument("circle", "block", arguments=[argument("radius", "double", token="BYRADIUS"), UNIT]),
        argument(
            "box",
            "block",
            arguments=[argument("width", "double", token="BYBOX"), argument("height", "double"), UNIT],
        ),
    ],
)
_SEARCH_COMPLEXITY: Final = "O(N+log(M)), N being the number of places in the cells around the shape and M of all"


def _read_and_stored(start: int) -> tuple[Any, ...]:
    return (
        key_spec("RO access"),
        *(keyword_key("OW update", word, start) for word in ("STORE", "STOREDIST")),
    )


_RADIUS: Final = (argument("radius", "double"), UNIT)
_AROUND_PLACE: Final = (key(), *PLACE, *_RADIUS, *_SHOWN, _LIMIT_WITH_VERSION, _ORDER)
_AROUND_MEMBER: Final = (key(), argument("member", "string"), *_RADIUS, *_SHOWN, _LIMIT, _ORDER)
_DEPRECATED: Final[dict[str, Any]] = {"doc_flags": ("deprecated",), "deprecated_since": "6.2.0", **GEO}

ROWS: Final = (
    row(
        "georadius",
        -6,
        georadius,
        "write denyoom movablekeys",
        keys=_read_and_stored(6),
        since="3.2.0",
        summary="Lists or stores the places within a distance of a point",
        complexity=_SEARCH_COMPLEXITY,
        arguments=(*_AROUND_PLACE, *_TARGETS),
        history=(("6.2.0", "ANY"), ("7.0.0", "Units in upper case, too")),
        replaced_by="GEOSEARCH and GEOSEARCHSTORE with FROMLONLAT and BYRADIUS",
        **_DEPRECATED,
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
        arguments=_AROUND_PLACE,
        history=(("6.2.0", "ANY"),),
        replaced_by="GEOSEARCH with FROMLONLAT and BYRADIUS",
        **_DEPRECATED,
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
        arguments=(*_AROUND_MEMBER, *_TARGETS),
        history=(("7.0.0", "Units in upper case, too"),),
        replaced_by="GEOSEARCH and GEOSEARCHSTORE with FROMMEMBER and BYRADIUS",
        **_DEPRECATED,
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
        arguments=_AROUND_MEMBER,
        replaced_by="GEOSEARCH with FROMMEMBER and BYRADIUS",
        **_DEPRECATED,
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
        **GEO,
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
        **GEO,
    ),
)
