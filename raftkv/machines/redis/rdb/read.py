"""Values from RDB, of all types that Redis 7.0 reads: its own, and those of older versions.

The encoding of what is read is decided as Redis does, which for some types looks at the number of members alone, for
others at their lengths too. Redis checks listpacks and intsets only when `sanitize-dump-payload` is set, and may break
later where they were wrong; here they are always checked. Nothing without members, and no member twice: as in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from math import inf, isnan
from typing import Final

from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.chunks import Chunks
from raftkv.machines.redis.doubles import leading_double
from raftkv.machines.redis.hashes import Hash
from raftkv.machines.redis.lists import List
from raftkv.machines.redis.rdb import Malformed, intset, listpack, types, ziplist, zipmap
from raftkv.machines.redis.rdb.fields import Reader
from raftkv.machines.redis.sets import Set
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import Collection, Value

_SCORE_TEXT_MAX: Final = 127
"""So much of a score's text in a listpack Redis looks at."""

_ASCII_SCORES: Final = {253: None, 254: inf, 255: -inf}
"""Lengths of an ASCII score that are no lengths; None: not a number."""


def read(type_number: int, reader: Reader, thresholds: Thresholds) -> Value:
    """The value of this type at which the reader is; raises Malformed, also for a type that nobody knows."""
    if type_number == types.STRING:
        return reader.string()
    if type_number not in _READERS:
        raise Malformed(f"unknown type: {type_number}")
    value = _READERS[type_number](reader, thresholds)
    if not value:
        raise Malformed("no members")
    return value


# Lists


def _list(reader: Reader, thresholds: Thresholds) -> List:  # noqa: ARG001
    return List(Chunks(reader.string() for _ in range(reader.length())))


def _list_of_ziplists(reader: Reader, thresholds: Thresholds) -> List:  # noqa: ARG001
    return List(Chunks(element for _ in range(reader.length()) for element in ziplist.unpack(reader.string())))


def _list_of_nodes(reader: Reader, thresholds: Thresholds) -> List:  # noqa: ARG001
    return List(Chunks(element for _ in range(reader.length()) for element in _node(reader)))


def _node(reader: Reader) -> list[bytes]:
    container, content = reader.length(), reader.string()
    if container == types.PACKED:
        return listpack.unpack(content)
    if container != types.PLAIN or not content:
        raise Malformed("a node of a list of unknown form")
    return [content]


def _list_of_one_ziplist(reader: Reader, thresholds: Thresholds) -> List:  # noqa: ARG001
    return List(Chunks(ziplist.unpack(reader.string())))


# Sets


def _set(reader: Reader, thresholds: Thresholds) -> Set:
    count = reader.length()
    members = dict.fromkeys(reader.string() for _ in range(count))
    _check_count(members, count)
    fits = count <= thresholds.set_max_intset_entries
    return Set(members, is_compact=fits and all(parse_integer(member) is not None for member in members))


def _set_of_integers(reader: Reader, thresholds: Thresholds) -> Set:
    members = dict.fromkeys(b"%d" % member for member in intset.unpack(reader.string()))
    return Set(members, is_compact=len(members) <= thresholds.set_max_intset_entries)


# Hashes


def _hash(reader: Reader, thresholds: Thresholds) -> Hash:
    return _hash_of([(reader.string(), reader.string()) for _ in range(reader.length())], thresholds, sees_lengths=True)


def _hash_from_zipmap(reader: Reader, thresholds: Thresholds) -> Hash:
    return _hash_of(zipmap.unpack(reader.string()), thresholds, sees_lengths=True)


def _hash_from(unpack: Callable[[bytes], list[bytes]]) -> Callable[[Reader, Thresholds], Hash]:
    return lambda reader, thresholds: _hash_of(_paired(unpack(reader.string())), thresholds, sees_lengths=False)


def _hash_of(pairs: list[tuple[bytes, bytes]], thresholds: Thresholds, *, sees_lengths: bool) -> Hash:
    members = dict(pairs)
    _check_count(members, len(pairs))
    is_compact = len(members) <= thresholds.hash_max_listpack_entries
    if is_compact and sees_lengths:
        longest = thresholds.hash_max_listpack_value
        is_compact = all(len(word) <= longest for pair in pairs for word in pair)
    return Hash(members, is_compact=is_compact)


# Sorted sets


def _sorted_set(reader: Reader, thresholds: Thresholds) -> SortedSet:
    return _large(reader, thresholds, reader.double)


def _sorted_set_with_texts(reader: Reader, thresholds: Thresholds) -> SortedSet:
    return _large(reader, thresholds, lambda: _ascii_score(reader))


def _large(reader: Reader, thresholds: Thresholds, read_score: Callable[[], float]) -> SortedSet:
    scores = _scores([(reader.string(), read_score()) for _ in range(reader.length())])
    return SortedSet.made_of(scores, thresholds)


def _ascii_score(reader: Reader) -> float:
    length = reader.byte()
    score = _ASCII_SCORES[length] if length in _ASCII_SCORES else leading_double(reader.take(length))
    if score is None:
        raise Malformed("a score that is no number")
    return score


def _sorted_set_from(unpack: Callable[[bytes], list[bytes]]) -> Callable[[Reader, Thresholds], SortedSet]:
    return lambda reader, thresholds: _compact(_paired(unpack(reader.string())), thresholds)


def _compact(pairs: list[tuple[bytes, bytes]], thresholds: Thresholds) -> SortedSet:
    scores = _scores([(name, leading_double(text[:_SCORE_TEXT_MAX]) or 0.0) for name, text in pairs])
    return SortedSet(scores, is_compact=len(scores) <= thresholds.zset_max_listpack_entries)


def _scores(pairs: list[tuple[bytes, float]]) -> dict[bytes, float]:
    scores = dict(pairs)
    _check_count(scores, len(pairs))
    if any(map(isnan, scores.values())):
        raise Malformed("a score that is no number")
    return scores


def _paired(words: list[bytes]) -> list[tuple[bytes, bytes]]:
    if len(words) % 2:
        raise Malformed("half a pair")
    return list(zip(words[::2], words[1::2], strict=True))


def _check_count(members: Sized, count: int) -> None:
    if len(members) != count:
        raise Malformed("a member that is there twice")


_READERS: Final[dict[int, Callable[[Reader, Thresholds], Collection]]] = {
    types.LIST: _list,
    types.SET: _set,
    types.ZSET: _sorted_set_with_texts,
    types.HASH: _hash,
    types.ZSET_2: _sorted_set,
    types.HASH_ZIPMAP: _hash_from_zipmap,
    types.LIST_ZIPLIST: _list_of_one_ziplist,
    types.SET_INTSET: _set_of_integers,
    types.ZSET_ZIPLIST: _sorted_set_from(ziplist.unpack),
    types.HASH_ZIPLIST: _hash_from(ziplist.unpack),
    types.LIST_QUICKLIST: _list_of_ziplists,
    types.HASH_LISTPACK: _hash_from(listpack.unpack),
    types.ZSET_LISTPACK: _sorted_set_from(listpack.unpack),
    types.LIST_QUICKLIST_2: _list_of_nodes,
}
