"""Values as RDB has them: what Redis 7.0 writes, in the encoding that OBJECT ENCODING tells.

Where the order of members means something, the bytes are Redis's own. Where it does not (hashes and sets that are
"hashtable"), theirs come in the order of Redis's table, ours in the order in which they came. A list goes out in nodes
as if its elements had been pushed at its right end; where Redis cuts depends on how a list came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftkv.machines.redis.hashes import Hash
from raftkv.machines.redis.lists import List
from raftkv.machines.redis.rdb import intset, listpack, types
from raftkv.machines.redis.rdb.fields import Writer
from raftkv.machines.redis.sets import Set
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.values import Value

_NODE_BYTES_MAX: Final = 8192
"""Of one node of a list, as Redis's default list-max-listpack-size (-2) says."""

_EMPTY_BYTES: Final = len(listpack.join([]))
_ENTRY_OVERHEAD: Final = 8
"""What an element takes in a node beside itself, as Redis estimates it to find whether there is room."""

_INTEGER_SCORE_MAX: Final = 2.0**62
"""Whole scores up to here are integers in a listpack."""


def write(writer: Writer, value: Value) -> int:
    """Puts the value; returns its type."""
    if isinstance(value, bytes):
        writer.put_string(value)
        return types.STRING
    if isinstance(value, Hash):
        return _hash(writer, value)
    if isinstance(value, Set):
        return _set(writer, value)
    if isinstance(value, SortedSet):
        return _sorted_set(writer, value)
    assert isinstance(value, List), value.type_name
    return _list(writer, value)


def _hash(writer: Writer, value: Hash) -> int:
    if value.is_compact:
        writer.put_string(listpack.pack(word for pair in value.members.items() for word in pair))
        return types.HASH_LISTPACK
    writer.put_length(len(value))
    for field, content in value.members.items():
        writer.put_string(field)
        writer.put_string(content)
    return types.HASH


def _set(writer: Writer, value: Set) -> int:
    if value.is_compact:
        writer.put_string(intset.pack(list(map(int, value.listed()))))
        return types.SET_INTSET
    writer.put_length(len(value))
    for member in value.members:
        writer.put_string(member)
    return types.SET


def _sorted_set(writer: Writer, value: SortedSet) -> int:
    pairs = value.pairs(0, len(value))
    if value.is_compact:
        writer.put_string(listpack.pack(word for score, name in pairs for word in (name, _score_text(score))))
        return types.ZSET_LISTPACK
    writer.put_length(len(value))
    for score, name in reversed(pairs):  # the last first, which Redis finds quicker to read
        writer.put_string(name)
        writer.put_double(score)
    return types.ZSET_2


def _score_text(score: float) -> bytes:
    if abs(score) <= _INTEGER_SCORE_MAX and score.is_integer():
        return b"%d" % int(score)
    return b"%.17g" % score


def _list(writer: Writer, value: List) -> int:
    nodes = list(_nodes(iter(value.elements)))
    writer.put_length(len(nodes))
    for node in nodes:
        writer.put_length(types.PACKED)
        writer.put_string(node)
    return types.LIST_QUICKLIST_2


def _nodes(elements: Iterator[bytes]) -> Iterator[bytes]:
    entries: list[bytes] = []
    size = _EMPTY_BYTES
    for element in elements:
        if entries and size + len(element) + _ENTRY_OVERHEAD > _NODE_BYTES_MAX:
            yield listpack.join(entries)
            entries, size = [], _EMPTY_BYTES
        entries.append(listpack.entry(element))
        size += len(entries[-1])
    yield listpack.join(entries)
