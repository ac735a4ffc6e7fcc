"""What several commands tell about the cluster, put together once: who leads, and how far the others are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftkv.machines.replies import Reply
from raftkv.raft.roles import Role
from raftkv.replica.work import NO_LEADER
from raftkv.server.no_reply import NO_REPLY, NoReply
from raftkv.settings import split_address

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member. `match` and `next` are known to the leader alone; the silence (ms) while it is connected."""

    id: int
    peer_address: str
    client_address: str | None
    is_connected: bool
    silence_ms: int | None
    match: int | None
    next: int | None

    @property
    def client_host_and_port(self) -> tuple[str, int]:
        return host_and_port(self.client_address)


def peers(server: Server) -> list[Peer]:
    """All other members, by id."""
    node, links = server.replica.node, server.links
    found = []
    for peer_id in node.peers:
        link = links.get(peer_id)
        progress = node.progress.get(peer_id) if node.role is Role.LEADER else None
        found.append(
            Peer(
                id=peer_id,
                peer_address=node.membership.addresses.get(peer_id, ""),
                client_address=server.client_address_of(peer_id),
                is_connected=link is not None,
                silence_ms=None if link is None else max(0, server.now_ms() - link.heard_ms),
                match=None if progress is None else progress.match,
                next=None if progress is None else progress.next,
            )
        )
    return found


def leads(server: Server) -> bool:
    return server.replica.node.role is Role.LEADER


def leader_address(server: Server) -> str | None:
    """host:port at which clients reach the leader; None while nobody is known to lead, or where it is not known."""
    leader_id = server.replica.node.leader_id
    return None if leader_id is None else server.client_address_of(leader_id)


def host_and_port(address: str | None) -> tuple[str, int]:
    """("", 0) for an address that is not known."""
    try:
        return split_address(address or "")
    except ValueError:
        return "", 0


def when_led(session: Session, answer: Callable[[int], Reply], *, otherwise: Reply = NO_LEADER) -> Reply | NoReply:
    """`answer(leader's id)`; where there is no leader, it waits for one as long as a command does. Then it is
    `otherwise`.

    To be returned by a handler. Clients that ask during an election would take any quick answer for the last word.
    """
    server = session.server
    due_ms = server.now_ms() + server.settings.raft.no_leader_wait_ms

    def poll() -> Reply | NoReply:
        leader_id = server.reachable_leader()
        if leader_id is not None:
            return answer(leader_id)
        return otherwise if server.stopping or server.now_ms() >= due_ms else NO_REPLY

    return session.park(poll)


def is_cluster(server: Server) -> bool:
    """Whether clients see a Redis Cluster, whose slots are all the leader's."""
    return server.settings.client.routing == "redirect"


def mode(server: Server) -> str:
    """What Redis calls the way a server is run."""
    return "cluster" if is_cluster(server) else "standalone"


def forty_digits(text: str) -> str:
    """An identity of the length that Redis's have."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def node_id(server: Server, member_id: int) -> str:
    """What Redis Cluster and Sentinel call a member: the same for ever, and on every member."""
    return forty_digits(f"{server.cluster_id} {member_id}")
