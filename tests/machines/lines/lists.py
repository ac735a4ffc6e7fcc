"""Lists."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, integer_text, key, keys, line, small_integer_text, value, words

element = st.one_of(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"a", b"b", b"c"]), value)
elements = st.lists(element, min_size=1, max_size=6)
index = st.one_of(st.integers(-8, 8).map(lambda n: b"%d" % n), integer_text)
side = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"right", b"foo"])
count = st.sampled_from([[], [], [b"0"], [b"1"], [b"2"], [b"100"], [b"-1"], [b"x"], [b"1", b"2"]])

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "lpush": line("lpush", key, elements),
    "rpush": line("rpush", key, elements),
    "lpushx": line("lpushx", key, elements),
    "rpushx": line("rpushx", key, elements),
    "lpop": line("lpop", key, count),
    "rpop": line("rpop", key, count),
    "llen": line("llen", key),
    "lindex": line("lindex", key, index),
    "lset": line("lset", key, index, element),
    "lrange": line("lrange", key, index, index),
    "ltrim": line("ltrim", key, index, index),
    "linsert": line("linsert", key, st.sampled_from([b"BEFORE", b"after", b"foo"]), element, element),
    "lrem": line("lrem", key, index, element),
    "lpos": line(
        "lpos",
        key,
        element,
        words((b"RANK", small_integer_text), (b"COUNT", small_integer_text), (b"MAXLEN", small_integer_text), b"foo"),
    ),
    "lmove": line("lmove", key, key, side, side),
    "rpoplpush": line("rpoplpush", key, key),
    "lmpop": line(
        "lmpop",
        st.sampled_from([b"1", b"1", b"2", b"2", b"3", b"0", b"-1", b"x", b"9"]),
        keys,
        side,
        words((b"COUNT", small_integer_text), b"foo", most=1),
    ),
}

FILLING = [LINES["lpush"], LINES["rpush"], LINES["rpush"]]
