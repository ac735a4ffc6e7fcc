"""Proof of leadership without the log: heartbeats, their answers, and numbered read rounds (thesis, section 6.4).

A linearizable read needs to know that no other leader has been elected when it is answered. All reads that have
arrived wait for one *round*: the leader raises `round`, sends it to all, and an answer for round n confirms every
round up to n, for it was given after n began. Once a quorum has answered n, every read that arrived before n began
may be answered from the state at the commit index. Any number of reads costs one round, and no disk.

Leases (thesis, 6.4.1; off by default) spare the round by a bet on clocks. Who has answered a round gives nobody a vote
for `election_timeout_ms_min` from then on (`Node.owes_lease`), nor itself its own, so nobody else leads for as long
after the round was *sent*, less what clocks may drift apart. What is kept for it, and why each:

- a voter that has just started gives no vote for as long: it may have answered just before it fell;
- it keeps its word also when it learns of a higher term, and then knows no leader: the old one need not know of that;
- only the leader itself makes an election that does not wait: by handing over, or by giving up. From the first word of
  a hand-over its lease has ended for the whole term, as that word may arrive at any time;
- an operator's RAFT.TRIGGER_ELECTION at another member is refused while that owes a lease, and waits for the others'
  votes as any candidate does.

What is assumed of clocks: while one member's runs through `election_timeout_ms_min`, any other's runs through at least
what `lease_drift_percent_max` leaves of it. Who reads by lease asks `holds_lease` *after* it has read, with the clock
read anew: a process that stood still in between (SIGSTOP) learns that the lease is over, and one that stands still
afterwards sends late what was true when it was asked for. A clock that stands still together with its process, as a
stopped virtual machine's may, breaks the assumption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.messages import Heartbeat, HeartbeatReply
from raftkv.raft.quorum import agreed, are_enough
from raftkv.raft.replication import follow, send_heartbeats
from raftkv.raft.roles import Role, become_follower

if TYPE_CHECKING:
    from raftkv.raft.node import Node


LEASE_SLACK_MS = 2
"""Clocks are read in whole milliseconds."""

ROUND_PATIENCE_MS = 10
"""So long a round may take before the members that were not asked are asked too."""


def begin_round(node: Node) -> int:
    """Ask all members whether this one still leads; returns the round's number, confirmed when
    `node.confirmed_round` has reached it."""
    _next_round(node)
    node.asked = _quickest(node)
    send_heartbeats(node, node.asked)
    _count(node)
    return node.round


def _next_round(node: Node) -> None:
    node.round += 1
    node.round_begun_ms = node.now_ms
    if node.settings.lease_drift_percent_max:
        node.rounds_sent.append((node.round, node.now_ms))


def on_heartbeat_due(node: Node) -> None:
    """Where there are leases, each heartbeat is a round: its answers prolong the lease."""
    if node.settings.lease_drift_percent_max:
        _next_round(node)
        _count(node)


def holds_lease(node: Node) -> bool:
    """Whether nobody else can be leading now."""
    settings = node.settings
    if node.role is not Role.LEADER or node.lease_from_ms is None or node.lease_is_over:
        return False
    length_ms = settings.election_timeout_ms_min * (100 - settings.lease_drift_percent_max) // 100 - LEASE_SLACK_MS
    return node.now_ms - node.lease_from_ms < length_ms


def _quickest(node: Node) -> tuple[int, ...]:
    """As many voters as make a quorum with this one: those that answered last. Asking more would cost them a wake-up
    for nothing; when one of these does not answer, the next tick asks all (`ask_again`)."""
    if len(node.halves) > 1:
        return node.voter_peers  # for the short time of a change
    progress, half = node.progress, node.halves[0]
    wanted = half.needed - half.has_self
    before = node.round - 1
    for peer in node.asked:
        if peer not in progress or progress[peer].round != before:
            break
    else:
        if len(node.asked) == wanted:
            return node.asked  # they answered the last round, and nobody was quicker

    quickest = sorted(half.peers, key=lambda peer: (progress[peer].round, progress[peer].heard_ms), reverse=True)
    return tuple(quickest[:wanted])


def ask_again(node: Node) -> None:
    """A round that was not confirmed at once goes to everybody."""
    if node.confirmed_round < node.round and node.now_ms - node.round_begun_ms >= ROUND_PATIENCE_MS:
        node.round_begun_ms = node.now_ms
        send_heartbeats(node, node.voter_peers)


def on_heartbeat(node: Node, sender: int, message: Heartbeat) -> None:
    follow(node, sender)
    if node.settings.lease_drift_percent_max:
        node.votes_from_ms = node.now_ms + node.settings.election_timeout_ms_min
    node.advance_commit(min(message.commit, node.log.last_index))
    node.promise(sender, HeartbeatReply(node.term, message.round), needs_entries=False)


def on_heartbeat_reply(node: Node, sender: int, reply: HeartbeatReply) -> None:
    progress = node.progress[sender]
    progress.heard_ms = node.now_ms
    if reply.round > progress.round:
        progress.round = reply.round
        _count(node)


def _count(node: Node) -> None:
    confirmed = node.round
    if node.confirmed_round == confirmed:
        return
    for half, peers in node.counted:
        rounds = [progress.round for progress in peers]
        if half.has_self:
            rounds.append(node.round)
        confirmed = min(confirmed, agreed(rounds, half.needed))
    if confirmed > node.confirmed_round:
        node.confirmed_round = confirmed
        while node.rounds_sent and node.rounds_sent[0][0] <= confirmed:
            node.lease_from_ms = node.rounds_sent.popleft()[1]


def check_quorum(node: Node) -> None:
    """Step down when a quorum has not been heard for an election timeout: the others have, or soon will have,
    another leader, and clients must not wait here for ever (thesis, section 6.2)."""
    limit_ms = node.settings.election_timeout_ms_max
    heard = [peer for peer, progress in node.progress.items() if node.now_ms - progress.heard_ms <= limit_ms]
    if not are_enough(node.halves, heard):
        become_follower(node, node.term, None)
