"""Reading arguments the way Redis reads them: strictly (`numbers.py`), with its texts when they are wrong."""

from __future__ import annotations

from typing import Final

from raftkv.machines.numbers import INT64_MAX, INT64_MIN, parse_integer
from raftkv.machines.redis.refusals import (
    DATABASE_OUT_OF_RANGE,
    NOT_AN_INTEGER,
    SYNTAX,
    Refused,
    invalid_expire_time,
)
from raftkv.machines.replies import Error

EXPIRY_UNITS: Final = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}
"""Option -> (milliseconds in one unit, counted from now rather than from 1970)."""

_NO_EXPIRY_WORDS: Final = frozenset({b"KEEPTTL", b"PERSIST"})
_CONFLICTS: Final[dict[bytes, frozenset[bytes]]] = {
    b"NX": frozenset({b"XX"}),
    b"XX": frozenset({b"NX"}),
    b"GET": frozenset(),
    **{word: frozenset(EXPIRY_UNITS) for word in _NO_EXPIRY_WORDS},
    **{unit: (frozenset(EXPIRY_UNITS) | _NO_EXPIRY_WORDS) - {unit} for unit in EXPIRY_UNITS},
}


def integer(text: bytes, otherwise: Error = NOT_AN_INTEGER) -> int:
    """A 64-bit integer; raises Refused(otherwise)."""
    number = parse_integer(text)
    if number is None:
        raise Refused(otherwise)
    return number


def count_of_either_sign(text: bytes) -> int:
    """A 64-bit integer whose negative is one too; raises Refused."""
    number = integer(text)
    if number == INT64_MIN:
        raise Refused(Error(f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"))
    return number


def integer32(text: bytes, otherwise: Error | None = None) -> int:
    """An integer that fits C's int; raises Refused, with one of two texts unless `otherwise` is given."""
    number = integer(text, otherwise or NOT_AN_INTEGER)
    if not -(2**31) <= number < 2**31:
        raise Refused(otherwise or Error(f"ERR value is out of range, value must between {-(2**31)} and {2**31 - 1}"))
    return number


def database_number(text: bytes, databases: int) -> int:
    """The number of an existing database; raises Refused."""
    number = integer32(text)
    if not 0 <= number < databases:
        raise Refused(DATABASE_OUT_OF_RANGE)
    return number


def extended_options(argv: list[bytes], start: int, allowed: frozenset[bytes]) -> dict[bytes, bytes]:
    """The options of SET and GETEX from argv[start:]: option -> its argument, b"" where it has none.

    An option may be repeated (the last argument counts); two that exclude each other are a syntax error.
    """
    options: dict[bytes, bytes] = {}
    rest = iter(argv[start:])
    for argument in rest:
        word = argument.upper()
        if word not in allowed or not _CONFLICTS[word].isdisjoint(options):
            raise Refused(SYNTAX)
        value = next(rest, None) if word in EXPIRY_UNITS else b""
        if value is None:
            raise Refused(SYNTAX)
        options[word] = value
    return options


def deadline_from_options(options: dict[bytes, bytes], now_ms: int, name: str) -> int | None:
    """The Unix time in ms meant by EX, PX, EXAT or PXAT; None without any of them."""
    for unit in EXPIRY_UNITS:
        if unit in options:
            return positive_deadline(options[unit], unit, now_ms, name)
    return None


def positive_deadline(text: bytes, unit: bytes, now_ms: int, name: str) -> int:
    """`text` in `unit` as Unix time in ms; zero, negative or more than 64 bits is refused in `name`'s name."""
    scale, relative = EXPIRY_UNITS[unit]
    amount = integer(text)
    deadline_ms = amount * scale + (now_ms if relative else 0)
    if amount <= 0 or deadline_ms > INT64_MAX:
        raise Refused(invalid_expire_time(name))
    return deadline_ms
