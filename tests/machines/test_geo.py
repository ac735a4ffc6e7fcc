"""Places: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.redis import geohash
from raftkv.machines.redis.partial_sort import first_in_order
from raftkv.machines.replies import NULL_ARRAY, OK, Error, Pairs, Simple, SpelledDouble
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, Steps, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_FLOAT = error("value is not a valid float")
NO_UNIT = error("unsupported unit provided. please use M, KM, FT, MI")
NO_MEMBER = error("could not decode requested zset member")


def at(longitude: bytes, latitude: bytes) -> list[SpelledDouble]:
    return [SpelledDouble(longitude), SpelledDouble(latitude)]


SICILY: Steps = [
    ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 Egadi", 3),
]
PALERMO, CATANIA = (
    at(b"13.36138933897018433", b"38.11555639549629859"),
    at(b"15.08726745843887329", b"37.50266842333162032"),
)

CASES = cases(
    {
        "GEOADD": [
            ("GEOADD g 13.361389 38.115556 a 15.087269 37.502669 b", 2),
            ("GEOADD g CH 13.361389 38.115556 a 15 37 b 2 2 c", 2),
            ("GEOADD g NX ch 0 0 c 1 1 d", 1),
            ("GEOADD g XX CH 0 0 c 1 1 x", 1),
            ("TYPE g", Simple("zset")),
            ("ZSCORE g a", 3479099956230698.0),
            ("GEOADD g NX XX 1 1 a", SYNTAX),
            ("GEOADD g INCR 1 1 a", SYNTAX),
            ("GEOADD g 1 1 a 2", SYNTAX),
            ("GEOADD g NX XX CH", SYNTAX),
            ("GEOADD g 181 1 a", error("invalid longitude,latitude pair 181.000000,1.000000")),
            ("GEOADD g 1 1 new inf 1 a", error("invalid longitude,latitude pair inf,1.000000")),
            ("ZSCORE g new", None),
            ("GEOADD g x 1 a", NOT_FLOAT),
            ("GEOADD g 200 nan a", NOT_FLOAT),
            ("GEOADD nothing XX 1 1 a", 0),
            ("EXISTS nothing", 0),
        ],
        "GEOPOS and GEOHASH": [
            *SICILY,
            ("GEOADD s 0 0 zero 180 85.05112878 max -180 -85.05112878 min", 3),
            ("GEOPOS s Palermo x Catania", [PALERMO, NULL_ARRAY, CATANIA]),
            ("GEOPOS s zero", [at(b"0.00000268220901489", b"0.00000126736058093")]),
            ("GEOPOS s max", [at(b"180", b"85.0511287799999991")]),
            ("GEOPOS s min", [at(b"-179.99999731779098511", b"-85.05112751263942528")]),
            ("GEOHASH s Palermo x zero", [b"sqc8b49rny0", None, b"s0000000000"]),
            ("GEOHASH s max min", [b"bp05b5048p0", b"00bh0hbj200"]),
            ("GEOPOS nothing a", [NULL_ARRAY]),
            ("GEOHASH nothing a b", [None, None]),
            ("GEOPOS s", []),
            ("GEOHASH nothing", []),
        ],
        "scores that no place has": [
            ("ZADD z 3.7 a -5 b 1e30 c -1e30 d inf e 9223372036854775808 f 4503599627370496 g", 7),
            ("GEOHASH z a b c d e f g", [
                *(b"00bh0hbj210", b"bp05b5048p0", b"00bh0hbj200", b"00bh0hbj200", b"00bh0hbj200", b"00bh0hbj200"),
                b"bp05b5048p0",
            ]),
            ("GEOPOS z b d", [at(b"180", b"85.0511287799999991"), at(b"180", b"-85.05112751263942528")]),
            ("GEOSEARCH z FROMLONLAT -180 -85.05 BYRADIUS 20 km WITHHASH", [[b"a", 3]]),
        ],
        "GEODIST": [
            *SICILY,
            ("GEODIST s Palermo Catania", b"166274.1516"),
            ("GEODIST s Palermo Catania km", b"166.2742"),
            ("GEODIST s Palermo Catania MI", b"103.3182"),
            ("GEODIST s Palermo Catania ft", b"545518.8700"),
            ("GEODIST s Palermo Palermo", b"0.0000"),
            ("GEODIST s Palermo x", None),
            ("GEODIST nothing a b", None),
            ("GEODIST nothing a b foo", NO_UNIT),
            ("GEODIST nothing a b foo bar", SYNTAX),
        ],
        "GEORADIUS": [
            *SICILY,
            (
                "GEORADIUS s 15 37 200 km WITHDIST WITHCOORD WITHHASH",
                [
                    [b"Palermo", b"190.4424", 3479099956230698, PALERMO],
                    [b"Catania", b"56.4413", 3479447370796909, CATANIA],
                ],
            ),
            ("GEORADIUS s 15 37 200 km DESC WITHDIST", [[b"Palermo", b"190.4424"], [b"Catania", b"56.4413"]]),
            ("GEORADIUS s 15 37 400 km COUNT 1", [b"Catania"]),
            ("GEORADIUS s 15 37 400 km COUNT 1 ANY", [b"Palermo"]),
            ("GEORADIUS s 15 37 400 km COUNT 2 DESC", [b"Egadi", b"Palermo"]),
            ("GEORADIUS_RO s 15 37 100 km", [b"Catania"]),
            ("GEORADIUSBYMEMBER s Palermo 100 km", [b"Palermo", b"Egadi"]),
            ("GEORADIUSBYMEMBER_RO s Palermo 100 km WITHDIST", [[b"Palermo", b"0.0000"], [b"Egadi", b"91.4007"]]),
            ("GEORADIUSBYMEMBER s Palermo inf m COUNT 2", [b"Palermo", b"Egadi"]),
            ("GEORADIUS nothing 15 37 200 km", []),
        ],
        "GEORADIUS that stores": [
            *SICILY,
            ("SET d text EX 100", OK),
            ("GEORADIUS s 15 37 200 km STORE d", 2),
            ("TTL d", -1),
            ("ZRANGE d 0 -1 WITHSCORES", Pairs([(b"Palermo", 3479099956230698.0), (b"Catania", 3479447370796909.0)])),
            ("GEORADIUSBYMEMBER s Palermo 200 km STOREDIST d", 3),
            (
                "ZRANGE d 0 -1 WITHSCORES",
                Pairs([(b"Palermo", 0.0), (b"Egadi", 91.40065860581427), (b"Catania", 166.27415156960032)]),
            ),
            ("GEORADIUS s 15 37 400 km COUNT 1 STORE x STOREDIST d", 1),
            ("EXISTS x", 0),
            ("ZRANGE d 0 -1 WITHSCORES", Pairs([(b"Catania", 56.441257870158204)])),
            ("GEORADIUS s 0 0 1 m STORE d", 0),
            ("EXISTS d", 0),
            ("SET d text", OK),
            ("GEORADIUSBYMEMBER nothing a 1 m STORE d", 0),
            ("EXISTS d", 0),
            ("GEORADIUS s 15 37 200 km STORE s", 2),
            ("ZCARD s", 2),
        ],
        "what GEORADIUS refuses": [
            ("GEORADIUS nothing x 1 1 m", NOT_FLOAT),
            ("GEORADIUS nothing 1 99 1 m", error("invalid longitude,latitude pair 1.000000,99.000000")),
            ("GEORADIUS nothing 1 2 x foo", error("need numeric radius")),
            ("GEORADIUS nothing 1 2 -1 foo", error("radius cannot be negative")),
            ("GEORADIUS nothing 1 2 1 foo", NO_UNIT),
            ("GEORADIUS nothing 1 2 1 m foo", SYNTAX),
            ("GEORADIUS nothing 1 2 1 m COUNT", SYNTAX),
            ("GEORADIUS nothing 1 2 1 m COUNT 0", error("COUNT must be > 0")),
            ("GEORADIUS nothing 1 2 1 m COUNT x", NOT_INTEGER),
            ("GEORADIUS nothing 1 2 1 m ANY", error("the ANY argument requires COUNT argument")),
            ("GEORADIUS nothing 1 2 1 m STORE", SYNTAX),
            ("GEORADIUS nothing 1 2 1 m FROMMEMBER y", SYNTAX),
            ("GEORADIUS_RO nothing 1 2 1 m STORE x", SYNTAX),
            (
                "GEORADIUS nothing 1 2 1 m ANY STORE x WITHDIST",
                error("STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
            ),
            ("GEORADIUSBYMEMBER nothing a x foo", []),
            ("GEORADIUSBYMEMBER nothing a x foo bar", SYNTAX),
            *SICILY,
            ("GEORADIUSBYMEMBER s x y foo bar", NO_MEMBER),
            ("GEORADIUSBYMEMBER s Palermo y foo bar", error("need numeric radius")),
        ],
        "GEOSEARCH": [
            *SICILY,
            ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC", [b"Catania", b"Palermo", b"Egadi"]),
            ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km COUNT 1 WITHDIST", [[b"Catania", b"56.4413"]]),
            ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 1 km", []),
            ("GEOSEARCH s BYRADIUS 200 km frommember Egadi", [b"Palermo", b"Egadi"]),
            ("GEOSEARCH s FROMMEMBER Egadi FROMMEMBER Palermo BYRADIUS 0 m", [b"Palermo"]),
            ("GEOSEARCH s FROMLONLAT 15 37 BYBOX inf inf km DESC", [b"Egadi", b"Palermo", b"Catania"]),
            ("GEOSEARCHSTORE d s FROMMEMBER Egadi BYRADIUS 200 km STOREDIST", 2),
            ("ZRANGE d 0 -1 WITHSCORES", Pairs([(b"Egadi", 0.0), (b"Palermo", 91.40065860581427)])),
            ("EXPIRE d 100", 1),
            ("GEOSEARCHSTORE d s FROMMEMBER Egadi BYRADIUS 200 km COUNT 1", 1),
            ("TTL d", -1),
            ("GEOSEARCHSTORE d nothing FROMMEMBER x BYRADIUS 200 km", 0),
            ("EXISTS d", 0),
        ],
        "what GEOSEARCH refuses": [
            ("GEOSEARCH nothing FROMMEMBER a BYRADIUS 1 m FROMLONLAT 1 1", SYNTAX),
            ("GEOSEARCH nothing FROMMEMBER a BYRADIUS 1 m BYBOX 1 1 m", SYNTAX),
            ("GEOSEARCH nothing FROMMEMBER a BYRADIUS 1 m STOREDIST", SYNTAX),
            ("GEOSEARCHSTORE d nothing FROMMEMBER a BYRADIUS 1 m STORE d", SYNTAX),
            ("GEOSEARCH nothing FROMMEMBER a BYBOX x x m", error("need numeric width")),
            ("GEOSEARCH nothing FROMMEMBER a BYBOX 1 x m", error("need numeric height")),
            ("GEOSEARCH nothing FROMMEMBER a BYBOX -1 1 foo", error("height or width cannot be negative")),
            ("GEOSEARCH nothing FROMMEMBER a BYBOX 1 1 foo", NO_UNIT),
            ("GEOSEARCH nothing FROMMEMBER a BYBOX 1 1 m ANY", error("the ANY argument requires COUNT argument")),
            (
                "GEOSEARCH nothing BYRADIUS 1 m ASC ASC ANY",
                error("exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"),
            ),
            (
                "geoSearch nothing FROMMEMBER a ASC ASC ASC",
                error("exactly one of BYRADIUS and BYBOX can be specified for geoSearch"),
            ),
            (
                "GEOSEARCHSTORE d nothing ASC ASC ASC ASC WITHDIST",
                error("GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
            ),
            *SICILY,
            ("GEOSEARCH s FROMMEMBER x BYRADIUS x m", NO_MEMBER),
        ],
        "without an order cell after cell": [
            ("GEOADD k 22.825 63.615 se 11.206 63.595 sw 11.169 65.161 w", 3),
            ("GEOADD k 22.604 64.783 e 14.872 64.977 c 14.576 63.728 s 15.423 69.142 n", 4),
            ("GEORADIUS_RO k 15 65 500 km", [b"c", b"n", b"s", b"e", b"w", b"se", b"sw"]),
            ("GEORADIUS_RO k 15 65 500 km COUNT 4 ANY", [b"c", b"n", b"s", b"e"]),
            ("GEOADD l 29.001 52.947 c 29.216 53.17 n 28.956 50.484 s 28.103 53.06 w 27.963 53.244 nw", 5),
            ("GEOADD l 27.92 50.479 sw 82.992 49.987 far", 2),
            ("GEOSEARCH l FROMLONLAT 29 53 BYRADIUS 300 km", [b"c", b"n", b"s", b"w", b"nw", b"sw"]),
        ],
        "where the map ends": [
            ("GEOADD m 179.9 0 east -179.9 0 west", 2),
            ("GEOSEARCH m FROMMEMBER east BYRADIUS 30 km ASC WITHDIST", [[b"east", b"0.0000"], [b"west", b"22.2454"]]),
            ("GEOADD p 0 85 a 90 85 b 180 85 c", 3),
            # c is 1112 km away, but beyond the pole; Redis does not look there.
            ("GEOSEARCH p FROMMEMBER a BYRADIUS 2000 km ASC WITHDIST", [[b"a", b"0.0000"], [b"b", b"785.9890"]]),
        ],
        "a place of another type": [
            ("SET t text", OK),
            *(
                (line, WRONG_TYPE)
                for line in ("GEOADD t 1 1 a", "GEODIST t a b", "GEOHASH t a", "GEOPOS t a", "GEORADIUS t x 1 1 m")
            ),
            *((line, WRONG_TYPE) for line in ("GEORADIUS_RO t x 1 1 m", "GEORADIUSBYMEMBER t a x foo")),
            *((line, WRONG_TYPE) for line in ("GEORADIUSBYMEMBER_RO t a x foo", "GEOSEARCH t a b c d e")),
            ("GEOSEARCHSTORE d t a b c d e", WRONG_TYPE),
            ("GEODIST t a b foo", NO_UNIT),
            ("GEOADD t x 1 a", NOT_FLOAT),
        ],
    }
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


# Geohashes


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**26 - 1), st.integers(0, 2**26 - 1))
def test_bits_alternate(x: int, y: int) -> None:
    longitude, latitude = (
        (step + 0.5) / 2**26 * 2 * most - most for step, most in ((x, 180.0), (y, geohash.LATITUDE_MAX))
    )
    bits = geohash.encode(longitude, latitude)
    assert f"{bits:052b}"[::2] == f"{x:026b}"
    assert f"{bits:052b}"[1::2] == f"{y:026b}"
    assert geohash.decode(bits) == pytest.approx((longitude, latitude), abs=1e-9)


def test_a_search_finds_what_is_within_and_nothing_else() -> None:
    """Not near the poles, where Redis forgets some, too."""
    chance, client = Random(7), MachineClient()
    places = {b"%d" % n: (chance.uniform(-180, 180), chance.uniform(-55, 55)) for n in range(2000)}
    for name, (longitude, latitude) in places.items():
        client.call(b"GEOADD", b"k", repr(longitude).encode(), repr(latitude).encode(), name)
    stored = {name: geohash.decode(client.call(b"ZSCORE", b"k", name)) for name in places}
    for radius in (0.0, 5e4, 3e5, 1e6):
        centre = chance.choice(list(stored))
        near = {name for name, place in stored.items() if geohash.distance(*stored[centre], *place) <= radius}
        found = client.call(b"GEOSEARCH", b"k", b"FROMMEMBER", centre, b"BYRADIUS", b"%f" % radius, b"m")
        assert len(found) == len(near)
        assert set(found) == near


def test_a_search_looks_at_nine_cells_at_most() -> None:
    ranges = list(geohash.ranges(geohash.Circle(13.4, 52.5, 1000.0)))
    assert len(ranges) <= 9
    assert sum(high - low for low, high in ranges) < 2**52 / 1e6
    world = list(geohash.ranges(geohash.Circle(0.0, 0.0, 3e7)))
    assert sum(high - low for low, high in world) == 2**52


def test_what_is_stored_does_not_depend_on_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MachineClient()
    client.call(b"GEOADD", b"k", b"13.361389", b"38.115556", b"a", b"15", b"37", b"b")
    monkeypatch.setattr(geohash, "distance", None)
    for by in ([b"BYRADIUS", b"300", b"km"], [b"BYBOX", b"600", b"600", b"km"]):
        assert client.call(b"GEOSEARCHSTORE", b"d", b"k", b"FROMMEMBER", b"a", *by, b"STOREDIST") == 2
    assert client.call(b"GEORADIUSBYMEMBER", b"k", b"a", b"300", b"km", b"STOREDIST", b"d") == 2
    with pytest.raises(TypeError):
        client.call(b"GEOSEARCH", b"k", b"FROMMEMBER", b"a", b"BYRADIUS", b"300", b"km")


# The nearest


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9).map(float), max_size=120), st.integers(1, 60))
def test_the_first_in_order(keys: list[float], count: int) -> None:
    found = first_in_order(keys, count)
    assert len(set(found)) == len(found)
    assert [keys[position] for position in found] == sorted(keys)[:count]
