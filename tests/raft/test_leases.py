"""Reads by lease: the rules that keep them from being stale, one test for each (`raft/reads.py`)."""

from __future__ import annotations

import pytest

from raftkv.errors import LeaseInForce
from raftkv.raft.messages import Heartbeat, HeartbeatReply, TimeoutNow, VoteReply, VoteRequest
from raftkv.raft.reads import LEASE_SLACK_MS
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted

TIMEOUT_MS, DRIFT_PERCENT = 1000, 10
LEASE_MS = 900 - LEASE_SLACK_MS
SETTINGS = {
    "election_timeout_ms_min": TIMEOUT_MS,
    "election_timeout_ms_max": 2 * TIMEOUT_MS,
    "heartbeat_interval_ms": 100,
    "lease_drift_percent_max": DRIFT_PERCENT,
}


def leader(**settings: int) -> Alone:
    """Of three, with its first entry committed; no lease yet."""
    alone = Alone(term=1, **SETTINGS | settings)
    alone.time_passes(2 * TIMEOUT_MS)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 1))
    alone.sent()
    assert alone.node.leads_and_is_ready
    return alone


def answer_heartbeat(alone: Alone, after_ms: int = 0) -> None:
    """One of the others answers the next heartbeat, which it got at once."""
    node = alone.node
    while not (rounds := [each.round for _, each in alone.sent(Heartbeat) if isinstance(each, Heartbeat)]):
        alone.time_passes(10)
    alone.time_passes(after_ms)
    alone.receives(2, HeartbeatReply(node.term, max(rounds)))


def test_a_lease_begins_when_the_round_was_sent_not_when_it_was_answered() -> None:
    alone = leader()
    assert not alone.node.holds_lease
    answer_heartbeat(alone, after_ms=80)
    assert alone.node.holds_lease
    assert alone.node.lease_from_ms == alone.node.now_ms - 80


def test_it_ends_before_those_who_answered_may_vote() -> None:
    alone = leader()
    answer_heartbeat(alone)
    began_ms = alone.node.now_ms
    alone.node.on_clock(began_ms + LEASE_MS - 1)
    assert alone.node.holds_lease
    alone.node.on_clock(began_ms + LEASE_MS)
    assert not alone.node.holds_lease


def test_each_heartbeat_prolongs_it() -> None:
    alone = leader()
    for _ in range(30):
        answer_heartbeat(alone)
        alone.time_passes(100)
        assert alone.node.holds_lease


def test_one_of_five_is_not_enough() -> None:
    alone = Alone(term=1, count=5, **SETTINGS)
    alone.time_passes(2 * TIMEOUT_MS)
    term = alone.becomes_leader()
    for peer in (2, 3):
        alone.receives(peer, accepted(term, 1))
    answer_heartbeat(alone)
    assert not alone.node.holds_lease
    alone.receives(3, HeartbeatReply(term, alone.node.round))
    assert alone.node.holds_lease


def test_a_new_leader_does_not_inherit_it() -> None:
    alone = leader()
    answer_heartbeat(alone)
    alone.receives(3, VoteRequest(alone.node.term + 1, 9, 9, False, True))
    assert not alone.node.holds_lease
    alone.becomes_leader()
    assert not alone.node.holds_lease


def test_the_first_word_of_a_hand_over_ends_it_for_the_whole_term() -> None:
    """The hand-over has failed and is forgotten; then its word arrives late, and the target is elected."""
    alone = leader()
    answer_heartbeat(alone)
    alone.cluster.transfer(1, 2)
    assert alone.sent(TimeoutNow)
    for _ in range(30):
        alone.time_passes(100)
        alone.receives(2, HeartbeatReply(alone.node.term, alone.node.round))
    assert (alone.node.role, alone.node.transferring) == (Role.LEADER, None)
    assert alone.node.confirmed_round == alone.node.round
    assert not alone.node.holds_lease


@pytest.mark.parametrize("pre", [True, False])
def test_who_has_just_started_gives_no_vote(pre: bool) -> None:
    """It may have answered a leader just before it fell."""
    alone = Alone(term=1, **SETTINGS)
    alone.time_passes(2 * TIMEOUT_MS)
    alone.restarts()
    alone.time_passes(TIMEOUT_MS - 1)
    alone.sent()
    request = VoteRequest(5, 9, 9, pre, False)
    assert alone.answer(2, request) == VoteReply(1, False, pre)
    alone.time_passes(1)
    reply = alone.answer(2, request)
    assert isinstance(reply, VoteReply)
    assert reply.granted


def follower() -> Alone:
    """Of three; it has just answered a heartbeat of 2."""
    alone = Alone(term=1, **SETTINGS)
    alone.time_passes(TIMEOUT_MS)
    alone.receives(2, Heartbeat(1, 0, 1))
    return alone


def would_vote(alone: Alone, term: int) -> bool:
    reply = alone.answer(3, VoteRequest(term, 9, 9, True, False))
    assert isinstance(reply, VoteReply)
    return reply.granted


def test_an_operator_does_not_make_a_voter_break_its_word() -> None:
    """Neither by a vote for itself, nor by forgetting whom it has given its word, which another could make use of."""
    alone = follower()
    with pytest.raises(LeaseInForce, match="promised member 2 not to stand"):
        alone.cluster.trigger_election(1)
    alone.cluster.campaign(1)
    assert not alone.sent(VoteRequest)
    assert (alone.node.role, alone.node.leader_id) == (Role.FOLLOWER, 2)
    assert not would_vote(alone, 2)
    alone.time_passes(TIMEOUT_MS)
    alone.sent()
    alone.cluster.trigger_election(1)
    assert alone.sent(VoteRequest)


def test_who_learns_of_a_higher_term_keeps_its_word() -> None:
    """The answer to a question of before, when it heard nobody, comes late, from one that stood for election alone."""
    alone = follower()
    alone.receives(3, VoteReply(6, False, True))
    assert (alone.node.term, alone.node.leader_id) == (6, None)
    alone.time_passes(TIMEOUT_MS - 1)
    assert not would_vote(alone, 7)
    alone.time_passes(1)
    assert would_vote(alone, 7)


def test_who_has_just_started_and_knows_no_other_voter_waits_too() -> None:
    """The others may be gone by an entry of a leader that still reads by its last answer."""
    alone = Alone(term=1, count=1, **SETTINGS)
    alone.time_passes(TIMEOUT_MS - 1)
    assert alone.node.role is Role.FOLLOWER
    alone.time_passes(1)
    assert alone.node.role is Role.LEADER


def test_a_leader_that_gives_up_may_have_the_others_vote_at_once() -> None:
    alone = leader()
    alone.node.trigger_election()
    alone.time_passes(0)
    assert not alone.node.holds_lease
    assert any(isinstance(message, VoteRequest) and message.forced for _, message in alone.sent())


def test_without_the_setting_there_is_none_and_nobody_waits() -> None:
    alone = leader(lease_drift_percent_max=0)
    answer_heartbeat(alone)
    assert not alone.node.holds_lease
    alone.restarts()
    reply = alone.answer(2, VoteRequest(9, 9, 9, True, False))
    assert isinstance(reply, VoteReply)
    assert reply.granted
