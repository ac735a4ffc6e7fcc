"""What several sorted sets have together, in common, or not: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD.

Plain sets may be among them: all their scores are 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isnan
from typing import Any, Final, NamedTuple

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import parse_double
from raftkv.machines.redis.refusals import SYNTAX, WRONG_TYPE, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, counted_keys, flag, key, key_spec, row
from raftkv.machines.redis.sets import Set
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.zset_ranges import pairs_reply, store
from raftkv.machines.replies import Error, Reply

_NOT_A_WEIGHT: Final = Error("ERR weight value is not a float")
_NEGATIVE_LIMIT: Final = Error("ERR LIMIT can't be negative")
_PLAIN_SCORE: Final = 1.0


class _Input(NamedTuple):
    scores: Mapping[bytes, float | None]
    """None: of a plain set."""

    weight: float

    def weighted(self, name: bytes) -> float:
        score = self.scores[name]
        return _number(self.weight * (_PLAIN_SCORE if score is None else score))


def _number(value: float) -> float:
    """Where the sum or product of infinities means nothing, Redis takes 0."""
    return 0.0 if isnan(value) else value


def _sum(left: float, right: float) -> float:
    return _number(left + right)


Aggregate = Callable[[float, float], float]
_AGGREGATES: Final[dict[bytes, Aggregate]] = {b"SUM": _sum, b"MIN": min, b"MAX": max}


class _Asked(NamedTuple):
    inputs: list[_Input]
    aggregate: Aggregate
    with_scores: bool
    limit: int


def _asked(db: Database, argv: list[bytes], at: int, allowed: frozenset[bytes]) -> _Asked:
    """What the words from the number of keys on say. `allowed`: the options that the command has."""
    count = integer(argv[at])
    if count < 1:
        raise Refused(Error(f"ERR at least 1 input key is needed for '{argv[0].lower().decode()}' command"))
    names, words = argv[at + 1 : at + 1 + count], argv[at + 1 + count :]
    if len(names) < count:
        raise Refused(SYNTAX)
    found = [_scores(db, name) for name in names]
    weights, with_scores, limit = [1.0] * count, False, 0
    aggregate: Aggregate = _sum
    while words:
        word = words[0].upper()
        if word not in allowed:
            raise Refused(SYNTAX)
        if word == b"WEIGHTS" and len(words) > count:
            weights = [_weight(text) for text in words[1 : 1 + count]]
            words = words[1 + count :]
        elif word == b"AGGREGATE" and len(words) > 1 and words[1].upper() in _AGGREGATES:
            aggregate = _AGGREGATES[words[1].upper()]
            words = words[2:]
        elif word == b"WITHSCORES":
            with_scores = True
            words = words[1:]
        elif word == b"LIMIT" and len(words) > 1:
            limit = integer(words[1], _NEGATIVE_LIMIT)
            if limit < 0:
                raise Refused(_NEGATIVE_LIMIT)
            words = words[2:]
        else:
            raise Refused(SYNTAX)
    inputs = [_Input(scores, weight) for scores, weight in zip(found, weights, strict=True)]
    return _Asked(inputs, aggregate, with_scores, limit)


def _weight(text: bytes) -> float:
    weight = parse_double(text)
    if weight is None:
        raise Refused(_NOT_A_WEIGHT)
    return weight


def _scores(db: Database, name: bytes) -> Mapping[bytes, float | None]:
    found = db.peek(name)
    if found is None:
        return {}
    if isinstance(found, SortedSet | Set):
        return found.members
    raise Refused(WRONG_TYPE)


# The results, as name -> score


def _union(asked: _Asked) -> dict[bytes, float]:
    result: dict[bytes, float] = {}
    for each in sorted(asked.inputs, key=lambda each: len(each.scores)):
        for name in each.scores:
            score = each.weighted(name)
            result[name] = asked.aggregate(result[name], score) if name in result else score
    return result


def _intersection(asked: _Asked) -> dict[bytes, float]:
    smallest, *others = sorted(asked.inputs, key=lambda each: len(each.scores))
    result: dict[bytes, float] = {}
    for name in smallest.scores:
        score = smallest.weighted(name)
        for each in others:
            if name not in each.scores:
                break
            score = asked.aggregate(score, each.weighted(name))
        else:
            result[name] = score
            if len(result) == asked.limit:
                break
    return result


def _difference(asked: _Asked) -> dict[bytes, float]:
    first, *others = asked.inputs
    return {name: first.weighted(name) for name in first.scores if not any(name in each.scores for each in others)}


Combine = Callable[[_Asked], dict[bytes, float]]
_COMBINED: Final = frozenset({b"WEIGHTS", b"AGGREGATE"})
_SHOWN: Final = frozenset({b"WITHSCORES"})
_NONE: Final[frozenset[bytes]] = frozenset()


def _list(db: Database, argv: list[bytes], combine: Combine, allowed: frozenset[bytes]) -> Reply:
    asked = _asked(db, argv, 1, allowed)
    pairs = sorted((score, name) for name, score in combine(asked).items())
    return pairs_reply(pairs, with_scores=asked.with_scores)


def _store(db: Database, argv: list[bytes], combine: Combine, allowed: frozenset[bytes]) -> Reply:
    return store(db, argv[1], combine(_asked(db, argv, 2, allowed)))


zunion: Final = partial(_list, combine=_union, allowed=_COMBINED | _SHOWN)
zinter: Final = partial(_list, combine=_intersection, allowed=_COMBINED | _SHOWN)
zdiff: Final = partial(_list, combine=_difference, allowed=_SHOWN)
zunionstore: Final = partial(_store, combine=_union, allowed=_COMBINED)
zinterstore: Final = partial(_store, combine=_intersection, allowed=_COMBINED)
zdiffstore: Final = partial(_store, combine=_difference, allowed=_NONE)


def zintercard(db: Database, argv: list[bytes]) -> Reply:
    return len(_intersection(_asked(db, argv, 1, frozenset({b"LIMIT"}))))


_ZSET: Final[dict[str, Any]] = {"acl": "sortedset", "group": "sorted-set"}

ROWS: Final = (
    row(
        "zunion",
        -3,
        zunion,
        "readonly movablekeys",
        keys=(counted_keys("RO access"),),
        since="6.2.0",
        summary="Lists what any of the sorted sets has",
        complexity="O(N*log(N)), N being the size of all sorted sets together",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("weight", "integer", token="WEIGHTS", flags=["optional", "multiple"]),
            argument(
                "aggregate",
                "oneof",
                token="AGGREGATE",
                flags=OPTIONAL,
                arguments=[flag("SUM"), flag("MIN"), flag("MAX")],
            ),
            flag("WITHSCORES", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zunionstore",
        -4,
        zunionstore,
        "write denyoom movablekeys",
        keys=(
            key_spec("OW update"),
            counted_keys("RO access", index=2),
        ),
        since="2.0.0",
        summary="Stores what any of the sorted sets has",
        complexity="O(N*log(N)), N being the size of all sorted sets together",
        arguments=(
            key("destination"),
            argument("numkeys", "integer"),
            key(spec=1, flags=MULTIPLE),
            argument("weight", "integer", token="WEIGHTS", flags=["optional", "multiple"]),
            argument(
                "aggregate",
                "oneof",
                token="AGGREGATE",
                flags=OPTIONAL,
                arguments=[flag("SUM"), flag("MIN"), flag("MAX")],
            ),
        ),
        **_ZSET,
    ),
    row(
        "zinter",
        -3,
        zinter,
        "readonly movablekeys",
        keys=(counted_keys("RO access"),),
        since="6.2.0",
        summary="Lists what all of the sorted sets have",
        complexity="O(N*K+M*log(M)), N being the size of the smallest, K their number and M the size of the result",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("weight", "integer", token="WEIGHTS", flags=["optional", "multiple"]),
            argument(
                "aggregate",
                "oneof",
                token="AGGREGATE",
                flags=OPTIONAL,
                arguments=[flag("SUM"), flag("MIN"), flag("MAX")],
            ),
            flag("WITHSCORES", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zinterstore",
        -4,
        zinterstore,
        "write denyoom movablekeys",
        keys=(
            key_spec("OW update"),
            counted_keys("RO access", index=2),
        ),
        since="2.0.0",
        summary="Stores what all of the sorted sets have",
        complexity="O(N*K+M*log(M)), N being the size of the smallest, K their number and M the size of the result",
        arguments=(
            key("destination"),
            argument("numkeys", "integer"),
            key(spec=1, flags=MULTIPLE),
            argument("weight", "integer", token="WEIGHTS", flags=["optional", "multiple"]),
            argument(
                "aggregate",
                "oneof",
                token="AGGREGATE",
                flags=OPTIONAL,
                arguments=[flag("SUM"), flag("MIN"), flag("MAX")],
            ),
        ),
        **_ZSET,
    ),
    row(
        "zintercard",
        -3,
        zintercard,
        "readonly movablekeys",
        keys=(counted_keys("RO access"),),
        since="7.0.0",
        summary="Counts what all of the sorted sets have",
        complexity="O(N*K), N being the size of the smallest and K their number",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("limit", "integer", token="LIMIT", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zdiff",
        -3,
        zdiff,
        "readonly movablekeys",
        keys=(counted_keys("RO access"),),
        since="6.2.0",
        summary="Lists what the first sorted set has and no other",
        complexity="O(N*K+M*log(M)), N being the size of the first, K their number and M the size of the result",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            flag("WITHSCORES", flags=OPTIONAL),
        ),
        **_ZSET,
    ),
    row(
        "zdiffstore",
        -4,
        zdiffstore,
        "write denyoom movablekeys",
        keys=(
            key_spec("OW update"),
            counted_keys("RO access", index=2),
        ),
        since="6.2.0",
        summary="Stores what the first sorted set has and no other",
        complexity="O(N*K+M*log(M)), N being the size of the first, K their number and M the size of the result",
        arguments=(
            key("destination"),
            argument("numkeys", "integer"),
            key(spec=1, flags=MULTIPLE),
        ),
        **_ZSET,
    ),
)
