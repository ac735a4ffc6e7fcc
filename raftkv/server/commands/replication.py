"""ROLE and WAIT: Redis's words for replication, answered from Raft's positions. An offset is a log index.

WAIT counts, like Redis, the members beside the one that leads. A write that was acknowledged is on a majority already,
so that many less one are there at once; WAIT for more asks whether every single one of them has it on its disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import argument
from raftkv.machines.replies import Error, Reply
from raftkv.server.commands.rows import NOT_AN_INTEGER, local
from raftkv.server.commands.view import host_and_port, leader_address, leads, peers
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session


def role(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    server = session.server
    if leads(server):
        replicas: list[Reply] = []
        for peer in peers(server):
            host, port = peer.client_host_and_port
            if peer.is_connected and host:
                replicas.append([host, b"%d" % port, b"%d" % (peer.match or 0)])
        return [b"master", server.replica.node.log.commit, replicas]
    address = leader_address(server)
    host, port = host_and_port(address)
    return [b"slave", host, port, b"connected" if address else b"connect", server.replica.applied]


def wait(session: Session, argv: list[bytes]) -> Reply | NoReply:
    wanted, timeout_ms = parse_integer(argv[1]), parse_integer(argv[2])
    if wanted is None:
        return NOT_AN_INTEGER
    if timeout_ms is None:
        return Error("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        return Error("ERR timeout is negative")
    server = session.server
    index = server.replica.node.log.commit
    due_ms = server.now_ms() + timeout_ms if timeout_ms else None

    def poll() -> Reply | NoReply:
        count = members_with(server, index)
        is_late = server.stopping or not session.may_wait or (due_ms is not None and server.now_ms() >= due_ms)
        return count if count >= wanted or is_late else NO_REPLY

    return session.park(poll)


def members_with(server: Server, index: int) -> int:
    """How many members beside the leader are known to have the committed entry `index` on their disks."""
    node = server.replica.node
    known = sum(peer.match is not None and peer.match >= index for peer in peers(server))
    # Committed is on a quorum, whatever a new leader has heard so far or a follower can know.
    return max(known, node.quorum - 1)


ROWS: tuple[Command, ...] = (
    local(
        "role",
        1,
        role,
        "noscript loading stale fast",
        acl="admin fast dangerous",
        group="server",
        since="2.8.12",
        summary="Tells whether this member leads, and the log positions",
        complexity="O(N) where N is the number of members",
    ),
    local(
        "wait",
        3,
        wait,
        "noscript",
        acl="slow connection",
        since="3.0.0",
        summary="Waits until so many other members have all acknowledged writes on disk",
        tips=("request_policy:all_shards", "response_policy:agg_min"),
        arguments=(argument("numreplicas", "integer"), argument("timeout", "integer")),
        complexity="O(N) where N is the number of members",
    ),
)
