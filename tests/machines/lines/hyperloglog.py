"""HyperLogLogs; GET shows their bytes. PFCOUNT of several keys, since that of one writes its result there in Redis."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, key, keys, line, value

element = st.one_of(st.integers(0, 3000).map(lambda n: b"%d" % n), value)
elements = st.lists(element, max_size=6)
many = st.tuples(st.integers(0, 5000), st.sampled_from([10, 40])).map(
    lambda drawn: [b"e%d" % number for number in range(drawn[0], drawn[0] + drawn[1])]
)
broken = st.sampled_from(
    [b"HYLL", b"HYLL\x01" + bytes(11), b"HYLL\x01" + bytes(12), b"HYLL\x00" + bytes(20), b"HYLL\x02" + bytes(20)]
)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "pfadd": line("pfadd", key, elements),
    "pfcount": line("pfcount", key, keys),
    "pfmerge": line("pfmerge", key, keys),
}

FILLING = [
    LINES["pfadd"],
    LINES["pfadd"],
    line("pfadd", key, many),
    line("get", key),
    line("set", key, broken),
    LINES["pfmerge"],
]
