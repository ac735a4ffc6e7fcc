"""What the paper does not speak of: windows, strangers, clocks, answers that come late, several inputs in one turn."""

from __future__ import annotations

from raftkv.raft.log import ENTRY_OVERHEAD_BYTES, Log
from raftkv.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, VoteReply
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries, granted, vote_request


def test_a_member_does_not_hear_itself() -> None:
    alone = Alone()
    assert alone.receives(1, Append(5, 0, 0, 0, entries(1, 5))) == []
    assert (alone.node.term, alone.terms()) == (0, [])


def test_the_leader_may_be_one_that_is_not_known_yet() -> None:
    """The entry that made it a member is in the log it sends (thesis, 4.2.2)."""
    alone = Alone()
    assert alone.receives(9, Append(5, 0, 0, 0, entries(1, 5))) == [accepted(5, 1)]
    assert alone.node.leader_id == 9


def test_the_answer_of_a_stranger_means_nothing() -> None:
    alone = Alone()
    for message in (AppendReply(7, False, 0, 0, 0, 0), HeartbeatReply(7, 0), VoteReply(7, False, False)):
        assert alone.receives(9, message) == []
    assert alone.node.term == 0


def test_a_clock_that_goes_back_is_not_followed() -> None:
    alone = Alone()
    alone.time_passes(300)
    alone.node.on_tick(5)
    assert alone.node.now_ms == 300


def test_a_heartbeat_waits_for_its_own_term_to_be_durable_not_for_an_older_one() -> None:
    alone = Alone()
    alone.cluster.slow_disk(1)
    alone.receives(2, Heartbeat(1, 0, 0))
    alone.receives(3, Heartbeat(2, 0, 0))
    alone.sent()
    alone.cluster.sync(1, 1)
    assert HeartbeatReply(2, 0) not in [message for _, message in alone.sent()]
    assert alone.receives(3, Heartbeat(2, 0, 1)) == [], "only term 1 is on disk"
    alone.cluster.sync(1)
    assert HeartbeatReply(2, 1) in [message for _, message in alone.sent()]


def test_a_pre_vote_for_another_term_is_not_counted() -> None:
    alone = Alone(term=4)
    alone.cluster.campaign(1)
    alone.receives(2, VoteReply(9, True, True))
    assert (alone.node.role, alone.node.term) == (Role.PRE_CANDIDATE, 4)


def test_acknowledgements_alone_count_as_being_heard() -> None:
    alone = Alone()
    term = alone.becomes_leader()
    for _ in range(4):
        alone.time_passes(700)
        alone.receives(2, accepted(term, 1))
    assert alone.node.role is Role.LEADER


def test_a_late_answer_does_not_take_a_round_back() -> None:
    alone = Alone()
    term = alone.becomes_leader()
    first, second = alone.cluster.begin_read_round(1), alone.cluster.begin_read_round(1)
    for number in (second, first):
        alone.receives(2, HeartbeatReply(term, number))
    assert alone.node.confirmed_round == second


def test_a_heartbeats_commit_beyond_the_log_is_cut_to_it() -> None:
    alone = Alone([1, 1], term=1)
    alone.receives(2, Heartbeat(1, 9, 0))
    assert alone.node.log.commit == 2


def test_a_hint_below_what_is_known_to_match_is_not_believed() -> None:
    """A rejection that was overtaken may name a place that has been settled since."""
    alone = Alone([1] * 5, term=1)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 4))
    answer = alone.answer(2, AppendReply(term, False, 5, 0, 1, 1))
    assert isinstance(answer, Append)
    assert answer.prev_index == 4


def test_the_window_bounds_the_appends_under_way() -> None:
    alone = Alone(inflight_appends_max=3, append_entries_max=1)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 1))
    alone.sent()
    for _ in range(10):
        alone.cluster.propose(1, b"x")
    assert [to for to, _ in alone.sent(Append)] == [2, 2, 2], "3 is still being probed"
    assert len(alone.receives(2, accepted(term, 3))) == 2, "each that arrived makes room for one"


def test_the_window_bounds_the_bytes_under_way() -> None:
    alone = Alone(inflight_bytes_max=100)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 1))
    alone.sent()
    for _ in range(10):
        alone.cluster.propose(1, bytes(60))
    assert len(alone.sent(Append)) == 2
    assert len(alone.receives(2, accepted(term, 3))) == 1, "the rest goes together, as one append"
    assert alone.receives(2, accepted(term, 11)) == [Heartbeat(term, 11, 0)], "only that all of it is committed"
    assert alone.node.progress[2].inflight_bytes == 0


def test_followers_at_the_same_place_share_one_append() -> None:
    """So that it is encoded once."""
    alone = Alone()
    alone.becomes_leader()
    first, second = (message for _, message in alone.sent(Append))
    assert first is second


def test_entries_that_were_cut_before_they_were_written_are_not_written() -> None:
    """Two leaders' appends in one turn: what the second replaces never reaches the disk, nor leaves a gap there."""
    alone = Alone([1], term=1)

    def turn(node: object) -> None:
        alone.node.on_message(2, Append(2, 1, 1, 0, entries(2, 2, 2, 2)))
        alone.node.on_message(3, Append(3, 2, 2, 0, entries(3, 3)))

    alone.cluster.turn(1, turn)
    assert alone.terms() == [1, 2, 3]
    assert [entry.term for entry in alone.cluster.members[1].disk.entries] == [1, 2, 3]


def test_an_entry_cut_and_accepted_again_is_not_durable_by_its_first_copy() -> None:
    """The ABA problem: 2/2 is cut and comes back from a third leader; only the third write has it to stay."""
    alone = Alone([1], term=1)
    alone.cluster.slow_disk(1)
    alone.receives(2, Append(2, 1, 1, 0, entries(2, 2)))
    alone.receives(3, Append(3, 1, 1, 0, entries(2, 3)))
    alone.receives(2, Append(4, 1, 1, 0, entries(2, 2)))
    for synced in (1, 1, 2):
        alone.cluster.sync(1, 1)
        assert alone.node.log.synced == synced


def test_a_vote_asked_for_twice_waits_for_the_disk_both_times() -> None:
    alone = Alone()
    alone.cluster.slow_disk(1)
    assert alone.receives(2, vote_request(1)) == []
    assert alone.receives(2, vote_request(1)) == []
    alone.cluster.sync(1)
    assert [granted(message) for _, message in alone.sent()] == [True, True]


def test_what_is_not_synced_stays_in_memory() -> None:
    """A follower may apply what its own disk has not got yet; it could not be read back."""
    log = Log(cache_bytes_max=2 * ENTRY_OVERHEAD_BYTES)
    for entry in entries(1, *[1] * 10):
        log.append(entry)
    log.commit = 10
    log.synced = 4
    log.trim(10)
    assert [entry.index for entry in log.slice(5, 10, 100, 1000)] == [5, 6, 7, 8, 9, 10]
