"""Transactions inside the machine: what MULTI ... EXEC and WATCH of a client become in the log.

A connection queues the commands itself and sends them as one: the internal command EXEC, whose argument carries the
commands, their databases, and the watched keys with their stamps (watches.py). One command of one entry: nothing comes
between, all is done or nothing, and it travels like any other. It runs through the same loop as plain commands.

No client can send the two internal commands: they are in no table that names are looked up in, and the connection's own
commands of the same names are found first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from raftkv.machines.redis.database import Database, Space
from raftkv.machines.replies import NULL_ARRAY, Error, Reply

EXEC: Final = b"EXEC"
WATCH: Final = b"WATCH"
MALFORMED: Final = Error("ERR malformed transaction; nothing was carried out")

Watched = tuple[int, bytes, int]
"""(database, key, stamp)"""

Run = Callable[[Space, list[list[bytes]], Mapping[int, int]], list[Reply]]
"""(space, commands, their scopes) -> their replies"""


class Transaction(msgspec.Struct, array_like=True):
    """scopes: position of a command -> its database, where that is not 0."""

    commands: list[list[bytes]]
    scopes: dict[int, int]
    watched: list[Watched]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Transaction).decode


def exec_command(commands: list[list[bytes]], scopes: dict[int, int], watched: list[Watched]) -> list[bytes]:
    """The internal command for a transaction. Its reply is the array of replies, or NULL_ARRAY."""
    return [EXEC, _encode(Transaction(commands, scopes, watched))]


def watch_command(keys: list[bytes]) -> list[bytes]:
    """The internal command for WATCH. Its reply is the stamp."""
    return [WATCH, *keys]


def commands_in(argv: list[bytes]) -> list[list[bytes]]:
    """What would be carried out by `argv`, which may be any command: usually itself."""
    if len(argv) == 2 and argv[0] == EXEC:
        try:
            return _decode(argv[1]).commands
        except msgspec.DecodeError:
            return []
    return [argv]


def carry_out(space: Space, packed: bytes, run: Run, *, is_read: bool) -> Reply:
    """The whole transaction, if no watched key has changed. `is_read`: the state must stay as it is, watches too."""
    try:
        transaction = _decode(packed)
    except msgspec.DecodeError:
        return MALFORMED
    unchanged = all(_is_unchanged(space, *each) for each in transaction.watched)
    if not is_read:
        for number, key, stamp in transaction.watched:
            if 0 <= number < len(space.databases):
                space.databases[number].unwatch(key, stamp)
    return run(space, transaction.commands, transaction.scopes) if unchanged else NULL_ARRAY


def _is_unchanged(space: Space, number: int, key: bytes, stamp: int) -> bool:
    return 0 <= number < len(space.databases) and space.databases[number].is_unchanged(key, stamp)


def watch(db: Database, argv: list[bytes]) -> Reply:
    for key in argv[1:]:
        db.watch(key)
    return db.space.watches.version
