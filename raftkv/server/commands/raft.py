"""RAFT.STATUS: where this member stands, and on the leader also where the others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.replies import Reply
from raftkv.raft.roles import Role
from raftkv.server.commands.rows import local

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session


def raft_status(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    server = session.server
    node, log = server.replica.node, server.replica.node.log
    leader_id = node.leader_id
    address = server.client_address_of(leader_id) if leader_id is not None else None
    return {
        b"id": node.id,
        b"role": node.role.value.encode(),
        b"term": node.term,
        b"leader": leader_id,
        b"leader_address": address,
        b"commit": log.commit,
        b"applied": server.replica.applied,
        b"last": log.last_index,
        b"synced": log.synced,
        b"first": 1 if log.last_index else 0,
        b"quorum": node.quorum,
        b"cluster_id": server.cluster_id,
        b"uptime_ms": server.now_ms() - server.started_ms,
        b"peers": [peer_status(server, peer_id) for peer_id in node.peers],
    }


def peer_status(server: Server, peer_id: int) -> Reply:
    """One other member: `match`, `next` and `lag` (entries that it lacks) are known to the leader alone."""
    node = server.replica.node
    link = server.links.get(peer_id)
    progress = node.progress.get(peer_id) if node.role is Role.LEADER else None
    return {
        b"id": peer_id,
        b"address": server.settings.cluster.members.get(peer_id),
        b"client_address": server.client_address_of(peer_id),
        b"match": progress.match if progress else None,
        b"next": progress.next if progress else None,
        b"lag": node.log.last_index - progress.match if progress else None,
        b"connected": int(link is not None),
        b"last_heard_ms": server.now_ms() - link.heard_ms if link is not None else None,
    }


ROWS: tuple[Command, ...] = (
    local(
        "raft.status",
        1,
        raft_status,
        "loading stale fast",
        acl="slow dangerous",
        group="server",
        summary="Tells this member's role, term, leader and log positions, and its peers with their lag.",
    ),
)
