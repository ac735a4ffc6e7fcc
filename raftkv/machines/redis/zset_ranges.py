"""Ranges of sorted sets: by place, score or name, to be listed, counted, stored or taken out.

The old commands (ZRANGEBYSCORE, ZREVRANGE ...) are ZRANGE with some of its options fixed, as in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import parse_limit
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.redis.sorted_set import NameRange, Pair, ScoreRange, SortedSet
from raftkv.machines.redis.values import LISTED_MAX
from raftkv.machines.replies import Error, Pairs, Reply, Walk

_NOT_A_SCORE: Final = Error("ERR min or max is not a float")
_NOT_A_NAME: Final = Error("ERR min or max not valid string range item")
_LIMIT_ALONE: Final = Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
_SCORES_BY_NAME: Final = Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")

Places = Callable[[SortedSet], tuple[int, int]]
"""The wanted range of a sorted set as places: (first, behind the last)."""


# Limits


def _by_place(low: bytes, high: bytes) -> Callable[[SortedSet, bool], tuple[int, int]]:
    start, stop = integer(low), integer(high)

    def places(found: SortedSet, backwards: bool) -> tuple[int, int]:
        length = len(found)
        first = max(0, start + length if start < 0 else start)
        behind = min(length, (stop + length if stop < 0 else stop) + 1)
        if first >= behind:
            return 0, 0
        return (length - behind, length - first) if backwards else (first, behind)

    return places


def score_range(low: bytes, high: bytes) -> ScoreRange:
    """From texts such as "1", "(1.5" and "-inf"; raises Refused."""
    limits = [parse_limit(text.removeprefix(b"(")) for text in (low, high)]
    if limits[0] is None or limits[1] is None:
        raise Refused(_NOT_A_SCORE)
    return ScoreRange(limits[0], limits[1], low.startswith(b"("), high.startswith(b"("))


def name_range(low: bytes, high: bytes) -> NameRange:
    """From texts such as "[a", "(b", "-" and "+"; raises Refused."""
    for text in (low, high):
        if text not in (b"-", b"+") and text[:1] not in (b"[", b"("):
            raise Refused(_NOT_A_NAME)
    is_empty = low == b"+" or high == b"-"
    return NameRange(
        None if low in (b"-", b"+") else low[1:],
        None if high in (b"-", b"+") else high[1:],
        low.startswith(b"("),
        high.startswith(b"("),
        is_empty,
    )


# Listing


class _Wanted(NamedTuple):
    """What a command of the ZRANGE family asks for. `by`: RANK, SCORE or LEX; offset and most as after LIMIT."""

    by: bytes
    backwards: bool
    with_scores: bool
    offset: int
    most: int


def _wanted(words: list[bytes], by: bytes | None, backwards: bool | None, *, stores: bool) -> _Wanted:
    """`by` and `backwards`: None where the options may say it."""
    with_scores, offset, count = False, 0, -1
    is_by, is_backwards = by, backwards
    at = 0
    while at < len(words):
        word = words[at].upper()
        if word == b"WITHSCORES" and not stores:
            with_scores = True
        elif word == b"LIMIT" and len(words) - at > 2:
            offset, count = integer(words[at + 1]), integer(words[at + 2])
            at += 2
        elif word == b"REV" and is_backwards is None:
            is_backwards = True
        elif word in (b"BYLEX", b"BYSCORE") and is_by is None:
            is_by = word.removeprefix(b"BY")
        else:
            raise Refused(SYNTAX)
        at += 1
    is_by = is_by or b"RANK"
    if count != -1 and is_by == b"RANK":
        raise Refused(_LIMIT_ALONE)
    if with_scores and is_by == b"LEX":
        raise Refused(_SCORES_BY_NAME)
    return _Wanted(is_by, bool(is_backwards), with_scores, offset, count)


def _finder(wanted: _Wanted, low: bytes, high: bytes) -> Places:
    """Reads the limits, which are the other way round when the range is backwards, and gives what finds the range."""
    if wanted.backwards and wanted.by != b"RANK":
        low, high = high, low
    if wanted.by == b"RANK":
        by_place = _by_place(low, high)
        places: Places = lambda found: by_place(found, wanted.backwards)  # noqa: E731
    elif wanted.by == b"SCORE":
        by_score = score_range(low, high)
        places = lambda found: found.places_by_score(by_score)  # noqa: E731
    else:
        by_name = name_range(low, high)
        places = lambda found: found.places_by_name(by_name)  # noqa: E731

    if wanted.by == b"RANK":
        return places
    return lambda found: _limited(*places(found), wanted)


def _limited(first: int, behind: int, wanted: _Wanted) -> tuple[int, int]:
    length = behind - first
    if wanted.offset < 0 or wanted.offset >= length:
        return 0, 0
    count = length - wanted.offset if wanted.most < 0 else min(wanted.most, length - wanted.offset)
    if wanted.backwards:
        return behind - wanted.offset - count, behind - wanted.offset
    return first + wanted.offset, first + wanted.offset + count


def _list(db: Database, argv: list[bytes], by: bytes | None = None, backwards: bool | None = None) -> Reply:
    wanted = _wanted(argv[4:], by, backwards, stores=False)
    find = _finder(wanted, argv[2], argv[3])
    found = db.peek_as(argv[1], SortedSet)
    if found is None:
        return []
    return listed(found, *find(found), backwards=wanted.backwards, with_scores=wanted.with_scores)


def listed(found: SortedSet, first: int, behind: int, *, backwards: bool, with_scores: bool) -> Reply:
    """The members at these places."""
    if behind - first > LISTED_MAX and not found.is_compact:
        return pairs_reply(found.walk(first, behind, backwards=backwards), with_scores=with_scores)
    pairs = found.pairs(first, behind)
    if backwards:
        pairs.reverse()
    return pairs_reply(pairs, with_scores=with_scores)


def pairs_reply(pairs: list[Pair] | Walk, *, with_scores: bool) -> Reply:
    """As a reply; nobody else may change the list."""
    parts_of = _scored if with_scores else _names
    items: list[Any] | Walk = (
        Walk(len(pairs), lambda: parts_of(pairs)) if len(pairs) > LISTED_MAX else [*parts_of(pairs)]
    )
    return Pairs(items) if with_scores else items


def _scored(pairs: Iterable[Pair]) -> Iterator[Any]:
    return ((name, score) for score, name in pairs)


def _names(pairs: Iterable[Pair]) -> Iterator[Any]:
    return (name for _, name in pairs)


zrange: Final = _list
zrevrange: Final = partial(_list, by=b"RANK", backwards=True)
zrangebyscore: Final = partial(_list, by=b"SCORE", backwards=False)
zrevrangebyscore: Final = partial(_list, by=b"SCORE", backwards=True)
zrangebylex: Final = partial(_list, by=b"LEX", backwards=False)
zrevrangebylex: Final = partial(_list, by=b"LEX", backwards=True)


def zrangestore(db: Database, argv: list[bytes]) -> Reply:
    wanted = _wanted(argv[5:], None, None, stores=True)
    find = _finder(wanted, argv[3], argv[4])
    found = db.fetch_as(argv[2], SortedSet)
    pairs = [] if found is None else found.pairs(*find(found))
    if wanted.backwards:
        pairs.reverse()
    return store(db, argv[1], {name: score for score, name in pairs})


def store(db: Database, key_name: bytes, members: dict[bytes, float]) -> int:
    """Put a new sorted set in the key's place, or nothing when it is empty; returns how many members it has."""
    if members:
        db.replace(key_name, SortedSet.made_of(members, db.space.thresholds))
    elif db.fetch(key_name) is not None:
        db.remove(key_name)
    return len(members)


# Counting


def zcount(db: Database, argv: list[bytes]) -> Reply:
    wanted = score_range(argv[2], argv[3])
    return _count(db, argv[1], lambda found: found.places_by_score(wanted))


def zlexcount(db: Database, argv: list[bytes]) -> Reply:
    wanted = name_range(argv[2], argv[3])
    return _count(db, argv[1], lambda found: found.places_by_name(wanted))


def _count(db: Database, key_name: bytes, places: Places) -> int:
    found = db.peek_as(key_name, SortedSet)
    if found is None:
        return 0
    first, behind = places(found)
    return behind - first


# Taking out


def zremrangebyrank(db: Database, argv: list[bytes]) -> Reply:
    by_place = _by_place(argv[2], argv[3])
    return _remove(db, argv[1], lambda found: by_place(found, False))


def zremrangebyscore(db: Database, argv: list[bytes]) -> Reply:
    wanted = score_range(argv[2], argv[3])
    return _remove(db, argv[1], lambda found: found.places_by_score(wanted))


def zremrangebylex(db: Database, argv: list[bytes]) -> Reply:
    wanted = name_range(argv[2], argv[3])
    return _remove(db, argv[1], lambda found: found.places_by_name(wanted))


def _remove(db: Database, key_name: bytes, places: Places) -> int:
    target = db.fetch_as(key_name, SortedSet)
    if target is None:
        return 0
    return len(take(db, key_name, target, *places(target)))


def take(db: Database, key_name: bytes, target: SortedSet, first: int, behind: int) -> list[Pair]:
    """Take out the members at these places."""
    if behind - first == len(target):
        pairs = target.pairs(first, behind)
        db.remove(key_name)
        return pairs
    pairs = target.discard_at(first, behind)
    if pairs:
        db.touch(key_name)
    return pairs


_ZSET: Final[dict[str, Any]] = {"acl": "sortedset", "group": "sorted-set"}

ROWS: Final = (
    row(
        "zcount",
        4,
        zcount,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Counts the members in a range of scores",
        complexity="O(log(N)), N being the size of the sorted set",
        arguments=(
            key(),
            argument("min", "double"),
            argument("max", "double"),
        ),
        **_ZSET,
    ),
    row(
        "zlexcount",
        4,
        zlexcount,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.8.9",
        summary="Counts the members in a range of names",
        complexity="O(log(N)), N being the size of the sorted set",
        arguments=(
            key(),
            argument("min", "string"),
            argument("max", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zremrangebyrank",
        4,
        zremrangebyrank,
        "write",
        keys=(key_spec("RW delete"),),
        since="2.0.0",
        summary="Takes out the members in a range of places",
        complexity="O(log(N)+M), N being the size of the sorted set and M the number of members taken out",
        arguments=(
            key(),
            argument("start", "integer"),
            argument("stop", "integer"),
        ),
        **_ZSET,
    ),
    row(
        "zremrangebyscore",
        4,
        zremrangebyscore,
        "write",
        keys=(key_spec("RW delete"),),
        since="1.2.0",
        summary="Takes out the members in a range of scores",
        complexity="O(log(N)+M), N being the size of the sorted set and M the number of members taken out",
        arguments=(
            key(),
            argument("min", "double"),
            argument("max", "double"),
        ),
        **_ZSET,
    ),
    row(
        "zremrangebylex",
        4,
        zremrangebylex,
        "write",
        keys=(key_spec("RW delete"),),
        since="2.8.9",
        summary="Takes out the members in a range of names",
        complexity="O(log(N)+M), N being the size of the sorted set and M the number of members taken out",
        arguments=(
            key(),
            argument("min", "string"),
            argument("max", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zrange",
        -4,
        zrange,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.2.0",
        summary="Lists a range of members, by places, scores or names",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("start", "string"),
            argument("stop", "string"),
            argument("sortby", "oneof", since="6.2.0", flags=OPTIONAL, arguments=[flag("BYSCORE"), flag("BYLEX")]),
            flag("REV", since="6.2.0", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                since="6.2.0",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
            flag("WITHSCORES", flags=OPTIONAL),
        ),
        history=(("6.2.0", "REV, BYSCORE, BYLEX and LIMIT"),),
        **_ZSET,
    ),
    row(
        "zrangestore",
        -5,
        zrangestore,
        "write denyoom",
        keys=(
            key_spec("OW update"),
            key_spec("RO access", index=2),
        ),
        since="6.2.0",
        summary="Stores a range of members",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key("dst"),
            key("src", spec=1),
            argument("min", "string"),
            argument("max", "string"),
            argument("sortby", "oneof", flags=OPTIONAL, arguments=[flag("BYSCORE"), flag("BYLEX")]),
            flag("REV", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
        ),
        **_ZSET,
    ),
    row(
        "zrangebyscore",
        -4,
        zrangebyscore,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.5",
        summary="Lists the members in a range of scores",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("min", "double"),
            argument("max", "double"),
            flag("WITHSCORES", since="2.0.0", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
        ),
        history=(("2.0.0", "WITHSCORES"),),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="ZRANGE with BYSCORE",
        **_ZSET,
    ),
    row(
        "zrevrange",
        -4,
        zrevrange,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.2.0",
        summary="Lists the members in a range of places, by descending scores",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("start", "integer"),
            argument("stop", "integer"),
            flag("WITHSCORES", flags=OPTIONAL),
        ),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="ZRANGE with REV",
        **_ZSET,
    ),
    row(
        "zrevrangebyscore",
        -4,
        zrevrangebyscore,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.2.0",
        summary="Lists the members in a range of scores, by descending scores",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("max", "double"),
            argument("min", "double"),
            flag("WITHSCORES", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
        ),
        history=(("2.1.6", "Both limits may be excluded"),),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="ZRANGE with REV and BYSCORE",
        **_ZSET,
    ),
    row(
        "zrangebylex",
        -4,
        zrangebylex,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.9",
        summary="Lists the members in a range of names",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("min", "string"),
            argument("max", "string"),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
        ),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="ZRANGE with BYLEX",
        **_ZSET,
    ),
    row(
        "zrevrangebylex",
        -4,
        zrevrangebylex,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.9",
        summary="Lists the members in a range of names, backwards",
        complexity="O(log(N)+M), N being the size of the sorted set and M the length of the range",
        arguments=(
            key(),
            argument("max", "string"),
            argument("min", "string"),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
        ),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="ZRANGE with REV and BYLEX",
        **_ZSET,
    ),
)
