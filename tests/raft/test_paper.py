"""The paper's figure 2, sentence by sentence: state, RequestVote, AppendEntries, and the rules for servers.

"In Search of an Understandable Consensus Algorithm (Extended Version)", Ongaro and Ousterhout. Each docstring retells
one rule in own words. Where the product goes beyond the paper (pre-vote, heartbeats as a message of their own, fast
back-up) the test says so. Sections 5.1 to 8 are in `test_paper_sections.py`.
"""

from __future__ import annotations

import pytest

from raftkv.raft.messages import (
    Append,
    AppendReply,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    RaftMessage,
    VoteReply,
    VoteRequest,
)
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries, granted, vote_request

# ---- state


def test_current_term_is_kept_across_restarts() -> None:
    """Figure 2, persistent state: the newest term seen, never decreasing."""
    alone = Alone()
    alone.receives(2, Heartbeat(7, 0, 0))
    alone.restarts()
    assert alone.node.term == 7


def test_the_vote_is_kept_across_restarts() -> None:
    """Figure 2, persistent state: who got this member's vote in the current term."""
    alone = Alone()
    assert granted(alone.answer(2, vote_request(5)))
    alone.restarts()
    assert (alone.node.term, alone.node.vote) == (5, 2)
    assert not granted(alone.answer(3, vote_request(5)))
    assert granted(alone.answer(2, vote_request(5))), "the same candidate may be told once more"


def test_the_log_is_kept_across_restarts() -> None:
    """Figure 2, persistent state: the entries with their terms."""
    alone = Alone()
    alone.receives(2, Append(2, 0, 0, 0, entries(1, 1, 2)))
    alone.restarts()
    assert alone.terms() == [1, 2]


@pytest.mark.parametrize("message", [vote_request(1), Append(1, 0, 0, 0, entries(1, 1)), Append(1, 0, 0, 0, [])])
def test_stable_storage_is_updated_before_responding(message: RaftMessage) -> None:
    """Figure 2, persistent state: nothing that depends on it is answered before the disk has it."""
    alone = Alone()
    alone.cluster.slow_disk(1)
    assert alone.receives(2, message) == []
    alone.cluster.sync(1)
    assert [to for to, _ in alone.sent()] == [2]


def test_a_candidate_asks_only_after_its_own_vote_is_on_disk() -> None:
    """Figure 2, persistent state, for the vote for oneself; a pre-vote promises nothing and leaves at once."""
    alone = Alone()
    alone.cluster.slow_disk(1)
    alone.becomes_candidate()
    assert all(message.pre for _, message in alone.sent(VoteRequest) if isinstance(message, VoteRequest))
    alone.cluster.sync(1)
    assert len(alone.sent(VoteRequest)) == 2


def test_a_heartbeat_is_answered_once_the_term_is_on_disk_however_slow_the_entries_are() -> None:
    """Beyond the paper: an answer to a heartbeat depends on the term alone."""
    alone = Alone()
    alone.cluster.slow_disk(1)
    assert alone.receives(2, Heartbeat(1, 0, 1)) == []
    alone.cluster.sync(1)
    assert alone.sent() == [(2, HeartbeatReply(1, 1))]
    assert alone.receives(2, Append(1, 0, 0, 0, entries(1, 1))) == []
    assert alone.receives(2, Heartbeat(1, 0, 2)) == [HeartbeatReply(1, 2)]


def test_a_new_leader_assumes_next_index_after_its_last_and_match_index_zero() -> None:
    """Figure 2, volatile state on leaders, set anew after each election."""
    alone = Alone([1, 1, 2])
    alone.becomes_leader()
    assert {(p.next, p.match) for p in alone.node.progress.values()} == {(4, 0)}


# ---- AppendEntries, receiver


def test_append_of_an_older_term_is_refused() -> None:
    """Figure 2, AppendEntries 1 (5.1); the answer carries the newer term."""
    alone = Alone(term=5)
    answer = alone.answer(2, Append(4, 0, 0, 0, entries(1, 4)))
    assert isinstance(answer, AppendReply)
    assert (answer.term, answer.accepted, alone.terms()) == (5, False, [])


@pytest.mark.parametrize(("prev_index", "prev_term"), [(3, 2), (2, 2), (9, 9)], ids=["too short", "other term", "far"])
def test_append_is_refused_where_the_log_has_no_such_entry(prev_index: int, prev_term: int) -> None:
    """Figure 2, AppendEntries 2 (5.3): the entry before the new ones must be there, with that term."""
    alone = Alone([1, 1], term=9)
    answer = alone.answer(2, Append(9, prev_index, prev_term, 0, entries(prev_index + 1, 9)))
    assert isinstance(answer, AppendReply)
    assert (answer.accepted, alone.terms()) == (False, [1, 1])


def test_a_conflicting_entry_is_deleted_with_all_that_follow_it() -> None:
    """Figure 2, AppendEntries 3 (5.3): same index, different term."""
    alone = Alone([1, 2, 2, 2], term=3)
    alone.receives(2, Append(3, 1, 1, 0, entries(2, 3)))
    assert alone.terms() == [1, 3]
    alone.restarts()
    assert alone.terms() == [1, 3], "on disk too"


def test_entries_without_conflict_are_not_deleted_by_a_late_append() -> None:
    """Figure 2, AppendEntries 3: *only* on conflict. A late, short append must not remove what came after it."""
    alone = Alone([1, 1, 1, 1], term=1)
    answer = alone.answer(2, Append(1, 0, 0, 0, entries(1, 1, 1)))
    assert alone.terms() == [1, 1, 1, 1]
    assert isinstance(answer, AppendReply)
    assert answer.match_index == 2, "and speaks for no more than that append"


def test_new_entries_not_already_there_are_appended() -> None:
    """Figure 2, AppendEntries 4, with an overlap of what is there already."""
    alone = Alone([1, 1], term=2)
    alone.receives(2, Append(2, 1, 1, 0, entries(2, 1, 2, 2)))
    assert alone.terms() == [1, 1, 2, 2]


def test_an_append_that_is_delivered_twice_changes_nothing_the_second_time() -> None:
    """Figure 2 and 5.5: the RPCs are idempotent."""
    alone = Alone()
    append = Append(1, 0, 0, 1, entries(1, 1, 1))
    assert alone.answer(2, append) == alone.answer(2, append)
    assert alone.terms() == [1, 1]


@pytest.mark.parametrize(("leader_commit", "commit"), [(1, 1), (2, 2), (9, 2)])
def test_commit_follows_the_leader_up_to_the_last_new_entry(leader_commit: int, commit: int) -> None:
    """Figure 2, AppendEntries 5: the smaller of the leader's commit index and the last entry of this append."""
    alone = Alone([1, 1, 1, 1], term=2)
    alone.receives(2, Append(2, 0, 0, leader_commit, entries(1, 1, 1)))
    assert alone.node.log.commit == commit


def test_the_commit_index_does_not_go_back() -> None:
    """Figure 2, volatile state: commitIndex increases monotonically."""
    alone = Alone()
    alone.receives(2, Append(1, 0, 0, 2, entries(1, 1, 1)))
    alone.receives(2, Append(1, 0, 0, 1, entries(1, 1)))
    alone.receives(2, Heartbeat(1, 0, 0))
    assert alone.node.log.commit == 2


# ---- RequestVote, receiver


def test_a_vote_request_of_an_older_term_is_refused() -> None:
    """Figure 2, RequestVote 1 (5.1); the answer carries the newer term."""
    assert Alone(term=5).answer(2, vote_request(4)) == VoteReply(5, False, False)


def test_one_vote_in_a_term_first_come_first_served() -> None:
    """Figure 2, RequestVote 2 (5.2): the vote must be free, or the candidate's already."""
    alone = Alone()
    assert granted(alone.answer(2, vote_request(1)))
    assert not granted(alone.answer(3, vote_request(1)))
    assert granted(alone.answer(3, vote_request(2))), "a new term, a new vote"


@pytest.mark.parametrize(
    ("last_index", "last_term", "given"),
    [(2, 2, True), (3, 2, True), (1, 3, True), (1, 2, False), (9, 1, False), (0, 0, False)],
)
def test_the_vote_goes_only_to_a_log_at_least_as_new(last_index: int, last_term: int, given: bool) -> None:
    """Figure 2, RequestVote 2 (5.4.1): the later last term wins, then the greater length."""
    alone = Alone([1, 2])
    assert granted(alone.answer(2, vote_request(5, last_index, last_term))) is given
    assert alone.node.term == 5, "the term is taken over in any case"


# ---- rules for servers: all


@pytest.mark.parametrize(
    "message",
    [
        vote_request(9),
        VoteReply(9, False, False),
        Append(9, 0, 0, 0, []),
        AppendReply(9, False, 0, 0, 0, 0),
        Heartbeat(9, 0, 0),
        HeartbeatReply(9, 0),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_newer_term_in_any_message_makes_a_follower_of_that_term(role: Role, message: RaftMessage) -> None:
    """Figure 2, all servers (5.1). The one exception is section 6's: a leader ignores vote requests."""
    alone = Alone(term=1)
    if role is Role.CANDIDATE:
        alone.becomes_candidate()
    elif role is Role.LEADER:
        alone.becomes_leader()
    alone.receives(2, message)
    if role is Role.LEADER and isinstance(message, VoteRequest):
        assert (alone.node.role, alone.node.term) == (Role.LEADER, 2)
    else:
        assert (alone.node.role, alone.node.term) == (Role.FOLLOWER, 9)


# ---- rules for servers: followers


def test_a_follower_answers_candidates_and_leaders() -> None:
    """Figure 2, followers (5.2)."""
    alone = Alone()
    assert alone.receives(2, vote_request(1)) == [VoteReply(1, True, False)]
    assert alone.receives(2, Append(1, 0, 0, 0, [])) == [AppendReply(1, True, 0, 0, 0, 0)]
    assert alone.receives(2, Heartbeat(1, 0, 4)) == [HeartbeatReply(1, 4)]


def test_a_follower_that_hears_nothing_for_an_election_timeout_stands() -> None:
    """Figure 2, followers (5.2); first with a pre-vote, which changes no term (thesis, 9.6)."""
    alone = Alone()
    alone.time_passes(399)
    assert alone.node.role is Role.FOLLOWER
    alone.time_passes(401)
    assert (alone.node.role, alone.node.term) == (Role.PRE_CANDIDATE, 0)
    assert {to for to, message in alone.sent(VoteRequest)} == {2, 3}


@pytest.mark.parametrize("message", [Append(1, 0, 0, 0, []), Heartbeat(1, 0, 0), vote_request(1)])
def test_a_leaders_word_or_a_vote_given_puts_the_timeout_off(message: RaftMessage) -> None:
    """Figure 2, followers (5.2): appends (and heartbeats) of the current leader, and granting a vote."""
    alone = Alone()
    alone.time_passes(399)
    alone.receives(2, message)
    alone.time_passes(399)
    assert alone.node.role is Role.FOLLOWER


@pytest.mark.parametrize("message", [vote_request(1), VoteRequest(2, 0, 0, True), Append(0, 0, 0, 0, [])])
def test_a_vote_refused_a_pre_vote_or_an_old_leader_do_not_put_it_off(message: RaftMessage) -> None:
    """Figure 2, followers (5.2): nothing but the above does."""
    alone = Alone([1])
    due_ms = alone.node.election_due_ms
    alone.time_passes(100)
    alone.receives(2, message)
    assert alone.node.election_due_ms == due_ms


# ---- rules for servers: candidates


def test_a_candidate_raises_the_term_votes_for_itself_resets_its_timer_and_asks_all() -> None:
    """Figure 2, candidates (5.2): the four things that starting an election means."""
    alone = Alone([1, 2], term=4)
    alone.time_passes(300)
    alone.becomes_candidate()
    assert (alone.node.term, alone.node.vote) == (5, 1)
    assert alone.node.election_due_ms >= 300 + alone.node.settings.election_timeout_ms_min
    asked = [(to, message) for to, message in alone.sent() if isinstance(message, VoteRequest) and not message.pre]
    assert asked == [(2, VoteRequest(5, 2, 2, False)), (3, VoteRequest(5, 2, 2, False))]


def test_a_candidate_with_the_votes_of_a_majority_leads() -> None:
    """Figure 2, candidates (5.2), no vote earlier; and one voter's repeated answer is one vote."""
    alone = Alone(count=5)
    term = alone.becomes_candidate()
    for _ in range(3):
        alone.receives(2, VoteReply(term, True, False))
    assert alone.node.role is Role.CANDIDATE
    alone.receives(3, VoteReply(term, True, False))
    assert alone.node.role is Role.LEADER


@pytest.mark.parametrize("message", [Append(1, 0, 0, 0, []), Heartbeat(1, 0, 0)])
def test_a_candidate_that_hears_the_terms_leader_follows_it(message: RaftMessage) -> None:
    """Figure 2, candidates (5.2): somebody else has won."""
    alone = Alone()
    assert alone.becomes_candidate() == 1
    alone.receives(3, message)
    assert (alone.node.role, alone.node.leader_id) == (Role.FOLLOWER, 3)


def test_a_candidate_whose_election_times_out_tries_again_in_a_new_term() -> None:
    """Figure 2, candidates (5.2)."""
    alone = Alone()
    first = alone.becomes_candidate()
    alone.time_passes(800)
    assert alone.node.role is Role.PRE_CANDIDATE
    alone.receives(2, VoteReply(first + 1, True, True))
    assert (alone.node.role, alone.node.term) == (Role.CANDIDATE, first + 1)


# ---- rules for servers: leaders


def test_a_leader_speaks_upon_election_and_repeats_it_when_idle() -> None:
    """Figure 2, leaders (5.2): appends at once, then heartbeats so that nobody times out."""
    alone = Alone()
    term = alone.becomes_leader()
    assert {to for to, _ in alone.sent(Append)} == {2, 3}
    for _ in range(3):
        alone.time_passes(50)
        assert alone.sent(Heartbeat) == [(2, Heartbeat(term, 0, 0)), (3, Heartbeat(term, 0, 0))]


def test_a_leader_appends_a_command_first_and_commits_it_later() -> None:
    """Figure 2, leaders (5.3): a command goes to the own log; it is carried out when it is committed."""
    alone = Alone()
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 1))
    assert alone.cluster.propose(1, b"x") == 2
    assert (alone.node.log.last_index, alone.node.log.commit) == (2, 1)
    alone.receives(3, accepted(term, 2))
    assert alone.node.log.commit == 2


def test_a_leader_sends_from_next_index_on() -> None:
    """Figure 2, leaders (5.3): whoever lacks entries gets them, from its next index."""
    alone = Alone([1, 1], term=1)
    alone.becomes_leader()
    no_op = alone.node.log.slice(3, 3, 1, 1)[0]
    assert no_op.kind == EntryKind.NO_OP
    assert alone.sent(Append) == [(peer, Append(2, 2, 1, 0, [no_op])) for peer in (2, 3)]


def test_success_moves_next_and_match_index() -> None:
    """Figure 2, leaders (5.3), if successful."""
    alone = Alone([1, 1], term=1)
    alone.becomes_leader()
    alone.receives(2, accepted(2, 3))
    progress = alone.node.progress[2]
    assert (progress.next, progress.match) == (4, 3)


def test_a_rejection_moves_next_index_back_and_is_retried() -> None:
    """Figure 2, leaders (5.3), if it fails because the logs differ; never below what is known to match."""
    alone = Alone([1, 1, 1], term=1)
    alone.becomes_leader()
    answer = alone.answer(2, AppendReply(2, False, 3, 0, 1, 1))
    assert isinstance(answer, Append)
    assert (answer.prev_index, [entry.index for entry in answer.entries]) == (1, [2, 3])


def test_match_index_only_grows() -> None:
    """Figure 2, volatile state on leaders: late answers, good or bad, take nothing back."""
    alone = Alone([1, 1], term=1)
    alone.becomes_leader()
    alone.receives(2, accepted(2, 3))
    for late in (accepted(2, 1), AppendReply(2, False, 2, 0, 0, 0), AppendReply(2, False, 3, 0, 0, 0)):
        alone.receives(2, late)
        assert alone.node.progress[2].match == 3
        assert alone.node.progress[2].next > 3


def test_commit_is_what_a_majority_has_in_the_own_term() -> None:
    """Figure 2, leaders (5.3, 5.4): a majority's match index at or above N, and N's entry of the current term."""
    alone = Alone([1, 1, 1], term=1, count=5)
    alone.becomes_leader()
    alone.receives(2, accepted(2, 3))
    alone.receives(3, accepted(2, 3))
    assert alone.node.log.commit == 0, "a majority has 3/1, but that is not of term 2"
    alone.receives(2, accepted(2, 4))
    assert alone.node.log.commit == 0, "two of five have 4/2"
    alone.receives(4, accepted(2, 4))
    assert alone.node.log.commit == 4


def test_the_leader_counts_itself_only_when_its_own_disk_has_it() -> None:
    """Figure 2 with rule 'durable before promised': the leader is one of the majority like any other."""
    alone = Alone()
    term = alone.becomes_leader()
    alone.cluster.slow_disk(1)
    alone.cluster.propose(1, b"x")
    alone.receives(2, accepted(term, 2))
    assert alone.node.log.commit == 1
    alone.cluster.sync(1)
    assert alone.node.log.commit == 2
