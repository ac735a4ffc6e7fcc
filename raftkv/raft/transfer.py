"""Handing over leadership (thesis, 3.10): wait until the target has everything, then tell it to stand for election.

The target's election is an ordinary one in a new term, only that it does not wait, and that voters answer although
they hear a leader. So nothing can go wrong that could not in any election; when the target does not stand, or does not
win, the leader goes on after an election timeout.

Two kinds of leaders must go, and hand over first where they can (`leave`): one that is no voter any more, and one whose
own disk does not answer. The latter could commit by the others' disks and still lead, but it can promise nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.errors import NotLeader, NotVoter
from raftkv.raft.messages import TimeoutNow
from raftkv.raft.roles import Role, become_candidate, become_follower

if TYPE_CHECKING:
    from raftkv.raft.node import Node


def start(node: Node, target: int | None) -> None:
    if node.role is not Role.LEADER:
        raise NotLeader(node.leader_id)
    if target is None:
        target = _best(node)
    if target is None or target not in node.voters:
        raise NotVoter(f"leadership cannot go to member {target}" if target else "no other voter has been heard lately")
    if target != node.id and node.transferring != target:
        node.transferring = target
        node.transfer_told = False
        node.transfer_due_ms = node.now_ms + node.settings.election_timeout_ms_max


def _best(node: Node) -> int | None:
    """The voter, of those heard lately, that lacks the least; while joint, one of the new ones."""
    limit_ms = node.settings.election_timeout_ms_min
    heard = [peer for peer in node.halves[0].peers if node.now_ms - node.progress[peer].heard_ms <= limit_ms]
    return max(heard, key=lambda peer: (node.progress[peer].match, -peer), default=None)


def hand_over_when_equal(node: Node) -> None:
    """Called with each output while `transferring`."""
    target = node.transferring
    assert target is not None
    if not node.transfer_told and node.progress[target].match == node.log.last_index:
        node.lease_is_over = True
        node.send(target, TimeoutNow(node.term))
        node.transfer_told = True


def on_heartbeat_due(node: Node) -> None:
    """Say it again, for it may be lost; give up what takes too long; and see whether this leader must go."""
    node.transfer_told = False
    if node.transferring is not None and node.now_ms >= node.transfer_due_ms:
        node.transferring = None
        if _must_go(node):
            become_follower(node, node.term, None)
    elif node.transferring is None and _must_go(node):
        leave(node)


def _must_go(node: Node) -> bool:
    is_gone = node.id not in node.voters and node.membership_is_committed
    return is_gone or (node.disk_is_stalled and len(node.voters) > 1)


def leave(node: Node) -> None:
    """Hand over, or at least step down."""
    target = _best(node)
    if target is None:
        become_follower(node, node.term, None)
    else:
        start(node, target)


def on_timeout_now(node: Node, sender: int, _message: TimeoutNow) -> None:
    if node.leader_id in (None, sender) and node.may_campaign:
        become_candidate(node, forced=True)
