"""The default machine: Redis's commands on Redis's keyspace.

A handler is a function (database, argv) -> reply. It may count on the arity that its row states, raises `Refused`
before it changes anything, and finds the two times in `database.space`. The loop below is the hot path: one look-up
by name, one comparison of lengths, one call per command, and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from raftkv.machines.interface import Context, Kind, ReadContext, StateMachine
from raftkv.machines.redis import transactions
from raftkv.machines.redis.database import Database, Space
from raftkv.machines.redis.refusals import DATABASE_OUT_OF_RANGE, Refused
from raftkv.machines.redis.registry import COMMANDS
from raftkv.machines.redis.snapshot import digests_of, slices_of, space_from
from raftkv.machines.redis.thresholds import CONFIGURE, changed
from raftkv.machines.redis.values import Value, type_name
from raftkv.machines.replies import OK, Error, Reply, unknown_command, wrong_arity

_Handler = Callable[[Database, list[bytes]], Reply]
_Handlers = dict[bytes, tuple[_Handler, int]]

DATABASES: Final = 16


class RedisMachine(StateMachine):
    """`databases`: how many numbered databases there are. All members must agree on it.

    A batch's scope is the database that its connection has selected.
    """

    name = "redis"
    commands = COMMANDS
    has_transactions = True

    def __init__(self, databases: int = DATABASES) -> None:
        self.space = Space(databases)

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        self.space.advance(context)
        return _run(_WRITE_HANDLERS, self.space, commands, context.scopes)

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        self.space.clock_ms = max(context.now_ms, self.space.log_time_ms)
        return _run(_READ_HANDLERS, self.space, commands, context.scopes)

    def commands_in(self, argv: list[bytes]) -> list[list[bytes]]:
        return transactions.commands_in(argv)

    def settings(self) -> Mapping[str, int]:
        return msgspec.structs.asdict(self.space.thresholds)

    def deadline_ms(self) -> int | None:
        return self.space.next_deadline_ms()

    def state_hash(self) -> bytes:
        watches = self.space.watches
        digest = hashlib.sha256(b"%d" % self.space.log_time_ms)
        digest.update(msgspec.msgpack.encode((self.space.thresholds, watches.version, watches.entries())))
        for number, database in enumerate(self.space.databases):
            for part in _digest_parts(number, database):
                digest.update(b"%d:%b" % (len(part), part))
        return digest.digest()

    def digests(self) -> Iterator[int]:
        return digests_of(self.space)

    def snapshot(self) -> Iterator[bytes]:
        return slices_of(self.space)

    def restore(self, slices: Iterator[bytes]) -> None:
        self.space = space_from(slices, len(self.space.databases))

    def info(self) -> dict[str, dict[str, str]]:
        databases = enumerate(self.space.databases)
        return {"Keyspace": {f"db{number}": _sizes(database) for number, database in databases if database.values}}


def _run(handlers: _Handlers, space: Space, commands: list[list[bytes]], scopes: Mapping[int, int]) -> list[Reply]:
    databases = space.databases
    database = databases[0]
    find = handlers.get
    replies: list[Reply] = []
    answer = replies.append
    for argv in commands:
        if scopes:
            number = scopes.get(len(replies), 0)
            if not 0 <= number < len(databases):
                answer(DATABASE_OUT_OF_RANGE)
                continue
            database = databases[number]
        found = (find(argv[0]) or find(argv[0].lower())) if argv else None
        if found is None:
            answer(_refusal(argv))
            continue
        handler, arity = found
        length = len(argv)
        if length != arity and (arity > 0 or length < -arity):
            answer(wrong_arity(argv[0].lower().decode()))
            continue
        try:
            answer(handler(database, argv))
        except Refused as refused:
            answer(refused.reply)
    return replies


def _handlers(*kinds: Kind) -> _Handlers:
    return {name: (row.handler, row.arity) for name, row in COMMANDS.items() if row.kind in kinds}


def _internal(name: bytes, handler: _Handler, arity: int) -> _Handlers:
    return {name: (handler, arity), name.lower(): (handler, arity)}


# DIRTY ones are kept in a log entry too, so that no argv whatever can stop a member.
_PLAIN_WRITE_HANDLERS: Final = _handlers(Kind.WRITE, Kind.READ, Kind.DIRTY)
_PLAIN_READ_HANDLERS: Final = _handlers(Kind.READ, Kind.DIRTY)


def _exec_write(db: Database, argv: list[bytes]) -> Reply:
    return transactions.carry_out(db.space, argv[1], partial(_run, _PLAIN_WRITE_HANDLERS), is_read=False)


def _exec_read(db: Database, argv: list[bytes]) -> Reply:
    return transactions.carry_out(db.space, argv[1], partial(_run, _PLAIN_READ_HANDLERS), is_read=True)


def _configure(db: Database, argv: list[bytes]) -> Reply:
    thresholds = changed(db.space.thresholds, argv[1:])
    if thresholds is None:
        return Error("ERR no such settings")
    db.space.thresholds = thresholds
    return OK


_WRITE_HANDLERS: Final = (
    _PLAIN_WRITE_HANDLERS
    | _internal(transactions.EXEC, _exec_write, 2)
    | _internal(transactions.WATCH, transactions.watch, -2)
    | _internal(CONFIGURE, _configure, -3)
)
_READ_HANDLERS: Final = _PLAIN_READ_HANDLERS | _internal(transactions.EXEC, _exec_read, 2)


def _refusal(argv: list[bytes]) -> Error:
    row = COMMANDS.get(argv[0].lower()) if argv else None
    return unknown_command(argv) if row is None else Error(f"ERR '{row.name}' writes and must go through the log")


def _digest_parts(number: int, database: Database) -> Iterator[bytes]:
    yield b"%d,%d" % (number, len(database.values))
    for key in sorted(database.values):
        value = database.values[key]
        yield key
        yield b"%d" % database.expires.get(key, -1)
        yield type_name(value).encode()
        yield from _value_parts(value)


def _value_parts(value: Value) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    else:
        yield from value.digest_parts()


def _sizes(database: Database) -> str:
    """`avg_ttl` is the mean of what remains in log time, in ms."""
    expiring = len(database.expires)
    mean_ms = database.deadline_sum_ms // expiring - database.space.log_time_ms if expiring else 0
    return f"keys={len(database.values)},expires={expiring},avg_ttl={max(0, mean_ms)}"
