"""Sorted sets by member: ZADD, scores and ranks, ZREM, taking from the ends, by chance. Ranges are in zset_ranges.py,
what is made of several in zset_algebra.py."""

from __future__ import annotations

from math import isnan
from typing import Any, Final, NamedTuple

from raftkv.machines.numbers import INT64_MAX
from raftkv.machines.redis.arguments import count_of_either_sign, integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import parse_double
from raftkv.machines.redis.refusals import NOT_A_FLOAT, NOT_POSITIVE, OUT_OF_RANGE, SYNTAX, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, counted_keys, flag, key, key_spec, row
from raftkv.machines.redis.scan import scan_members
from raftkv.machines.redis.sorted_set import Pair, SortedSet
from raftkv.machines.redis.zset_ranges import listed, pairs_reply, take
from raftkv.machines.replies import NULL_ARRAY, Error, Pairs, Reply, own

_NOT_BOTH_XX_NX: Final = Error("ERR XX and NX options at the same time are not compatible")
_NOT_BOTH_GT_LT: Final = Error("ERR GT, LT, and/or NX options at the same time are not compatible")
_ONE_PAIR: Final = Error("ERR INCR option supports a single increment-element pair")
_NOT_A_NUMBER: Final = Error("ERR resulting score is not a number (NaN)")
_NO_KEYS: Final = Error("ERR numkeys should be greater than 0")
_NO_COUNT: Final = Error("ERR count should be greater than 0")
_WORDS: Final = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})


def score_of(text: bytes) -> float:
    """A score; raises Refused."""
    score = parse_double(text)
    if score is None:
        raise Refused(NOT_A_FLOAT)
    return score


# ZADD


class _Outcome(NamedTuple):
    added: int = 0
    changed: int = 0
    score: float | None = None
    """Of the last member; None: it was left as it was."""


def zadd(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) == 4 and argv[2].upper() not in _WORDS:
        return _add_one(db, argv[1], score_of(argv[2]), argv[3])
    at = 2
    words = set()
    while at < len(argv) and (word := argv[at].upper()) in _WORDS:
        words.add(word)
        at += 1
    pairs = argv[at:]
    if not pairs or len(pairs) % 2:
        return SYNTAX
    refusal = _conflict(words, len(pairs) // 2)
    if refusal is not None:
        return refusal
    outcome = _add(
        db, argv[1], [(score_of(text), name) for text, name in zip(pairs[::2], pairs[1::2], strict=True)], words
    )
    if b"INCR" in words:
        return outcome.score
    return outcome.added + outcome.changed if b"CH" in words else outcome.added


def _add_one(db: Database, key_name: bytes, score: float, name: bytes) -> int:
    """What nearly every ZADD is: one member, no options."""
    found = db.fetch_as(key_name, SortedSet)
    if found is None:
        return _add(db, key_name, [(score, name)], set()).added
    before = found.members.get(name)
    if before != score:
        found.set_score(name, score, db.space.thresholds)
        db.touch(key_name)
    return int(before is None)


def zincrby(db: Database, argv: list[bytes]) -> Reply:
    return _add(db, argv[1], [(score_of(argv[2]), argv[3])], {b"INCR"}).score


def _conflict(words: set[bytes], count: int) -> Error | None:
    if {b"NX", b"XX"} <= words:
        return _NOT_BOTH_XX_NX
    if len(words & {b"GT", b"LT", b"NX"}) > 1:
        return _NOT_BOTH_GT_LT
    return _ONE_PAIR if b"INCR" in words and count > 1 else None


def _add(db: Database, key_name: bytes, pairs: list[tuple[float, bytes]], words: set[bytes]) -> _Outcome:
    found = db.fetch_as(key_name, SortedSet)
    if found is None and b"XX" in words:
        return _Outcome()
    thresholds = db.space.thresholds
    target = SortedSet() if found is None else found
    if found is None and len(pairs[0][1]) > thresholds.zset_max_listpack_value:
        target.make_large()
    added = changed = 0
    last: float | None = None
    for given, name in pairs:
        before = target.members.get(name)
        last = _new_score(before, given, words)
        if last is not None and last != before:
            target.set_score(name, last, thresholds)
            added += before is None
            changed += before is not None
    if found is None and target:
        db.put(key_name, target)
    elif added or changed:
        db.touch(key_name)
    return _Outcome(added, changed, last)


def _new_score(before: float | None, given: float, words: set[bytes]) -> float | None:
    """The score that a member is to have; None: as it is, or not at all."""
    if before is None:
        return None if b"XX" in words else given
    if b"NX" in words:
        return None
    score = before + given if b"INCR" in words else given
    if isnan(score):
        raise Refused(_NOT_A_NUMBER)
    if (b"GT" in words and score <= before) or (b"LT" in words and score >= before):
        return None
    return score


# By member


def zrem(db: Database, argv: list[bytes]) -> Reply:
    target = db.fetch_as(argv[1], SortedSet)
    if target is None:
        return 0
    removed = sum(target.discard(name) for name in argv[2:])
    if removed:
        db.settle(argv[1], target)
    return removed


def zscore(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], SortedSet)
    return None if found is None else found.members.get(argv[2])


def zmscore(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], SortedSet)
    return [None if found is None else found.members.get(name) for name in argv[2:]]


def zcard(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], SortedSet)
    return 0 if found is None else len(found)


def zrank(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], SortedSet)
    score = None if found is None else found.members.get(argv[2])
    return None if found is None or score is None else found.place((score, argv[2]))


def zrevrank(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], SortedSet)
    score = None if found is None else found.members.get(argv[2])
    return None if found is None or score is None else len(found) - 1 - found.place((score, argv[2]))


def zscan(db: Database, argv: list[bytes]) -> Reply:
    cursor, found, names = scan_members(db, argv, SortedSet)
    if found is None:
        return [cursor, []]
    return [cursor, [word for name in names for word in (name, b"%.17g" % found.members[name])]]


def zrandmember(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        found = db.peek_as(argv[1], SortedSet)
        return None if found is None else found.draw(db.space.read_random())
    count = count_of_either_sign(argv[2])
    with_scores = len(argv) == 4 and argv[3].upper() == b"WITHSCORES"
    if len(argv) > 4 or (len(argv) == 4 and not with_scores):
        return SYNTAX
    if with_scores and abs(count) > INT64_MAX // 2:
        return OUT_OF_RANGE
    found = db.peek_as(argv[1], SortedSet)
    if found is None:
        return []
    chance = db.space.read_random()
    if count >= len(found):
        return listed(found, 0, len(found), backwards=False, with_scores=with_scores)
    names = found.sample(chance, count) if count >= 0 else [found.draw(chance) for _ in range(-count)]
    return Pairs([(name, found.members[name]) for name in names]) if with_scores else own(names)


# From the ends


def _take(db: Database, key_name: bytes, target: SortedSet, count: int, *, lowest: bool) -> list[Pair]:
    """Take out so many members, those with the lowest or with the highest scores, from the end on."""
    length = len(target)
    count = min(count, length)
    if lowest:
        return take(db, key_name, target, 0, count)
    pairs = take(db, key_name, target, length - count, length)
    pairs.reverse()
    return pairs


def _pop(db: Database, argv: list[bytes], *, lowest: bool) -> Reply:
    if len(argv) > 3:
        return SYNTAX
    count = 1
    if len(argv) == 3:
        count = integer(argv[2], NOT_POSITIVE)
        if count < 0:
            return NOT_POSITIVE
    target = db.fetch_as(argv[1], SortedSet)
    if target is None or count == 0:
        return []
    taken = _take(db, argv[1], target, count, lowest=lowest)
    if len(argv) == 2:
        [(score, name)] = taken
        return [name, score]
    return pairs_reply(taken, with_scores=True)


def zpopmin(db: Database, argv: list[bytes]) -> Reply:
    return _pop(db, argv, lowest=True)


def zpopmax(db: Database, argv: list[bytes]) -> Reply:
    return _pop(db, argv, lowest=False)


def zmpop(db: Database, argv: list[bytes]) -> Reply:
    count = integer(argv[1], _NO_KEYS)
    if count < 1:
        return _NO_KEYS
    names, rest = argv[2 : 2 + count], argv[2 + count :]
    if not rest or len(names) < count or (where := rest[0].upper()) not in (b"MIN", b"MAX"):
        return SYNTAX
    most = 1
    if len(rest) > 1:
        if len(rest) != 3 or rest[1].upper() != b"COUNT":
            return SYNTAX
        most = integer(rest[2], _NO_COUNT)
        if most < 1:
            return _NO_COUNT
    for name in names:
        target = db.fetch_as(name, SortedSet)
        if target is not None:
            taken = _take(db, name, target, most, lowest=where == b"MIN")
            return [name, [[member, score] for score, member in taken]]
    return NULL_ARRAY


_ZSET: Final[dict[str, Any]] = {"acl": "sortedset", "group": "sorted-set"}

ROWS: Final = (
    row(
        "zadd",
        -4,
        zadd,
        "write denyoom fast",
        keys=(key_spec("RW update"),),
        since="1.2.0",
        summary="Adds members with scores to a sorted set, or changes their scores",
        complexity="O(log(N)) for each member, N being the size of the sorted set",
        arguments=(
            key(),
            argument("condition", "oneof", since="3.0.2", flags=OPTIONAL, arguments=[flag("NX"), flag("XX")]),
            argument("comparison", "oneof", since="6.2.0", flags=OPTIONAL, arguments=[flag("GT"), flag("LT")]),
            argument("change", "pure-token", token="CH", since="3.0.2", flags=OPTIONAL),
            argument("increment", "pure-token", token="INCR", since="3.0.2", flags=OPTIONAL),
            argument(
                "score_member",
                "block",
                flags=MULTIPLE,
                arguments=[argument("score", "double"), argument("member", "string")],
            ),
        ),
        history=(
            ("2.4.0", "Several members"),
            ("3.0.2", "NX, XX, CH and INCR"),
            ("6.2.0", "GT and LT"),
        ),
        **_ZSET,
    ),
    row(
        "zincrby",
        4,
        zincrby,
        "write denyoom fast",
        keys=(key_spec("RW access update"),),
        since="1.2.0",
        summary="Adds to the score of a member",
        complexity="O(log(N)), N being the size of the sorted set",
        arguments=(
            key(),
            argument("increment", "integer"),
            argument("member", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zscore",
        3,
        zscore,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="1.2.0",
        summary="Tells the score of a member",
        complexity="O(1)",
        arguments=(
            key(),
            argument("member", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zmscore",
        -3,
        zmscore,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="6.2.0",
        summary="Tells the scores of several members",
        complexity="O(N), N being the number of members asked for",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        **_ZSET,
    ),
    row(
        "zcard",
        2,
        zcard,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="1.2.0",
        summary="Counts the members of a sorted set",
        complexity="O(1)",
        arguments=(key(),),
        **_ZSET,
    ),
    row(
        "zrank",
        3,
        zrank,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Tells the place of a member, by ascending scores",
        complexity="O(log(N)), N being the size of the sorted set",
        arguments=(
            key(),
            argument("member", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zrevrank",
        3,
        zrevrank,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Tells the place of a member, by descending scores",
        complexity="O(log(N)), N being the size of the sorted set",
        arguments=(
            key(),
            argument("member", "string"),
        ),
        **_ZSET,
    ),
    row(
        "zrem",
        -3,
        zrem,
        "write fast",
        keys=(key_spec("RW delete"),),
        since="1.2.0",
        summary="Takes members out of a sorted set",
        complexity="O(M*log(N)), N being the size of the sorted set and M the number of members given",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several members"),),
        **_ZSET,
    ),
    row(
        "zpopmin",
        -2,
        zpopmin,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="5.0.0",
        summary="Takes out the members with the lowest scores",
        complexity="O(M*log(N)), N being the size of the sorted set and M the number of members taken out",
        arguments=(
            key(),
            argument("count", "integer", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zpopmax",
        -2,
        zpopmax,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="5.0.0",
        summary="Takes out the members with the highest scores",
        complexity="O(M*log(N)), N being the size of the sorted set and M the number of members taken out",
        arguments=(
            key(),
            argument("count", "integer", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zmpop",
        -4,
        zmpop,
        "write movablekeys",
        keys=(counted_keys("RW access delete"),),
        since="7.0.0",
        summary="Takes members out of the first of several sorted sets that has any",
        complexity="O(K+M*log(N)), K being the number of keys, N the size of the sorted set, M the number taken out",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("where", "oneof", arguments=[flag("MIN"), flag("MAX")]),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zrandmember",
        -2,
        zrandmember,
        "readonly",
        keys=(key_spec("RO access"),),
        since="6.2.0",
        summary="Answers members of a sorted set by chance",
        complexity="O(N), N being the number of members asked for; the first call on a large one orders it",
        arguments=(
            key(),
            argument(
                "options",
                "block",
                flags=OPTIONAL,
                arguments=[argument("count", "integer"), flag("WITHSCORES", flags=OPTIONAL)],
            ),
        ),
        tips=("nondeterministic_output",),
        **_ZSET,
    ),
    row(
        "zscan",
        -3,
        zscan,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.0",
        summary="Walks over the members of a sorted set in steps",
        complexity="O(COUNT) for one call; the first call on a large one orders its N members in O(N)",
        arguments=(
            key(),
            argument("cursor", "integer"),
            argument("pattern", "pattern", token="MATCH", flags=OPTIONAL),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
        ),
        tips=("nondeterministic_output",),
        **_ZSET,
    ),
)
