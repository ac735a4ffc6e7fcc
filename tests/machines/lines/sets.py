"""Sets. SPOP takes all or nothing here: what it draws would let the two states drift apart."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, key, keys, line, pattern, value, words

number = st.integers(-3, 12).map(lambda n: b"%d" % n)
member = st.one_of(number, number, number, value)
members = st.lists(member, min_size=1, max_size=5)
many = st.integers(505, 515).map(lambda count: [b"%d" % n for n in range(count)])
counts = st.sampled_from([b"0", b"100000", b"-1", b"x", b"01"])

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "sadd": line("sadd", key, members),
    "srem": line("srem", key, members),
    "smembers": line("smembers", key),
    "sismember": line("sismember", key, member),
    "smismember": line("smismember", key, members),
    "scard": line("scard", key),
    "spop": line("spop", key, st.sampled_from([[b"0"], [b"0"], [b"0"], [b"-1"], [b"x"], [b"1", b"2"], [b"100000"]])),
    "srandmember": line("srandmember", key, st.one_of(counts.map(lambda n: [n] if n != b"-1" else [n, b"x"]))),
    "smove": line("smove", key, key, member),
    "sscan": line(
        "sscan",
        key,
        st.sampled_from([b"0"] * 8 + [b"x"]),
        st.sampled_from([[b"COUNT", b"1000"], [b"COUNT", b"0"], [b"COUNT"]]),
        words((b"MATCH", pattern), most=1),
    ),
    "sinter": line("sinter", keys),
    "sintercard": line(
        "sintercard",
        st.sampled_from([b"1", b"2", b"2", b"3", b"0", b"-1", b"x", b"9"]),
        keys,
        words((b"LIMIT", st.sampled_from([b"0", b"1", b"2", b"-1", b"x"])), b"LIMIT", most=1),
    ),
    "sinterstore": line("sinterstore", key, keys),
    "sunion": line("sunion", keys),
    "sunionstore": line("sunionstore", key, keys),
    "sdiff": line("sdiff", keys),
    "sdiffstore": line("sdiffstore", key, keys),
}

FILLING = [LINES["sadd"], LINES["sadd"], LINES["sadd"], LINES["sadd"], line("sadd", key, many)]
