"""RAFT.STATUS: where this member stands, and on the leader also where the others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.replies import Reply
from raftkv.server.commands.members import ask_leader
from raftkv.server.commands.rows import local
from raftkv.server.commands.view import Peer, leader_address, peers

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session


def raft_status(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return status_of(session.server)


def status_of(server: Server) -> Reply:
    """The fields of RAFT.STATUS."""
    node, log = server.replica.node, server.replica.node.log
    return {
        b"id": node.id,
        b"role": node.role.value,
        b"term": node.term,
        b"leader": node.leader_id,
        b"leader_address": leader_address(server),
        b"commit": log.commit,
        b"applied": server.replica.applied,
        b"last": log.last_index,
        b"synced": log.synced,
        b"first": log.base_index + 1 if log.last_index else 0,
        b"quorum": node.quorum,
        b"cluster_id": server.cluster_id,
        b"founders": {b"%d" % member: address for member, address in sorted(server.founders.items())},
        b"voters": list(node.membership.voters),
        b"outgoing": list(node.membership.outgoing),
        b"learners": list(node.membership.learners),
        b"transferring_to": node.transferring,
        b"snapshot": _newest_snapshot(server),
        b"verified": verified_of(server),
        b"uptime_ms": server.now_ms() - server.started_ms,
        b"machine": server.replica.machine.name.encode(),
        b"machine_version": server.replica.machine.version,
        b"machine_version_effective": server.replica.ledger.version,
        b"sessions": len(server.replica.ledger.sessions.table),
        b"outbox": len(server.replica.ledger.outbox),
        b"effects_run": server.effects.run,
        b"effects_failed": server.effects.failed,
        b"effects_dropped": server.effects.dropped,
        b"peers": [
            _peer_status(peer, log.last_index, server.replica.versions.known.get(peer.id)) for peer in peers(server)
        ],
    }


def verified_of(server: Server) -> Reply:
    """The last verdict of this member as leader, as RAFT.VERIFY answers it; None: there is none."""
    last = server.replica.verification.last
    return None if last is None else last.reply()


def _newest_snapshot(server: Server) -> Reply:
    """Index of the newest snapshot; None: there is none."""
    newest = server.replica.snapshots.newest
    return None if newest is None else newest.meta.index


def _peer_status(peer: Peer, last_index: int, machine_version: int | None) -> Reply:
    """`lag` counts the entries that the peer is not known to have. `machine_version`: as it said when it was last
    connected to this member."""
    return {
        b"id": peer.id,
        b"address": peer.peer_address,
        b"client_address": peer.client_address,
        b"match": peer.match,
        b"next": peer.next,
        b"lag": None if peer.match is None else last_index - peer.match,
        b"connected": int(peer.is_connected),
        b"last_heard_ms": peer.silence_ms,
        b"machine_version": machine_version,
    }


ROWS: tuple[Command, ...] = (
    local(
        "raft.verify",
        1,
        ask_leader,
        "admin noscript",
        acl="admin slow dangerous",
        group="server",
        since="7.0.0",
        summary="Compares the states of all members, at one place in the log, while they serve",
        tips=("nondeterministic_output",),
        complexity="O(N) where N is the number of keys",
    ),
    local(
        "raft.status",
        1,
        raft_status,
        "loading stale fast",
        acl="admin fast dangerous",
        group="server",
        since="7.0.0",
        summary="Tells this member's role, term, leader and log positions, and its peers with their lag",
        tips=("nondeterministic_output",),
        complexity="O(N) where N is the number of members",
    ),
)
