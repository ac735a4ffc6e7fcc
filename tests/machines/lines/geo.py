"""Places: a few that are together, some at the limits of the map, and scores that no place would have."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import KEYS, Argv, float_text, line, small_integer_text, words

key = st.sampled_from([b"a"] * 6 + KEYS)

FAR = b"far"
"""Distances are stored in this key alone, and only the lines here look at it: see differences.py."""

name = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"", b"\x00", b"z" * 65])
names = st.lists(name, min_size=1, max_size=4)
ordinary = st.sampled_from(
    [
        *(b"13.361389 38.115556", b"15.087269 37.502669", b"13.361389 38.2", b"-122.4 37.8", b"0 0", b"2.35 48.85"),
        *(b"180 85.05112878", b"-180 -85.05112878", b"179.999 10", b"-179.999 10", b"10 84.9", b"-0.00001 0.00001"),
    ]
).map(bytes.split)
near = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda at: [b"13.%03d" % at[0], b"38.%03d" % at[1]])
wrong = st.sampled_from(
    [[b"181", b"1"], [b"x", b"1"], [b"1", b"nan"], [b"1", b"-86"], [b"inf", b"0"], [b"1e400", b"0"]]
)
place = st.one_of([ordinary, near, ordinary, near, st.tuples(float_text, float_text).map(list), wrong])
right = st.one_of(ordinary, near)


def _joined(pairs: list[tuple[Argv, bytes]]) -> Argv:
    return [word for where, who in pairs for word in (*where, who)]


places = st.lists(st.tuples(place, name), min_size=1, max_size=4).map(_joined)
right_places = st.lists(st.tuples(right, name), min_size=1, max_size=5).map(_joined)
many = st.tuples(
    st.sampled_from([9, 45, 130]), st.integers(1, 50), st.sampled_from([0.0005, 0.01, 0.5]), st.sampled_from([3, 7, 37])
).map(
    lambda drawn: [
        word
        for n in range(drawn[0])
        for word in (
            b"%.4f" % (13 + n * drawn[1] % drawn[3] * drawn[2]),
            b"%.4f" % (38 + n % 5 * drawn[2]),
            b"m%d" % n,
        )
    ]
)
"""Many at few places: which of those that are equally far come first?"""
score = st.sampled_from(
    [
        b"3.7",
        b"-5",
        b"inf",
        b"-inf",
        b"1e30",
        b"-1e30",
        b"3479099956230698",
        b"4503599627370496",
        b"9223372036854775808",
    ]
)
scores = st.lists(st.tuples(score, name), min_size=1, max_size=3).map(lambda pairs: [w for pair in pairs for w in pair])
unit = st.sampled_from([b"km"] * 8 + [b"m", b"KM", b"ft", b"mi", b"m", b"parsec"])
size = st.one_of(
    st.sampled_from([b"0", b"1", b"0.5", b"100", b"200", b"1000", b"4000", b"30000", b"inf", b"1e308"]),
    st.sampled_from([b"-1", b"x", b"nan", b""]),
    st.integers(0, 300).map(lambda number: b"%d" % number),
    st.sampled_from([b"0.3", b"1.5", b"3", b"20", b"60", b"150"]),
)
count = (b"COUNT", st.sampled_from([b"1", b"2", b"3", b"8", b"20", b"100", b"0", b"-1", b"x"]))
common = (b"WITHDIST", b"withcoord", b"WITHHASH", b"ASC", b"DESC", count, count, (*count, b"ANY"))
stores = ((b"STORE", key), (b"STOREDIST", FAR))
shaped = (b"FROMMEMBER", b"BYRADIUS", b"foo", b"STORE", (b"COUNT", small_integer_text))
origin = st.one_of(
    name.map(lambda who: [b"FROMMEMBER", who]),
    right.map(lambda where: [b"FROMLONLAT", *where]),
    place.map(lambda where: [b"fromlonlat", *where]),
)
extent = st.one_of(
    st.tuples(st.just(b"BYRADIUS"), size, unit).map(list), st.tuples(st.just(b"bybox"), size, size, unit).map(list)
)
asked = st.one_of(
    st.tuples(origin, extent).map(lambda parts: [*parts[0], *parts[1]]),
    st.tuples(extent, origin).map(lambda parts: [*parts[0], *parts[1]]),
    st.lists(st.one_of(origin, extent), max_size=3).map(lambda parts: [word for part in parts for word in part]),
)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "geoadd": line("geoadd", key, words(b"NX", b"xx", b"CH", b"INCR", most=2), st.one_of(places, right_places)),
    "geodist": line("geodist", key, name, name, words(unit, most=2)),
    "geohash": line("geohash", key, names),
    "geopos": line("geopos", key, names),
    "georadius": line("georadius", key, place, size, unit, words(*common, *stores, *shaped)),
    "georadius_ro": line("georadius_ro", key, place, size, unit, words(*common, *common, *stores)),
    "georadiusbymember": line("georadiusbymember", key, name, size, unit, words(*common, *stores, *shaped)),
    "georadiusbymember_ro": line("georadiusbymember_ro", key, name, size, unit, words(*common, *common, *stores)),
    "geosearch": line("geosearch", key, asked, words(*common, *common, *shaped, b"STOREDIST")),
    "geosearchstore": st.one_of(
        line("geosearchstore", key, key, asked, words(b"ASC", b"DESC", count, (*count, b"ANY"), *shaped)),
        line("geosearchstore", FAR, key, asked, b"STOREDIST", words(b"ASC", b"DESC", count, (*count, b"ANY"), *shaped)),
    ),
}

FILLING = [
    line("geoadd", key, right_places),
    line("geoadd", key, right_places),
    line("geoadd", key, many),
    line("geoadd", key, many),
    line("georadius_ro", key, near, size, b"km", words(*common, most=2)),
    line("geosearch", key, origin, extent, words(*common, most=2)),
    line("zadd", key, scores),
    line("zrange", key, b"0", b"-1", b"WITHSCORES"),
    line("zrange", FAR, b"0", b"-1", b"WITHSCORES"),
]
