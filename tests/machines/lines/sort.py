"""SORT, on lists, sets and sorted sets of few elements, with keys around them for BY and GET.

What is left out: ALPHA with BY (the order of equal texts is chance in Redis); sets that are no intsets (their order
is theirs alone); STORE of what is sorted by numbers (a real redis-server refuses all numbers once it has met one that
is too large, in whatever command, since it looks at an error number that nobody has reset: see `same_reply`).
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, key, line, words

element = st.sampled_from([b"1", b"2", b"3", b"10", b"2.5", b"-1", b"1", b"2", b"3"])
whole = st.lists(st.sampled_from([b"1", b"2", b"3", b"10", b"-1"]), min_size=1, max_size=4)
text = st.one_of(element, element, st.sampled_from([b"a", b"b", b"", b"x\x00y", b"1\x00y", b"inf", b" 1"]))
elements = st.lists(element, min_size=1, max_size=6)
pattern = st.sampled_from([b"w_*", b"h_*->f", b"nosort", b"*", b"w_*->", b"#", b"none_*"])
limit = st.sampled_from([b"0", b"1", b"2", b"-1", b"5"])
common = (b"ASC", b"desc", (b"LIMIT", limit, limit), (b"GET", pattern), (b"GET", b"#"))
options = st.one_of(words(*common, b"ALPHA", b"foo"), words(*common, (b"BY", pattern), (b"BY", pattern)))
stored = st.one_of(st.just([]), key.map(lambda name: [b"STORE", name]))

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "sort": st.one_of(
        line("sort", key, options),
        line("sort", key, b"ALPHA", words(*common), stored),
        line("sort", key, b"BY", b"nosort", words(*common), stored),
    ),
    "sort_ro": line("sort_ro", key, options),
}

FILLING = [
    line("rpush", key, elements),
    line("rpush", key, st.lists(text, min_size=1, max_size=4)),
    line("sadd", key, whole),
    line("zadd", key, element, element, element, element),
    line("set", element.map(lambda e: b"w_" + e), text),
    line("hset", element.map(lambda e: b"h_" + e), b"f", text),
]
