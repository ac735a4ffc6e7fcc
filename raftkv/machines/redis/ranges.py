"""Pieces of strings: APPEND, STRLEN, SETRANGE, GETRANGE. A missing key is an empty string.

A bytes object cannot grow in place, so APPEND and SETRANGE copy the string: cost grows with its whole length.
"""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import STRING_TOO_LONG, Refused
from raftkv.machines.redis.rows import KEY, argument, key, key_spec, row
from raftkv.machines.redis.strings import string_at, string_for_write
from raftkv.machines.replies import Error, Reply

STRING_BYTES_MAX: Final = 512 * 1024 * 1024
"""Redis's default proto-max-bulk-len. Part of the machine, not a setting: members must agree."""

_OFFSET_OUT_OF_RANGE: Final = Error("ERR offset is out of range")


def append(db: Database, argv: list[bytes]) -> Reply:
    value = string_for_write(db, argv[1])
    if value is not None:
        _check_length(len(value) + len(argv[2]))
        value += argv[2]
    else:
        value = argv[2]
    db.put(argv[1], value)
    return len(value)


def strlen(db: Database, argv: list[bytes]) -> Reply:
    return len(string_at(db, argv[1]) or b"")


def setrange(db: Database, argv: list[bytes]) -> Reply:
    offset, piece = integer(argv[2]), argv[3]
    if offset < 0:
        return _OFFSET_OUT_OF_RANGE
    value = string_for_write(db, argv[1]) or b""
    if not piece:
        return len(value)
    _check_length(offset + len(piece))
    value = b"".join((value[:offset].ljust(offset, b"\0"), piece, value[offset + len(piece) :]))
    db.put(argv[1], value)
    return len(value)


def getrange(db: Database, argv: list[bytes]) -> Reply:
    start, end = integer(argv[2]), integer(argv[3])
    value = string_at(db, argv[1]) or b""
    if start < 0 and end < 0 and start > end:
        return b""
    # Negative positions count from the end; those before the start mean the start. `end` is included.
    first = max(0, start + len(value)) if start < 0 else start
    last = max(0, end + len(value)) if end < 0 else end
    return value[first : last + 1]


def _check_length(length: int) -> None:
    if length > STRING_BYTES_MAX:
        raise Refused(STRING_TOO_LONG)


_STRING: Final[dict[str, Any]] = {"group": "string", "acl": "string"}
_RANGE_ARGUMENTS: Final = (key(), argument("start", "integer"), argument("end", "integer"))

ROWS: Final = (
    row(
        "append",
        3,
        append,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="2.0.0",
        summary="Adds bytes to the end of a string",
        complexity="O(N), N being the length of the result",
        arguments=(key(), argument("value", "string")),
        **_STRING,
    ),
    row(
        "strlen",
        2,
        strlen,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="2.2.0",
        summary="Answers the length of a string in bytes",
        complexity="O(1)",
        arguments=KEY,
        **_STRING,
    ),
    row(
        "setrange",
        4,
        setrange,
        "write denyoom",
        keys=(key_spec("RW update"),),
        since="2.2.0",
        summary="Overwrites a string from an offset on, filling up with zero bytes",
        complexity="O(N), N being the length of the result",
        arguments=(key(), argument("offset", "integer"), argument("value", "string")),
        **_STRING,
    ),
    row(
        "getrange",
        4,
        getrange,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.4.0",
        summary="Answers a piece of a string",
        complexity="O(N), N being the length of the piece",
        arguments=_RANGE_ARGUMENTS,
        **_STRING,
    ),
    row(
        "substr",
        4,
        getrange,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="The older name of GETRANGE",
        complexity="O(N), N being the length of the piece",
        arguments=_RANGE_ARGUMENTS,
        doc_flags=("deprecated",),
        deprecated_since="2.0.0",
        replaced_by="`GETRANGE`",
        **_STRING,
    ),
)
