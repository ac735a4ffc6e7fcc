"""RAFT.NODE, RAFT.TRANSFER_LEADER, RAFT.TRIGGER_ELECTION: who belongs to the cluster, and who leads it.

Changes of the members go to the leader, whichever member is asked (`replica/admin.py`), and are answered when they are
committed. They say what is to hold, so repeating one is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raftkv.errors import LeaseInForce
from raftkv.machines.interface import NO_SCOPES, Command, Kind
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Encoded, Error, Reply
from raftkv.raft.roles import Role
from raftkv.server.commands.rows import container, local
from raftkv.server.commands.view import peers
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session


class _Asked:
    """What one client waits for (replica.work.Sink)."""

    remote = False
    readonly = False

    def __init__(self, session: Session) -> None:
        self.resp3 = session.resp3
        self.reply: Reply | NoReply = NO_REPLY
        self._server = session.server

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        self.reply = replies[start]

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self.reply = Encoded(replies[0])

    def on_redirect(self, leader_id: int) -> None:
        self.reply = Error(f"MOVED 0 {self._server.client_address_of(leader_id)}")

    def on_not_done(self, error: Error) -> None:
        self.reply = error

    def on_unknown(self, error: Error) -> None:
        self.reply = error


def ask_leader(session: Session, argv: list[bytes]) -> Reply | NoReply:
    """Have the leader carry out a command of kind ADMIN."""
    asked = _Asked(session)
    session.server.replica.submit(Kind.ADMIN, [argv], NO_SCOPES, sum(map(len, argv)), asked)
    return session.park(lambda: asked.reply)


def node_list(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """One map for each member, this one included: what `raftkv member list` shows."""
    server = session.server
    node = server.replica.node
    own: dict[bytes, Reply] = {
        b"id": node.id,
        b"role": _role_of(server, node.id),
        b"peer_address": node.membership.addresses.get(node.id, ""),
        b"client_address": server.client_address_of(node.id),
        b"leads": int(node.role is Role.LEADER),
        b"connected": 1,
        b"match": node.log.synced,
    }
    rows = {node.id: own}
    for peer in peers(server):
        rows[peer.id] = {
            b"id": peer.id,
            b"role": _role_of(server, peer.id),
            b"peer_address": peer.peer_address,
            b"client_address": peer.client_address,
            b"leads": int(peer.id == node.leader_id),
            b"connected": int(peer.is_connected),
            b"match": peer.match,
        }
    return [rows[member_id] for member_id in sorted(rows)]


def _role_of(server: Server, member_id: int) -> str:
    membership = server.replica.node.membership
    if member_id in membership.voters:
        return "joining" if membership.outgoing and member_id not in membership.outgoing else "voter"
    if member_id in membership.outgoing:
        return "leaving"
    if member_id in membership.joining:
        return "joining"
    return "learner" if member_id in membership.learners else "none"


def trigger_election(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    try:
        session.server.replica.trigger_election()
    except LeaseInForce as error:
        return Error(f"TRYAGAIN {error}")
    return OK


_RAFT: dict[str, Any] = {"group": "server", "since": "7.0.0"}
_ID = argument("id", "integer")

ROWS: tuple[Command, ...] = (
    container(
        "raft.node",
        -2,
        (
            "ADD <id> <host:port> [LEARNER]",
            "    Add a member: a voter once it has caught up, or a learner.",
            "REMOVE <id>",
            "    Take a member out for ever.",
            "PROMOTE <id>",
            "    Make a learner a voter, once it has caught up.",
            "DEMOTE <id>",
            "    Make a voter a learner.",
            "LIST",
            "    Tell the members, their roles and addresses.",
        ),
        (
            local(
                "raft.node|add",
                -4,
                ask_leader,
                "admin noscript",
                acl="admin slow dangerous",
                summary="Adds a member, as a voter once it has caught up, or as a learner",
                arguments=(
                    _ID,
                    argument("address", "string"),
                    argument("learner", "pure-token", token="LEARNER", flags=OPTIONAL),
                ),
                complexity="O(N) where N is the size of the state that the member is sent",
                **_RAFT,
            ),
            local(
                "raft.node|remove",
                3,
                ask_leader,
                "admin noscript",
                acl="admin slow dangerous",
                summary="Takes a member out of the cluster for ever",
                arguments=(_ID,),
                complexity="O(1)",
                **_RAFT,
            ),
            local(
                "raft.node|promote",
                3,
                ask_leader,
                "admin noscript",
                acl="admin slow dangerous",
                summary="Makes a learner a voter, once it has caught up",
                arguments=(_ID,),
                complexity="O(1)",
                **_RAFT,
            ),
            local(
                "raft.node|demote",
                3,
                ask_leader,
                "admin noscript",
                acl="admin slow dangerous",
                summary="Makes a voter a learner",
                arguments=(_ID,),
                complexity="O(1)",
                **_RAFT,
            ),
            local(
                "raft.node|list",
                2,
                node_list,
                "loading stale",
                acl="admin slow dangerous",
                summary="Tells the members, their roles and addresses",
                complexity="O(N) where N is the number of members",
                **_RAFT,
            ),
        ),
        acl="slow",
        summary="A container for commands that change the members",
        complexity="Depends on the subcommand",
        **_RAFT,
    ),
    local(
        "raft.transfer_leader",
        -1,
        ask_leader,
        "admin noscript",
        acl="admin slow dangerous",
        summary="Hands leadership over to a member, by default to the one that has the most of the log",
        arguments=(argument("id", "integer", flags=OPTIONAL),),
        complexity="O(1)",
        **_RAFT,
    ),
    local(
        "raft.trigger_election",
        1,
        trigger_election,
        "admin noscript fast",
        acl="admin fast dangerous",
        summary="Has this member stand for election, whoever leads",
        complexity="O(1)",
        **_RAFT,
    ),
)
