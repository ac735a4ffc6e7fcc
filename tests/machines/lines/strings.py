"""Strings."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import (
    Argv,
    float_text,
    integer_text,
    key,
    keys,
    line,
    pairs,
    relative_ms,
    relative_s,
    small_integer_text,
    units,
    value,
    words,
)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "set": line("set", key, value, words(b"NX", b"xx", b"GET", b"KEEPTTL", b"foo", *units)),
    "get": line("get", key),
    "getset": line("getset", key, value),
    "getdel": line("getdel", key),
    "getex": line("getex", key, words(b"PERSIST", *units, most=2)),
    "mget": line("mget", keys),
    "mset": line("mset", pairs),
    "msetnx": line("msetnx", pairs),
    "setnx": line("setnx", key, value),
    "setex": line("setex", key, relative_s, value),
    "psetex": line("psetex", key, relative_ms, value),
    "append": line("append", key, value),
    "strlen": line("strlen", key),
    "setrange": line("setrange", key, small_integer_text, value),
    "getrange": line("getrange", key, integer_text, integer_text),
    "substr": line("substr", key, integer_text, integer_text),
    "incr": line("incr", key),
    "decr": line("decr", key),
    "incrby": line("incrby", key, integer_text),
    "decrby": line("decrby", key, integer_text),
    "incrbyfloat": line("incrbyfloat", key, float_text),
    "lcs": line("lcs", key, key, words(b"LEN", b"IDX", b"WITHMATCHLEN", (b"MINMATCHLEN", integer_text))),
}

FILLING = [LINES["set"], LINES["mset"], LINES["append"], line("set", key, value), line("mset", pairs)]
