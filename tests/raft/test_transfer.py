"""Handing over leadership (thesis, 3.10), and leaders that must go because their disk hangs."""

from __future__ import annotations

import pytest

from raftkv.errors import HandingOver, NotLeader, NotVoter
from raftkv.raft.membership import Membership
from raftkv.raft.messages import TimeoutNow, VoteRequest
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted
from tests.raft.harness import Cluster


def elected(count: int = 3, *, spares: int = 0, **settings: int) -> Cluster:
    cluster = Cluster(count, spares=spares, **settings)
    cluster.elect(1)
    cluster.run(100)
    return cluster


def test_the_target_is_elected_at_once_in_the_next_term() -> None:
    cluster = elected()
    term = cluster[1].term
    cluster.transfer(1, 3)
    cluster.stabilize()
    assert (cluster.leaders(), cluster[3].term) == ([3], term + 1)
    assert cluster[1].transferring is None


def test_without_a_target_the_most_up_to_date_is_taken() -> None:
    cluster = elected()
    cluster.sever(1, 2)
    cluster.propose(1, b"x")
    cluster.stabilize()
    cluster.heal()
    cluster.transfer(1)
    assert cluster[1].transferring == 3
    cluster.stabilize()
    assert cluster.leaders() == [3]


def test_the_prior_leader_stops_accepting_new_requests() -> None:
    cluster = elected()
    cluster.sever(1, 3)
    cluster.propose(1, b"x")
    cluster.transfer(1, 3)
    with pytest.raises(HandingOver):
        cluster.propose(1, b"y")
    with pytest.raises(HandingOver):
        cluster.change(1, Membership((1, 2)))


def test_the_target_is_told_only_when_its_log_is_equal() -> None:
    alone = Alone(term=1)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 1))
    alone.cluster.propose(1, b"x")
    alone.sent()
    alone.cluster.transfer(1, 2)
    assert alone.sent(TimeoutNow) == []
    assert TimeoutNow(term) in alone.receives(2, accepted(term, 2))


def test_what_was_proposed_before_is_not_lost() -> None:
    cluster = elected()
    cluster.propose(1, b"x")
    cluster.transfer(1, 2)
    cluster.stabilize()
    assert cluster.leaders() == [2]
    cluster.run(100)
    assert cluster.data_of(2) == cluster.data_of(1) == [b"x"]


def test_it_is_given_up_after_an_election_timeout() -> None:
    cluster = elected()
    cluster.crash(3)
    cluster.transfer(1, 3)
    cluster.run(700)
    assert cluster[1].transferring == 3
    cluster.run(200)
    assert (cluster.leaders(), cluster[1].transferring) == ([1], None)
    cluster.propose(1, b"x")
    cluster.stabilize()
    assert cluster.data_of(1) == [b"x"]


def test_the_target_stands_although_all_hear_the_leader() -> None:
    alone = Alone()
    alone.follows(2, 1)
    alone.receives(2, TimeoutNow(1))
    assert alone.node.role is Role.CANDIDATE
    requests = [message for _, message in alone.sent(VoteRequest)]
    assert alone.node.term == 2
    assert all(request.forced and not request.pre for request in requests)  # type: ignore[union-attr]


def test_only_the_leader_of_the_term_can_hand_over() -> None:
    alone = Alone()
    alone.follows(2, 4)
    alone.receives(3, TimeoutNow(4))
    alone.receives(2, TimeoutNow(3))
    assert alone.node.role is Role.FOLLOWER


def test_told_twice_it_stands_once() -> None:
    alone = Alone()
    alone.follows(2, 1)
    for _ in range(2):
        alone.receives(2, TimeoutNow(1))
    assert alone.node.term == 2


def test_a_learner_does_not_stand_when_told() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,)))
    cluster.run(100)
    cluster.inject(1, 4, TimeoutNow(cluster[1].term))
    assert cluster[4].role is Role.FOLLOWER


def test_who_is_no_voter_is_no_target() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,)))
    cluster.run(100)
    for target in (4, 9):
        with pytest.raises(NotVoter):
            cluster.transfer(1, target)
    with pytest.raises(NotVoter):
        elected(1).transfer(1)
    with pytest.raises(NotLeader):
        cluster.transfer(2, 3)


def test_to_itself_there_is_nothing_to_do() -> None:
    cluster = elected()
    cluster.transfer(1, 1)
    assert cluster[1].transferring is None


def test_a_target_that_is_removed_meanwhile_is_forgotten() -> None:
    cluster = elected()
    cluster.change(1, Membership((1, 2)))
    cluster.crash(3)
    cluster.transfer(1, 3)
    cluster.run(100)
    assert cluster[1].membership.voters == (1, 2)
    assert (cluster.leaders(), cluster[1].transferring) == ([1], None)


# ---- a disk that does not answer


def test_a_leader_with_a_hanging_disk_hands_over() -> None:
    """Its entries are committed by the others' disks, but it can promise nothing, and so it can vote for nobody."""
    cluster = elected(disk_stall_ms_max=1_000)
    cluster.slow_disk(1)
    cluster.propose(1, b"x")
    cluster.run(900)
    assert cluster.leaders() == [1]
    cluster.run(300)
    assert cluster.leaders() in ([2], [3])
    assert b"x" in cluster.data_of(cluster.leaders()[0])
    cluster.run(5_000)
    assert cluster.leaders() in ([2], [3]), "and does not stand while it hangs"


def test_a_slow_disk_that_answers_in_time_is_no_reason() -> None:
    cluster = elected(disk_stall_ms_max=1_000)
    cluster.slow_disk(1)
    for number in range(20):
        cluster.propose(1, b"%d" % number)
        cluster.run(500)
        cluster.sync(1)
    assert (cluster.leaders(), cluster[1].term) == ([1], 1)


def test_with_nobody_to_hand_over_to_a_lone_member_waits_for_its_disk() -> None:
    cluster = elected(1, disk_stall_ms_max=1_000)
    cluster.slow_disk(1)
    cluster.propose(1, b"x")
    cluster.run(5_000)
    assert cluster.leaders() == [1]
    cluster.slow_disk(1, False)
    assert cluster.data_of(1) == [b"x"]


def test_when_the_successor_does_not_take_over_the_leader_steps_down() -> None:
    alone = Alone(disk_stall_ms_max=100)
    term = alone.becomes_leader()
    for peer in (2, 3):
        alone.receives(peer, accepted(term, 1))
    alone.cluster.slow_disk(1)
    alone.cluster.propose(1, b"x")
    for peer in (2, 3):
        alone.receives(peer, accepted(term, 2))
    alone.time_passes(100)
    assert alone.node.transferring == 2
    for _ in range(20):
        alone.time_passes(50)
        for peer in (2, 3):
            alone.receives(peer, accepted(term, 2))
    assert (alone.node.role, alone.node.term) == (Role.FOLLOWER, term)
