"""Bugs put back by hand, to prove that the simulator sees them. Each patches the product for one test only.

A mutant is a function that takes pytest's `monkeypatch`; its docstring tells the bug. `MUTANTS` pairs it with a kind of
run in which it is likely to matter, and with the rules, one of which must be reported broken within the first
seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from raftkv.machines.interface import Context
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import Reply
from raftkv.raft import quorum, reads, replication, roles
from raftkv.raft.log import Log
from raftkv.raft.messages import Entry, HardState, RaftMessage
from raftkv.raft.node import Node, Output
from raftkv.raft.quorum import agreed
from raftkv.raft.settings import RaftSettings
from raftkv.replica import Replica, ReplicaSettings, Turn
from raftkv.replica.forwarding import Forwarder
from raftkv.replica.ledger import Ledger
from raftkv.replica.proposals import Proposal, Proposals
from raftkv.replica.sessions import NEW, Limits, Session, Sessions
from raftkv.replica.work import Work
from raftkv.testing.scenario import Scenario, draw

Mutant = Callable[[pytest.MonkeyPatch], None]
Kind = Callable[[int], Scenario]


# ---- kinds of runs


def changing_leaders(seed: int) -> Scenario:
    """Five members, leaders that crash all the time, one entry in each message: what figure 8 of the paper needs."""
    return Scenario(
        seed=seed,
        members=5,
        replica=ReplicaSettings(
            raft=RaftSettings(
                election_timeout_ms_min=100,
                election_timeout_ms_max=200,
                heartbeat_interval_ms=20,
                append_entries_max=1,
                inflight_appends_max=1,
            ),
            no_leader_wait_ms=500,
            request_timeout_ms=1000,
        ),
        duration_ms=6000,
        delay_us=(1000, 20_000),
        think_us=(1000, 20_000),
        expiring=False,
        fault_interval_ms=(20, 150),
        faults={"crash_leader": 6, "isolate_leader": 3, "partition": 3, "one_way": 2, "campaign": 2},
    )


def with_stale_leaders(seed: int) -> Scenario:
    """Leaders that are cut off while others are elected soon: timeouts differ so much that the old one stays long."""
    return Scenario(
        seed=seed,
        members=5,
        replica=ReplicaSettings(
            raft=RaftSettings(election_timeout_ms_min=100, election_timeout_ms_max=600, heartbeat_interval_ms=20)
        ),
        think_us=(100, 3000),
        patience_ms=300,
        fault_interval_ms=(100, 400),
        faults={"isolate_leader": 3, "pause_leader": 1},
    )


def with_four_members(seed: int) -> Scenario:
    return msgspec.structs.replace(draw(seed), members=4, faults={"partition": 1}, fault_interval_ms=(100, 500))


def with_sessions(seed: int) -> Scenario:
    """Impatient clients that repeat numbered writes, on members that crash, with little room for replies."""
    drawn = draw(seed)
    return msgspec.structs.replace(
        drawn,
        machine="redis",
        clients=2,
        session_clients=3,
        patience_ms=100,
        think_us=(200, 10_000),
        sync_us=(1000, 30_000),
        session_ttl_ms=300,
        replica=msgspec.structs.replace(drawn.replica, sessions=Limits(replies_max=1)),
        fault_interval_ms=(30, 200),
        faults={"crash": 4, "crash_leader": 4, "break_link": 4, "pause": 2, "wall_jump": 2},
    )


# ---- the three that the simulator was built to find


def acknowledges_before_sync(patch: pytest.MonkeyPatch) -> None:
    """Promises leave at once, whatever the disk is doing."""

    def promise(self: Node, peer: int, message: RaftMessage, *, needs_entries: bool = True) -> None:
        self.send(peer, message)

    patch.setattr(Node, "promise", promise)


def leads_without_a_no_op(patch: pytest.MonkeyPatch) -> None:
    """No entry at the start of a term, and nothing waits for one: a new leader answers reads at once."""

    def become_leader(node: Node) -> None:
        become_leader_properly(node)
        node.log.cut_from(node.term_start)
        node._unwritten.pop()
        node.term_start = 0

    become_leader_properly = roles.become_leader
    patch.setattr(roles, "become_leader", become_leader)
    patch.setattr(replication, "commit_what_a_quorum_has", commit_own_term_only)


def commit_own_term_only(node: Node) -> None:
    """The correct rule, told without the place of the first own entry."""
    index = agreed([*(p.match for p in node.progress.values()), node.log.synced], node.quorum)
    if index and node.log.term(index) == node.term:
        node.advance_commit(index)


def reads_before_its_first_entry(patch: pytest.MonkeyPatch) -> None:
    """The no-op is there, but reads do not wait for it: a new leader does not know yet what is committed."""
    turn = Replica.turn

    def hasty(self: Replica, wall_ms: int) -> Turn:
        if self.node.role is roles.Role.LEADER:
            self._begin_read_round(wall_ms)
        return turn(self, wall_ms)

    patch.setattr(Replica, "turn", hasty)


def commits_an_old_term_by_counting(patch: pytest.MonkeyPatch) -> None:
    """The rule of figure 8 is missing."""

    def commit(node: Node) -> None:
        node.advance_commit(agreed([*(p.match for p in node.progress.values()), node.log.synced], node.quorum))

    patch.setattr(replication, "commit_what_a_quorum_has", commit)


# ---- more of the core


def counts_itself_before_sync(patch: pytest.MonkeyPatch) -> None:
    """The leader counts its own entries as soon as it has them in memory."""

    def commit(node: Node) -> None:
        index = agreed([*(p.match for p in node.progress.values()), node.log.last_index], node.quorum)
        if index >= node.term_start:
            node.advance_commit(index)

    patch.setattr(replication, "commit_what_a_quorum_has", commit)


def forgets_its_vote(patch: pytest.MonkeyPatch) -> None:
    """The term gets to the disk, the vote does not."""
    take_output = Node.take_output

    def forgetful(self: Node) -> Output:
        output = take_output(self)
        if output.hard_state is not None:
            output.hard_state = HardState(output.hard_state.term, 0, output.hard_state.commit)
        return output

    patch.setattr(Node, "take_output", forgetful)


def half_is_a_majority(patch: pytest.MonkeyPatch) -> None:
    """Two of four are enough (ExRaft's ceil(n/2))."""
    patch.setattr(quorum, "majority", lambda voters, min_majority=0: (voters + 1) // 2)


def votes_for_outdated_logs(patch: pytest.MonkeyPatch) -> None:
    """The restriction on elections of 5.4.1 is missing."""
    patch.setattr(Log, "is_up_to_date", lambda self, last_index, last_term: True)


# ---- the replica


def reads_without_a_round(patch: pytest.MonkeyPatch) -> None:
    """A leader answers reads without asking whether it still leads."""

    def begin_round(node: Node) -> int:
        node.round += 1
        node.confirmed_round = node.round
        return node.round

    patch.setattr(reads, "begin_round", begin_round)


def repeats_forwarded_writes(patch: pytest.MonkeyPatch) -> None:
    """Writes that were under way when a link broke are sent again, though nobody knows what became of them."""

    def give_up(self: Forwarder, request_ids: list[int], error: object) -> list[Work]:
        return [work for request_id in request_ids for work in self._under_way.pop(request_id).works]

    patch.setattr(Forwarder, "_give_up", give_up)


def answers_on_any_link(patch: pytest.MonkeyPatch) -> None:
    """The answer to a forwarded command goes out on whatever link there is: perhaps to the origin's next life."""
    on_link_up = Replica.on_link_up

    def forgetful(self: Replica, peer: int) -> None:
        on_link_up(self, peer)
        self._links_made[peer] = 1

    patch.setattr(Replica, "on_link_up", forgetful)


def takes_lost_leadership_for_lost_writes(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader says that its pending writes were not done as soon as it is deposed."""
    on_tick = Replica.on_tick

    def hasty(self: Replica, now_ms: int) -> None:
        on_tick(self, now_ms)
        if self.node.role is not roles.Role.LEADER:
            for proposal in self._proposals._waiting:
                works, proposal.works = proposal.works, []
                self._take_back(works)

    patch.setattr(Replica, "on_tick", hasty)


def matches_proposals_by_index_alone(patch: pytest.MonkeyPatch) -> None:
    """Whatever is applied at the index of a proposal is taken for that proposal."""

    def on_applying(self: Proposals, index: int, term: int) -> tuple[Proposal | None, list[Work]]:
        while self._waiting and self._waiting[0].index < index:
            self._waiting.popleft()
        if self._waiting and self._waiting[0].index == index:
            return self._waiting.popleft(), []
        return None, []

    patch.setattr(Proposals, "on_applying", on_applying)


def believes_its_own_clock(patch: pytest.MonkeyPatch) -> None:
    """A leader gives entries the time of its clock, though earlier ones may carry a later time."""
    propose_one = Replica._propose_one

    def naive(self: Replica, works: list[Work], wall_ms: int) -> int:
        self.log_time_ms = wall_ms
        return propose_one(self, works, wall_ms)

    patch.setattr(Replica, "_propose_one", naive)


# ---- exactly once


def forgets_sessions_at_restart(patch: pytest.MonkeyPatch) -> None:
    """Sessions are kept by whoever answers their clients only: a replay of the log, or another member, has none."""
    keep = Session.keep
    apply = Replica._apply
    answering: list[bool] = []

    def told(self: Replica, entry: Entry) -> int:
        waiting = self._proposals._waiting
        answering[:] = [bool(waiting) and waiting[0].index == entry.index]
        return apply(self, entry)

    def forgetful(self: Session, seq: int, packed: bytes, limits: Limits) -> None:
        if answering[0]:
            keep(self, seq, packed, limits)

    patch.setattr(Replica, "_apply", told)
    patch.setattr(Session, "keep", forgetful)
    patch.setattr(Ledger, "digest", lambda self: b"")  # else members are seen to differ at once


def applies_again_what_it_forgot(patch: pytest.MonkeyPatch) -> None:
    """A number that is no longer remembered is taken for a new one."""
    find = Session.find

    def forgetful(self: Session, seq: int) -> object:
        return NEW if seq <= self.settled else find(self, seq)

    patch.setattr(Session, "find", forgetful)


def repeats_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Sessions there are, but no number is remembered: every attempt is applied."""
    patch.setattr(Session, "find", lambda self, seq: NEW)


def expires_sessions_by_its_own_clock(patch: pytest.MonkeyPatch) -> None:
    """Each member judges by what its clock shows when it applies the entry."""
    apply, expire = Replica.apply, Sessions.expire
    shown: list[int] = []

    def told(self: Replica, wall_ms: int) -> bool:
        shown[:] = [wall_ms]
        return apply(self, wall_ms)

    patch.setattr(Replica, "apply", told)
    patch.setattr(Sessions, "expire", lambda self, now_ms: expire(self, shown[0]))


# ---- the machine


def depends_on_who_applies(patch: pytest.MonkeyPatch) -> None:
    """The state depends on something that is not in the entry: whether somebody waits for the reply."""
    handle_write = RedisMachine.handle_write

    def other(self: RedisMachine, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        replies = handle_write(self, context, commands)
        if context.wants_replies:
            self.space.log_time_ms += 1
        return replies

    patch.setattr(RedisMachine, "handle_write", other)


MUTANTS: list[tuple[Mutant, Kind, set[str]]] = [
    (acknowledges_before_sync, draw, {"durable before promised"}),
    (reads_before_its_first_entry, changing_leaders, {"linearizability"}),
    (leads_without_a_no_op, changing_leaders, {"linearizability", "liveness"}),
    (counts_itself_before_sync, draw, {"commitment"}),
    (forgets_its_vote, draw, {"durable before promised"}),
    (half_is_a_majority, with_four_members, {"commitment"}),
    (votes_for_outdated_logs, draw, {"leader completeness"}),
    (reads_without_a_round, with_stale_leaders, {"linearizability"}),
    (repeats_forwarded_writes, draw, {"linearizability"}),
    (takes_lost_leadership_for_lost_writes, draw, {"linearizability"}),
    (matches_proposals_by_index_alone, draw, {"state machine safety", "linearizability", "bounded waiting"}),
    (believes_its_own_clock, draw, {"log time"}),
    (forgets_sessions_at_restart, with_sessions, {"exactly once", "linearizability", "state machine safety"}),
    (applies_again_what_it_forgot, with_sessions, {"exactly once", "linearizability"}),
    (repeats_without_looking, with_sessions, {"exactly once", "linearizability"}),
    (expires_sessions_by_its_own_clock, with_sessions, {"state machine safety"}),
    (depends_on_who_applies, draw, {"state machine safety"}),
]
"""Without `commits_an_old_term_by_counting` (see test_figure_8.py) and `answers_on_any_link` (test_directed.py): chance
finds them too seldom, so the situation is set up on purpose."""
