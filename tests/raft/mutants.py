"""Bugs put back by hand, to prove that the checkers see them. Each patches the product for one test only.

A mutant is a function that takes pytest's `monkeypatch`. Its docstring tells the bug; `MUTANTS` pairs it with the
properties, one of which must be reported broken by some schedule of a fixed set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from raftkv.raft import changes, quorum, reads, replication, roles
from raftkv.raft import node as node_module
from raftkv.raft.log import Log
from raftkv.raft.membership import Membership, Memberships, check_target
from raftkv.raft.messages import Append, AppendReply, Entry, EntryKind, HardState, Heartbeat, RaftMessage
from raftkv.raft.node import Node, Output
from raftkv.raft.progress import Progress
from raftkv.raft.quorum import agreed
from raftkv.raft.roles import Role

Mutant = Callable[[pytest.MonkeyPatch], None]


def acknowledges_before_sync(patch: pytest.MonkeyPatch) -> None:
    """Promises leave at once, whatever the disk is doing."""

    def promise(self: Node, peer: int, message: RaftMessage, *, needs_entries: bool = True) -> None:
        self.send(peer, message)

    patch.setattr(Node, "promise", promise)


def counts_itself_before_sync(patch: pytest.MonkeyPatch) -> None:
    """The leader counts its own entries as soon as it has them in memory."""

    def commit(node: Node) -> None:
        index = agreed([*(p.match for p in node.progress.values()), node.log.last_index], node.quorum)
        if index >= node.term_start:
            node.advance_commit(index)

    patch.setattr(replication, "commit_what_a_quorum_has", commit)


def commits_an_old_term_by_counting(patch: pytest.MonkeyPatch) -> None:
    """The figure 8 rule is missing."""

    def commit(node: Node) -> None:
        node.advance_commit(agreed([*(p.match for p in node.progress.values()), node.log.synced], node.quorum))

    patch.setattr(replication, "commit_what_a_quorum_has", commit)


def votes_without_persisting(patch: pytest.MonkeyPatch) -> None:
    """The term gets to the disk, the vote does not."""
    take_output = Node.take_output

    def forgetful(self: Node) -> Output:
        output = take_output(self)
        if output.hard_state is not None:
            output.hard_state = HardState(output.hard_state.term, 0, output.hard_state.commit)
        return output

    patch.setattr(Node, "take_output", forgetful)


def forgets_its_vote_when_stepping_down(patch: pytest.MonkeyPatch) -> None:
    """Following a leader of the same term clears the vote (ExRaft's E7)."""
    on_tick = Node.on_tick

    def forgetful(self: Node, now_ms: int) -> None:
        on_tick(self, now_ms)
        if self.role is Role.FOLLOWER:
            self.vote = 0

    patch.setattr(Node, "on_tick", forgetful)


def votes_for_outdated_logs(patch: pytest.MonkeyPatch) -> None:
    """The election restriction of 5.4.1 is missing."""
    patch.setattr(Log, "is_up_to_date", lambda self, last_index, last_term: True)


def compares_logs_by_length_alone(patch: pytest.MonkeyPatch) -> None:
    """A longer log of an older term wins."""
    patch.setattr(Log, "is_up_to_date", lambda self, last_index, last_term: last_index >= self.last_index)


def takes_half_for_a_majority(patch: pytest.MonkeyPatch) -> None:
    """ceil(n/2), ExRaft's E1: two of four."""
    patch.setattr(quorum, "majority", lambda voters, min_majority=0: max((voters + 1) // 2, min_majority))


def vouches_for_a_cut_suffix(patch: pytest.MonkeyPatch) -> None:
    """Writes under way still vouch for indexes that were cut and written anew since (the ABA problem)."""

    def cut_from(self: Node, index: int) -> None:
        self.log.cut_from(index)
        self._unwritten = [entry for entry in self._unwritten if entry.index < index]

    patch.setattr(Node, "cut_from", cut_from)


def acknowledges_its_own_last_index(patch: pytest.MonkeyPatch) -> None:
    """An acceptance names the follower's last entry instead of the append's (ExRaft's E5)."""
    promise = Node.promise

    def boastful(self: Node, peer: int, message: RaftMessage, *, needs_entries: bool = True) -> None:
        if isinstance(message, AppendReply) and message.accepted:
            message = AppendReply(message.term, True, message.prev_index, self.log.last_index, 0, 0)
        promise(self, peer, message, needs_entries=needs_entries)

    patch.setattr(Node, "promise", boastful)


def commits_beyond_the_append(patch: pytest.MonkeyPatch) -> None:
    """The leader's commit index is believed for the whole own log, proven equal or not (ExRaft's E6)."""
    on_append = replication.on_append

    def believing(node: Node, sender: int, message: Append) -> None:
        on_append(node, sender, message)
        node.advance_commit(min(message.commit, node.log.last_index))

    patch.setitem(node_module._HANDLERS, (Role.FOLLOWER, Append), believing)


def heartbeats_carry_the_whole_commit(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat's commit is not cut to what that follower is known to hold."""

    def send_heartbeats(node: Node, peers: Iterable[int]) -> None:
        for peer in peers:
            node.progress[peer].commit_told = node.log.commit
            node.send(peer, Heartbeat(node.term, node.log.commit, node.round))

    patch.setattr(replication, "send_heartbeats", send_heartbeats)
    patch.setattr(reads, "send_heartbeats", send_heartbeats)


def cuts_without_conflict(patch: pytest.MonkeyPatch) -> None:
    """Every append makes the log end where it ends, so a late one removes acknowledged entries."""

    def on_append(node: Node, sender: int, message: Append) -> None:
        replication.follow(node, sender)
        if node.log.has(message.prev_index, message.prev_term):
            if message.prev_index < node.log.last_index:
                node.cut_from(message.prev_index + 1)
            node.accept(message.entries)
            match = message.prev_index + len(message.entries)
            node.advance_commit(min(message.commit, match))
            node.promise(sender, AppendReply(node.term, True, message.prev_index, match, 0, 0))
        else:
            node.promise(sender, replication._rejection(node, message))

    patch.setitem(node_module._HANDLERS, (Role.FOLLOWER, Append), on_append)


def skips_the_consistency_check(patch: pytest.MonkeyPatch) -> None:
    """Entries are taken whatever stands before them, as long as there is no gap."""
    patch.setattr(replication, "_rejection", lambda node, message: _rejection_or_taken(node, message))


def _rejection_or_taken(node: Node, message: Append) -> AppendReply:
    if message.prev_index > node.log.last_index:
        return AppendReply(node.term, False, message.prev_index, 0, node.log.last_index, node.log.last_term)
    entries: Sequence[Entry] = message.entries
    if entries and entries[0].term >= node.log.term(message.prev_index):
        if message.prev_index < node.log.last_index:
            node.cut_from(message.prev_index + 1)
        node.accept(entries)
    return AppendReply(node.term, True, message.prev_index, message.prev_index + len(entries), 0, 0)


def confirms_reads_by_itself(patch: pytest.MonkeyPatch) -> None:
    """The leader believes that it still leads (ExRaft's E2)."""

    def begin_round(node: Node) -> int:
        node.round += 1
        node.confirmed_round = node.round
        return node.round

    patch.setattr(reads, "begin_round", begin_round)


def forgets_its_vote_when_an_election_is_triggered(patch: pytest.MonkeyPatch) -> None:
    """Who stands because an operator wants it may still vote for another in that term (ExRaft's E7, once more)."""

    def become_candidate(node: Node, *, forced: bool = False) -> None:
        roles.become_candidate(node, forced=forced)
        node.vote = 0

    patch.setattr(node_module, "become_candidate", become_candidate)


def confirms_reads_by_any_answer(patch: pytest.MonkeyPatch) -> None:
    """Any answer to any heartbeat, also one sent before the round began, confirms the newest round."""

    def on_heartbeat_reply(node: Node, sender: int, reply: object) -> None:
        progress: Progress = node.progress[sender]
        progress.heard_ms = node.now_ms
        progress.round = node.round
        reads._count(node)

    patch.setitem(node_module._HANDLERS, (Role.LEADER, reads.HeartbeatReply), on_heartbeat_reply)


def reads_before_its_first_commit(patch: pytest.MonkeyPatch) -> None:
    """A new leader takes its commit index for the newest one (ExRaft's E3)."""
    patch.setattr(Node, "leads_and_is_ready", property(lambda self: self.role is Role.LEADER))


def never_asks_for_lost_appends(patch: pytest.MonkeyPatch) -> None:
    """What was lost with nothing sent behind it is never sent again."""
    patch.setattr(replication, "look_for_lost_appends", lambda node: None)


# ---- of memberships, snapshots and handing over; found by changing schedules


def counts_only_the_new_voters(patch: pytest.MonkeyPatch) -> None:
    """While joint, a majority of the new voters is taken for enough."""
    patch.setattr(node_module, "halves_of", lambda membership, me, least: quorum.halves_of(membership, me, least)[:1])


def counts_a_leader_that_is_no_voter(patch: pytest.MonkeyPatch) -> None:
    """A leader that removes itself counts its own disk and vote."""

    def halves_of(membership: Membership, me: int, least: int) -> tuple[quorum.Half, ...]:
        halves = quorum.halves_of(membership, me, least)
        return tuple(quorum.Half(half.peers, True, half.needed) for half in halves)

    patch.setattr(node_module, "halves_of", halves_of)


def counts_learners(patch: pytest.MonkeyPatch) -> None:
    """Whoever is sent the log counts, with the number needed as it was."""

    def halves_of(membership: Membership, me: int, least: int) -> tuple[quorum.Half, ...]:
        others = tuple(learner for learner in membership.learners if learner != me)
        halves = quorum.halves_of(membership, me, least)
        return tuple(quorum.Half((*half.peers, *others), half.has_self, half.needed) for half in halves)

    patch.setattr(node_module, "halves_of", halves_of)


def changes_before_its_first_commit(patch: pytest.MonkeyPatch) -> None:
    """No joint step, and no waiting for the own term: the bug of single-server changes found in 2015."""

    def propose(node: Node, target: Membership) -> int:
        check_target(node.membership, target, 0)
        return node.append_own(EntryKind.MEMBERSHIP, target.encode())

    patch.setattr(changes, "propose", propose)


def skips_the_joint_step(patch: pytest.MonkeyPatch) -> None:
    """Any voters follow any others in one step."""
    patch.setattr(changes, "first_step", lambda now, target: target)


def goes_by_a_membership_that_was_cut(patch: pytest.MonkeyPatch) -> None:
    """A membership that was taken over too early cannot be taken back."""
    patch.setattr(Memberships, "cut_from", lambda self, index: None)


def forgets_to_leave_the_joint_membership(patch: pytest.MonkeyPatch) -> None:
    """Only the leader that began a change ends it."""
    on_elected = changes.on_elected

    def forgetful(node: Node) -> None:
        on_elected(node)
        node.is_changing = False

    patch.setattr(changes, "on_elected", forgetful)


def only_voters_of_the_newest_membership_stand(patch: pytest.MonkeyPatch) -> None:
    """Who has the only log with a membership that leaves it out stands no more, and nobody else can be elected."""
    patch.setattr(Node, "may_campaign", property(lambda self: self.id in self.voters))


def lone_voter_leads_before_its_term_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Nobody is to be asked, so nothing is waited for; but there are learners."""
    patch.setattr(Node, "term_is_durable", property(lambda self: True))


def keeps_a_conflicting_log_behind_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Whatever lies behind the snapshot's place in the log is kept, agreeing or not."""
    patch.setattr(Node, "install_snapshot", _install_and_keep)


def _install_and_keep(node: Node, index: int, term: int, membership: Membership) -> bool:
    if index <= node.log.commit:
        return False
    if index < node.log.last_index:
        node.advance_commit(index)
        node.compact(index)
    else:
        node.begin_behind_snapshot(index, term, membership)
    return True


def vouches_for_what_a_snapshot_replaced(patch: pytest.MonkeyPatch) -> None:
    """Writes under way still vouch for indexes that a snapshot has superseded (the ABA problem once more)."""

    def begin_behind_snapshot(self: Node, index: int, term: int, membership: Membership) -> None:
        under_way, self._unsynced = self._unsynced, deque()
        begin_behind_properly(self, index, term, membership)
        self._unsynced = under_way

    begin_behind_properly = Node.begin_behind_snapshot
    patch.setattr(Node, "begin_behind_snapshot", begin_behind_snapshot)


def writes_what_lies_below_the_base(patch: pytest.MonkeyPatch) -> None:
    """Entries that were not written yet when the log was cut are written behind the base."""

    def begin_behind(self: Node, index: int) -> None:
        self.memberships.compact(index)
        self._base = (index, self.log.base_term)

    patch.setattr(Node, "_begin_behind", begin_behind)


def snapshot_needs_no_term(patch: pytest.MonkeyPatch) -> None:
    """A member restarts in the term that its disk names, although its snapshot is of a later one."""
    init = Node.__init__

    def forgetful(self: Node, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.term = self._durable_term = named["hard_state"].term

    patch.setattr(Node, "__init__", forgetful)


SAFETY = frozenset(
    {
        "election safety",
        "one vote in a term",
        "log matching",
        "leader completeness",
        "only the own term is counted",
        "state machine safety",
        "committed is durable",
        "synced is durable",
        "the core's own invariant",
        "written behind the base",
        "the newest membership counts",
        "only voters lead",
    }
)

MUTANTS: list[tuple[Mutant, frozenset[str]]] = [
    (acknowledges_before_sync, SAFETY),
    (counts_itself_before_sync, SAFETY),
    (commits_an_old_term_by_counting, SAFETY),
    (votes_without_persisting, SAFETY),
    (forgets_its_vote_when_stepping_down, SAFETY),
    (forgets_its_vote_when_an_election_is_triggered, SAFETY),
    (votes_for_outdated_logs, SAFETY),
    (compares_logs_by_length_alone, SAFETY),
    (takes_half_for_a_majority, SAFETY),
    (vouches_for_a_cut_suffix, SAFETY),
    (acknowledges_its_own_last_index, SAFETY),
    (commits_beyond_the_append, SAFETY),
    (heartbeats_carry_the_whole_commit, SAFETY),
    (cuts_without_conflict, SAFETY),
    (skips_the_consistency_check, SAFETY),
    (confirms_reads_by_itself, frozenset({"no stale read"})),
    (reads_before_its_first_commit, frozenset({"no stale read"})),
    (never_asks_for_lost_appends, frozenset({"liveness"})),
]

CHANGING_MUTANTS: list[tuple[Mutant, frozenset[str]]] = [
    (counts_only_the_new_voters, SAFETY),
    (counts_a_leader_that_is_no_voter, SAFETY),
    (counts_learners, SAFETY),
    (changes_before_its_first_commit, SAFETY),
    (skips_the_joint_step, SAFETY),
    (goes_by_a_membership_that_was_cut, SAFETY),
    (forgets_to_leave_the_joint_membership, frozenset({"liveness"})),
    (keeps_a_conflicting_log_behind_a_snapshot, SAFETY),
]
