"""MULTI, EXEC, DISCARD, WATCH, UNWATCH. Queueing is in server/transaction.py, what goes to the log in
server/execution.py; decision 0013 tells how it fits together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command
from raftkv.machines.redis.rows import KEYS, key_spec
from raftkv.machines.redis.watches import WATCHED_BYTES_MAX, WATCHED_KEYS_MAX
from raftkv.machines.replies import OK, Error, Reply
from raftkv.server.commands.rows import local
from raftkv.server.execution import Execution, Watching
from raftkv.server.no_reply import NoReply
from raftkv.server.transaction import Transaction

if TYPE_CHECKING:
    from raftkv.server.session import Session

NESTED: Final = Error("ERR MULTI calls can not be nested")
EXEC_WITHOUT_MULTI: Final = Error("ERR EXEC without MULTI")
DISCARD_WITHOUT_MULTI: Final = Error("ERR DISCARD without MULTI")
WATCH_INSIDE_MULTI: Final = Error("ERR WATCH inside MULTI is not allowed")
ABORTED: Final = Error("EXECABORT Transaction discarded because of previous errors.")
TOO_MANY_WATCHED: Final = Error(
    f"ERR a connection can watch at most {WATCHED_KEYS_MAX} keys, and {WATCHED_BYTES_MAX} bytes of their names"
)


def multi(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    if session.transaction is not None:
        return NESTED
    session.transaction = Transaction(session)
    return OK


def exec_(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    transaction = session.transaction
    if transaction is None:
        return EXEC_WITHOUT_MULTI
    if transaction.is_broken:
        session.end_transaction()
        return ABORTED
    return Execution(session, transaction).begin()


def discard(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    if session.transaction is None:
        return DISCARD_WITHOUT_MULTI
    session.end_transaction()
    return OK


def watch(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if session.transaction is not None:
        return WATCH_INSIDE_MULTI
    watched = session.watched
    keys = [key for key in dict.fromkeys(argv[1:]) if (session.db, key) not in watched]
    if not keys:
        return OK
    size_bytes = sum(len(key) for _, key in watched) + sum(map(len, keys))
    if len(watched) + len(keys) > WATCHED_KEYS_MAX or size_bytes > WATCHED_BYTES_MAX:
        return TOO_MANY_WATCHED
    return Watching(session, keys).begin()


def unwatch(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.watched = {}
    return OK


_CONNECTION: Final[dict[str, Any]] = {
    "flags": "noscript loading stale fast allow_busy",
    "acl": "fast transaction",
    "group": "transactions",
    "complexity": "O(1)",
}
ROWS: tuple[Command, ...] = (
    local("multi", 1, multi, since="1.2.0", summary="Begins to queue commands for EXEC", **_CONNECTION),
    local(
        "exec",
        1,
        exec_,
        since="1.2.0",
        summary="Carries out what was queued since MULTI, all at once, unless a watched key has changed",
        **_CONNECTION
        | {
            "flags": "noscript loading stale skip_slowlog",
            "acl": "slow transaction",
            "complexity": "That of the queued commands",
        },
    ),
    local("discard", 1, discard, since="2.0.0", summary="Forgets what was queued since MULTI", **_CONNECTION),
    local(
        "watch",
        -2,
        watch,
        since="2.2.0",
        summary="Has EXEC do nothing if one of the keys changes until then",
        keys=(1, -1, 1),
        key_specs=(key_spec("RO", last=-1),),
        arguments=KEYS,
        **_CONNECTION | {"complexity": "O(N), N being the number of keys"},
    ),
    local("unwatch", 1, unwatch, since="2.2.0", summary="Forgets all watched keys", **_CONNECTION),
)
