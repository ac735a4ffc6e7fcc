"""Hashes: fields and their values, in the order in which they came.

Redis keeps a small hash in one piece of memory, which it walks, and a large one in a table. Here both are a dict; which
of the two Redis would have is kept all the same, since OBJECT ENCODING and DUMP show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, Self

from raftkv.machines.numbers import INT64_MAX, INT64_MIN, parse_integer
from raftkv.machines.redis.arguments import count_of_either_sign, integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.keyed import Keyed
from raftkv.machines.redis.longdouble import LongDouble, add, format_long_double, parse_long_double
from raftkv.machines.redis.refusals import NOT_A_FLOAT, OUT_OF_RANGE, SYNTAX, WOULD_OVERFLOW, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.redis.scan import scan_members
from raftkv.machines.redis.sizes import block_bytes
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import LISTED_MAX
from raftkv.machines.replies import OK, Error, Map, Pairs, Reply, Walk, own, wrong_arity

_COMPACT: Final = b"listpack"
_VALUE_NOT_AN_INTEGER: Final = Error("ERR hash value is not an integer")
_VALUE_NOT_A_FLOAT: Final = Error("ERR hash value is not a float")
_NOT_FINITE: Final = Error("ERR increment would produce NaN or Infinity")


class Hash(Keyed[bytes]):
    """Field -> value."""

    __slots__ = ()
    type_name = "hash"

    @property
    def encoding(self) -> str:
        return "listpack" if self.is_compact else "hashtable"

    def set(self, field: bytes, value: bytes, thresholds: Thresholds) -> bool:
        """Whether the field is new."""
        before = len(self.members)
        self.put(field, value)
        is_new = len(self.members) > before
        if self.is_compact:
            longest = thresholds.hash_max_listpack_value
            is_full = before + is_new > thresholds.hash_max_listpack_entries
            self.is_compact = not is_full and len(field) <= longest and len(value) <= longest
        return is_new

    def copy(self) -> Self:
        return type(self)(dict(self.members), is_compact=self.is_compact)

    def digest_parts(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        for field, value in self.sorted_members():
            yield field
            yield value

    def pieces(self) -> Iterator[bytes]:
        yield self.encoding.encode()
        yield from chain.from_iterable(self.members.items())

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        return cls(dict(zip(pieces[1::2], pieces[2::2], strict=True)), is_compact=pieces[0] == _COMPACT)

    @staticmethod
    def value_bytes(value: bytes) -> int:
        return block_bytes(value)


# Writing


def _for_write(db: Database, name: bytes) -> Hash:
    """The hash, or a new one that is not stored yet."""
    found = db.fetch_as(name, Hash)
    return Hash() if found is None else found


def _store(db: Database, name: bytes, changed: Hash) -> None:
    if name in db.values:
        db.touch(name)
    else:
        db.put(name, changed)


def hset(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) % 2:
        return wrong_arity(argv[0].lower().decode())
    return _set_all(db, argv)


def hmset(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) % 2:
        return wrong_arity("hmset")
    _set_all(db, argv)
    return OK


def _set_all(db: Database, argv: list[bytes]) -> int:
    name, thresholds = argv[1], db.space.thresholds
    target = _for_write(db, name)
    words = argv[2:]
    created = 0
    for at in range(0, len(words), 2):
        created += target.set(words[at], words[at + 1], thresholds)
    _store(db, name, target)
    return created


def hsetnx(db: Database, argv: list[bytes]) -> Reply:
    _, name, field, value = argv
    target = _for_write(db, name)
    if field in target.members:
        return 0
    _set(db, name, target, field, value)
    return 1


def _set(db: Database, name: bytes, target: Hash, field: bytes, value: bytes) -> None:
    target.set(field, value, db.space.thresholds)
    _store(db, name, target)


def hdel(db: Database, argv: list[bytes]) -> Reply:
    target = db.fetch_as(argv[1], Hash)
    if target is None:
        return 0
    removed = sum(target.discard(field) for field in argv[2:])
    if removed:
        db.settle(argv[1], target)
    return removed


def hincrby(db: Database, argv: list[bytes]) -> Reply:
    _, name, field, text = argv
    increment = integer(text)
    target = _for_write(db, name)
    before = parse_integer(target.members.get(field, b"0"))
    if before is None:
        return _VALUE_NOT_AN_INTEGER
    total = before + increment
    if not INT64_MIN <= total <= INT64_MAX:
        return WOULD_OVERFLOW
    _set(db, name, target, field, b"%d" % total)
    return total


def hincrbyfloat(db: Database, argv: list[bytes]) -> Reply:
    _, name, field, text = argv
    increment = _float(text, NOT_A_FLOAT)
    if isinstance(increment, float):
        return _NOT_A_NUMBER
    target = _for_write(db, name)
    total = add(_float(target.members.get(field, b"0"), _VALUE_NOT_A_FLOAT), increment)
    if total is None or isinstance(total, float):
        return _NOT_FINITE
    sum_text = format_long_double(total)
    _set(db, name, target, field, sum_text)
    return sum_text


_NOT_A_NUMBER: Final = Error("ERR value is NaN or Infinity")


def _float(text: bytes, refusal: Error) -> LongDouble:
    number = parse_long_double(text)
    if number is None:
        raise Refused(refusal)
    return number


# Reading


def hget(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    return None if found is None else found.members.get(argv[2])


def hmget(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    if found is None:
        return [None] * (len(argv) - 2)
    find = found.members.get
    return [find(field) for field in argv[2:]]


def hlen(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    return 0 if found is None else len(found.members)


def hstrlen(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    return 0 if found is None else len(found.members.get(argv[2], b""))


def hexists(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    return int(found is not None and argv[2] in found.members)


def hkeys(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    if found is None:
        return []
    if len(found) > LISTED_MAX:
        return db.space.walk(found, lambda frozen: frozen.members)
    return list(found.members)


def hvals(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    if found is None:
        return []
    if len(found) > LISTED_MAX:
        return db.space.walk(found, lambda frozen: (value for _, value in frozen.members.items()))
    return list(found.members.values())


def hgetall(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], Hash)
    if found is None:
        return {}
    if len(found) > LISTED_MAX:
        return Map(_all(db, found))
    return dict(found.members)


def _all(db: Database, found: Hash) -> Walk:
    return db.space.walk(found, lambda frozen: frozen.members.items())


def hscan(db: Database, argv: list[bytes]) -> Reply:
    cursor, found, fields = scan_members(db, argv, Hash)
    if found is None:
        return [cursor, []]
    return [cursor, [word for field in fields for word in (field, found.members[field])]]


def hrandfield(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        found = db.peek_as(argv[1], Hash)
        return None if found is None else found.draw(db.space.read_random())
    count = count_of_either_sign(argv[2])
    with_values = len(argv) == 4 and argv[3].upper() == b"WITHVALUES"
    if len(argv) > 4 or (len(argv) == 4 and not with_values):
        return SYNTAX
    if with_values and abs(count) > INT64_MAX // 2:
        return OUT_OF_RANGE
    found = db.peek_as(argv[1], Hash)
    if found is None:
        return []
    if count >= len(found) > LISTED_MAX:
        return Pairs(_all(db, found)) if with_values else db.space.walk(found, lambda each: each.members)
    chance = db.space.read_random()
    fields = found.sample(chance, count) if count >= 0 else [found.draw(chance) for _ in range(-count)]
    if not with_values:
        return own(fields)
    return Pairs([(field, found.members[field]) for field in fields])


_HASH: Final[dict[str, Any]] = {"acl": "hash", "group": "hash"}

ROWS: Final = (
    row(
        "hset",
        -4,
        hset,
        "write denyoom fast",
        keys=(key_spec("RW update"),),
        since="2.0.0",
        summary="Sets fields of a hash",
        complexity="O(N), N being the number of fields",
        arguments=(
            key(),
            argument(
                "field_value",
                "block",
                flags=MULTIPLE,
                arguments=[argument("field", "string"), argument("value", "string")],
            ),
        ),
        history=(("4.0.0", "Several fields"),),
        **_HASH,
    ),
    row(
        "hsetnx",
        4,
        hsetnx,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="2.0.0",
        summary="Sets a field of a hash that is not there yet",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
            argument("value", "string"),
        ),
        **_HASH,
    ),
    row(
        "hget",
        3,
        hget,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Answers a field of a hash",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
        ),
        **_HASH,
    ),
    row(
        "hmset",
        -4,
        hmset,
        "write denyoom fast",
        keys=(key_spec("RW update"),),
        since="2.0.0",
        summary="Sets fields of a hash",
        complexity="O(N), N being the number of fields",
        arguments=(
            key(),
            argument(
                "field_value",
                "block",
                flags=MULTIPLE,
                arguments=[argument("field", "string"), argument("value", "string")],
            ),
        ),
        doc_flags=("deprecated",),
        deprecated_since="4.0.0",
        replaced_by="HSET with several fields",
        **_HASH,
    ),
    row(
        "hmget",
        -3,
        hmget,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Answers several fields of a hash",
        complexity="O(N), N being the number of fields asked for",
        arguments=(
            key(),
            argument("field", "string", flags=MULTIPLE),
        ),
        **_HASH,
    ),
    row(
        "hdel",
        -3,
        hdel,
        "write fast",
        keys=(key_spec("RW delete"),),
        since="2.0.0",
        summary="Takes fields out of a hash",
        complexity="O(N), N being the number of fields given",
        arguments=(
            key(),
            argument("field", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several fields"),),
        **_HASH,
    ),
    row(
        "hlen",
        2,
        hlen,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="2.0.0",
        summary="Counts the fields of a hash",
        complexity="O(1)",
        arguments=(key(),),
        **_HASH,
    ),
    row(
        "hstrlen",
        3,
        hstrlen,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="3.2.0",
        summary="Tells the length of a field's value",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
        ),
        **_HASH,
    ),
    row(
        "hexists",
        3,
        hexists,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="2.0.0",
        summary="Whether a hash has a field",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
        ),
        **_HASH,
    ),
    row(
        "hkeys",
        2,
        hkeys,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Lists the fields of a hash",
        complexity="O(N), N being the size of the hash",
        arguments=(key(),),
        tips=("nondeterministic_output_order",),
        **_HASH,
    ),
    row(
        "hvals",
        2,
        hvals,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Lists the values of a hash",
        complexity="O(N), N being the size of the hash",
        arguments=(key(),),
        tips=("nondeterministic_output_order",),
        **_HASH,
    ),
    row(
        "hgetall",
        2,
        hgetall,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.0.0",
        summary="Lists the fields of a hash with their values",
        complexity="O(N), N being the size of the hash",
        arguments=(key(),),
        tips=("nondeterministic_output_order",),
        **_HASH,
    ),
    row(
        "hincrby",
        4,
        hincrby,
        "write denyoom fast",
        keys=(key_spec("RW access update"),),
        since="2.0.0",
        summary="Adds to an integer in a hash",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
            argument("increment", "integer"),
        ),
        **_HASH,
    ),
    row(
        "hincrbyfloat",
        4,
        hincrbyfloat,
        "write denyoom fast",
        keys=(key_spec("RW access update"),),
        since="2.6.0",
        summary="Adds to a floating-point number in a hash",
        complexity="O(1)",
        arguments=(
            key(),
            argument("field", "string"),
            argument("increment", "double"),
        ),
        **_HASH,
    ),
    row(
        "hrandfield",
        -2,
        hrandfield,
        "readonly",
        keys=(key_spec("RO access"),),
        since="6.2.0",
        summary="Answers fields of a hash by chance",
        complexity="O(N), N being the number of fields asked for",
        arguments=(
            key(),
            argument(
                "options",
                "block",
                flags=OPTIONAL,
                arguments=[argument("count", "integer"), flag("WITHVALUES", flags=OPTIONAL)],
            ),
        ),
        tips=("nondeterministic_output",),
        **_HASH,
    ),
    row(
        "hscan",
        -3,
        hscan,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.0",
        summary="Walks over the fields of a hash in steps",
        complexity="O(COUNT) for one call; the first call on a large hash orders its N fields in O(N)",
        arguments=(
            key(),
            argument("cursor", "integer"),
            argument("pattern", "pattern", token="MATCH", flags=OPTIONAL),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
        ),
        tips=("nondeterministic_output",),
        **_HASH,
    ),
)
