"""Keys of any type, and databases."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import (
    Argv,
    absolute_ms,
    absolute_s,
    conditions,
    database,
    flush_mode,
    key,
    keys,
    line,
    pattern,
    relative_ms,
    relative_s,
    words,
)

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "del": line("del", keys),
    "unlink": line("unlink", keys),
    "exists": line("exists", keys),
    "type": line("type", key),
    "touch": line("touch", keys),
    "keys": line("keys", pattern),
    "scan": line(
        "scan",
        st.sampled_from([b"0"] * 8 + [b"x", b"-", b"18446744073709551616"]),  # other cursors mean other places
        st.sampled_from([[b"COUNT", b"1000"], [b"COUNT", b"0"], [b"COUNT"], [b"COUNT", b"x"]]),
        words((b"MATCH", pattern), (b"TYPE", st.sampled_from([b"string", b"hash", b"x"]))),
    ),
    "dbsize": line("dbsize"),
    "randomkey": line("randomkey"),
    "rename": line("rename", key, key),
    "renamenx": line("renamenx", key, key),
    "copy": line("copy", key, key, words((b"DB", database), b"REPLACE", b"foo", most=2)),
    "expire": line("expire", key, relative_s, conditions),
    "pexpire": line("pexpire", key, relative_ms, conditions),
    "expireat": line("expireat", key, absolute_s, conditions),
    "pexpireat": line("pexpireat", key, absolute_ms, conditions),
    "ttl": line("ttl", key),
    "pttl": line("pttl", key),
    "expiretime": line("expiretime", key),
    "pexpiretime": line("pexpiretime", key),
    "persist": line("persist", key),
    "flushdb": line("flushdb", flush_mode),
    "flushall": line("flushall", flush_mode),
    "move": line("move", key, database),
    "swapdb": line("swapdb", database, database),
}

SELDOM = {"flushdb", "flushall", "swapdb", "del", "unlink"}
"""They empty what the others fill."""
