"""Sets: members without order. What is made of several sets is in set_algebra.py.

A set of few integers has Redis's encoding "intset", and is then shown in their order; with the first other member, or
too many, it becomes a "hashtable" for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.arguments import count_of_either_sign, integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.keyed import Keyed
from raftkv.machines.redis.refusals import NOT_POSITIVE, SYNTAX
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, key, key_spec, row
from raftkv.machines.redis.scan import scan_members
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import LISTED_MAX
from raftkv.machines.replies import Reply, SetReply, Walk, own

_COMPACT: Final = b"intset"


class Set(Keyed[None]):
    """Member -> None."""

    __slots__ = ()
    type_name = "set"

    @property
    def encoding(self) -> str:
        return "intset" if self.is_compact else "hashtable"

    def add(self, member: bytes, thresholds: Thresholds) -> bool:
        """Whether it is new."""
        if member in self.members:
            return False
        self.put(member, None)
        if self.is_compact:
            has_room = len(self.members) <= thresholds.set_max_intset_entries
            self.is_compact = has_room and parse_integer(member) is not None
        return True

    def listed(self) -> list[bytes]:
        """All members, in the order in which they are shown."""
        return sorted(self.members, key=int) if self.is_compact else list(self.members)

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        return (0, self.listed()) if self.is_compact else super().page(cursor, count)

    def copy(self) -> Self:
        return type(self)(dict(self.members), is_compact=self.is_compact)

    def digest_parts(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        yield from sorted(self.members)

    def pieces(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        yield from self.members

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        return cls(dict.fromkeys(pieces[1:]), is_compact=pieces[0] == _COMPACT)

    @staticmethod
    def value_bytes(value: None) -> int:  # noqa: ARG004
        return 0


# Writing


def sadd(db: Database, argv: list[bytes]) -> Reply:
    name, thresholds = argv[1], db.space.thresholds
    found = db.fetch_as(name, Set)
    target = Set() if found is None else found
    added = 0
    for member in argv[2:]:
        added += target.add(member, thresholds)
    if found is None:
        db.put(name, target)
    elif added:
        db.touch(name)
    return added


def srem(db: Database, argv: list[bytes]) -> Reply:
    target = db.fetch_as(argv[1], Set)
    if target is None:
        return 0
    removed = sum(target.discard(member) for member in argv[2:])
    if removed:
        db.settle(argv[1], target)
    return removed


def smove(db: Database, argv: list[bytes]) -> Reply:
    _, source_name, target_name, member = argv
    source = db.fetch(source_name)
    if source is None:
        return 0
    source, target = db.fetch_as(source_name, Set), db.fetch_as(target_name, Set)
    assert source is not None
    if source is target:
        return int(member in source.members)
    if not source.discard(member):
        return 0
    db.settle(source_name, source)
    if target is None:
        target = Set()
        target.add(member, db.space.thresholds)
        db.put(target_name, target)
    elif target.add(member, db.space.thresholds):
        db.touch(target_name)
    return 1


def spop(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        return SYNTAX
    count = None
    if len(argv) == 3:
        count = integer(argv[2], NOT_POSITIVE)
        if count < 0:
            return NOT_POSITIVE
    target = db.fetch_as(argv[1], Set)
    if count is None:
        if target is None:
            return None
        member = target.draw(db.space.entry_random)
        target.discard(member)
        db.settle(argv[1], target)
        return member
    if target is None or count == 0:
        return SetReply([])
    if count >= len(target):
        everything = SetReply(_all(db, target))
        db.remove(argv[1])
        return everything
    taken = target.sample(db.space.entry_random, count)
    for member in taken:
        target.discard(member)
    db.settle(argv[1], target)
    return SetReply(own(taken))


# Reading


def sismember(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Set)
    return int(found is not None and argv[2] in found.members)


def smismember(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Set)
    return [int(found is not None and member in found.members) for member in argv[2:]]


def scard(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Set)
    return 0 if found is None else len(found.members)


def smembers(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Set)
    return SetReply([] if found is None else _all(db, found))


def _all(db: Database, found: Set) -> list[Reply] | Walk:
    if len(found) <= LISTED_MAX or found.is_compact:
        return own(found.listed())
    return db.space.walk(found, lambda frozen: frozen.members)


def sscan(db: Database, argv: list[bytes]) -> Reply:
    cursor, _, members = scan_members(db, argv, Set)
    return [cursor, [*members]]


def srandmember(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        return SYNTAX
    if len(argv) == 2:
        found = db.peek_as(argv[1], Set)
        return None if found is None else found.draw(db.space.read_random())
    count = count_of_either_sign(argv[2])
    found = db.peek_as(argv[1], Set)
    if found is None:
        return []
    chance = db.space.read_random()
    if count >= len(found):
        return _all(db, found)
    return own(found.sample(chance, count) if count >= 0 else [found.draw(chance) for _ in range(-count)])


_SET: Final[dict[str, Any]] = {"acl": "set", "group": "set"}

ROWS: Final = (
    row(
        "sadd",
        -3,
        sadd,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="1.0.0",
        summary="Adds members to a set",
        complexity="O(N), N being the number of members given",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several members"),),
        **_SET,
    ),
    row(
        "srem",
        -3,
        srem,
        "write fast",
        keys=(key_spec("RW delete"),),
        since="1.0.0",
        summary="Takes members out of a set",
        complexity="O(N), N being the number of members given",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several members"),),
        **_SET,
    ),
    row(
        "smembers",
        2,
        smembers,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="Lists the members of a set",
        complexity="O(N), N being the size of the set",
        arguments=(key(),),
        tips=("nondeterministic_output_order",),
        **_SET,
    ),
    row(
        "sismember",
        3,
        sismember,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="1.0.0",
        summary="Whether a set has a member",
        complexity="O(1)",
        arguments=(
            key(),
            argument("member", "string"),
        ),
        **_SET,
    ),
    row(
        "smismember",
        -3,
        smismember,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="6.2.0",
        summary="Which of several members a set has",
        complexity="O(N), N being the number of members asked for",
        arguments=(
            key(),
            argument("member", "string", flags=MULTIPLE),
        ),
        **_SET,
    ),
    row(
        "scard",
        2,
        scard,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="1.0.0",
        summary="Counts the members of a set",
        complexity="O(1)",
        arguments=(key(),),
        **_SET,
    ),
    row(
        "spop",
        -2,
        spop,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="1.0.0",
        summary="Takes members by chance out of a set",
        complexity="O(N), N being the number of members taken; the first call on a large set orders it",
        arguments=(
            key(),
            argument("count", "integer", since="3.2.0", flags=OPTIONAL),
        ),
        history=(("3.2.0", "Several members"),),
        tips=("nondeterministic_output",),
        **_SET,
    ),
    row(
        "srandmember",
        -2,
        srandmember,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="Answers members of a set by chance",
        complexity="O(N), N being the number of members asked for; the first call on a large set orders it",
        arguments=(
            key(),
            argument("count", "integer", since="2.6.0", flags=OPTIONAL),
        ),
        history=(("2.6.0", "Several members"),),
        tips=("nondeterministic_output",),
        **_SET,
    ),
    row(
        "smove",
        4,
        smove,
        "write fast",
        keys=(
            key_spec("RW access delete"),
            key_spec("RW insert", index=2),
        ),
        since="1.0.0",
        summary="Moves a member from one set to another",
        complexity="O(1)",
        arguments=(
            key("source"),
            key("destination", spec=1),
            argument("member", "string"),
        ),
        **_SET,
    ),
    row(
        "sscan",
        -3,
        sscan,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.0",
        summary="Walks over the members of a set in steps",
        complexity="O(COUNT) for one call; the first call on a large set orders its N members in O(N)",
        arguments=(
            key(),
            argument("cursor", "integer"),
            argument("pattern", "pattern", token="MATCH", flags=OPTIONAL),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
        ),
        tips=("nondeterministic_output",),
        **_SET,
    ),
)
