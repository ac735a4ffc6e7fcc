"""RAFT.CLUSTER INIT and JOIN: an operator tells a server that belongs to no cluster yet (`cluster.wait`) where it
belongs. What they do is in `server/entrance.py` and `server/waiting.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftkv.machines.interface import Command
from raftkv.machines.redis.rows import MULTIPLE, argument
from raftkv.machines.replies import Error, Reply, shown
from raftkv.server.commands.rows import container, local
from raftkv.server.no_reply import NoReply
from raftkv.settings import split_address

if TYPE_CHECKING:
    from raftkv.server.session import Session


def init(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    return session.server.entrance.on_init(session)


def join(session: Session, argv: list[bytes]) -> Reply | NoReply:
    addresses = [word.decode(errors="replace") for word in argv[2:]]
    for word, address in zip(argv[2:], addresses, strict=True):
        try:
            split_address(address)
        except ValueError:
            return Error(f"ERR invalid address '{shown(word)}': host:port is wanted, where clients reach a member")
    return session.server.entrance.on_join(session, addresses)


_RAFT: dict[str, Any] = {"group": "server", "since": "7.0.0"}

ROWS: tuple[Command, ...] = (
    container(
        "raft.cluster",
        -2,
        (
            "INIT",
            "    Found a cluster of which this member is the first; tells its id.",
            "JOIN <host:port> [<host:port> ...]",
            "    Have this member join the cluster whose members clients reach there.",
        ),
        (
            local(
                "raft.cluster|init",
                2,
                init,
                "admin noscript loading stale",
                acl="admin slow dangerous",
                summary="Founds a cluster of which this member, which belongs to none yet, is the first",
                complexity="O(1)",
                **_RAFT,
            ),
            local(
                "raft.cluster|join",
                -3,
                join,
                "admin noscript loading stale",
                acl="admin slow dangerous",
                summary="Has this member, which belongs to no cluster yet, join one",
                arguments=(argument("address", "string", flags=MULTIPLE),),
                complexity="O(N) where N is the size of the state that this member is sent",
                **_RAFT,
            ),
        ),
        acl="slow",
        summary="A container for commands that tell a member its cluster",
        complexity="Depends on the subcommand",
        **_RAFT,
    ),
)
