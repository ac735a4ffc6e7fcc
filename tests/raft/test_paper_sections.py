"""The rules of the paper's sections 5.1 to 5.6, 6 and 8 that figure 2 does not have, or that need several members.

Each docstring retells one sentence in own words. Figure 2 itself is in `test_paper.py`; figures 7 and 8, as
stories, are in `scripts/`.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from raftkv.errors import NotLeader, ProtocolError
from raftkv.raft.messages import Append, AppendReply, EntryKind, Heartbeat, HeartbeatReply, VoteReply, VoteRequest
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries, granted, vote_request
from tests.raft.harness import Cluster


def elected(count: int = 3, **settings: int) -> Cluster:
    cluster = Cluster(count, **settings)
    cluster.elect(1)
    cluster.run(100)
    return cluster


# ---- 5.1 basics


def test_every_member_begins_as_a_follower() -> None:
    """5.2: also one that led before it crashed."""
    cluster = elected()
    cluster.restart(1)
    assert cluster[1].role is Role.FOLLOWER
    assert [cluster[number].role for number in (2, 3)] == [Role.FOLLOWER, Role.FOLLOWER]


def test_a_follower_starts_nothing() -> None:
    """5.1: followers only answer; until their timeout time passes without a word."""
    alone = Alone()
    alone.follows(2, 1)
    alone.sent()
    alone.time_passes(399)
    assert alone.sent() == []
    with pytest.raises(NotLeader, match="leader is 2"):
        alone.node.propose(b"x")
    with pytest.raises(NotLeader):
        alone.node.begin_read_round()


def test_a_leader_or_candidate_with_an_old_term_goes_back_to_follower() -> None:
    """5.1: it learns of the newer term from the answer to its own message."""
    cluster = elected()
    cluster.isolate(1)
    cluster.forget_leaders()
    cluster.elect(2)
    assert sorted(cluster.leaders()) == [1, 2]
    cluster.heal()
    cluster.tick(1, 50)
    cluster.stabilize()
    assert cluster.leaders() == [2]
    assert cluster[1].term == cluster[2].term


@pytest.mark.parametrize("message", [Append(4, 0, 0, 0, []), Heartbeat(4, 0, 0), vote_request(4)])
def test_a_request_with_an_old_term_is_answered_with_the_newer_one(message: Append | Heartbeat | VoteRequest) -> None:
    """5.1: refused, but not in silence, or a deposed leader would go on for ever."""
    answer = Alone(term=5).answer(2, message)
    assert not isinstance(answer, Append)
    assert answer.term == 5


@pytest.mark.parametrize("message", [accepted(1, 9), HeartbeatReply(1, 9), VoteReply(1, True, False)])
def test_an_answer_from_an_old_term_means_nothing(message: AppendReply | HeartbeatReply | VoteReply) -> None:
    """5.1: stale information is recognised by its term."""
    alone = Alone(term=1)
    alone.becomes_leader()
    alone.cluster.begin_read_round(1)
    assert alone.receives(2, message) == []
    assert alone.node.progress[2].match == 0
    assert alone.node.confirmed_round == 0


# ---- 5.2 election


def test_a_leaders_heartbeats_keep_it_in_power() -> None:
    """5.2: as long as they arrive, nobody stands."""
    cluster = elected()
    cluster.run(5_000, step_ms=25)
    assert cluster.leaders() == [1]
    assert {node.term for node in cluster.up()} == {1}


def test_at_most_one_wins_in_a_term() -> None:
    """5.2: with everybody standing at the same moment, in every order of delivery of the first round."""
    cluster = Cluster(5)
    for number in cluster.members:
        cluster.campaign(number)
    cluster.stabilize()
    assert len(cluster.leaders()) <= 1


def test_a_candidate_does_not_yield_to_a_leader_of_an_older_term() -> None:
    """5.2: its append is refused and the candidacy goes on."""
    alone = Alone(term=4)
    term = alone.becomes_candidate()
    answer = alone.answer(2, Append(term - 1, 0, 0, 0, []))
    assert isinstance(answer, AppendReply)
    assert not answer.accepted
    assert alone.node.role is Role.CANDIDATE


def test_a_split_vote_ends_with_a_new_election() -> None:
    """5.2: each candidate times out and tries again."""
    cluster = Cluster(4)
    for number in cluster.members:
        cluster.campaign(number)
    cluster.stabilize()
    cluster.run(3_000)
    assert len(cluster.leaders()) == 1


def test_election_timeouts_are_spread_over_the_whole_range() -> None:
    """5.2: so that mostly one member's time is up first."""
    alone = Alone()
    seen = set()
    for term in range(1, 200):
        alone.follows(2, term)
        seen.add(alone.node.election_due_ms)
    assert min(seen) >= 400
    assert max(seen) < 800
    assert len(seen) > 100
    assert max(seen) - min(seen) > 300


def test_a_crashed_leader_is_replaced_within_a_few_timeouts() -> None:
    """5.2, liveness: the others need no help."""
    cluster = elected()
    cluster.crash(1)
    cluster.run(1_600)
    assert len(cluster.leaders()) == 1


# ---- 5.3 replication


def test_a_leader_only_appends_to_its_own_log() -> None:
    """5.3, leader append-only: it never overwrites nor deletes; being asked to is a broken invariant."""
    alone = Alone([1, 1], term=1)
    term = alone.becomes_leader()
    with pytest.raises(ProtocolError, match="two leaders"):
        alone.receives(2, Append(term, 0, 0, 0, entries(1, term)))
    assert alone.terms() == [1, 1, 2]


def test_an_append_is_repeated_until_a_slow_or_restarted_follower_has_it() -> None:
    """5.3: without end, also after the command was committed."""
    cluster = elected()
    cluster.crash(3)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
        cluster.run(100)
    assert cluster[1].log.commit == cluster[1].log.last_index
    cluster.restart(3)
    cluster.run(300)
    assert cluster.data_of(3) == cluster.data_of(1) == [b"0", b"1", b"2", b"3", b"4"]


def test_everything_before_a_committed_entry_is_committed() -> None:
    """5.3: entries of former leaders included."""
    cluster = Cluster(3)
    cluster.write_log(1, [1, 2, 2])
    cluster.elect(1)
    assert cluster[1].log.commit == 4
    assert cluster.data_of(1) == [b"1/1", b"2/2", b"3/2"]


def test_equal_index_and_term_mean_equal_logs_up_to_there() -> None:
    """5.3, log matching: followers that began with six different logs (figure 7) hold the leader's at the end."""
    cluster = Cluster(7)
    spelled = ["1114455666", "111445566", "1114", "11144556666", "111445566677", "1114444", "11122233333"]
    logs = [[int(term) for term in terms] for terms in spelled]
    for number, terms in enumerate(logs, 1):
        cluster.write_log(number, terms, term=7 if number == 1 else None)
    cluster.elect(1)
    cluster.run(100)
    assert {tuple(cluster.data_of(number)) for number in cluster.members} == {tuple(cluster.data_of(1))}
    assert {tuple(cluster.terms_of(number)) for number in cluster.members} == {(*logs[0], cluster[1].term)}


def test_a_rejection_skips_a_whole_term_at_once() -> None:
    """5.3, the optimisation that the paper leaves open: as many round trips as terms differ, not as entries do."""
    alone = Alone([1] + [2] * 500 + [3] * 500, term=5)
    answer = alone.answer(2, Append(5, 900, 2, 0, []))
    assert answer == AppendReply(5, False, 900, 0, 501, 2), "all of term 3 is passed over"
    leader = Alone([1] + [4] * 1000, term=5)
    leader.becomes_leader()
    retry = leader.answer(2, AppendReply(6, False, 1001, 0, 501, 2))
    assert isinstance(retry, Append)
    assert (retry.prev_index, retry.prev_term) == (1, 1), "and all of term 4 too"


# ---- 5.4 safety


def test_a_candidate_without_all_committed_entries_is_not_elected() -> None:
    """5.4.1: a majority has them, and each of those refuses."""
    cluster = elected()
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.stabilize()
    cluster.crash(1)
    cluster.heal()
    cluster.forget_leaders()
    for _ in range(3):
        cluster.campaign(3)
        cluster.stabilize()
    assert cluster.leaders() == []
    cluster.elect(2)
    assert cluster.data_of(2) == [b"x"]


@pytest.mark.parametrize(
    ("terms", "wins"),
    [([1, 1, 3], True), ([1, 3], True), ([1, 2, 2], False), ([1, 1, 1, 1, 1], False), ([1, 1, 2, 2], True)],
)
def test_of_two_logs_the_later_term_then_the_longer_is_newer(terms: list[int], wins: bool) -> None:
    """5.4.1: compared by the last entry's term first, by length only where that is equal; both votes need it."""
    voter = Alone([1, 2, 2, 2], term=9)
    last = (len(terms), terms[-1])
    assert voter.answer(2, VoteRequest(10, *last, True)) == VoteReply(10 if wins else 9, wins, True)
    assert granted(voter.answer(2, vote_request(10, *last))) is wins


def test_an_old_terms_entry_on_a_majority_is_not_committed_until_a_newer_one_is() -> None:
    """5.4.2, figure 8 (c) and (e)."""
    alone = Alone([1, 2], term=3, count=5)
    alone.becomes_leader()
    for peer in (2, 3, 4, 5):
        alone.receives(peer, accepted(4, 2))
    assert alone.node.log.commit == 0
    alone.receives(2, accepted(4, 3))
    alone.receives(3, accepted(4, 3))
    assert alone.node.log.commit == 3


# ---- 5.5 crashes


def test_requests_to_a_crashed_member_are_repeated_for_ever() -> None:
    """5.5: and when it is back it gets what it lacks, however long that took."""
    cluster = elected()
    cluster.crash(2)
    cluster.run(20_000, step_ms=50)
    cluster.propose(1, b"x")
    cluster.restart(2)
    cluster.run(200)
    assert cluster.data_of(2) == [b"x"]


def test_a_request_repeated_because_its_answer_was_lost_does_no_harm() -> None:
    """5.5: a follower that has the entries takes no notice of them, and says so once more."""
    cluster = elected()
    cluster.propose(1, b"x")
    for peer in (2, 3):
        cluster.deliver(1, peer)
        cluster.drop(peer, 1)
    cluster.run(200)
    assert [cluster.data_of(number) for number in cluster.members] == [[b"x"]] * 3


# ---- 5.6 timing


def test_safety_does_not_depend_on_time() -> None:
    """5.6: with clocks that jump at will, terms still have one leader and the committed stays."""
    cluster = elected()
    cluster.propose(1, b"x")
    cluster.stabilize()
    led: dict[int, int] = {1: 1}
    for step in range(60):
        cluster.tick(1 + step % 3, 5_000)
        cluster.stabilize()
        for leader in cluster.leaders():
            assert led.setdefault(cluster[leader].term, leader) == leader
    cluster.run(2_000)
    assert all(cluster.data_of(number) == [b"x"] for number in cluster.members)


def test_the_default_timing_lets_many_heartbeats_fit_into_an_election_timeout() -> None:
    """5.6: broadcast time, then election timeout, each far below the next."""
    settings = Cluster(1).settings
    assert settings.heartbeat_interval_ms * 4 <= settings.election_timeout_ms_min < settings.election_timeout_ms_max


# ---- 6 stickiness


@pytest.mark.parametrize("pre", [True, False])
def test_no_vote_and_no_new_term_while_a_leader_is_heard(pre: bool) -> None:
    """6: within the shortest election timeout of the leader's last word a request changes nothing."""
    alone = Alone()
    alone.follows(2, 1)
    alone.time_passes(399)
    assert alone.answer(3, VoteRequest(9, 99, 9, pre)) == VoteReply(1, False, pre)
    assert (alone.node.term, alone.node.leader_id) == (1, 2)


def test_votes_are_given_again_once_the_leader_is_silent() -> None:
    """6: stickiness ends after the shortest timeout, not with the own one."""
    alone = Alone()
    alone.follows(2, 1)
    alone.time_passes(399)
    alone.time_passes(1)
    assert granted(alone.answer(3, vote_request(2)))


def test_a_member_that_was_cut_off_does_not_depose_the_leader() -> None:
    """6: pre-vote keeps its term, stickiness its requests from mattering."""
    cluster = elected()
    cluster.isolate(3)
    cluster.run(5_000)
    cluster.heal()
    cluster.run(1_000)
    assert (cluster.leaders(), cluster[1].term) == ([1], 1)


# ---- 8 clients


def test_a_leader_begins_its_term_with_an_entry_of_its_own() -> None:
    """8: a no-op, which commits what was left over."""
    alone = Alone([1, 1], term=1)
    alone.becomes_leader()
    assert alone.node.log.slice(3, 3, 1, 1)[0].kind == EntryKind.NO_OP


def test_a_leader_is_not_ready_for_reads_before_that_entry_is_committed() -> None:
    """8: until then it cannot know what is committed, even when it has proven that it leads."""
    alone = Alone([1, 1], term=1)
    term = alone.becomes_leader()
    number = alone.cluster.begin_read_round(1)
    alone.receives(2, HeartbeatReply(term, number))
    assert alone.node.confirmed_round == number
    assert not alone.node.leads_and_is_ready
    alone.receives(2, accepted(term, 3))
    assert alone.node.leads_and_is_ready


def test_a_read_needs_the_answers_of_a_majority() -> None:
    """8: the leader exchanges heartbeats with a majority after the read came and before it is answered."""
    alone = Alone(count=5)
    term = alone.becomes_leader()
    first, second = alone.cluster.begin_read_round(1), alone.cluster.begin_read_round(1)
    alone.receives(2, HeartbeatReply(term, second))
    assert alone.node.confirmed_round == 0
    alone.receives(2, HeartbeatReply(term, second))
    assert alone.node.confirmed_round == 0, "one member's answer counts once"
    alone.receives(3, HeartbeatReply(term, first))
    assert alone.node.confirmed_round == first
    alone.receives(4, HeartbeatReply(term, second))
    assert alone.node.confirmed_round == second


def test_a_round_is_not_confirmed_by_answers_to_earlier_heartbeats() -> None:
    """8: an answer speaks for the time when it was given."""
    alone = Alone()
    term = alone.becomes_leader()
    first = alone.cluster.begin_read_round(1)
    second = alone.cluster.begin_read_round(1)
    for peer in (2, 3):
        alone.receives(peer, HeartbeatReply(term, first))
    assert alone.node.confirmed_round == first < second


def test_rounds_of_an_earlier_leadership_confirm_nothing() -> None:
    """8: rounds are counted anew in each term, and an old term's answers are no answers."""
    alone = Alone()
    first_term = alone.becomes_leader()
    for _ in range(3):
        alone.cluster.begin_read_round(1)
    alone.receives(2, Heartbeat(first_term + 1, 0, 0))
    alone.time_passes(800)
    term = alone.becomes_leader()
    number = alone.cluster.begin_read_round(1)
    for peer in (2, 3):
        alone.receives(peer, HeartbeatReply(first_term, 3))
    assert alone.node.confirmed_round < number
    alone.receives(2, HeartbeatReply(term, number))
    assert alone.node.confirmed_round == number


def test_a_lone_member_leads_commits_and_reads_by_itself() -> None:
    """5.2 and 8 for a cluster of one: it is its own majority, but only once its disk has answered."""
    cluster = Cluster(1)
    cluster.slow_disk(1)
    cluster.tick(1, 0)
    assert cluster[1].role is Role.CANDIDATE, "its own vote counts once it cannot be forgotten"
    cluster.sync(1)
    assert cluster[1].role is Role.LEADER
    assert not cluster[1].leads_and_is_ready
    cluster.sync(1)
    assert cluster[1].leads_and_is_ready
    assert cluster.begin_read_round(1) == cluster[1].confirmed_round
    cluster.propose(1, b"x")
    assert cluster.data_of(1) == []
    cluster.sync(1)
    assert cluster.data_of(1) == [b"x"]


def test_positions_of_all_members_only_grow_while_a_cluster_works() -> None:
    """Figure 3 in the small: nothing that was committed is seen to go, on any member."""
    cluster = elected()
    seen: list[list[int]] = []
    for number in range(20):
        cluster.propose(1, b"%d" % number)
        cluster.run(20)
        seen.append([node.log.commit for node in cluster.up()])
    assert all(a <= b for before, after in pairwise(seen) for a, b in zip(before, after, strict=True))
