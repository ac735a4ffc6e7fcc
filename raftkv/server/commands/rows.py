"""Words for writing the rows of the connection's own commands, and how a container finds its subcommand.

A handler is a function (session, argv) -> reply. Arity is checked before it is called. A container (CLIENT, CONFIG,
COMMAND ...) is made by `container`: its handler looks the second word up among the subcommands' rows, so that arity,
errors, COMMAND DOCS and the code cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, Reply, Simple, wrong_arity
from raftkv.server.session import NoReply

if TYPE_CHECKING:
    from raftkv.server.session import Session

Handler = Callable[["Session", list[bytes]], "Reply | NoReply"]

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


def container(name: str, help_lines: tuple[str, ...], subcommands: tuple[Command, ...], **more: Any) -> Command:
    """A row whose subcommands do the work; HELP is added to them. Subcommands are named "container|sub"."""

    def show_help(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
        return [Simple(line) for line in help_lines]

    flags = more.pop("help_flags", "loading stale")
    about_help = local(
        f"{name}|help",
        2,
        show_help,
        flags,
        acl=more.pop("help_acl", "slow"),
        since=more.pop("help_since", "5.0.0"),
        group="server",
        summary="Lists the subcommands.",
    )
    by_word = {row.name.partition("|")[2].encode(): row for row in (*subcommands, about_help)}

    def dispatch(session: Session, argv: list[bytes]) -> Reply | NoReply:
        row = by_word.get(argv[1].lower())
        if row is None:
            return unknown_subcommand(name, argv[1])
        if len(argv) != row.arity and (row.arity > 0 or len(argv) < -row.arity):
            return wrong_arity(row.name)
        reply: Reply | NoReply = row.handler(session, argv)
        return reply

    return local(name, -2, dispatch, subcommands=tuple(by_word.values()), **more)


def unknown_subcommand(name: str, word: bytes) -> Error:
    shown = word[:128].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    return Error(f"ERR unknown subcommand '{shown}'. Try {name.upper()} HELP.")


def integer(text: bytes) -> int | None:
    """A decimal number of 64 bits spelled the one canonical way; None for anything else."""
    if not text or len(text) > 20 or not text.lstrip(b"-").isdigit():
        return None
    number = int(text)
    return number if b"%d" % number == text and -(2**63) <= number < 2**63 else None
