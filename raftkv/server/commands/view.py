"""What several commands tell about the cluster, put together once: who leads, and how far the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftkv.raft.roles import Role
from raftkv.settings import split_address

if TYPE_CHECKING:
    from raftkv.server.server import Server


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
