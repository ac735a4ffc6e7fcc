"""The smallest commands: is anybody there, which database, start over, good-bye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.replies import OK, Error, Reply, Simple, wrong_arity
from raftkv.server.commands.rows import integer, local

if TYPE_CHECKING:
    from raftkv.server.session import Session

PONG: Final = Simple("PONG")
DATABASE_OUT_OF_RANGE: Final = Error("ERR DB index is out of range")


def ping(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    if len(argv) > 2:
        return wrong_arity("ping")
    return argv[1] if len(argv) == 2 else PONG


def echo(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return argv[1]


def quit_(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.close_when_sent = True
    return OK


def select(session: Session, argv: list[bytes]) -> Reply:
    number = integer(argv[1])
    if number is None or not -(2**31) <= number < 2**31:
        return Error("ERR invalid DB index")
    if not 0 <= number < databases(session):
        return DATABASE_OUT_OF_RANGE
    session.db = number
    return OK


def databases(session: Session) -> int:
    """How many databases there are; only the Redis machine has more than one."""
    settings = session.server.settings
    return settings.redis.databases if settings.machine.class_ == "redis" else 1


ROWS: tuple[Command, ...] = (
    local(
        "ping",
        -1,
        ping,
        "fast",
        acl="fast connection",
        group="connection",
        summary="Answers PONG, or the given text.",
    ),
    local(
        "echo", 2, echo, "loading stale fast", acl="fast connection", group="connection", summary="Answers the text."
    ),
    local(
        "quit",
        -1,
        quit_,
        "noscript loading stale fast no_auth allow_busy",
        acl="fast connection",
        group="connection",
        summary="Closes the connection.",
    ),
    local(
        "select",
        2,
        select,
        "loading stale fast",
        acl="fast connection",
        group="connection",
        summary="Chooses the database that the connection's further commands work on.",
    ),
)
