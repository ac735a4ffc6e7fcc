"""Words for writing the rows of the connection's own commands, and how a container finds its subcommand.

A handler is a function (session, argv) -> reply. Arity is checked before it is called. A container (CLIENT, CONFIG,
COMMAND ...) is made by `container`, as the machine's are (machines/redis/containers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.redis.containers import help_reply
from raftkv.machines.replies import Error, Reply
from raftkv.server.no_reply import NoReply

if TYPE_CHECKING:
    from raftkv.server.session import Session

Handler = Callable[["Session", list[bytes]], "Reply | NoReply"]

REDIS_VERSION: Final = "7.0.15"
"""The version whose behaviour is the model; client libraries choose their features by it."""

SYNTAX_ERROR: Final = Error("ERR syntax error")
NOT_AN_INTEGER: Final = Error("ERR value is not an integer or out of range")


def local(name: str, arity: int, handler: Handler, flags: str = "", *, acl: str = "", **more: Any) -> Command:
    """A row. `flags` and `acl` (categories, without the @) are separated by spaces; `more` as in Command."""
    categories = tuple(f"@{word}" for word in acl.split())
    return Command(
        name=name,
        arity=arity,
        kind=Kind.LOCAL,
        handler=handler,
        flags=tuple(flags.split()),
        categories=categories,
        **more,
    )


def container(
    name: str,
    arity: int,
    help_lines: tuple[str, ...],
    subcommands: tuple[Command, ...],
    *,
    otherwise: Handler | None = None,
    guard: Callable[[Session], Error | None] = lambda _: None,
    help_acl: str = "slow",
    **more: Any,
) -> Command:
    """A row whose subcommands, named "container|sub", do the work; HELP is added to them.

    `otherwise` answers the bare name, where that is allowed by `arity`. What `guard` returns is the answer to every
    well-formed command instead.
    """

    def show_help(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
        return help_reply(name, help_lines)

    rows = (
        *subcommands,
        local(
            f"{name}|help",
            2,
            show_help,
            "loading stale",
            acl=help_acl,
            since="5.0.0",
            group=more["group"],
            summary="Lists the subcommands",
            complexity="O(1)",
        ),
    )

    def dispatch(session: Session, argv: list[bytes]) -> Reply | NoReply:
        if len(argv) == 1 and otherwise is not None:
            return otherwise(session, argv)
        meant = made.chosen(argv)
        if isinstance(meant, Error):
            return meant
        session.last_command = meant.name.encode()
        reply: Reply | NoReply = guard(session) or meant.handler(session, argv)
        return reply

    made = local(name, arity, dispatch, subcommands=rows, **more)
    return made


def choice(name: str, *tokens: str, **more: Any) -> dict[str, Any]:
    """An argument that is one of some fixed words. more: token, since, flags."""
    words = [{"name": token.lower(), "type": "pure-token", "token": token} for token in tokens]
    return {"name": name, "type": "oneof", **more, "arguments": words}
