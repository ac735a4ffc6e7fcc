"""Votes: asking, giving and counting them (paper, section 5.2 and 5.4.1; thesis, 4.2.3 and 9.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.messages import VoteReply, VoteRequest
from raftkv.raft.roles import Role, advance_if_elected, become_follower, become_pre_candidate

if TYPE_CHECKING:
    from raftkv.raft.node import Node


def on_election_timeout(node: Node) -> None:
    """Stand for election. Who is no voter only forgets the leader that has fallen silent; so does who could not keep
    a promise because its disk does not answer."""
    if node.may_campaign and not node.disk_is_stalled:
        become_pre_candidate(node)
    else:
        become_follower(node, node.term, None)
        node.reset_election_timer()


def hears_live_leader(node: Node) -> bool:
    """Whether a leader spoke within the shortest election timeout, so that no vote may be given (thesis, 4.2.3).

    A leader counts itself: check-quorum makes it step down when it has lost touch with the others. Who owes a lease
    may have forgotten whose, by a start or a higher term.
    """
    if node.role is Role.LEADER or node.owes_lease:
        return True
    return node.leader_id is not None and node.now_ms - node.leader_heard_ms < node.settings.election_timeout_ms_min


def on_vote_request(node: Node, sender: int, request: VoteRequest) -> None:
    """Answer every request, whatever its term: a candidate that hears nothing learns nothing. And whoever sends it:
    the entry that makes the candidate a voter, or this member one, may not have come here yet (thesis, 4.2.2)."""
    if request.term < node.term or (hears_live_leader(node) and not request.forced):
        # The term is not taken over either: one member that missed some heartbeats must not unseat a healthy leader.
        return node.promise(sender, VoteReply(node.term, False, request.pre))
    if request.pre:
        # Nothing is promised, so several may be told yes, and nothing waits for the disk.
        granted = request.term > node.term and node.log.is_up_to_date(request.last_index, request.last_term)
        return node.send(sender, VoteReply(request.term if granted else node.term, granted, True))
    if request.term > node.term:
        become_follower(node, request.term, None)
    granted = (
        # We may vote for it if we have not voted for another in this term ...
        node.vote in (0, sender)
        # ... and we follow nobody in this term (then an election has been won already) ...
        and node.leader_id is None
        # ... and electing it cannot lose anything that may have been committed.
        and node.log.is_up_to_date(request.last_index, request.last_term)
    )
    if granted:
        node.set_term_and_vote(node.term, sender)
        node.reset_election_timer()
    return node.promise(sender, VoteReply(node.term, granted, False))


def on_vote_reply(node: Node, sender: int, reply: VoteReply) -> None:
    """Count each voter once; replies to a question that is no longer asked are of no use."""
    asking_pre = node.role is Role.PRE_CANDIDATE
    asked_term = node.term + 1 if asking_pre else node.term
    if reply.pre is not asking_pre or (reply.granted and reply.term != asked_term):
        return
    node.votes.setdefault(sender, reply.granted)
    advance_if_elected(node)
