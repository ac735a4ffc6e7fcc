"""The smallest commands: is anybody there, what time is it, which database, start over, good-bye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, Simple, wrong_arity
from raftkv.server import driver
from raftkv.server.commands.rows import NOT_AN_INTEGER, local

if TYPE_CHECKING:
    from raftkv.server.session import Session

PONG: Final = Simple("PONG")
DATABASE_OUT_OF_RANGE: Final = Error("ERR DB index is out of range")
_NO_INT: Final = Error("ERR value is out of range, value must between -2147483648 and 2147483647")


def ping(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2:
        return wrong_arity("ping")
    if session.subscriptions and not session.resp3:
        return [b"pong", *(argv[1:] or [b""])]  # in the shape of a message
    return argv[1] if len(argv) == 2 else PONG


def echo(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return argv[1]


def quit_(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.close_when_sent = True
    return OK


def select(session: Session, argv: list[bytes]) -> Reply:
    number = parse_integer(argv[1])
    if number is None:
        return NOT_AN_INTEGER
    if not -(2**31) <= number < 2**31:
        return _NO_INT
    if not 0 <= number < databases(session):
        return DATABASE_OUT_OF_RANGE
    session.db = number
    return OK


def databases(session: Session) -> int:
    """How many databases there are; only the Redis machine has more than one."""
    settings = session.server.settings
    return settings.redis.databases if settings.machine.class_ == "redis" else 1


def time(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    seconds, microseconds = divmod(driver.wall_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


_CONNECTION = {"acl": "fast connection", "group": "connection", "complexity": "O(1)"}
ROWS: tuple[Command, ...] = (
    local(
        "ping",
        -1,
        ping,
        "fast",
        summary="Answers PONG, or the given text",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
        arguments=(argument("message", "string", flags=OPTIONAL),),
        **_CONNECTION,
    ),
    local(
        "echo",
        2,
        echo,
        "loading stale fast",
        summary="Answers the given text",
        arguments=(argument("message", "string"),),
        **_CONNECTION,
    ),
    local(
        "quit",
        -1,
        quit_,
        "noscript loading stale fast no_auth allow_busy",
        summary="Closes the connection after a last reply",
        **_CONNECTION,
    ),
    local(
        "select",
        2,
        select,
        "loading stale fast",
        summary="Chooses the database that the connection's further commands work on",
        arguments=(argument("index", "integer"),),
        **_CONNECTION,
    ),
    local(
        "time",
        1,
        time,
        "loading stale fast",
        acl="fast",
        group="server",
        since="2.6.0",
        summary="Tells this member's clock: Unix seconds, and microseconds within the second",
        tips=("nondeterministic_output",),
        complexity="O(1)",
    ),
)
