"""Commands whose second word says what is meant: OBJECT, MEMORY; and CLIENT, CONFIG ... of the connection.

A container is a row with rows of its own for its subcommands ("object|encoding"), among which its handler looks the
word up. So arity, errors, COMMAND DOCS and the code cannot disagree.
"""

from __future__ import annotations

from typing import Any

from raftkv.machines.interface import Command, Kind
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.rows import row
from raftkv.machines.replies import Error, Reply, Simple, wrong_arity


def container(
    name: str,
    help_lines: tuple[str, ...],
    subcommands: tuple[Command, ...],
    *,
    acl: str = "",
    help_since: str,
    **documentation: Any,
) -> Command:
    """A container that reads; HELP is added to its subcommands. `acl`: categories of HELP beside "slow"."""
    helped = row(
        f"{name}|help",
        2,
        lambda _db, _argv: help_reply(name, help_lines),
        "loading stale",
        acl=acl,
        kind=Kind.READ,
        group=documentation["group"],
        since=help_since,
        summary="Lists the subcommands",
        complexity="O(1)",
    )

    def dispatch(db: Database, argv: list[bytes]) -> Reply:
        meant = chosen(made, argv)
        reply: Reply = meant if isinstance(meant, Error) else meant.handler(db, argv)
        return reply

    made = row(
        name,
        -2,
        dispatch,
        "",
        acl="",
        kind=Kind.READ,
        subcommands=(*subcommands, helped),
        complexity="Depends on the subcommand",
        **documentation,
    )
    return made


def chosen(container: Command, argv: list[bytes]) -> Command | Error:
    """The subcommand that argv means, or what is wrong with it."""
    found = container.subcommand(argv[1])
    if found is None:
        return Error(f"ERR unknown subcommand '{shown(argv[1])}'. Try {container.name.upper()} HELP.")
    return found if found.takes(len(argv)) else wrong_arity(found.name)


def help_reply(name: str, lines: tuple[str, ...]) -> Reply:
    """Lines of a HELP subcommand, with the first and the last one that all of them have."""
    first = f"{name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line) for line in (first, *lines, "HELP", "    Lists the subcommands.")]


def shown(word: bytes) -> str:
    """A client's word, as error texts quote it: its first 128 bytes, as C prints them."""
    return word[:128].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
