"""The four roles and the only ways into them (paper, figure 4; pre-vote from the thesis, section 9.6).

::

    FOLLOWER --timeout--> PRE_CANDIDATE --a quorum would vote--> CANDIDATE --a quorum votes--> LEADER
        ^------------------------- a higher term, or a leader of this term ----------------------'

and from any role to CANDIDATE when an operator triggers an election, or a leader hands over. Only who is a voter, or
still may be one (`Node.may_campaign`), stands.

Going from PRE_CANDIDATE to CANDIDATE is the only way a term rises by itself, so a member that is cut off, and
asks in vain for ever, comes back with the term it left with and disturbs nobody.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from raftkv.raft.messages import EntryKind, VoteRequest
from raftkv.raft.quorum import are_enough

if TYPE_CHECKING:
    from raftkv.raft.node import Node


class Role(enum.Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"

    __hash__ = object.__hash__  # Enum's own is a function in Python, and each message looks its handler up by role


def _enter(node: Node, role: Role) -> None:
    """Take `role`; a candidate may become one once more."""
    if role is not node.role or role is Role.CANDIDATE:
        node.entered.append(role)
    node.role = role


def become_follower(node: Node, term: int, leader_id: int | None) -> None:
    """Follow `leader_id` (None: not known yet) in `term`, which is not below the present one.

    The vote is forgotten only when the term rises: a leader that steps down within its term has voted for itself
    in it and must not vote again. The known leader is replaced even by None, so that nobody is sent to a deposed one.
    """
    if term > node.term:
        node.set_term_and_vote(term, 0)
    if node.role is not Role.FOLLOWER or leader_id is not None:
        # A follower that merely learns of a higher term keeps its timer: a candidate that cannot win would
        # otherwise put off those who can.
        node.reset_election_timer()
    _forget_leading(node)
    _enter(node, Role.FOLLOWER)
    node.leader_id = leader_id
    node.leader_heard_ms = node.now_ms


def become_pre_candidate(node: Node) -> None:
    """Ask whether an election could be won, without changing anything that is kept."""
    _enter(node, Role.PRE_CANDIDATE)
    node.leader_id = None
    _collect_votes(node, node.term + 1, pre=True)


def become_candidate(node: Node, *, forced: bool = False) -> None:
    """Begin a new term and vote for oneself. The requests leave after the disk has both (see Node.promise).

    `forced`: an operator wants an election although a leader may be heard. That needs no pre-vote to be safe, only the
    new term: a leader that gives up its own keeps the vote it has given itself there, and never votes in it again.
    """
    _enter(node, Role.CANDIDATE)
    node.leader_id = None
    _forget_leading(node)
    node.set_term_and_vote(node.term + 1, node.id)
    _collect_votes(node, node.term, pre=False, forced=forced)


def _collect_votes(node: Node, term: int, *, pre: bool, forced: bool = False) -> None:
    node.reset_election_timer()
    node.votes = {node.id: True}
    request = VoteRequest(term, node.log.last_index, node.log.last_term, pre, forced)
    for peer in node.voter_peers:
        (node.send if pre else node.promise)(peer, request)
    advance_if_elected(node)


def advance_if_elected(node: Node) -> None:
    """Take the next step once a quorum has said yes; give up for this time once a quorum cannot any more."""
    if are_enough(node.halves, [voter for voter, granted in node.votes.items() if granted]):
        if node.role is Role.CANDIDATE and not node.term_is_durable:
            # Only a lone voter gets here. Were it to lead at once, send entries to its learners and crash, it would
            # lead the same term again with other entries.
            return
        (become_candidate if node.role is Role.PRE_CANDIDATE else become_leader)(node)
    elif not are_enough(node.halves, [voter for voter in node.voter_peers if node.votes.get(voter, True)]):
        become_follower(node, node.term, None)


def _forget_leading(node: Node) -> None:
    node.progress = {}
    node.wanting_snapshot = []
    node.catching_up = {}
    node.transferring = None
    if node.leaving:
        node.leaving = {}
        node.peers = tuple(sorted(node.members - {node.id}))


def become_leader(node: Node) -> None:
    """Lead the present term: forget what is believed about the others, and append the term's first entry.

    That entry (a no-op) is what commits everything older: entries of earlier terms are never committed by counting
    (paper, figure 8), and until it is committed and applied this leader cannot know what is committed (section 8).
    """
    _enter(node, Role.LEADER)
    node.leader_id = node.id
    node.on_elected()
    node.term_start = node.log.last_index + 1
    node.round = node.confirmed_round = 0
    node.rounds_sent.clear()
    node.lease_from_ms = None
    node.lease_is_over = False
    node.heartbeat_due_ms = node.now_ms
    node.append_own(EntryKind.NO_OP, b"")
