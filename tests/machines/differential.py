"""Random command lines for every row of the table, for comparing any two servers (or a machine) with each other.

Each type has its file in lines/: `LINES`, name of a command -> a strategy for its lines; and `FILLING`, the lines that
make keys of that type. A sequence is mostly about one type, or it would hardly ever meet keys of the right one; lines
of all other types come among them, since they must be refused. What is wrong on purpose comes seldom.

`same_reply` judges two replies; differences.py says where an order may differ, and a remaining time has some slack.
side_by_side.py tells the sequences to two servers.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from raftkv.machines.redis.differences import ENCODINGS_HERE, REENCODED, REENCODING, STORED_DISTANCES, UNORDERED
from raftkv.machines.redis.rdb.payload import value_of
from raftkv.machines.redis.rdb.types import HASH, LIST_QUICKLIST_2, SET, SET_INTSET, ZSET_2, ZSET_LISTPACK
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.replies import Error, SetReply
from tests.machines.lines import (
    bitmaps,
    dumping,
    generic,
    geo,
    hashes,
    hyperloglog,
    lists,
    objects,
    sets,
    sort,
    strings,
    zsets,
)
from tests.machines.words import DATABASES, KEYS, Argv, value

__all__ = ["DATABASES", "FAMILIES", "KEYS", "LINES", "Argv", "same_reply", "sequences"]

TYPES: tuple[Any, ...] = (strings, hashes, sets, lists, zsets, bitmaps, sort, hyperloglog, dumping, geo)
REMAINING_SLACK_MS = 30_000
NOT_NUMBERS = Error("ERR One or more scores can't be converted into double")

LINES: dict[str, st.SearchStrategy[Argv]] = {
    name: each for module in (*TYPES, generic, objects) for name, each in module.LINES.items()
}

_EVERY = st.one_of(list(LINES.values()))
_GENERIC = st.one_of(
    [each for name, each in generic.LINES.items() if name not in generic.SELDOM] + [objects.LINES["object"]]
)
_WRONG_COUNTS = st.tuples(
    st.sampled_from(sorted(set(LINES) - {"setrange", "scan", "flushdb", "flushall"})), st.lists(value, max_size=5)
).map(lambda drawn: [drawn[0].encode(), *drawn[1]])
_SELECTED = st.sampled_from([0] * 7 + [1])


def sequences_about(module: Any) -> st.SearchStrategy[list[tuple[int, Argv]]]:
    """Sequences of (database, line), mostly of the commands of one module of lines/."""
    # `one_of` would flatten the groups into one list without weights: hence the choice in two steps.
    filling, own = st.one_of(module.FILLING), st.one_of(list(module.LINES.values()))
    weighted = [filling] * 4 + [own] * 7 + [_GENERIC] * 3 + [_EVERY, _WRONG_COUNTS]
    lines = st.sampled_from(weighted).flatmap(lambda group: group)
    return st.lists(st.tuples(_SELECTED, lines), min_size=20, max_size=80)


FAMILIES = {module.__name__.rpartition(".")[2]: sequences_about(module) for module in TYPES}
"""By the name of the file in lines/."""

sequences = st.one_of(list(FAMILIES.values()))

_UNSURE = (b"randomkey", b"memory")
_UNSURE_OF_OBJECT = ([b"idletime"], [b"refcount"])
_TIME_SCALE_MS = {b"ttl": 1000, b"pttl": 1, b"expiretime": 1000, b"pexpiretime": 1}


def same_reply(argv: Argv, ours: Any, theirs: Any, told: set[str] | frozenset[str] = frozenset()) -> bool:
    """Whether two replies to one line agree to the last detail, as far as two servers with two clocks can. `told`: the
    names of commands before it."""
    name = argv[0].lower()
    if name.decode() in UNORDERED:
        return _shown(_sorted(ours)) == _shown(_sorted(theirs))
    if name in _TIME_SCALE_MS and type(ours) is type(theirs) is int and min(ours, theirs) >= 0:
        return bool(abs(ours - theirs) * _TIME_SCALE_MS[name] <= REMAINING_SLACK_MS)
    if argv[1:2] == [geo.FAR] and isinstance(ours, list) and isinstance(theirs, list):
        return _same_or_near(ours, theirs)
    if name in (b"sort", b"sort_ro") and theirs == NOT_NUMBERS:
        return True  # see lines/sort.py
    if name == b"dump" and isinstance(ours, bytes) and isinstance(theirs, bytes):
        return ours == theirs or _same_value(argv, ours, theirs, told)
    if name in _UNSURE or (name == b"object" and [word.lower() for word in argv[1:2]] in _UNSURE_OF_OBJECT):
        return type(ours) is type(theirs) and (not isinstance(theirs, Error) or ours == theirs)
    if name == b"object" and isinstance(theirs, bytes) and ours in ENCODINGS_HERE.get(theirs, ()):
        return True
    if name == b"object" and (ours, theirs) == REENCODED and told & REENCODING:
        return True
    return _shown(ours) == _shown(theirs)


def _shown(reply: Any) -> str:
    """Other than `==` it tells 1 from True and from 1.0, at any depth, and maps by the order of their entries."""
    return repr(reply)


_NOT_ONE_DUMP = ({HASH}, {SET}, {SET_INTSET}, {LIST_QUICKLIST_2})
"""Types of payloads that depend on how a value came about."""


def _same_value(argv: Argv, ours: bytes, theirs: bytes, told: set[str] | frozenset[str]) -> bool:
    """Of two payloads whose bytes differ, where they may."""
    types = {ours[0], theirs[0]}
    if types <= {ZSET_2, ZSET_LISTPACK} and argv[1] == geo.FAR:
        return True  # the reply to ZRANGE tells by how much it differs
    may_differ = [*_NOT_ONE_DUMP]
    if "restore" in told:
        may_differ.append({ZSET_LISTPACK})
    if told & REENCODING:
        may_differ.append({ZSET_2, ZSET_LISTPACK})
    return types in may_differ and _digest(ours) == _digest(theirs)


def _digest(payload: bytes) -> list[bytes]:
    value = value_of(payload, Thresholds())
    assert not isinstance(value, bytes)
    return list(value.digest_parts())


def _same_or_near(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same_or_near, ours, theirs))
    return bool(ours == theirs) or abs(float(ours) - float(theirs)) <= STORED_DISTANCES * float(theirs)


def _sorted(reply: Any) -> Any:
    if isinstance(reply, list):
        return sorted(map(_sorted, reply), key=repr)
    if isinstance(reply, dict):
        return dict(sorted(reply.items()))
    return SetReply(_sorted(reply.items)) if isinstance(reply, SetReply) else reply
