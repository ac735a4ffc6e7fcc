"""Commands of no family: LOLWUT and DEBUG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.containers import help_reply
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, Verbatim, shown
from raftkv.server import driver
from raftkv.server.commands.rows import NOT_AN_INTEGER, REDIS_VERSION, local

if TYPE_CHECKING:
    from raftkv.server.session import Session

DEBUG_REFUSED: Final = Error(
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local'
    " connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


# LOLWUT


def lolwut(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2 and argv[1].lower() == b"version" and parse_integer(argv[2]) is None:
        return NOT_AN_INTEGER
    node = session.server.replica.node
    rafts = [_raft(member, member == node.leader_id) for member in sorted(node.voters)]
    rows = ["   ".join(parts).rstrip() for parts in zip(*rafts, strict=True)]
    text = "\n".join([*rows, "", f"One of them has the flag, all have the log. Redis ver. {REDIS_VERSION}", ""])
    return Verbatim(text.encode())


def _raft(member: int, leads: bool) -> tuple[str, ...]:
    """A member as a raft of logs, with its number; the leader has a flag."""
    name = str(member)[:4].center(4)
    flag = ("|>>", "|  ") if leads else ("   ", "|  ")
    return (f"    {flag[0]}     ", f"    {flag[1]}     ", f"(==={name}===)", "(==========)", "~~~~~~~~~~~~")


# DEBUG


def debug(session: Session, argv: list[bytes]) -> Reply:
    if not session.server.settings.redis.enable_debug_command:
        return DEBUG_REFUSED
    subcommand = argv[1].lower()
    if subcommand == b"help":
        return help_reply("debug", ("SLEEP <seconds>", "    Stops this member for so long."))
    if subcommand == b"sleep" and len(argv) == 3:
        driver.sleep(_seconds(argv[2]))
        return OK
    word = shown(argv[1])
    return Error(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP.")


def _seconds(text: bytes) -> float:
    """What is no number is no time, as in Redis."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


ROWS: tuple[Command, ...] = (
    local(
        "lolwut",
        -1,
        lolwut,
        "readonly fast",
        acl="read fast",
        group="server",
        since="5.0.0",
        summary="Draws the members",
        arguments=(argument("version", "integer", token="VERSION", flags=OPTIONAL),),
    ),
    local(
        "debug",
        -2,
        debug,
        "admin noscript loading stale",
        acl="admin slow dangerous",
        group="server",
        summary="Tools for tests; refused unless redis.enable_debug_command is set",
        doc_flags=("syscmd",),
        complexity="Depends on the subcommand",
    ),
)
