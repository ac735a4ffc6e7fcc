"""Strings as rows of bits."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, integer_text, key, keys, line, value, words

offset = st.one_of(
    st.integers(0, 40).map(lambda n: b"%d" % n), st.sampled_from([b"-1", b"x", b"4294967296", b"99999999999", b"100"])
)
bit = st.sampled_from([b"0", b"1", b"1", b"0", b"2", b"x", b"-1"])
index = st.one_of(st.integers(-20, 20).map(lambda n: b"%d" % n), integer_text)
unit = st.sampled_from([[], [], [b"BIT"], [b"byte"], [b"BIT"], [b"foo"], [b"BIT", b"x"]])
ranged = st.one_of(
    st.just([]), st.tuples(index, index, unit).map(lambda t: [t[0], t[1], *t[2]]), index.map(lambda i: [i])
)
kind = st.sampled_from([b"u8", b"i8", b"u1", b"i64", b"u63", b"i5", b"u3", b"I16", b"u64", b"i65", b"x", b"u0", b"u"])
place = st.one_of(offset, st.sampled_from([b"#0", b"#1", b"#3", b"#x", b"#-1", b"7", b"3"]))
amount = st.one_of(st.integers(-300, 300).map(lambda n: b"%d" % n), integer_text)
operation = st.one_of(
    st.tuples(st.just(b"GET"), kind, place).map(list),
    st.tuples(st.sampled_from([b"SET", b"INCRBY", b"incrby"]), kind, place, amount).map(list),
    st.sampled_from([[b"OVERFLOW", word] for word in (b"WRAP", b"sat", b"FAIL", b"foo")] + [[b"GET", b"u8"]]),
)
operations = st.lists(operation, max_size=4).map(lambda drawn: [word for each in drawn for word in each])
gets = st.lists(st.tuples(st.just(b"GET"), kind, place), max_size=3).map(
    lambda drawn: [w for each in drawn for w in each]
)

simple = st.lists(
    st.tuples(*map(st.sampled_from, ([b"SET", b"INCRBY"], [b"u1", b"i2"], [b"0", b"3", b"9"], [b"0", b"1"]))),
    min_size=1,
    max_size=2,
).map(lambda drawn: [word for each in drawn for word in each])
"""What is right, and may well leave a value as it is, or fail with OVERFLOW FAIL."""

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "setbit": line("setbit", key, offset, bit),
    "getbit": line("getbit", key, offset),
    "bitcount": line("bitcount", key, ranged),
    "bitpos": line("bitpos", key, bit, ranged),
    "bitop": line("bitop", st.sampled_from([b"AND", b"or", b"XOR", b"NOT", b"foo"]), key, keys),
    "bitfield": line("bitfield", key, operations),
    "bitfield_ro": line("bitfield_ro", key, st.one_of(gets, operations)),
}

FILLING = [
    LINES["setbit"],
    line("set", key, value),
    line("set", key, st.binary(max_size=6)),
    line("set", key, st.sampled_from([b"\xff\xff\xff", b"\x00\x00", b"\xff\xf0\x00", b"\x00\xff\xf0"])),
    line("bitfield", key, words((b"OVERFLOW", b"FAIL"), most=1), simple),
    line("bitfield", key, words((b"SET", b"u8", b"#1", b"200"), (b"INCRBY", b"i5", b"3", b"9"))),
]
