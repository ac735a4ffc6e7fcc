"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their kin."""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.redis.arguments import database_number
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import NO_SUCH_KEY, SAME_OBJECT, SYNTAX, Refused
from raftkv.machines.redis.rows import KEY, KEYS, MULTI_SHARD, OPTIONAL, SUM, argument, flag, key, key_spec, row
from raftkv.machines.redis.values import Value, type_name
from raftkv.machines.replies import OK, Reply, Simple


def del_(db: Database, argv: list[bytes]) -> Reply:
    removed = 0
    for name in argv[1:]:
        if db.fetch(name) is not None:
            db.remove(name)
            removed += 1
    return removed


def exists(db: Database, argv: list[bytes]) -> Reply:
    return sum(db.peek(name) is not None for name in argv[1:])


def type_(db: Database, argv: list[bytes]) -> Reply:
    return Simple(type_name(db.peek(argv[1])))


def rename(db: Database, argv: list[bytes]) -> Reply:
    return OK if _rename(db, argv[1], argv[2], replace=True) else NO_SUCH_KEY


def renamenx(db: Database, argv: list[bytes]) -> Reply:
    if db.fetch(argv[1]) is None:
        return NO_SUCH_KEY
    return int(argv[1] != argv[2] and _rename(db, argv[1], argv[2], replace=False))


def _rename(db: Database, source: bytes, target: bytes, *, replace: bool) -> bool:
    value = db.fetch(source)
    if value is None:
        return False
    if source == target:
        return True
    deadline_ms = db.expires.get(source)
    if not _place(db, target, value, deadline_ms, replace=replace):
        return False
    db.remove(source)
    return True


def move(db: Database, argv: list[bytes]) -> Reply:
    databases = db.space.databases
    target = databases[database_number(argv[2], len(databases))]
    if target is db:
        return SAME_OBJECT
    name = argv[1]
    value = db.fetch(name)
    if value is None or not _place(target, name, value, db.expires.get(name), replace=False):
        return 0
    db.remove(name)
    return 1


def copy(db: Database, argv: list[bytes]) -> Reply:
    target, replace = _copy_options(db, argv)
    source_name, target_name = argv[1], argv[2]
    if target is db and source_name == target_name:
        return SAME_OBJECT
    value = db.fetch(source_name)
    if value is None:
        return 0
    copied = value if isinstance(value, bytes) else value.copy()
    return int(_place(target, target_name, copied, db.expires.get(source_name), replace=replace))


def _copy_options(db: Database, argv: list[bytes]) -> tuple[Database, bool]:
    databases, target, replace = db.space.databases, db, False
    rest = iter(argv[3:])
    for argument_ in rest:
        word = argument_.upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and (number := next(rest, None)) is not None:
            target = databases[database_number(number, len(databases))]
        else:
            raise Refused(SYNTAX)
    return target, replace


def _place(db: Database, name: bytes, value: Value, deadline_ms: int | None, *, replace: bool) -> bool:
    """Store a value together with its deadline; whether that was allowed."""
    if db.fetch(name) is not None and not replace:
        return False
    db.replace(name, value)
    if deadline_ms is not None:
        db.expire_at(name, deadline_ms)
    return True


_GENERIC: Final[dict[str, Any]] = {"group": "generic", "acl": "keyspace"}
_EACH_KEY: Final[dict[str, Any]] = {
    "arguments": KEYS,
    "complexity": "O(N), N being the number of keys",
    "tips": (MULTI_SHARD, SUM),
    **_GENERIC,
}
_ONE: Final[dict[str, Any]] = {"complexity": "O(1)", **_GENERIC}
_SOURCE: Final = key_spec("RW access delete")

ROWS: Final = (
    row(
        "del",
        -2,
        del_,
        "write",
        keys=(key_spec("RM delete", last=-1),),
        since="1.0.0",
        summary="Deletes keys",
        **_EACH_KEY,
    ),
    row(
        "unlink",
        -2,
        del_,
        "write fast",
        keys=(key_spec("RM delete", last=-1),),
        since="4.0.0",
        summary="Deletes keys; here the same as DEL",
        **_EACH_KEY,
    ),
    row(
        "exists",
        -2,
        exists,
        "readonly fast",
        keys=(key_spec("RO", last=-1),),
        since="1.0.0",
        summary="Counts the keys that exist, repeated ones again",
        history=(("3.0.3", "Several keys"),),
        **_EACH_KEY,
    ),
    row(
        "touch",
        -2,
        exists,
        "readonly fast",
        keys=(key_spec("RO", last=-1),),
        since="3.2.1",
        summary="Counts the keys that exist; no access times are kept",
        **_EACH_KEY,
    ),
    row(
        "type",
        2,
        type_,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="1.0.0",
        summary="Tells what a key holds",
        arguments=KEY,
        **_ONE,
    ),
    row(
        "rename",
        3,
        rename,
        "write",
        keys=(_SOURCE, key_spec("OW update", index=2)),
        since="1.0.0",
        summary="Renames a key, replacing the key of the new name",
        arguments=(key(), key("newkey", spec=1)),
        **_ONE,
    ),
    row(
        "renamenx",
        3,
        renamenx,
        "write fast",
        keys=(_SOURCE, key_spec("OW insert", index=2)),
        since="1.0.0",
        summary="Renames a key if the new name is free",
        arguments=(key(), key("newkey", spec=1)),
        history=(("3.2.0", "The same name twice is no error"),),
        **_ONE,
    ),
    row(
        "copy",
        -3,
        copy,
        "write denyoom",
        keys=(key_spec("RO access"), key_spec("OW update", index=2)),
        since="6.2.0",
        summary="Copies a key with its expiry, also to another database",
        complexity="O(1) for strings, O(N) for N members of a collection",
        arguments=(
            key("source"),
            key("destination", spec=1),
            argument("destination-db", "integer", token="DB", flags=OPTIONAL),
            flag("REPLACE", flags=OPTIONAL),
        ),
        **_GENERIC,
    ),
    row(
        "move",
        3,
        move,
        "write fast",
        keys=(key_spec("RW access update"),),
        since="1.0.0",
        summary="Moves a key to another database",
        arguments=(key(), argument("db", "integer")),
        **_ONE,
    ),
)
