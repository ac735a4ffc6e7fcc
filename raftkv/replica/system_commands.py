"""The commands that clients may send to the ledger: RAFT.SESSION and RAFT.ONCE.

A handler is a function (ledger, context, position, argv) -> reply. `parse` is asked twice, by the leader before the log
and by every member when the entry is applied; it is the only judge of an argv, and depends on nothing but it.
docs/exactly-once.md tells clients how to use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command, Context, Kind, command_table
from raftkv.machines.numbers import parse_integer
from raftkv.machines.replies import OK, Error, Reply, unknown_command, wrong_arity
from raftkv.replica.sessions import NEW, no_session

if TYPE_CHECKING:
    from raftkv.replica.ledger import Ledger

NOT_A_SESSION: Final = Error("ERR the session must be a number, as RAFT.SESSION OPEN has returned it")
NOT_A_SEQ: Final = Error("ERR seq must be a number from 1 to 9223372036854775807")
NOT_A_TTL: Final = Error("ERR TTL must be a number of milliseconds, 1 or more")
SYNTAX: Final = Error("ERR syntax error")


def number(text: bytes) -> int | None:
    """1 to 2^63-1 in its one canonical spelling; None for anything else."""
    value = parse_integer(text)
    return value if value is not None and value >= 1 else None


# ---- RAFT.ONCE


def inner_of(argv: list[bytes]) -> list[bytes]:
    """The command that RAFT.ONCE is to apply."""
    return argv[3:]


def once_refusal(argv: list[bytes], machine_commands: Mapping[bytes, Command]) -> Error | None:
    """Why this RAFT.ONCE can never be applied; None: it can."""
    if len(argv) < 4:
        return wrong_arity("raft.once")
    if number(argv[1]) is None:
        return NOT_A_SESSION
    if number(argv[2]) is None:
        return NOT_A_SEQ
    inner = inner_of(argv)
    row = machine_commands.get(inner[0].lower())
    if row is None:
        return unknown_command(inner)
    if not row.takes(len(inner)):
        return wrong_arity(row.name)
    if row.kind is not Kind.WRITE:
        # Nothing goes wrong when a read is asked twice, and its reply would take up room of the writes'.
        return Error(f"ERR '{row.name}' does not write: RAFT.ONCE is for writes, send it by itself")
    return None


def once(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:
    refusal = once_refusal(argv, ledger.machine.commands)
    if refusal is not None:
        return refusal
    session_id, seq = int(argv[1]), int(argv[2])
    session = ledger.sessions.renew(session_id, context.time_ms)
    if session is None:
        return no_session(session_id)
    found: Any = session.find(seq)
    if found is not NEW:
        reply: Reply = found
        return reply
    # Replies are wanted on every member: they are kept, and are so part of the state.
    part = context.part(position, position + 1, session=session_id, wants_replies=True)
    [reply] = ledger.machine.handle_write(part, [inner_of(argv)])
    return ledger.sessions.keep(session, seq, reply)


# ---- RAFT.SESSION


def session_refusal(argv: list[bytes]) -> Error | None:
    """Why this RAFT.SESSION means nothing; None: it does."""
    meant = _meant(argv)
    return meant if isinstance(meant, Error) else None


def _meant(argv: list[bytes]) -> Command | Error:
    if len(argv) < 2:
        return wrong_arity("raft.session")
    row = _SESSION.chosen(argv)
    if isinstance(row, Error):
        return row
    refusal = _open_refusal(argv) if row.handler is _open else _session_id_refusal(argv)
    return refusal or row


def _open_refusal(argv: list[bytes]) -> Error | None:
    if len(argv) == 2:
        return None
    if len(argv) != 4 or argv[2].lower() != b"ttl":
        return SYNTAX
    return NOT_A_TTL if number(argv[3]) is None else None


def _session_id_refusal(argv: list[bytes]) -> Error | None:
    return NOT_A_SESSION if number(argv[2]) is None else None


def session(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:
    meant = _meant(argv)
    reply: Reply = meant if isinstance(meant, Error) else meant.handler(ledger, context, position, argv)
    return reply


def _open(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return ledger.sessions.open(context.time_ms, int(argv[3]) if len(argv) == 4 else None)


def _keepalive(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session_id = int(argv[2])
    return OK if ledger.sessions.renew(session_id, context.time_ms) is not None else no_session(session_id)


def _close(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session_id = int(argv[2])
    return OK if ledger.sessions.close(session_id) else no_session(session_id)


def _info(ledger: Ledger, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session_id = int(argv[2])
    found = ledger.sessions.table.get(session_id)
    if found is None:
        return no_session(session_id)
    return {
        b"ttl_ms": found.ttl_ms,
        b"remaining_ms": found.expires_ms - context.time_ms,
        b"settled": found.settled,
        b"newest": found.applied[-1] if found.applied else None,
        b"remembered": len(found.applied),
        b"replies": len(found.replies),
        b"reply_bytes": found.reply_bytes,
    }


# ---- rows


def _argument(name: str, type_: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


_SESSION_ARGUMENT = (_argument("session", "integer"),)


def _row(name: str, arity: int, handler: Any, summary: str, **more: Any) -> Command:
    return Command(
        name=name,
        arity=arity,
        kind=Kind.WRITE,
        handler=handler,
        summary=summary,
        flags=("write", "fast"),
        categories=("@write", "@fast"),
        group="server",
        since="7.0.0",
        **more,
    )


_SUBCOMMANDS: Final = (
    _row(
        "raft.session|open",
        -2,
        _open,
        "Opens an exactly-once session and returns its number",
        complexity="O(1)",
        arguments=(_argument("ttl", "integer", token="TTL", flags=["optional"]),),
    ),
    _row(
        "raft.session|keepalive",
        3,
        _keepalive,
        "Renews a session's time to live",
        complexity="O(1)",
        arguments=_SESSION_ARGUMENT,
    ),
    _row(
        "raft.session|close",
        3,
        _close,
        "Ends a session; its commands are never applied again",
        complexity="O(1)",
        arguments=_SESSION_ARGUMENT,
    ),
    _row(
        "raft.session|info",
        3,
        _info,
        "Tells what is kept of a session, without renewing it",
        complexity="O(1)",
        arguments=_SESSION_ARGUMENT,
    ),
)
_SESSION: Final = _row(
    "raft.session",
    -2,
    session,
    "Opens, renews and closes exactly-once sessions",
    complexity="Depends on subcommand.",
    subcommands=_SUBCOMMANDS,
)
ROWS: Final = (
    _SESSION,
    _row(
        "raft.once",
        -4,
        once,
        "Applies a write once, however often it is sent, and answers each time as at first",
        complexity="That of the command",
        arguments=(
            _argument("session", "integer"),
            _argument("seq", "integer"),
            _argument("command", "string"),
            _argument("arg", "string", flags=["optional", "multiple"]),
        ),
    ),
)
SYSTEM_COMMANDS: Final[Mapping[bytes, Command]] = command_table(ROWS)
