"""Commands on whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB."""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.redis.arguments import integer32
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import DATABASE_OUT_OF_RANGE, SYNTAX, Refused
from raftkv.machines.redis.rows import ALL_SHARDS, ALL_SUCCEED, SUM, argument, flag, one_of, row
from raftkv.machines.replies import OK, Error, Reply

_INVALID_FIRST: Final = Error("ERR invalid first DB index")
_INVALID_SECOND: Final = Error("ERR invalid second DB index")


def dbsize(db: Database, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """Overdue keys that no sweep has reached count, as they do in Redis."""
    return len(db.values)


def flushdb(db: Database, argv: list[bytes]) -> Reply:
    _check_mode(argv)
    db.clear()
    return OK


def flushall(db: Database, argv: list[bytes]) -> Reply:
    _check_mode(argv)
    for database in db.space.databases:
        database.clear()
    return OK


def _check_mode(argv: list[bytes]) -> None:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in {b"SYNC", b"ASYNC"}):
        raise Refused(SYNTAX)


def swapdb(db: Database, argv: list[bytes]) -> Reply:
    first, second = integer32(argv[1], _INVALID_FIRST), integer32(argv[2], _INVALID_SECOND)
    databases = db.space.databases
    if not (0 <= first < len(databases) and 0 <= second < len(databases)):
        return DATABASE_OUT_OF_RANGE
    databases[first].swap_with(databases[second])
    return OK


_SERVER: Final[dict[str, Any]] = {"group": "server"}
_FLUSH: Final[dict[str, Any]] = {
    "flags": "write",
    "acl": "keyspace dangerous",
    "arguments": (one_of("async", flag("ASYNC", since="4.0.0"), flag("SYNC", since="6.2.0")),),
    "history": (("4.0.0", "Option ASYNC"), ("6.2.0", "Option SYNC")),
    "tips": (ALL_SHARDS, ALL_SUCCEED),
    **_SERVER,
}

ROWS: Final = (
    row(
        "dbsize",
        1,
        dbsize,
        "readonly fast",
        acl="keyspace",
        since="1.0.0",
        summary="Counts the keys of the selected database",
        complexity="O(1)",
        tips=(ALL_SHARDS, SUM),
        **_SERVER,
    ),
    row(
        "flushdb",
        -1,
        flushdb,
        since="1.0.0",
        summary="Deletes all keys of the selected database",
        complexity="O(N), N being the number of keys in the database",
        **_FLUSH,
    ),
    row(
        "flushall",
        -1,
        flushall,
        since="1.0.0",
        summary="Deletes all keys of all databases",
        complexity="O(N), N being the number of keys in all databases",
        **_FLUSH,
    ),
    row(
        "swapdb",
        3,
        swapdb,
        "write fast",
        acl="keyspace dangerous",
        since="4.0.0",
        summary="Exchanges two databases",
        complexity="O(1)",
        arguments=(argument("index1", "integer"), argument("index2", "integer")),
        **_SERVER,
    ),
)
