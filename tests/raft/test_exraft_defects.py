"""The defects that were found in ExRaft, the project whose contract raftkv keeps: each must be impossible here.

The numbers are those of the list they were written down in. E11 and E14 concern what the machine is told and asks for:
tests/replica/test_exraft_callbacks.py. Of E12 and E13 this is what concerns members that never change.
"""

from __future__ import annotations

import pytest

from raftkv.errors import NotLeader
from raftkv.raft.membership import MEMBERSHIP, Membership
from raftkv.raft.messages import Append, AppendReply, Entry, Heartbeat, VoteReply, VoteRequest
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries, granted, vote_request
from tests.raft.harness import Cluster, Disk
from tests.raft.script import Trace


def elected(count: int = 3, **settings: int) -> Cluster:
    cluster = Cluster(count, **settings)
    cluster.elect(1)
    cluster.run(100)
    return cluster


@pytest.mark.parametrize("count", [2, 4, 6])
def test_e01_half_of_the_members_neither_elect_nor_commit(count: int) -> None:
    """Half was taken for a majority, so the two halves of a split cluster both went on, each its own way."""
    cluster = elected(count)
    half = range(1, count // 2 + 1)
    cluster.partition(half, range(count // 2 + 1, count + 1))
    committed = cluster[1].log.commit
    cluster.propose(1, b"x")
    cluster.run(5_000)
    assert cluster.leaders() == []
    for number in cluster.members:
        cluster.campaign(number)
        cluster.stabilize()
    assert cluster.leaders() == []
    assert {node.log.commit for node in cluster.up()} == {committed}
    cluster.heal()
    cluster.run(3_000)
    assert len(cluster.leaders()) == 1


@pytest.mark.parametrize("count", [3, 4, 5])
def test_e01_min_majority_raises_what_is_needed(count: int) -> None:
    """The same rule with the operator's own, higher number, for votes, commits and reads alike."""
    cluster = elected(count, min_majority=count)
    cluster.isolate(count)
    commit = cluster[1].log.commit
    cluster.propose(1, b"x")
    number = cluster.begin_read_round(1)
    cluster.stabilize()
    assert cluster[1].log.commit == commit
    assert cluster[1].confirmed_round < number
    cluster.crash(1)
    cluster.heal()
    cluster.run(3_000)
    assert cluster.leaders() == []


def test_e01_a_lone_member_waits_when_two_are_wanted() -> None:
    """`min_majority = 2` keeps the first member of a cluster to be from electing itself."""
    cluster = Cluster(1, min_majority=2)
    cluster.run(5_000, step_ms=100)
    assert cluster.leaders() == []


def test_e02_an_isolated_leader_confirms_no_read() -> None:
    """Reads were answered from the leader's own memory, without asking whether it still was the leader."""
    cluster = elected()
    cluster.isolate(1)
    for number in (2, 3):
        cluster.tick(number, 400)
    cluster.elect(2)
    cluster.propose(2, b"newer")
    cluster.stabilize()
    number = cluster.begin_read_round(1)
    cluster.stabilize()
    assert cluster[1].confirmed_round < number
    cluster.heal()
    cluster.run(1_000)
    assert cluster[1].confirmed_round < number, "nor later"
    assert cluster[1].role is Role.FOLLOWER


def test_e03_a_new_leader_is_not_ready_before_it_knows_what_is_committed() -> None:
    """The old leader acknowledged x; the new one has it, but reading before its own first commit would miss it."""
    cluster = elected()
    cluster.propose(1, b"x")
    cluster.deliver(1, 2)
    cluster.deliver(1, 3)
    cluster.deliver(2, 1)
    assert cluster[1].log.commit == 2
    assert cluster[2].log.commit == 1
    cluster.crash(1)
    cluster.drop(1, 2)  # where it would have told them
    cluster.drop(1, 3)
    cluster.forget_leaders()
    cluster.slow_disk(3)
    cluster.campaign(2)
    cluster.stabilize()
    for _ in range(2):  # 3's disk keeps its vote, so that the election goes one step at a time
        cluster.sync(3)
        cluster.deliver(3, 2)
    assert cluster[2].role is Role.LEADER
    assert not cluster[2].leads_and_is_ready
    assert cluster.data_of(2) == []
    cluster.slow_disk(3, False)
    cluster.stabilize()
    assert cluster[2].leads_and_is_ready
    assert cluster.data_of(2) == [b"x"]


def test_e04_an_earlier_terms_entry_is_not_committed_by_counting() -> None:
    """The paper's figure 8: such an entry can still be replaced. (The whole story: scripts/figure_8.txt.)"""
    alone = Alone([1, 2], term=3, count=5)
    alone.becomes_leader()
    for peer in alone.node.peers:
        alone.receives(peer, accepted(4, 2))
    assert alone.node.log.commit == 0


def test_e05_a_follower_acknowledges_only_what_the_append_has_proven() -> None:
    """It acknowledged its own last index, so a divergent tail counted as a copy of the leader's entries."""
    alone = Alone([1, 2, 2, 2, 2], term=3)
    answer = alone.answer(2, Append(3, 1, 1, 0, []))
    assert answer == AppendReply(3, True, 1, 1, 0, 0)
    answer = alone.answer(2, Append(3, 1, 1, 0, entries(2, 3)))
    assert answer == AppendReply(3, True, 1, 2, 0, 0)
    assert alone.terms() == [1, 3], "and the divergent tail is gone"


def test_e06_a_follower_commits_no_further_than_the_append_reaches() -> None:
    """It took over the leader's commit index whole; its own tail behind the append may be another's."""
    alone = Alone([1, 2, 2, 2], term=3)
    alone.receives(2, Append(3, 0, 0, 4, entries(1, 1)))
    assert alone.node.log.commit == 1


def test_e06_a_heartbeats_commit_is_cut_to_what_the_follower_is_known_to_hold() -> None:
    """The same trap in the message that proves nothing about the log."""
    alone = Alone([1, 1], term=1)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 3))
    alone.sent()
    alone.time_passes(50)
    assert alone.sent(Heartbeat) == [(2, Heartbeat(term, 3, 0)), (3, Heartbeat(term, 0, 0))]


def test_e07_stepping_down_within_a_term_keeps_the_vote() -> None:
    """Leaving the leader's role erased the vote even if the term stayed, so the same term had a second vote to give."""
    alone = Alone()
    term = alone.becomes_leader()
    alone.time_passes(801)
    assert (alone.node.role, alone.node.term) == (Role.FOLLOWER, term), "no quorum was heard"
    assert not granted(alone.answer(2, vote_request(term, 9, term)))
    alone.restarts()
    assert not granted(alone.answer(2, vote_request(term, 9, term)))


def test_e07_losing_an_election_keeps_the_vote() -> None:
    """The same for a candidate whom a majority has refused."""
    alone = Alone()
    term = alone.becomes_candidate()
    for peer in (2, 3):
        alone.receives(peer, VoteReply(term, False, False))
    assert alone.node.role is Role.FOLLOWER
    assert not granted(alone.answer(2, vote_request(term, 9, term)))


def test_e08_a_candidate_that_learns_of_a_newer_term_may_vote_in_it() -> None:
    """It kept the vote for itself when a refusal brought a newer term, and so could not vote there."""
    alone = Alone()
    alone.becomes_candidate()
    alone.receives(3, VoteReply(5, False, False))
    assert (alone.node.term, alone.node.vote) == (5, 0)
    assert granted(alone.answer(2, vote_request(5)))


def test_e09_a_leader_answers_every_vote_request() -> None:
    """It said nothing to requests of its own or an older term, so the candidate never learned who leads."""
    alone = Alone(term=3)
    term = alone.becomes_leader()
    for asked in (term - 1, term, term + 5):
        assert alone.answer(2, vote_request(asked, 99, 99)) == VoteReply(term, False, False)


@pytest.mark.parametrize("outdated", [1, 2, 3])
def test_e10_who_lacks_an_entry_does_not_follow_the_leader_whatever_its_name(outdated: int) -> None:
    """The next leader was chosen by name; who lacked the last entries could be told to lead, and they were lost."""
    others = [number for number in (1, 2, 3) if number != outdated]
    cluster = Cluster(3)
    cluster.elect(others[0])
    cluster.run(100)
    cluster.isolate(outdated)
    cluster.propose(others[0], b"acknowledged")
    cluster.run(100)
    cluster.heal()
    cluster.crash(others[0])
    cluster.campaign(outdated)
    cluster.run(3_000)
    assert cluster.leaders() == [others[1]]
    assert b"acknowledged" in cluster.data_of(others[1])


def test_e12_only_members_count_for_a_commit() -> None:
    """Peers that had been removed were counted on, so that entries were committed which no majority had."""
    alone = Alone(term=3)
    alone.becomes_leader()
    last = alone.node.log.last_index
    alone.node.on_message(99, AppendReply(alone.node.term, True, last - 1, last, 0, 0))
    assert alone.node.log.commit < last
    assert 99 not in alone.node.progress


def test_e13_who_was_removed_raises_no_term() -> None:
    """A removed member was not told, stood for election again and again, and each time unseated the leader."""
    alone = Alone()
    without_99 = Entry(1, 1, MEMBERSHIP, Membership((1, 2, 3), removed=(99,)).encode())
    alone.receives(2, Append(1, 0, 0, 1, [without_99]))
    alone.time_passes(10_000)
    term = alone.node.term
    assert alone.receives(99, vote_request(term + 50, 99, 99)) == []
    assert alone.receives(99, VoteRequest(term + 50, 99, 99, False, True)) == [], "nor when it is forced"
    assert alone.node.term == term


def test_e13_nor_does_who_is_not_known_while_a_leader_is_heard() -> None:
    alone = Alone()
    alone.follows(2, 1)
    assert alone.answer(99, vote_request(50, 99, 99)) == VoteReply(1, False, False)
    assert alone.node.term == 1


def test_e15_a_newer_term_forgets_the_leader() -> None:
    """The old leader stayed on record, so clients were sent to one that had been deposed."""
    alone = Alone()
    alone.follows(2, 1)
    alone.receives(3, AppendReply(2, False, 0, 0, 0, 0))
    assert (alone.node.term, alone.node.leader_id) == (2, None)
    with pytest.raises(NotLeader, match="leader is unknown"):
        alone.node.propose(b"x")


def test_e15_who_stands_for_election_names_no_leader() -> None:
    """A leader that was silent for an election timeout is not worth being sent to."""
    alone = Alone()
    alone.follows(2, 1)
    alone.time_passes(800)
    assert alone.node.leader_id is None


def test_e16_a_leader_without_a_quorum_steps_down() -> None:
    """It took writes for ever; none of them could be committed, and each client waited for its time-out."""
    cluster = elected(5)
    cluster.partition([1, 2])
    cluster.run(700)
    assert cluster[1].role is Role.LEADER, "not at once: a short interruption is no reason"
    cluster.run(300)
    assert cluster[1].role is not Role.LEADER
    with pytest.raises(NotLeader):
        cluster.propose(1, b"x")


def test_e16_a_leader_with_exactly_a_quorum_stays() -> None:
    """Three of five, for a long time."""
    cluster = elected(5)
    cluster.partition([1, 2, 3])
    cluster.run(5_000)
    assert cluster.leaders() == [1]
    cluster.propose(1, b"x")
    cluster.stabilize()
    assert cluster.data_of(1) == [b"x"]


class _RoundTrips(Trace):
    rejections = appends = 0

    def on_delivered(self, sender: int, receiver: int, message: object) -> None:
        self.rejections += isinstance(message, AppendReply) and not message.accepted
        self.appends += isinstance(message, Append)

    def after_step(self, member: object) -> None: ...


@pytest.mark.parametrize(
    ("follower", "rejections"),
    [([], 1), ([1] * 100, 1), ([1] * 10 + [2] * 4000, 1), ([1] * 10 + [2] * 2000 + [3] * 2000, 1)],
    ids=["empty", "far behind", "a long tail of its own", "two terms of its own"],
)
def test_e17_a_follower_thousands_of_entries_behind_converges_in_few_round_trips(
    follower: list[int], rejections: int
) -> None:
    """The leader went back one entry per round trip, and an append at the start of the log always matched."""
    trips = _RoundTrips()
    cluster = Cluster(2, observer=trips)
    cluster.write_log(1, [1] * 5_000 + [5] * 5_000, term=5)
    cluster.write_log(2, follower, term=5)
    cluster.elect(1)
    assert cluster[2].log.last_index == 10_001
    assert trips.rejections <= rejections + 1
    assert trips.appends <= 10_000 / cluster.settings.append_entries_max + 5


def test_e17_an_append_at_the_start_of_the_log_replaces_only_what_differs() -> None:
    """A missing previous entry matched anything; here index 0 does, and then the entries decide."""
    alone = Alone([1, 2, 2], term=3)
    alone.receives(2, Append(3, 0, 0, 0, entries(1, 1, 2)))
    assert alone.terms() == [1, 2, 2]
    alone.receives(2, Append(3, 0, 0, 0, entries(1, 3)))
    assert alone.terms() == [3]


def test_a_new_leaders_link_reset_does_not_send_the_whole_log_again() -> None:
    """Found in raftkv itself: nothing is known to match yet, which is not the same as nothing matching."""
    cluster = Cluster(3)
    for number in cluster.members:
        cluster.write_log(number, [1] * 1_000)
    cluster.crash(3)
    cluster.campaign(1)
    cluster.stabilize()
    cluster.restart(3)
    cluster.reset_link(1, 3)
    first = cluster.queues[1, 3][0]
    assert isinstance(first, Append)
    assert first.prev_index >= 1_000


def test_a_stream_of_reads_does_not_put_off_the_search_for_lost_appends() -> None:
    """Found in raftkv itself: each read round counted as the heartbeat with which lost appends are looked for."""
    cluster = elected()
    cluster.propose(1, b"x")
    for peer in (2, 3):
        cluster.drop(1, peer)
    for _ in range(20):
        cluster.begin_read_round(1)
        cluster.tick(1, 40)
        cluster.stabilize()
    assert cluster.data_of(1) == [b"x"]


def test_an_answer_to_a_stale_append_says_nothing_about_the_log() -> None:
    """Found in raftkv itself: its sender may lead the answer's term by then, and took it for 'nothing is equal'."""
    alone = Alone([1, 1, 1], term=1)
    term = alone.becomes_leader()
    deposed = Alone([1], term=term)
    answer = deposed.answer(2, Append(term - 1, 3, 1, 0, []))
    alone.receives(2, accepted(term, 0))
    assert alone.receives(2, answer) == []
    assert alone.node.progress[2].next == 5


def test_raftkv_member_with_a_new_disk_is_filled_again() -> None:
    """A follower that lost what it had acknowledged (its directory was replaced) is sent everything again, without
    waiting for the next election. What it promised with the old disk is another matter: see docs/operating.md."""
    cluster = elected()
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.stabilize()
    cluster.crash(2)
    cluster.members[2].disk = Disk(Membership((1,)))
    cluster.restart(2)
    cluster.reset_link(1, 2)
    cluster.reset_link(2, 1)
    cluster.run(1_000)
    assert cluster.data_of(2) == cluster.data_of(1)
    assert cluster.leaders() == [1]
    assert cluster[1].term == 1
