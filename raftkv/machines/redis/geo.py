"""Places by name: members of sorted sets whose scores are geohashes (geohash.py), so GEOADD is a ZADD. Searches are in
geo_search.py."""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.redis import geohash
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import parse_double
from raftkv.machines.redis.refusals import NOT_A_FLOAT, SYNTAX, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.zsets import zadd
from raftkv.machines.replies import NULL_ARRAY, Error, Reply, SpelledDouble

_UNITS_M: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
_NO_UNIT: Final = Error("ERR unsupported unit provided. please use M, KM, FT, MI")


def place_of(longitude_text: bytes, latitude_text: bytes) -> tuple[float, float]:
    """(longitude, latitude); raises Refused."""
    longitude, latitude = number_of(longitude_text, NOT_A_FLOAT), number_of(latitude_text, NOT_A_FLOAT)
    if abs(longitude) > geohash.LONGITUDE_MAX or abs(latitude) > geohash.LATITUDE_MAX:
        raise Refused(Error(f"ERR invalid longitude,latitude pair {longitude:f},{latitude:f}"))
    return longitude, latitude


def number_of(text: bytes, otherwise: Error) -> float:
    """Raises Refused(otherwise)."""
    number = parse_double(text)
    if number is None:
        raise Refused(otherwise)
    return number


def unit_of(text: bytes) -> float:
    """In metres; raises Refused."""
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
        pairs += [b"%d" % geohash.encode(*place_of(longitude, latitude)), name]
    return zadd(db, [b"ZADD", argv[1], *options, *pairs])


def geopos(db: Database, argv: list[bytes]) -> Reply:
    scores = _scores(db, argv[1], argv[2:])
    return [NULL_ARRAY if score is None else coordinates(*geohash.decode(score)) for score in scores]


def geohash_(db: Database, argv: list[bytes]) -> Reply:
    scores = _scores(db, argv[1], argv[2:])
    return [None if score is None else geohash.text_of(*geohash.decode(score)) for score in scores]


def geodist(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) > 5:
        return SYNTAX
    unit_m = unit_of(argv[4]) if len(argv) == 5 else 1.0
    one, other = _scores(db, argv[1], argv[2:4])
    if one is None or other is None:
        return None
    return distance_text(geohash.distance(*geohash.decode(one), *geohash.decode(other)) / unit_m)


def _scores(db: Database, key_name: bytes, names: list[bytes]) -> list[float | None]:
    found = db.peek_as(key_name, SortedSet)
    return [None if found is None else found.members.get(name) for name in names]


def coordinates(longitude: float, latitude: float) -> Reply:
    """17 digits behind the point, without zeros at the end."""
    texts = [(b"%.17f" % number).rstrip(b"0").rstrip(b".") for number in (longitude, latitude)]
    return [SpelledDouble(text) for text in texts]


def distance_text(distance: float) -> bytes:
    """In RESP3 too it is text."""
    return b"%.4f" % distance


GEO: Final[dict[str, Any]] = {"acl": "geo", "group": "geo"}
UNIT: Final = argument("unit", "oneof", arguments=[flag("M"), flag("KM"), flag("FT"), flag("MI")])
PLACE: Final = (argument("longitude", "double"), argument("latitude", "double"))

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
                "longitude_latitude_member", "block", flags=MULTIPLE, arguments=[*PLACE, argument("member", "string")]
            ),
        ),
        history=(("6.2.0", "CH, NX and XX"),),
        **GEO,
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
            argument("unit", "oneof", flags=OPTIONAL, arguments=UNIT["arguments"]),
        ),
        **GEO,
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
        **GEO,
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
        **GEO,
    ),
)
