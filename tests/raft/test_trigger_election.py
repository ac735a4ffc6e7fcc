"""An election that an operator wants (ExRaft's trigger_election): one test for each sentence of its contract."""

from __future__ import annotations

import pytest

from raftkv.raft.messages import Append, VoteReply, VoteRequest
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, entries, granted, vote_request
from tests.raft.harness import Cluster


def led_by_1(count: int = 3) -> Cluster:
    cluster = Cluster(count)
    cluster.elect(1)
    cluster.run(100)
    return cluster


def test_a_follower_that_hears_a_leader_becomes_candidate_in_the_next_term() -> None:
    alone = Alone()
    alone.follows(2, 4)
    alone.cluster.trigger_election(1)
    assert (alone.node.role, alone.node.term, alone.node.vote, alone.node.leader_id) == (Role.CANDIDATE, 5, 1, None)


def test_it_asks_for_votes_at_once_and_says_that_the_election_is_wanted() -> None:
    alone = Alone()
    alone.follows(2, 4)
    alone.sent()
    alone.cluster.trigger_election(1)
    assert alone.sent() == [(2, VoteRequest(5, 0, 0, False, True)), (3, VoteRequest(5, 0, 0, False, True))]


def test_a_leader_gives_up_its_leadership_and_becomes_candidate_in_the_next_term() -> None:
    alone = Alone()
    term = alone.becomes_leader()
    alone.cluster.trigger_election(1)
    node = alone.node
    assert (node.role, node.term, node.vote, node.leader_id) == (Role.CANDIDATE, term + 1, 1, None)
    assert not node.progress


def test_a_leader_that_gave_up_commits_nothing_more_in_its_old_term() -> None:
    cluster = led_by_1()
    cluster.isolate(1)
    cluster.propose(1, b"x")
    committed = cluster[1].log.commit
    cluster.heal()
    cluster.trigger_election(1)
    assert cluster[1].log.commit == committed
    cluster.run(200)
    [leader] = cluster.leaders()
    assert cluster.terms_of(leader)[committed:] == [1, 2], "committed by the first entry of the new term"
    assert cluster[leader].log.commit == committed + 2


def test_a_candidate_goes_on_as_it_is() -> None:
    alone = Alone()
    term = alone.becomes_candidate()
    alone.sent()
    alone.cluster.trigger_election(1)
    assert (alone.node.role, alone.node.term) == (Role.CANDIDATE, term)
    assert alone.sent() == []


def test_who_only_asks_whether_it_could_win_becomes_candidate() -> None:
    alone = Alone()
    alone.cluster.campaign(1)
    assert alone.node.role is Role.PRE_CANDIDATE
    alone.cluster.trigger_election(1)
    assert (alone.node.role, alone.node.term) == (Role.CANDIDATE, 1)


def test_a_voter_that_hears_a_leader_votes_only_in_an_election_that_is_wanted() -> None:
    for forced in (False, True):
        alone = Alone()
        alone.follows(2, 4)
        assert granted(alone.answer(3, VoteRequest(5, 0, 0, False, forced))) is forced
        assert alone.node.term == (5 if forced else 4)


def test_a_leader_that_is_asked_for_its_vote_in_a_wanted_election_follows() -> None:
    alone = Alone()
    term = alone.becomes_leader()
    assert granted(alone.answer(2, VoteRequest(term + 1, 9, term, False, True)))
    assert (alone.node.role, alone.node.term, alone.node.vote) == (Role.FOLLOWER, term + 1, 2)


def test_a_wanted_election_is_not_won_with_a_log_that_lacks_something() -> None:
    alone = Alone()
    alone.receives(2, Append(4, 0, 0, 0, entries(1, 4)))
    assert not granted(alone.answer(3, VoteRequest(5, 0, 0, False, True)))


def test_nobody_votes_twice_in_a_term_because_an_election_is_wanted() -> None:
    """E7: a leader that gave up forgot its vote, and could give it again in the same term."""
    alone = Alone()
    term = alone.becomes_leader()
    alone.cluster.trigger_election(1)
    for forced in (False, True):
        assert not granted(alone.answer(2, VoteRequest(term + 1, 9, term, False, forced))), "it is its own candidate"
    assert alone.answer(3, vote_request(term, 9, term)) == VoteReply(term + 1, False, False)


def test_the_vote_for_itself_is_on_disk_before_anybody_is_asked() -> None:
    alone = Alone()
    alone.follows(2, 4)
    alone.cluster.slow_disk(1)
    alone.sent()
    alone.cluster.trigger_election(1)
    assert alone.sent() == []
    alone.cluster.sync(1)
    assert len(alone.sent(VoteRequest)) == 2
    alone.restarts()
    assert (alone.node.term, alone.node.vote) == (5, 1)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_follower_takes_over_from_a_healthy_leader(count: int) -> None:
    cluster = led_by_1(count)
    cluster.trigger_election(2)
    cluster.stabilize()
    assert cluster.leaders() == [2]
    assert {node.term for node in cluster.up()} == {2}


def test_a_lone_member_leads_in_the_next_term_at_once() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    term = cluster[1].term
    cluster.trigger_election(1)
    assert (cluster[1].role, cluster[1].term) == (Role.LEADER, term + 1)
