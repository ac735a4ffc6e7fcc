"""Strings that are numbers: INCR and its kin on 64-bit integers, INCRBYFLOAT on long doubles."""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.numbers import INT64_MAX, INT64_MIN
from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.longdouble import LongDouble, add, format_long_double, parse_long_double
from raftkv.machines.redis.refusals import NOT_A_FLOAT, WOULD_OVERFLOW, Refused
from raftkv.machines.redis.rows import KEY, argument, key, key_spec, row
from raftkv.machines.redis.strings import string_for_write
from raftkv.machines.replies import Error, Reply

_DECREMENT_OVERFLOW: Final = Error("ERR decrement would overflow")
_NOT_FINITE: Final = Error("ERR increment would produce NaN or Infinity")


def incr(db: Database, argv: list[bytes]) -> Reply:
    return _add(db, argv[1], 1)


def decr(db: Database, argv: list[bytes]) -> Reply:
    return _add(db, argv[1], -1)


def incrby(db: Database, argv: list[bytes]) -> Reply:
    return _add(db, argv[1], integer(argv[2]))


def decrby(db: Database, argv: list[bytes]) -> Reply:
    decrement = integer(argv[2])
    if decrement == INT64_MIN:  # has no positive counterpart in 64 bits
        return _DECREMENT_OVERFLOW
    return _add(db, argv[1], -decrement)


def _add(db: Database, name: bytes, increment: int) -> Reply:
    before = string_for_write(db, name)
    number = (0 if before is None else integer(before)) + increment
    if not INT64_MIN <= number <= INT64_MAX:
        return WOULD_OVERFLOW
    db.put(name, b"%d" % number)
    return number


def incrbyfloat(db: Database, argv: list[bytes]) -> Reply:
    before = string_for_write(db, argv[1])
    total = add(_float(b"0" if before is None else before), _float(argv[2]))
    if total is None or isinstance(total, float):
        return _NOT_FINITE
    text = format_long_double(total)
    db.put(argv[1], text)
    return text


def _float(text: bytes) -> LongDouble:
    number = parse_long_double(text)
    if number is None:
        raise Refused(NOT_A_FLOAT)
    return number


_COUNTER: Final[dict[str, Any]] = {
    "flags": "write denyoom fast",
    "keys": (key_spec("RW access update"),),
    "group": "string",
    "acl": "string",
    "complexity": "O(1)",
}

ROWS: Final = (
    row("incr", 2, incr, since="1.0.0", summary="Adds one to an integer", arguments=KEY, **_COUNTER),
    row("decr", 2, decr, since="1.0.0", summary="Takes one from an integer", arguments=KEY, **_COUNTER),
    row(
        "incrby",
        3,
        incrby,
        since="1.0.0",
        summary="Adds to an integer",
        arguments=(key(), argument("increment", "integer")),
        **_COUNTER,
    ),
    row(
        "decrby",
        3,
        decrby,
        since="1.0.0",
        summary="Takes from an integer",
        arguments=(key(), argument("decrement", "integer")),
        **_COUNTER,
    ),
    row(
        "incrbyfloat",
        3,
        incrbyfloat,
        since="2.6.0",
        summary="Adds to a floating-point number",
        arguments=(key(), argument("increment", "double")),
        **_COUNTER,
    ),
)
