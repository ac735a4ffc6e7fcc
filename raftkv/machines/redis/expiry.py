"""Deadlines of keys: EXPIRE and TTL with their kin, and PERSIST. How deadlines take effect stands in database.py.

Writes count from the entry's time; the TTL family tells what remains by the clock of the member that answers.
"""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.numbers import INT64_MAX, INT64_MIN
from raftkv.machines.redis.arguments import EXPIRY_UNITS, integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import Refused, invalid_expire_time
from raftkv.machines.redis.rows import KEY, argument, flag, key, key_spec, one_of, row
from raftkv.machines.replies import Error, Reply

_TTL_MISSING: Final = -2
_TTL_NONE: Final = -1
_NX_WITH_OTHERS: Final = Error("ERR NX and XX, GT or LT options at the same time are not compatible")
_GT_WITH_LT: Final = Error("ERR GT and LT options at the same time are not compatible")


def expire(db: Database, argv: list[bytes]) -> Reply:
    return _expire(db, argv, b"EX", "expire")


def pexpire(db: Database, argv: list[bytes]) -> Reply:
    return _expire(db, argv, b"PX", "pexpire")


def expireat(db: Database, argv: list[bytes]) -> Reply:
    return _expire(db, argv, b"EXAT", "expireat")


def pexpireat(db: Database, argv: list[bytes]) -> Reply:
    return _expire(db, argv, b"PXAT", "pexpireat")


def _expire(db: Database, argv: list[bytes], unit: bytes, name: str) -> Reply:
    conditions = _conditions(argv)
    deadline_ms = _deadline(argv[2], unit, db.space.log_time_ms, name)
    if db.fetch(argv[1]) is None or not _met(conditions, db.expires.get(argv[1]), deadline_ms):
        return 0
    db.expire_at(argv[1], deadline_ms)
    return 1


def _conditions(argv: list[bytes]) -> set[bytes]:
    conditions = set()
    for argument_ in argv[3:]:
        word = argument_.upper()
        if word not in {b"NX", b"XX", b"GT", b"LT"}:
            shown = argument_.split(b"\0", 1)[0].decode(errors="replace")
            raise Refused(Error(f"ERR Unsupported option {shown}"))
        conditions.add(word)
    if b"NX" in conditions and len(conditions) > 1:
        raise Refused(_NX_WITH_OTHERS)
    if {b"GT", b"LT"} <= conditions:
        raise Refused(_GT_WITH_LT)
    return conditions


def _deadline(text: bytes, unit: bytes, now_ms: int, name: str) -> int:
    """Unlike SET's, the amount may be zero or negative: then the key is deleted."""
    scale, relative = EXPIRY_UNITS[unit]
    amount_ms = integer(text) * scale
    deadline_ms = amount_ms + (now_ms if relative else 0)
    if amount_ms < INT64_MIN or deadline_ms > INT64_MAX:
        raise Refused(invalid_expire_time(name))
    return deadline_ms


def _met(conditions: set[bytes], present_ms: int | None, deadline_ms: int) -> bool:
    # Without a deadline the present one counts as infinitely late.
    if b"NX" in conditions and present_ms is not None:
        return False
    if b"XX" in conditions and present_ms is None:
        return False
    if b"GT" in conditions and (present_ms is None or deadline_ms <= present_ms):
        return False
    return not (b"LT" in conditions and present_ms is not None and deadline_ms >= present_ms)


def persist(db: Database, argv: list[bytes]) -> Reply:
    return int(db.fetch(argv[1]) is not None and db.persist(argv[1]))


def ttl(db: Database, argv: list[bytes]) -> Reply:
    return _seconds(_remaining_ms(db, argv[1], db.space.clock_ms))


def pttl(db: Database, argv: list[bytes]) -> Reply:
    return _remaining_ms(db, argv[1], db.space.clock_ms)


def expiretime(db: Database, argv: list[bytes]) -> Reply:
    return _seconds(_remaining_ms(db, argv[1], 0))


def pexpiretime(db: Database, argv: list[bytes]) -> Reply:
    return _remaining_ms(db, argv[1], 0)


def _remaining_ms(db: Database, name: bytes, since_ms: int) -> int:
    """Milliseconds from `since_ms` to the deadline; never negative, that is kept for the two special replies."""
    if db.peek(name) is None:
        return _TTL_MISSING
    deadline_ms = db.expires.get(name)
    return _TTL_NONE if deadline_ms is None else max(0, deadline_ms - since_ms)


def _seconds(milliseconds: int) -> int:
    return milliseconds if milliseconds < 0 else (milliseconds + 500) // 1000


_GENERIC: Final[dict[str, Any]] = {"group": "generic", "acl": "keyspace", "complexity": "O(1)"}
_EXPIRE: Final[dict[str, Any]] = {
    "flags": "write fast",
    "keys": (key_spec("RW update"),),
    "history": (("7.0.0", "Options NX, XX, GT and LT"),),
    **_GENERIC,
}
_TTL: Final[dict[str, Any]] = {
    "flags": "readonly fast",
    "keys": (key_spec("RO access"),),
    "arguments": KEY,
    **_GENERIC,
}
_CONDITION: Final = one_of("condition", flag("NX"), flag("XX"), flag("GT"), flag("LT"), since="7.0.0")
_MISSING_IS_TOLD: Final = (("2.8.0", "The reply -2"),)
_CLOCK: Final = ("nondeterministic_output",)

ROWS: Final = (
    row(
        "expire",
        -3,
        expire,
        since="1.0.0",
        summary="Lets a key end after some seconds",
        arguments=(key(), argument("seconds", "integer"), _CONDITION),
        **_EXPIRE,
    ),
    row(
        "pexpire",
        -3,
        pexpire,
        since="2.6.0",
        summary="Lets a key end after some milliseconds",
        arguments=(key(), argument("milliseconds", "integer"), _CONDITION),
        **_EXPIRE,
    ),
    row(
        "expireat",
        -3,
        expireat,
        since="1.2.0",
        summary="Lets a key end at a Unix time in seconds",
        arguments=(key(), argument("unix-time-seconds", "unix-time"), _CONDITION),
        **_EXPIRE,
    ),
    row(
        "pexpireat",
        -3,
        pexpireat,
        since="2.6.0",
        summary="Lets a key end at a Unix time in milliseconds",
        arguments=(key(), argument("unix-time-milliseconds", "unix-time"), _CONDITION),
        **_EXPIRE,
    ),
    row(
        "ttl",
        2,
        ttl,
        since="1.0.0",
        summary="Tells how many seconds a key has left",
        history=_MISSING_IS_TOLD,
        tips=_CLOCK,
        **_TTL,
    ),
    row(
        "pttl",
        2,
        pttl,
        since="2.6.0",
        summary="Tells how many milliseconds a key has left",
        history=_MISSING_IS_TOLD,
        tips=_CLOCK,
        **_TTL,
    ),
    row(
        "expiretime",
        2,
        expiretime,
        since="7.0.0",
        summary="Tells the Unix time in seconds at which a key ends",
        **_TTL,
    ),
    row(
        "pexpiretime",
        2,
        pexpiretime,
        since="7.0.0",
        summary="Tells the Unix time in milliseconds at which a key ends",
        **_TTL,
    ),
    row(
        "persist",
        2,
        persist,
        "write fast",
        keys=(key_spec("RW update"),),
        since="2.2.0",
        summary="Takes a key's deadline away",
        arguments=KEY,
        **_GENERIC,
    ),
)
