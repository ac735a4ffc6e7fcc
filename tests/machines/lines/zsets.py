"""Sorted sets. Ranges by name mean something only where all scores are equal: they have keys of their own."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, float_text, integer_text, key, keys, line, pattern, small_integer_text, words

name = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"ee", b"", b"\x00", b"z" * 64, b"z" * 65])
names = st.lists(name, min_size=1, max_size=4)
score = st.one_of(
    st.integers(-5, 5).map(lambda n: b"%d" % n),
    st.sampled_from([b"1.5", b"-0", b"inf", b"-inf", b"+3", b"1e3", b"0.1", b"nan", b"1e400", b"0x10", b" 1"]),
    float_text,
)
some_score = st.integers(-3, 5).map(lambda n: b"%d" % n)
pairs = st.lists(st.tuples(some_score, name), min_size=1, max_size=5).map(lambda drawn: [w for p in drawn for w in p])
any_pairs = st.lists(st.tuples(score, name), min_size=1, max_size=2).map(lambda drawn: [w for p in drawn for w in p])
many = st.integers(125, 131).map(lambda count: [w for n in range(count) for w in (b"%d" % (n % 7), b"m%d" % n)])
flags = words(b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"xx", most=2)
limit = st.one_of(
    some_score, some_score.map(lambda s: b"(" + s), score, st.sampled_from([b"-inf", b"+inf", b"", b"(", b"x"])
)
place = st.one_of(st.integers(-6, 6).map(lambda n: b"%d" % n), integer_text)
limited = (b"LIMIT", st.sampled_from([b"0", b"1", b"2", b"-1", b"x"]), st.sampled_from([b"-1", b"0", b"1", b"5"]))
lex_key = st.sampled_from([b"lex", b"lex2"])
lex = st.one_of(
    name.map(lambda n: b"[" + n), name.map(lambda n: b"(" + n), st.sampled_from([b"-", b"+", b"a", b"", b"(", b"["])
)
number = st.sampled_from([b"1", b"1", b"2", b"2", b"2", b"3", b"0", b"-1", b"x", b"9"])
weights = (b"WEIGHTS", st.lists(some_score, min_size=2, max_size=2))
combined = st.one_of(
    st.just([]),
    st.lists(score, min_size=1, max_size=3).map(lambda drawn: [b"WEIGHTS", *drawn]),
    st.sampled_from([[b"AGGREGATE", word] for word in (b"SUM", b"min", b"MAX", b"foo")]),
    st.lists(some_score, min_size=2, max_size=2).map(lambda drawn: [b"weights", *drawn, b"AGGREGATE", b"MAX"]),
    st.just([b"foo"]),
)
shown = words(b"WITHSCORES", most=1)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "zadd": line("zadd", key, flags, st.one_of(pairs, pairs, any_pairs)),
    "zincrby": line("zincrby", key, score, name),
    "zscore": line("zscore", key, name),
    "zmscore": line("zmscore", key, names),
    "zcard": line("zcard", key),
    "zcount": line("zcount", key, limit, limit),
    "zlexcount": line("zlexcount", lex_key, lex, lex),
    "zrank": line("zrank", key, name),
    "zrevrank": line("zrevrank", key, name),
    "zrem": line("zrem", key, names),
    "zremrangebyrank": line("zremrangebyrank", key, place, place),
    "zremrangebyscore": line("zremrangebyscore", key, limit, limit),
    "zremrangebylex": line("zremrangebylex", lex_key, lex, lex),
    "zrange": st.one_of(
        line("zrange", key, place, place, words(b"WITHSCORES", b"REV", limited, b"foo", most=2)),
        line("zrange", key, limit, limit, b"BYSCORE", words(b"WITHSCORES", b"REV", limited, b"BYLEX")),
        line("zrange", lex_key, lex, lex, b"BYLEX", words(b"REV", limited, b"WITHSCORES", most=2)),
    ),
    "zrangestore": st.one_of(
        line("zrangestore", key, key, place, place, words(b"REV", limited, b"WITHSCORES", most=1)),
        line("zrangestore", key, key, limit, limit, b"BYSCORE", words(b"REV", limited, most=2)),
    ),
    "zrangebyscore": line("zrangebyscore", key, limit, limit, words(b"WITHSCORES", limited, b"REV", most=2)),
    "zrevrange": line("zrevrange", key, place, place, words(b"WITHSCORES", limited, b"foo", most=1)),
    "zrevrangebyscore": line("zrevrangebyscore", key, limit, limit, words(b"WITHSCORES", limited, most=2)),
    "zrangebylex": line("zrangebylex", lex_key, lex, lex, words(limited, b"WITHSCORES", most=1)),
    "zrevrangebylex": line("zrevrangebylex", lex_key, lex, lex, words(limited, most=1)),
    "zpopmin": line("zpopmin", key, words(small_integer_text, most=1)),
    "zpopmax": line("zpopmax", key, words(small_integer_text, most=2)),
    "zmpop": line(
        "zmpop", number, keys, st.sampled_from([b"MIN", b"max", b"foo"]), words((b"COUNT", small_integer_text), most=1)
    ),
    "zunion": line("zunion", number, keys, combined, shown),
    "zunionstore": line("zunionstore", key, number, keys, combined, shown),
    "zinter": line("zinter", number, keys, combined, shown),
    "zinterstore": line("zinterstore", key, number, keys, combined),
    "zintercard": line("zintercard", number, keys, words((b"LIMIT", small_integer_text), b"WITHSCORES", most=1)),
    "zdiff": line("zdiff", number, keys, shown, words(b"WEIGHTS", most=1)),
    "zdiffstore": line("zdiffstore", key, number, keys, words(b"WITHSCORES", most=1)),
    "zrandmember": line("zrandmember", key, st.sampled_from([[b"0"], [b"0", b"WITHSCORES"], [b"x"], [b"1", b"foo"]])),
    "zscan": line(
        "zscan",
        key,
        st.sampled_from([b"0"] * 8 + [b"x"]),
        st.sampled_from([[b"COUNT", b"1000"], [b"COUNT", b"0"], [b"COUNT"]]),
        words((b"MATCH", pattern), most=1),
    ),
}

FILLING = [
    line("zadd", key, pairs),
    line("zadd", key, pairs),
    line(
        "zadd", lex_key, st.lists(name, min_size=1, max_size=4).map(lambda drawn: [w for n in drawn for w in (b"0", n)])
    ),
    line("zadd", key, many),
    line("sadd", key, names),
]
