"""Strings as a whole: SET, GET and their kin. A string is the bytes object in the dict.

Pieces of strings are in ranges.py, numbers in counters.py, LCS in lcs.py. `string_at` and `string_for_write` are the
type checks for all of them.
"""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.interface import Kind
from raftkv.machines.redis.arguments import (
    EXPIRY_UNITS,
    deadline_from_options,
    extended_options,
    integer,
    positive_deadline,
)
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import SYNTAX, WRONG_TYPE, Refused
from raftkv.machines.redis.rows import (
    KEY,
    KEYS,
    MULTI_SHARD,
    OPTIONAL,
    PAIRS,
    argument,
    flag,
    key,
    key_spec,
    one_of,
    row,
)
from raftkv.machines.replies import OK, Error, Reply, wrong_arity

NEGATIVE_LAG: Final = Error("ERR MAXLAG is negative")


def string_at(db: Database, name: bytes) -> bytes | None:
    """The string, or None; raises Refused for another type. Changes nothing."""
    value = db.peek(name)
    if value is None or isinstance(value, bytes):
        return value
    raise Refused(WRONG_TYPE)


def string_for_write(db: Database, name: bytes) -> bytes | None:
    """As `string_at`, for commands that write."""
    value = db.fetch(name)
    if value is None or isinstance(value, bytes):
        return value
    raise Refused(WRONG_TYPE)


# Reading


def get(db: Database, argv: list[bytes]) -> Reply:
    # The hottest read: `string_at` in line.
    value = db.values.get(argv[1])
    if value is None or (db.overdue and db.is_due(argv[1])):
        return None
    return value if type(value) is bytes else WRONG_TYPE


def dirtyget(db: Database, argv: list[bytes]) -> Reply:
    """MAXLAG is the server's business, for it takes a clock; here it must only be well-formed."""
    if len(argv) > 2:
        if len(argv) != 4 or argv[2].lower() != b"maxlag":
            raise Refused(SYNTAX)
        if integer(argv[3]) < 0:
            raise Refused(NEGATIVE_LAG)
    return get(db, argv)


def mget(db: Database, argv: list[bytes]) -> Reply:
    values = [db.peek(name) for name in argv[1:]]
    return [value if isinstance(value, bytes) else None for value in values]


# Writing


def set_(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        if len(argv) == 5 and (unit := argv[3].upper()) in EXPIRY_UNITS:  # the commonest form with options
            return _set_expiring(db, argv[1], argv[2], (argv[4], unit), "set")
        return _set_with_options(db, argv)
    name = argv[1]
    if db.plain:  # the hottest write: `Database.replace` in line
        db.values[name] = argv[2]
        if db.expires and name in db.expires:
            db.persist(name)
    else:
        db.replace(name, argv[2])
    return OK


_SET_OPTIONS: Final = frozenset({b"NX", b"XX", b"GET", b"KEEPTTL", *EXPIRY_UNITS})


def _set_with_options(db: Database, argv: list[bytes]) -> Reply:
    options = extended_options(argv, 3, _SET_OPTIONS)
    deadline_ms = deadline_from_options(options, db.space.log_time_ms, "set")
    name, value = argv[1], argv[2]
    if b"GET" in options:
        string_for_write(db, name)  # only for its type check: without GET any type may be replaced
    before = db.fetch(name)
    stored: Reply = None
    if not (b"NX" in options and before is not None) and not (b"XX" in options and before is None):
        stored = OK
        _store(db, name, value, deadline_ms, keep=b"KEEPTTL" in options)
    if b"GET" not in options:
        return stored
    return before if isinstance(before, bytes) else None


def _store(db: Database, name: bytes, value: bytes, deadline_ms: int | None, *, keep: bool = False) -> None:
    if deadline_ms is not None:
        db.put(name, value)
        db.expire_at(name, deadline_ms)
    elif keep:
        db.put(name, value)
    else:
        db.replace(name, value)


def setnx(db: Database, argv: list[bytes]) -> Reply:
    if db.fetch(argv[1]) is not None:
        return 0
    db.replace(argv[1], argv[2])
    return 1


def setex(db: Database, argv: list[bytes]) -> Reply:
    return _set_expiring(db, argv[1], argv[3], (argv[2], b"EX"), "setex")


def psetex(db: Database, argv: list[bytes]) -> Reply:
    return _set_expiring(db, argv[1], argv[3], (argv[2], b"PX"), "psetex")


def _set_expiring(db: Database, name: bytes, value: bytes, expiry: tuple[bytes, bytes], command: str) -> Reply:
    """`expiry`: amount and unit."""
    deadline_ms = positive_deadline(*expiry, db.space.log_time_ms, command)
    db.put(name, value)
    db.expire_at(name, deadline_ms)  # over the old deadline, if there is one
    return OK


def mset(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) % 2 == 0:
        return wrong_arity("mset")
    for name, value in zip(argv[1::2], argv[2::2], strict=True):
        db.replace(name, value)
    return OK


def msetnx(db: Database, argv: list[bytes]) -> Reply:
    if len(argv) % 2 == 0:
        return wrong_arity("msetnx")
    if any(db.fetch(name) is not None for name in argv[1::2]):
        return 0
    mset(db, argv)
    return 1


# Reading and writing at once


def getset(db: Database, argv: list[bytes]) -> Reply:
    before = string_for_write(db, argv[1])
    db.replace(argv[1], argv[2])
    return before


def getdel(db: Database, argv: list[bytes]) -> Reply:
    before = string_for_write(db, argv[1])
    if before is not None:
        db.remove(argv[1])
    return before


_GETEX_OPTIONS: Final = frozenset({b"PERSIST", *EXPIRY_UNITS})


def getex(db: Database, argv: list[bytes]) -> Reply:
    options = extended_options(argv, 2, _GETEX_OPTIONS)
    value = string_for_write(db, argv[1])
    if value is None:
        return None
    deadline_ms = deadline_from_options(options, db.space.log_time_ms, "getex")
    if deadline_ms is not None:
        db.expire_at(argv[1], deadline_ms)
    elif b"PERSIST" in options:
        db.persist(argv[1])
    return value


# Rows

_STRING: Final[dict[str, Any]] = {"group": "string", "acl": "string", "complexity": "O(1)"}
_EACH_KEY: Final[dict[str, Any]] = {
    "group": "string",
    "acl": "string",
    "complexity": "O(N), N being the number of keys",
}
_VALUE: Final = argument("value", "string")


def _expiration(since: dict[str, str], *others: Any) -> Any:
    """EX, PX, EXAT, PXAT; `since` by token, where the command had them later than itself."""
    types = {"EX": "integer", "PX": "integer", "EXAT": "unix-time", "PXAT": "unix-time"}
    names = {"EX": "seconds", "PX": "milliseconds", "EXAT": "unix-time-seconds", "PXAT": "unix-time-milliseconds"}
    added = {token: {"since": since[token]} if token in since else {} for token in types}
    units = [argument(names[token], types[token], token=token, **added[token]) for token in types]
    return one_of("expiration", *units, *others)


ROWS: Final = (
    row(
        "set",
        -3,
        set_,
        "write denyoom",
        keys=(key_spec("RW access update variable_flags", notes="Read as well when GET is given"),),
        since="1.0.0",
        summary="Stores a string under a key, replacing what was there",
        arguments=(
            key(),
            _VALUE,
            one_of("condition", flag("NX"), flag("XX"), since="2.6.12"),
            flag("GET", since="6.2.0", flags=OPTIONAL),
            _expiration(
                {"EX": "2.6.12", "PX": "2.6.12", "EXAT": "6.2.0", "PXAT": "6.2.0"}, flag("KEEPTTL", since="6.0.0")
            ),
        ),
        history=(
            ("2.6.12", "Options EX, PX, NX and XX"),
            ("6.0.0", "Option KEEPTTL"),
            ("6.2.0", "Options GET, EXAT and PXAT"),
            ("7.0.0", "NX and GET may be combined"),
        ),
        **_STRING,
    ),
    row(
        "get",
        2,
        get,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="Answers the string under a key",
        arguments=KEY,
        **_STRING,
    ),
    row(
        "dirtyget",
        -2,
        dirtyget,
        "readonly fast",
        kind=Kind.DIRTY,
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="GET as the asked member has it: at once, possibly stale, also without a leader",
        arguments=(*KEY, argument("milliseconds", "integer", token="MAXLAG", flags=OPTIONAL)),
        **_STRING,
    ),
    row(
        "getset",
        3,
        getset,
        "write denyoom fast",
        keys=(key_spec("RW access update"),),
        since="1.0.0",
        summary="Stores a string and answers the one before",
        arguments=(key(), _VALUE),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="`SET` with its option `GET`",
        **_STRING,
    ),
    row(
        "getdel",
        2,
        getdel,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="6.2.0",
        summary="Answers the string under a key and deletes the key",
        arguments=KEY,
        **_STRING,
    ),
    row(
        "getex",
        -2,
        getex,
        "write fast",
        keys=(key_spec("RW access update", notes="Written because the expiry may change"),),
        since="6.2.0",
        summary="Answers the string under a key and may change the key's expiry",
        arguments=(key(), _expiration({}, flag("PERSIST"))),
        **_STRING,
    ),
    row(
        "mget",
        -2,
        mget,
        "readonly fast",
        keys=(key_spec("RO access", last=-1),),
        since="1.0.0",
        summary="Answers the strings under several keys",
        arguments=KEYS,
        tips=(MULTI_SHARD,),
        **_EACH_KEY,
    ),
    row(
        "mset",
        -3,
        mset,
        "write denyoom",
        keys=(key_spec("OW update", last=-1, step=2),),
        since="1.0.1",
        summary="Stores several strings at once",
        arguments=PAIRS,
        tips=(MULTI_SHARD, "response_policy:all_succeeded"),
        **_EACH_KEY,
    ),
    row(
        "msetnx",
        -3,
        msetnx,
        "write denyoom",
        keys=(key_spec("OW insert", last=-1, step=2),),
        since="1.0.1",
        summary="Stores several strings if none of the keys exists",
        arguments=PAIRS,
        tips=(MULTI_SHARD, "response_policy:agg_min"),
        **_EACH_KEY,
    ),
    row(
        "setnx",
        3,
        setnx,
        "write denyoom fast",
        keys=(key_spec("OW insert"),),
        since="1.0.0",
        summary="Stores a string if the key does not exist",
        arguments=(key(), _VALUE),
        **_STRING,
    ),
    row(
        "setex",
        4,
        setex,
        "write denyoom",
        keys=(key_spec("OW update"),),
        since="2.0.0",
        summary="Stores a string that expires after some seconds",
        arguments=(key(), argument("seconds", "integer"), _VALUE),
        **_STRING,
    ),
    row(
        "psetex",
        4,
        psetex,
        "write denyoom",
        keys=(key_spec("OW update"),),
        since="2.6.0",
        summary="Stores a string that expires after some milliseconds",
        arguments=(key(), argument("milliseconds", "integer"), _VALUE),
        **_STRING,
    ),
)
