"""Random command lines for every row of the table, for comparing any two servers (or a machine) with each other.

The words come from small sets, so that sequences meet the same few keys again and again, and from the edges
where mistakes live: wrong counts of arguments, integers that almost are, limits of 64 bits. Deadlines are either long
past or far away, because two servers never share a clock; replies that tell a remaining time are compared with
a slack, see `same_reply`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from raftkv.machines.redis.differences import UNORDERED

Argv = list[bytes]

KEYS = [b"a", b"b", b"c", b"key:1", b"", b"\x00\xff"]
DATABASES = 16
REMAINING_SLACK_MS = 30_000

key = st.sampled_from(KEYS)
integer_text = st.one_of(
    st.integers(-20, 20).map(lambda number: b"%d" % number),
    st.sampled_from(
        [
            *(b"9223372036854775807 -9223372036854775808 9223372036854775808 9223372036854775").split(),
            *(b"01 +1 -0 1.0 x 0x1 1_0 4294967296 -2147483649").split(),
            *(b" 1", b"1 ", b""),
        ]
    ),
)
small_integer_text = st.one_of(
    st.integers(-12, 40).map(lambda number: b"%d" % number), st.sampled_from([b"x", b"01", b""])
)
float_text = st.one_of(
    st.sampled_from(
        [b"0.1", b"-0.1", b"1e3", b"3.0", b"inf", b"nan", b"1e-20", b".5", b"5.", b"0x1p-3", b"", b"x", b"1e4932"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-10000, max_value=10000).map(
        lambda d: str(d).encode()
    ),
    integer_text,
)
value = st.one_of(
    integer_text, float_text, st.sampled_from([b"Hello", b"World", b"ohmytext", b"mynewtext"]), st.binary(max_size=12)
)
pattern = st.one_of(
    st.sampled_from([b"*", b"**", b"?", b"key:*", b"[ab]", b"[^a]*", b"\\a", b"x", b""]), st.binary(max_size=4)
)
relative_s = st.sampled_from(
    [b"100000", b"200000", b"300000", b"0", b"-1", b"9223372036854775807", b"9223372036854776", b"x"]
)
relative_ms = st.sampled_from([b"100000000", b"200000000", b"0", b"-1", b"9223372036854775807", b"x", b""])
absolute_s = st.sampled_from([b"9999999999", b"9999999998", b"1", b"0", b"-1", b"9223372036854775807", b"x"])
absolute_ms = st.sampled_from([b"9999999999999", b"9999999998001", b"1", b"-1", b"9223372036854775807", b"x"])
database = st.sampled_from([b"0", b"1", b"2", b"15", b"16", b"-1", b"x", b"4294967296"])


def line(name: str, *parts: Any) -> st.SearchStrategy[Argv]:
    """A command line. A part is a strategy for a word or for a list of words, or the word itself."""
    strategies = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*strategies).map(lambda drawn: [name.encode(), *_flat(drawn)])


def _flat(drawn: tuple[Any, ...]) -> Argv:
    flat: Argv = []
    for part in drawn:
        flat += part if isinstance(part, list) else [part]
    return flat


def words(*choices: Any, most: int = 3) -> st.SearchStrategy[Argv]:
    """Up to `most` options; a choice is a word or a tuple of words and strategies."""
    options = [_option(choice) for choice in choices]
    return st.lists(st.one_of(options), max_size=most).map(lambda drawn: [word for option in drawn for word in option])


def _option(choice: Any) -> st.SearchStrategy[Argv]:
    parts = choice if isinstance(choice, tuple) else (choice,)
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map(list)


keys = st.lists(key, min_size=1, max_size=4)
pairs = st.lists(st.tuples(key, value), min_size=1, max_size=3).map(
    lambda drawn: [word for pair in drawn for word in pair]
)
units = ((b"EX", relative_s), (b"px", relative_ms), (b"EXAT", absolute_s), (b"PXAT", absolute_ms))
conditions = words(b"NX", b"XX", b"gt", b"LT", most=2)
flush_mode = words(b"SYNC", b"async", b"foo", most=1)

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

# Most lines should meet existing keys, so those that fill come more often and those that empty a database seldom.
# `one_of` would flatten the groups into one list without weights: hence the choice in two steps.
_FILLING = st.one_of(LINES["set"], LINES["mset"], LINES["append"], line("set", key, value), line("mset", pairs))
_SELDOM = {"flushdb", "flushall", "swapdb", "del", "unlink", "getdel", "set"}
_COMMON = st.one_of([strategy for name, strategy in LINES.items() if name not in _SELDOM])
_EVERY = st.one_of(list(LINES.values()))
_WRONG_COUNTS = st.tuples(
    st.sampled_from(sorted(set(LINES) - {"setrange", "scan", "flushdb", "flushall"})), st.lists(value, max_size=5)
).map(lambda drawn: [drawn[0].encode(), *drawn[1]])
command_line = st.sampled_from([_FILLING] * 4 + [_COMMON] * 10 + [_EVERY, _WRONG_COUNTS]).flatmap(lambda group: group)
selected = st.sampled_from([0] * 7 + [1])
sequences = st.lists(st.tuples(selected, command_line), min_size=10, max_size=60)

_TIME_SCALE_MS = {b"ttl": 1000, b"pttl": 1, b"expiretime": 1000, b"pexpiretime": 1}


def same_reply(argv: Argv, ours: Any, theirs: Any) -> bool:
    """Whether two RESP2 replies to one line agree, as far as two servers with two clocks can."""
    name = argv[0].lower()
    if name.decode() in UNORDERED:
        return bool(_sorted(ours) == _sorted(theirs))
    if name in _TIME_SCALE_MS and type(ours) is type(theirs) is int and min(ours, theirs) >= 0:
        return bool(abs(ours - theirs) * _TIME_SCALE_MS[name] <= REMAINING_SLACK_MS)
    if name == b"randomkey":
        return type(ours) is type(theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def _sorted(reply: Any) -> Any:
    return sorted(map(_sorted, reply), key=repr) if isinstance(reply, list) else reply
