"""DUMP and RESTORE: values that move to and from a Redis. The format is in rdb/."""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.numbers import INT64_MAX
from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.rdb import Malformed
from raftkv.machines.redis.rdb.payload import WrongFooter, payload_of, value_of
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import KEY, OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.replies import OK, Error, Reply

_BUSY_KEY: Final = Error("BUSYKEY Target key name already exists.")
_NEGATIVE_TTL: Final = Error("ERR Invalid TTL value, must be >= 0")
_WRONG_FOOTER: Final = Error("ERR DUMP payload version or checksum are wrong")
_MALFORMED: Final = Error("ERR Bad data format")
_NUMBERS: Final = {
    b"IDLETIME": (INT64_MAX, Error("ERR Invalid IDLETIME value, must be >= 0")),
    b"FREQ": (255, Error("ERR Invalid FREQ value, must be >= 0 and <= 255")),
}
"""Options with a number, of which one may be given: the largest one, and the refusal of others. They serve eviction,
which is not here: they are checked and forgotten."""


def dump(db: Database, argv: list[bytes]) -> Reply:
    value = db.peek(argv[1])
    return None if value is None else payload_of(value)


def restore(db: Database, argv: list[bytes]) -> Reply:
    _, name, ttl, payload, *words = argv
    options = _options(words)
    replace = b"REPLACE" in options
    if not replace and db.fetch(name) is not None:
        return _BUSY_KEY
    ttl_ms = integer(ttl)
    if ttl_ms < 0:
        return _NEGATIVE_TTL
    try:
        value = value_of(payload, db.space.thresholds)
    except WrongFooter:
        return _WRONG_FOOTER
    except Malformed:
        return _MALFORMED
    deadline_ms = ttl_ms + (0 if b"ABSTTL" in options else db.space.log_time_ms)
    if ttl_ms and (deadline_ms <= db.space.log_time_ms or deadline_ms > INT64_MAX):
        db.remove(name)  # what is too late for 64 bits has passed for Redis
        return OK
    db.replace(name, value)
    if ttl_ms:
        db.expire_at(name, deadline_ms)
    return OK


def _options(words: list[bytes]) -> set[bytes]:
    options: set[bytes] = set()
    rest = iter(words)
    for word in rest:
        option = word.upper()
        options.add(option)
        if option in _NUMBERS:
            _check_number(option, next(rest, None), options)
        elif option not in (b"REPLACE", b"ABSTTL"):
            raise Refused(SYNTAX)
    return options


def _check_number(option: bytes, text: bytes | None, options: set[bytes]) -> None:
    most, refusal = _NUMBERS[option]
    if text is None or options.issuperset(_NUMBERS):
        raise Refused(SYNTAX)
    if not 0 <= integer(text) <= most:
        raise Refused(refusal)


_GENERIC: Final[dict[str, Any]] = {"group": "generic", "since": "2.6.0"}

ROWS: Final = (
    row(
        "dump",
        2,
        dump,
        "readonly",
        acl="keyspace",
        keys=(key_spec("RO access"),),
        summary="Answers the value under a key in the format of RDB files, for RESTORE",
        complexity="O(N), N being the length of the value in bytes",
        arguments=KEY,
        tips=("nondeterministic_output",),
        **_GENERIC,
    ),
    row(
        "restore",
        -4,
        restore,
        "write denyoom",
        acl="keyspace dangerous",
        keys=(key_spec("OW update"),),
        summary="Stores a value that DUMP has answered, here or in a Redis",
        complexity="O(N), N being the length of the value in bytes; O(N*log(N)) for N members of a sorted set",
        arguments=(
            key(),
            argument("ttl", "integer"),
            argument("serialized-value", "string"),
            flag("REPLACE", since="3.0.0", flags=OPTIONAL),
            flag("ABSTTL", since="5.0.0", flags=OPTIONAL),
            argument("seconds", "integer", token="IDLETIME", since="5.0.0", flags=OPTIONAL),
            argument("frequency", "integer", token="FREQ", since="5.0.0", flags=OPTIONAL),
        ),
        history=(
            ("3.0.0", "Option REPLACE"),
            ("5.0.0", "Option ABSTTL"),
            ("5.0.0", "Options IDLETIME and FREQ, which are checked but mean nothing here"),
        ),
        **_GENERIC,
    ),
)
