"""Hashes."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, float_text, integer_text, key, line, pattern, value, words

field = st.sampled_from([b"f", b"g", b"field:3", b"", b"7"])
content = st.one_of(value, st.just(b"x" * 64), st.just(b"x" * 65))
fields = st.lists(field, min_size=1, max_size=3)
pairs = st.lists(st.tuples(field, content), min_size=1, max_size=3).map(
    lambda drawn: [w for pair in drawn for w in pair]
)
many = st.integers(505, 515).map(lambda count: [word for n in range(count) for word in (b"f%d" % n, b"%d" % n)])
sampled = st.sampled_from([[b"0"], [b"0", b"WITHVALUES"], [b"1", b"values"], [b"x"], [b"1", b"WITHVALUES", b"2"]])

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "hset": line("hset", key, pairs),
    "hsetnx": line("hsetnx", key, field, content),
    "hget": line("hget", key, field),
    "hmset": line("hmset", key, pairs),
    "hmget": line("hmget", key, fields),
    "hdel": line("hdel", key, fields),
    "hlen": line("hlen", key),
    "hstrlen": line("hstrlen", key, field),
    "hexists": line("hexists", key, field),
    "hkeys": line("hkeys", key),
    "hvals": line("hvals", key),
    "hgetall": line("hgetall", key),
    "hincrby": line("hincrby", key, field, integer_text),
    "hincrbyfloat": line("hincrbyfloat", key, field, float_text),
    "hrandfield": line("hrandfield", key, sampled),
    "hscan": line(
        "hscan",
        key,
        st.sampled_from([b"0"] * 8 + [b"x", b"18446744073709551616"]),
        st.sampled_from([[b"COUNT", b"1000"], [b"COUNT", b"0"], [b"COUNT"], [b"COUNT", b"x"]]),
        words((b"MATCH", pattern), (b"TYPE", b"hash"), most=1),
    ),
}

FILLING = [LINES["hset"], LINES["hset"], LINES["hincrby"], line("hset", key, many)]
