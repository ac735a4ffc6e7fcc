"""Logs with a base, and snapshots for who is behind it (paper, section 7)."""

from __future__ import annotations

import pytest

from raftkv.errors import BrokenInvariant
from raftkv.raft.membership import MEMBERSHIP, Membership
from raftkv.raft.messages import Append, AppendReply, Entry, Heartbeat, SnapshotChunk, SnapshotReply, VoteReply
from raftkv.raft.progress import Mode
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries
from tests.raft.harness import Cluster, Snapshot

VOTERS = Membership((1, 2, 3))


def behind_a_base(base: int = 5, *, last: int = 8) -> Alone:
    """A follower in term 2 whose log is all of term 1, committed, and compacted up to `base`."""
    alone = Alone([1] * last, term=2)
    alone.receives(2, Append(2, last, 1, last, []))
    alone.cluster.compact(1, base)
    return alone


def leader_behind_a_base() -> Alone:
    """A leader of term 2 with entries 1 to 6 committed and compacted up to 4; 3 has answered nothing yet."""
    alone = Alone([1] * 5)
    term = alone.becomes_leader()
    alone.receives(2, accepted(term, 6))
    assert alone.node.log.commit == 6
    alone.cluster.compact(1, 4)
    return alone


# ---- the follower's log


def test_an_append_that_begins_below_the_base_is_taken_from_the_base_on() -> None:
    alone = behind_a_base()
    assert alone.answer(2, Append(2, 2, 1, 8, entries(3, *[1] * 7))) == AppendReply(2, True, 2, 9, 0, 0)
    assert alone.node.log.last_index == 9


def test_an_append_that_ends_below_the_base_is_answered_with_the_base() -> None:
    """What is there is committed, so it is equal; the leader need not send the rest of it."""
    alone = behind_a_base()
    assert alone.answer(2, Append(2, 1, 1, 8, entries(2, 1))) == AppendReply(2, True, 1, 5, 0, 0)


def test_a_hint_is_never_below_the_base() -> None:
    """There the logs agree for certain."""
    alone = behind_a_base(last=5)
    alone.receives(2, Append(2, 5, 1, 5, entries(6, 2, 2)))
    answer = alone.answer(2, Append(2, 7, 1, 5, []))
    assert answer == AppendReply(2, False, 7, 0, 5, 1)


def test_the_committed_part_alone_can_be_forgotten() -> None:
    alone = Alone([1, 1, 1])
    with pytest.raises(BrokenInvariant):
        alone.node.compact(1)


def test_forgetting_again_or_less_changes_nothing() -> None:
    alone = behind_a_base()
    alone.node.compact(3)
    assert alone.node.log.base_index == 5
    assert alone.node.take_output().base is None


def test_entries_that_are_not_written_yet_and_lie_below_the_base_are_not_written() -> None:
    """The base comes first on disk; behind it they would leave a gap."""
    alone = Alone(term=1)
    node = alone.node
    node.on_message(2, Append(1, 0, 0, 3, entries(1, 1, 1, 1, 1)))
    node.compact(3)
    output = node.take_output()
    assert (output.base, [entry.index for entry in output.entries]) == ((3, 1), [4])


def test_a_promise_waits_for_the_base() -> None:
    alone = behind_a_base()
    alone.cluster.slow_disk(1)
    alone.cluster.compact(1, 8)
    assert alone.receives(2, Append(2, 8, 1, 8, [])) == []
    alone.cluster.sync(1)
    assert (2, AppendReply(2, True, 8, 8, 0, 0)) in alone.sent()


def test_a_restart_finds_the_log_behind_its_base() -> None:
    alone = behind_a_base()
    alone.restarts()
    log = alone.node.log
    assert (log.base_index, log.base_term, log.commit, log.last_index) == (5, 1, 8, 8)


# ---- installing


def test_an_agreeing_suffix_is_kept() -> None:
    """Section 7: if the log has an entry with the snapshot's index and term, retain what follows it."""
    alone = Alone([1, 1, 1, 1], term=1)
    alone.cluster.members[1].disk.snapshot = Snapshot(3, 1, VOTERS)
    assert alone.cluster.turn(1, lambda node: node.install_snapshot(3, 1, VOTERS)) is True
    log = alone.node.log
    assert (log.base_index, log.commit, log.last_index) == (3, 3, 4)


def test_otherwise_the_entire_log_is_discarded() -> None:
    alone = Alone([1, 1, 1, 1], term=1)
    newer = Membership((1, 2, 3, 4))
    alone.cluster.members[1].disk.snapshot = Snapshot(3, 2, newer)
    assert alone.cluster.turn(1, lambda node: node.install_snapshot(3, 2, newer)) is True
    log = alone.node.log
    assert (log.base_index, log.base_term, log.commit, log.last_index, log.last_term) == (3, 2, 3, 3, 2)
    assert (alone.node.membership, alone.node.membership_is_committed) == (newer, True)


def test_writes_under_way_do_not_vouch_for_what_comes_behind_the_snapshot() -> None:
    """Entry 5 was written once, then superseded, and has been accepted again: only the new copy counts."""
    alone = Alone(term=1)
    alone.cluster.slow_disk(1)
    alone.receives(2, Append(1, 0, 0, 0, entries(1, 1, 1, 1, 1, 1)))
    alone.cluster.members[1].disk.snapshot = Snapshot(4, 2, VOTERS)
    alone.cluster.turn(1, lambda node: node.install_snapshot(4, 2, VOTERS))
    alone.receives(3, Append(2, 4, 2, 4, entries(5, 2)))
    alone.cluster.sync(1, 1)
    assert alone.node.log.synced <= 4
    alone.cluster.sync(1)
    assert alone.node.log.synced == 5


def test_an_older_snapshot_is_not_installed_but_answered_with_what_is_committed() -> None:
    alone = behind_a_base()
    assert alone.answer(2, SnapshotChunk(2, 7, 1, 100, 0, b"")) == SnapshotReply(2, 8, 0, True)
    assert alone.node.install_snapshot(8, 1, VOTERS) is False
    assert alone.node.snapshot_inputs == []


def test_that_answer_waits_until_it_is_durable() -> None:
    alone = Alone(term=1)
    alone.cluster.slow_disk(1)
    alone.receives(2, Append(1, 0, 0, 2, entries(1, 1, 1)))
    assert alone.receives(2, SnapshotChunk(1, 1, 1, 100, 0, b"")) == []
    alone.cluster.sync(1)
    assert (2, SnapshotReply(1, 2, 0, True)) in alone.sent()


def test_a_leader_installs_nothing() -> None:
    """A snapshot was on its way when this member was elected; it has everything in it."""
    alone = leader_behind_a_base()
    assert alone.node.install_snapshot(7, 1, VOTERS) is False


def test_a_chunk_shows_who_leads_and_goes_to_the_replica() -> None:
    alone = Alone()
    chunk = SnapshotChunk(3, 9, 2, 100, 0, b"")
    alone.node.on_message(2, chunk)
    assert (alone.node.term, alone.node.leader_id) == (3, 2)
    assert alone.node.snapshot_inputs == [(2, chunk)]


def test_a_chunk_of_a_deposed_leader_is_answered_with_the_term() -> None:
    alone = Alone(term=5)
    assert alone.answer(2, SnapshotChunk(4, 9, 2, 100, 0, b"")) == SnapshotReply(5, 0, 0, False)
    assert alone.node.snapshot_inputs == []


def test_a_member_that_has_the_snapshot_but_not_yet_the_term_begins_in_the_snapshots_term() -> None:
    """The file was durable, the write with the new term was not, and the power went. In an older term it could be
    elected with a log that ends in a newer one."""
    cluster = Cluster(3)
    cluster.crash(1)
    cluster.members[1].disk.snapshot = Snapshot(9, 4, VOTERS)
    cluster.restart(1)
    assert (cluster[1].term, cluster[1].vote, cluster[1].log.last_index) == (4, 0, 9)


# ---- the leader's end


def test_a_follower_behind_the_base_is_sent_no_appends() -> None:
    alone = leader_behind_a_base()
    term = alone.node.term
    alone.receives(3, AppendReply(term, False, 5, 0, 2, 1))
    assert alone.node.progress[3].mode is Mode.SNAPSHOT
    assert alone.node.wanting_snapshot == [3]
    alone.sent()
    alone.cluster.propose(1, b"x")
    alone.time_passes(60)
    sent = [message for to, message in alone.sent() if to == 3]
    assert {type(message) for message in sent} == {Heartbeat, SnapshotChunk}, "it still hears who leads"


def test_after_a_rejection_at_the_base_a_snapshot_is_needed() -> None:
    """The base's own term is known, what was before is not."""
    alone = leader_behind_a_base()
    alone.receives(3, AppendReply(alone.node.term, False, 5, 0, 4, 0))
    assert alone.node.progress[3].mode is Mode.SNAPSHOT


def test_who_agrees_at_the_base_needs_none() -> None:
    alone = leader_behind_a_base()
    (append,) = alone.receives(3, AppendReply(alone.node.term, False, 5, 0, 4, 1))
    assert isinstance(append, Append)
    assert (append.prev_index, [entry.index for entry in append.entries]) == (4, [5])


def test_once_installed_replication_goes_on_at_once() -> None:
    alone = leader_behind_a_base()
    term = alone.node.term
    alone.receives(3, AppendReply(term, False, 5, 0, 0, 0))
    appends = [message for message in alone.receives(3, SnapshotReply(term, 4, 100, True)) if type(message) is Append]
    assert [(a.prev_index, [entry.index for entry in a.entries]) for a in appends] == [(4, [5]), (5, [6])]
    assert (alone.node.progress[3].match, alone.node.progress[3].mode) == (4, Mode.REPLICATE)
    assert alone.node.wanting_snapshot == []


def test_an_installed_snapshot_counts_for_the_commit() -> None:
    alone = leader_behind_a_base()
    term = alone.node.term
    alone.receives(3, AppendReply(term, False, 5, 0, 0, 0))
    alone.cluster.propose(1, b"x")
    alone.receives(3, SnapshotReply(term, 7, 100, True))
    assert alone.node.log.commit == 7


def test_a_part_of_a_snapshot_counts_as_being_alive() -> None:
    """A long transfer must not let check-quorum depose the leader."""
    alone = leader_behind_a_base()
    term = alone.node.term
    alone.receives(3, AppendReply(term, False, 5, 0, 0, 0))
    for offset in range(30):
        alone.time_passes(100)
        alone.receives(3, SnapshotReply(term, 4, offset, False))
    assert alone.node.role is Role.LEADER


def test_after_a_new_connection_who_lacks_what_was_compacted_needs_a_snapshot() -> None:
    alone = leader_behind_a_base()
    alone.receives(3, accepted(alone.node.term, 3))
    alone.cluster.turn(1, lambda node: node.on_link_reset(3))
    assert alone.node.progress[3].mode is Mode.SNAPSHOT


def test_who_has_fallen_behind_a_new_base_needs_a_snapshot() -> None:
    alone = Alone([1] * 5, append_entries_max=1, inflight_appends_max=1)
    term = alone.becomes_leader()
    alone.receives(3, AppendReply(term, False, 5, 0, 0, 0))
    alone.receives(3, accepted(term, 1))
    alone.receives(2, accepted(term, 6))
    assert alone.node.progress[3].next == 3
    alone.cluster.compact(1, 5)
    assert alone.node.progress[3].mode is Mode.SNAPSHOT


def test_a_follower_that_comes_back_empty_gets_a_snapshot() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(100)
    cluster.propose(1, b"x")
    cluster.run(100)
    cluster.compact(1)
    cluster.crash(3)
    cluster.members[3].disk.entries.clear()
    cluster.restart(3)
    cluster.reset_link(1, 3)
    cluster.run(500)
    assert (cluster[3].log.base_index, cluster[3].log.commit) == (2, 2)
    cluster.propose(1, b"y")
    cluster.run(100)
    assert cluster.data_of(3) == [b"y"]


def test_a_new_leader_finds_who_needs_a_snapshot() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(100)
    cluster.isolate(3)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.run(100)
    for number in (1, 2):
        cluster.compact(number)
    cluster.crash(1)
    cluster.heal()
    cluster.forget_leaders()
    cluster.elect(2)
    cluster.run(500)
    assert cluster[3].log.base_index == 6
    assert cluster[3].log.commit == cluster[2].log.last_index


# ---- memberships below the base


def test_the_membership_at_the_base_is_kept() -> None:
    cluster = Cluster(1, spares=2)
    cluster.elect(1)
    cluster.run(50)
    cluster.change(1, Membership((1, 2, 3)))
    cluster.run(100)
    last = cluster[1].log.last_index
    cluster.propose(1, b"x")
    cluster.run(100)
    assert cluster[1].memberships.at(last - 2).voters == (1,)
    cluster.compact(1)
    assert cluster[1].memberships.at(last + 1).voters == (1, 2, 3)
    assert cluster[1].memberships.before_newest is None
    cluster.restart(1)
    assert cluster[1].membership.voters == (1, 2, 3)


def test_a_joiner_learns_the_members_from_a_snapshot() -> None:
    cluster = Cluster(3, spares=1)
    cluster.elect(1)
    cluster.run(100)
    cluster.propose(1, b"x")
    cluster.run(100)
    cluster.compact(1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,), joining=(4,)))
    cluster.run(2_000)
    assert cluster[4].log.base_index == 2
    assert cluster[4].membership.voters == (1, 2, 3, 4)


def test_a_membership_in_a_discarded_log_counts_no_more() -> None:
    alone = Alone(term=1)
    alone.receives(2, Append(1, 0, 0, 0, [Entry(1, 1, MEMBERSHIP, Membership((1, 2), outgoing=(1, 2, 3)).encode())]))
    assert alone.node.membership.is_joint
    alone.cluster.members[1].disk.snapshot = Snapshot(4, 2, VOTERS)
    alone.cluster.turn(1, lambda node: node.install_snapshot(4, 2, VOTERS))
    assert (alone.node.membership, alone.node.membership_index) == (VOTERS, 4)


def test_votes_go_by_the_base_when_nothing_lies_behind_it() -> None:
    alone = behind_a_base(8)
    alone.cluster.campaign(1)
    requests = [message for _, message in alone.sent()]
    assert {(request.last_index, request.last_term) for request in requests} == {(8, 1)}  # type: ignore[union-attr]
    alone.receives(2, VoteReply(3, True, True))
    alone.receives(2, VoteReply(3, True, False))
    assert alone.node.role is Role.LEADER
