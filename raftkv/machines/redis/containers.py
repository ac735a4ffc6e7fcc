"""Commands whose second word says what is meant: OBJECT, MEMORY; and CLIENT, CONFIG ... of the connection.

A container is a row with rows of its own for its subcommands ("object|encoding"), among which its handler looks the
word up. So arity, errors, COMMAND DOCS and the code cannot disagree.
"""

from __future__ import annotations

from typing import Any

from raftkv.machines.interface import Command, Kind
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.rows import row
from raftkv.machines.replies import Error, Reply, Simple


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
        meant = made.chosen(argv)
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


def help_reply(name: str, lines: tuple[str, ...]) -> Reply:
    """Lines of a HELP subcommand, with the first and the last one that all of them have."""
    first = f"{name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line) for line in (first, *lines, "HELP", "    Lists the subcommands.")]
