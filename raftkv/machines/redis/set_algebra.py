"""What several sets have in common, together, or not: SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD.

The order of a result is that of the sets it is made from, never that of a Python set: a stored result's order is part
of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, counted_keys, key, key_spec, row
from raftkv.machines.redis.sets import Set
from raftkv.machines.replies import Error, Reply, SetReply

_NO_KEYS: Final = Error("ERR numkeys should be greater than 0")
_TOO_MANY_KEYS: Final = Error("ERR Number of keys can't be greater than number of args")
_NEGATIVE_LIMIT: Final = Error("ERR LIMIT can't be negative")

Sets = list[Set | None]
"""As the keys were given; None: no such key."""


def _intersection(sets: Sets) -> Iterable[bytes]:
    present = [each for each in sets if each is not None]
    if len(present) < len(sets):
        return ()
    smallest, *others = sorted(present, key=len)
    rest = [each.members for each in others]
    return (member for member in smallest.listed() if all(member in members for members in rest))


def _union(sets: Sets) -> Iterable[bytes]:
    return dict.fromkeys(member for each in sets if each is not None for member in each.listed())


def _difference(sets: Sets) -> Iterable[bytes]:
    first = sets[0]
    if first is None:
        return ()
    rest = [each.members for each in sets[1:] if each is not None]
    return (member for member in first.listed() if not any(member in members for members in rest))


def _lister(combine: Callable[[Sets], Iterable[bytes]]) -> Callable[[Database, list[bytes]], Reply]:
    def handler(db: Database, argv: list[bytes]) -> Reply:
        return SetReply([*combine([db.peek_as(name, Set) for name in argv[1:]])])

    return handler


def _storer(combine: Callable[[Sets], Iterable[bytes]]) -> Callable[[Database, list[bytes]], Reply]:
    def handler(db: Database, argv: list[bytes]) -> Reply:
        sets: Sets = [db.fetch_as(name, Set) for name in argv[2:]]
        result = Set()
        if combine is _difference and _subtracts(sets):
            # Redis then puts all of the first set into the result before it takes out: an encoding that this has
            # changed stays changed.
            assert sets[0] is not None
            for member in sets[0].members:
                result.add(member, db.space.thresholds)
        members = dict.fromkeys(combine(sets))
        for member in [each for each in result.members if each not in members]:
            result.discard(member)
        for member in members:
            result.add(member, db.space.thresholds)
        if result:
            db.replace(argv[1], result)
        elif db.fetch(argv[1]) is not None:
            db.remove(argv[1])
        return len(result)

    return handler


def _subtracts(sets: Sets) -> bool:
    """Whether Redis finds a difference by taking out, which it guesses to be less work than looking up."""
    first = sets[0]
    if first is None:
        return False
    present = [each for each in sets if each is not None]
    return len(first) * len(present) // 2 > sum(map(len, present))


sinter: Final = _lister(_intersection)
sunion: Final = _lister(_union)
sdiff: Final = _lister(_difference)
sinterstore: Final = _storer(_intersection)
sunionstore: Final = _storer(_union)
sdiffstore: Final = _storer(_difference)


def sintercard(db: Database, argv: list[bytes]) -> Reply:
    count = integer(argv[1], _NO_KEYS)
    if count < 1:
        return _NO_KEYS
    if count > len(argv) - 2:
        return _TOO_MANY_KEYS
    names, rest = argv[2 : 2 + count], argv[2 + count :]
    limit = 0
    while rest:
        if rest[0].upper() != b"LIMIT" or len(rest) < 2:
            raise Refused(SYNTAX)
        limit = integer(rest[1], _NEGATIVE_LIMIT)
        if limit < 0:
            return _NEGATIVE_LIMIT
        rest = rest[2:]
    common = _intersection([db.peek_as(name, Set) for name in names])
    return sum(1 for _ in islice(common, limit or None))


_SET: Final[dict[str, Any]] = {"acl": "set", "group": "set"}

ROWS: Final = (
    row(
        "sinter",
        -2,
        sinter,
        "readonly",
        keys=(key_spec("RO access", last=-1),),
        since="1.0.0",
        summary="Lists what all of the sets have",
        complexity="O(N*M), N being the size of the smallest set and M the number of sets",
        arguments=(key(flags=MULTIPLE),),
        tips=("nondeterministic_output_order",),
        **_SET,
    ),
    row(
        "sintercard",
        -3,
        sintercard,
        "readonly movablekeys",
        keys=(counted_keys("RO access"),),
        since="7.0.0",
        summary="Counts what all of the sets have",
        complexity="O(N*M), N being the size of the smallest set and M the number of sets",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("limit", "integer", token="LIMIT", flags=OPTIONAL),
        ),
        **_SET,
    ),
    row(
        "sinterstore",
        -3,
        sinterstore,
        "write denyoom",
        keys=(
            key_spec("RW update"),
            key_spec("RO access", index=2, last=-1),
        ),
        since="1.0.0",
        summary="Stores what all of the sets have",
        complexity="O(N*M), N being the size of the smallest set and M the number of sets",
        arguments=(
            key("destination"),
            key(spec=1, flags=MULTIPLE),
        ),
        **_SET,
    ),
    row(
        "sunion",
        -2,
        sunion,
        "readonly",
        keys=(key_spec("RO access", last=-1),),
        since="1.0.0",
        summary="Lists what any of the sets has",
        complexity="O(N), N being the size of all sets together",
        arguments=(key(flags=MULTIPLE),),
        tips=("nondeterministic_output_order",),
        **_SET,
    ),
    row(
        "sunionstore",
        -3,
        sunionstore,
        "write denyoom",
        keys=(
            key_spec("OW update"),
            key_spec("RO access", index=2, last=-1),
        ),
        since="1.0.0",
        summary="Stores what any of the sets has",
        complexity="O(N), N being the size of all sets together",
        arguments=(
            key("destination"),
            key(spec=1, flags=MULTIPLE),
        ),
        **_SET,
    ),
    row(
        "sdiff",
        -2,
        sdiff,
        "readonly",
        keys=(key_spec("RO access", last=-1),),
        since="1.0.0",
        summary="Lists what the first set has and no other",
        complexity="O(N), N being the size of all sets together",
        arguments=(key(flags=MULTIPLE),),
        tips=("nondeterministic_output_order",),
        **_SET,
    ),
    row(
        "sdiffstore",
        -3,
        sdiffstore,
        "write denyoom",
        keys=(
            key_spec("OW update"),
            key_spec("RO access", index=2, last=-1),
        ),
        since="1.0.0",
        summary="Stores what the first set has and no other",
        complexity="O(N), N being the size of all sets together",
        arguments=(
            key("destination"),
            key(spec=1, flags=MULTIPLE),
        ),
        **_SET,
    ),
)
