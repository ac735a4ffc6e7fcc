"""DUMP and RESTORE, between keys of all types."""

from __future__ import annotations

from hypothesis import strategies as st

from raftkv.machines.redis.rdb.payload import payload_of
from raftkv.machines.redis.values import Value
from tests.machines.casework import MachineClient
from tests.machines.lines import bitmaps, hashes, hyperloglog, lists, sets, strings, zsets
from tests.machines.rdb.made import OLD_FORMS, REFUSED
from tests.machines.words import Argv, absolute_ms, key, line, relative_ms, small_integer_text, value, words


def _dumped(*lines: str) -> list[bytes]:
    client = MachineClient()
    for text in lines:
        client.call(*text.encode().split())
    values: list[Value] = list(client.machine.space.databases[0].values.values())
    return [payload_of(each) for each in values]


_DUMPS = _dumped(
    *("SET string word", "SET number 70000", "RPUSH list a 1 b", "SADD integers 1 2 3", "SADD set a b 1"),
    *("HSET hash f 1 g word", "ZADD zset 1 a 1.5 b inf c", "PFADD hll a b c", "SETBIT bits 100 1"),
)
payload = st.one_of(
    st.sampled_from(_DUMPS),
    st.sampled_from(_DUMPS),
    st.sampled_from(list(OLD_FORMS.values())),
    st.sampled_from(list(REFUSED.values())),
    value,
)
ttl = st.one_of(st.just(b"0"), st.just(b"0"), relative_ms)
options = words(
    b"REPLACE", b"replace", b"REPLACE", (b"IDLETIME", small_integer_text), (b"FREQ", small_integer_text), b"foo", most=2
)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "dump": line("dump", key),
    "restore": st.one_of(
        line("restore", key, ttl, payload, options),
        line("restore", key, ttl, payload, b"REPLACE"),
        line("restore", key, absolute_ms, payload, b"ABSTTL", options),
    ),
}

FILLING = [
    line for module in (strings, hashes, sets, lists, zsets, bitmaps, hyperloglog) for line in module.FILLING[:1]
]
