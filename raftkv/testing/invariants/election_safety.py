"""Election safety (paper, figure 3 and section 5.2): at most one leader is elected in a term, in all lives of all
members; and so that this can hold, each member votes for at most one in a term (figure 2, RequestVote)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.messages import VoteReply, VoteRequest
from raftkv.raft.roles import Role
from raftkv.testing.invariants.base import Facts, Invariant
from raftkv.wire.peer import PeerMessage

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class ElectionSafety(Invariant):
    name = "election safety"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._votes: dict[tuple[int, int], int] = {}

    def after_step(self, member: Member) -> None:
        assert member.replica is not None
        node = member.replica.node
        if node.role is Role.LEADER:
            leader = self.facts.leaders.setdefault(node.term, member.id)
            self.require(leader == member.id, f"term {node.term} was led by {leader} and is led by {member.id}")

    def on_send(self, member: Member, peer: int, message: PeerMessage) -> None:
        if isinstance(message, VoteReply) and message.granted and not message.pre:
            self._note(member.id, message.term, peer)
        elif isinstance(message, VoteRequest) and not message.pre:
            self._note(member.id, message.term, member.id)

    def _note(self, voter: int, term: int, candidate: int) -> None:
        earlier = self._votes.setdefault((voter, term), candidate)
        self.require(earlier == candidate, f"{voter} voted for {earlier} and for {candidate} in term {term}")
