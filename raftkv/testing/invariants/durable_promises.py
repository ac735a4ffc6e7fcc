"""Durable before promised (paper, figure 2: "updated on stable storage before responding to RPCs").

No vote, no request for votes and no acknowledgement leaves a member before its own disk has what it vouches for: a
member that forgets a promise in a crash breaks it in its next life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.messages import AppendReply, HeartbeatReply, SnapshotReply, VoteReply, VoteRequest
from raftkv.testing.invariants.base import Invariant
from raftkv.wire.peer import PeerMessage

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class DurablePromises(Invariant):
    name = "durable before promised"

    def on_send(self, member: Member, peer: int, message: PeerMessage) -> None:
        if isinstance(message, VoteRequest) and not message.pre:
            self._voted(member, message.term, member.id)
        elif isinstance(message, VoteReply) and message.granted and not message.pre:
            self._voted(member, message.term, peer)
        elif isinstance(message, AppendReply):
            self._term(member, message.term)
            if message.accepted and message.match_index:
                self._has(member, message.match_index, self._leaders_term(peer, message))
        elif isinstance(message, SnapshotReply):
            self._term(member, message.term)
            if message.installed:
                self._has(member, message.index, None)
        elif isinstance(message, HeartbeatReply):
            self._term(member, message.term)

    def _voted(self, member: Member, term: int, candidate: int) -> None:
        if member.disk.hard_state.term > term:
            return  # the disk has a newer term, so this one will not be voted in again, whatever is forgotten
        durable = member.disk.votes.get(term)
        self.require(durable == candidate, f"{member.id} votes for {candidate} in {term}, its disk has {durable}")

    def _term(self, member: Member, term: int) -> None:
        durable = member.disk.hard_state.term
        self.require(durable >= term, f"{member.id} speaks in term {term}, its disk has {durable}")

    def _leaders_term(self, leader_id: int, reply: AppendReply) -> int | None:
        """Term of the acknowledged entry in the log of the leader that sent it, while it still leads that term."""
        leader = self.facts.members[leader_id]
        if leader.replica is None or leader.replica.node.term != reply.term or reply.match_index > len(leader.log):
            return None
        return leader.log[reply.match_index - 1].term

    def _has(self, member: Member, index: int, term: int | None) -> None:
        if term is None:
            has = any(found == index for found, _ in member.disk.ever_durable)
        else:
            has = (index, term) in member.disk.ever_durable
        self.require(has, f"{member.id} acknowledges entry {index} of term {term}, which its disk does not have")
