"""Commands of no family: LOLWUT, DEBUG, and the cluster commands that only say that this is no Redis Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, Verbatim
from raftkv.server import driver
from raftkv.server.commands.rows import NOT_AN_INTEGER, REDIS_VERSION, help_reply, local, shown, unknown_subcommand

if TYPE_CHECKING:
    from raftkv.server.session import Session

NO_CLUSTER: Final = Error("ERR This instance has cluster support disabled")
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


# The cluster commands


def no_cluster(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return NO_CLUSTER


def cluster(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    subcommand = argv[1].lower()
    if subcommand == b"help":
        return help_reply("cluster", ("(any)", "    Refused: this is not a Redis Cluster. See RAFT.STATUS."))
    return NO_CLUSTER if subcommand in CLUSTER_SUBCOMMANDS else unknown_subcommand("cluster", argv[1])


CLUSTER_SUBCOMMANDS: Final = frozenset(
    b"addslots addslotsrange bumpepoch count-failure-reports countkeysinslot delslots delslotsrange failover flushslots"
    b" forget getkeysinslot info keyslot links meet myid nodes replicas replicate reset saveconfig set-config-epoch"
    b" setslot shards slaves slots".split()
)
_CLUSTER = {"acl": "fast connection", "group": "cluster", "since": "3.0.0", "complexity": "O(1)"}
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
    local("readonly", 1, no_cluster, "loading stale fast", summary="Refused: no Redis Cluster", **_CLUSTER),
    local("readwrite", 1, no_cluster, "loading stale fast", summary="Refused: no Redis Cluster", **_CLUSTER),
    local("asking", 1, no_cluster, "fast", summary="Refused: no Redis Cluster", **_CLUSTER),
    local(
        "cluster",
        -2,
        cluster,
        acl="slow",
        group="cluster",
        since="3.0.0",
        summary="Refused: this is no Redis Cluster",
        complexity="O(1)",
    ),
)
