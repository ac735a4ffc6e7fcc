"""A survivor that becomes its cluster: what is known of the members, what is appended, and what is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from raftkv.cluster import founding
from raftkv.cluster.founding import Founding
from raftkv.cluster.identity import cluster_id
from raftkv.cluster.recovery import Founders, Plan, Recovery
from raftkv.errors import StorageCorrupt, YourFault
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.files import Files
from tests.cluster.directories import CLUSTER, THREE, add_log, add_snapshot, no_ops, open_log

OWN = {1: "h1:8001"}
FIVE = Membership((1, 2, 3), learners=(4,), joining=(4,), addresses={**THREE, 4: "h4:8001"}, removed=(9,))


def recover(directory: Path, members: dict[int, str] = OWN, founders: Founders | None = None) -> Plan:
    with closing(Recovery(str(directory), members, founders)) as recovery:
        recovery.carry_out()
        return recovery.plan


def last_entry(directory: Path) -> tuple[HardState, Entry]:
    with closing(open_log(directory)) as wal:
        found = wal.recovered
        return found.hard_state, wal.read(found.last_index, found.last_index, 1000)[0]


@pytest.fixture
def founded(tmp_path: Path) -> Path:
    """Five entries of which two are known to be committed, and the file CLUSTER."""
    add_log(tmp_path, no_ops(1, 5, term=3), HardState(term=4, vote=2, commit=2))
    founding.store(Files(), str(tmp_path), Founding(CLUSTER, THREE))
    return tmp_path


def test_one_entry_of_a_new_term_makes_it_vote_alone(founded: Path) -> None:
    plan = recover(founded)
    assert plan.doubtful == (3, 5)
    hard_state, entry = last_entry(founded)
    assert hard_state == HardState(term=5, vote=1, commit=6)
    assert (entry.index, entry.term, entry.kind) == (6, 5, EntryKind.MEMBERSHIP)
    assert decode_membership(entry.data) == Membership((1,), addresses=OWN, removed=(2, 3))


def test_other_survivors_vote_when_they_have_caught_up(founded: Path) -> None:
    """They come back empty. Were they voters at once, they would be needed for an election in which they must not
    vote yet."""
    recover(founded, {3: "h3:8001", 1: "new:8001"})
    membership = decode_membership(last_entry(founded)[1].data)
    assert (membership.voters, membership.learners, membership.joining) == ((1,), (3,), (3,))
    assert (membership.addresses, membership.removed) == ({1: "new:8001", 3: "h3:8001"}, (2,))


def test_looking_changes_nothing(founded: Path) -> None:
    Recovery(str(founded), OWN).close()
    with closing(open_log(founded)) as wal:
        assert wal.recovered.last_index == 5


def test_again_is_harmless(founded: Path) -> None:
    recover(founded)
    recover(founded)
    hard_state, entry = last_entry(founded)
    assert hard_state == HardState(term=6, vote=1, commit=7)
    assert decode_membership(entry.data).removed == (2, 3)


def test_the_newest_membership_of_the_log_counts(tmp_path: Path) -> None:
    entries = [*no_ops(8, 8, term=3), Entry(9, 3, EntryKind.MEMBERSHIP, FIVE.encode())]
    add_snapshot(tmp_path)
    add_log(tmp_path, entries, HardState(3, 0, 8), base=(7, 3))
    assert recover(tmp_path).before == FIVE
    assert decode_membership(last_entry(tmp_path)[1].data).removed == (2, 3, 4, 9)


def test_without_one_in_the_log_the_snapshots_counts(tmp_path: Path) -> None:
    add_snapshot(tmp_path, membership=FIVE)
    add_log(tmp_path, no_ops(8, 8, term=3), HardState(3, 0, 0), base=(7, 3))
    plan = recover(tmp_path)
    assert (plan.before, plan.commit, plan.index) == (FIVE, 7, 9)


def test_a_snapshot_that_the_log_does_not_have_takes_its_place(tmp_path: Path) -> None:
    """The member ended between receiving it and emptying its log."""
    stale = Entry(2, 1, EntryKind.MEMBERSHIP, Membership.founding({1: "x:1", 8: "y:1"}).encode())
    add_log(tmp_path, [*no_ops(1, 1, term=1), stale], HardState(1, 0, 0))
    add_snapshot(tmp_path, membership=FIVE)
    plan = recover(tmp_path)
    assert (plan.index, plan.term, plan.before, plan.doubtful) == (8, 4, FIVE, None)
    with closing(open_log(tmp_path)) as wal:
        assert (wal.recovered.base, wal.recovered.last_index) == ((7, 3), 8)


def test_a_log_whose_snapshot_is_missing_is_refused(tmp_path: Path) -> None:
    add_log(tmp_path, no_ops(8, 8, term=3), HardState(3, 0, 7), base=(7, 3))
    with pytest.raises(StorageCorrupt, match="begins behind entry 7"):
        recover(tmp_path)


def test_founders_are_asked_for_and_checked(tmp_path: Path) -> None:
    add_log(tmp_path, no_ops(1, 1, term=1), HardState(1, 0, 0), cluster_id=cluster_id("shop", THREE))
    with pytest.raises(YourFault, match="give --founders"):
        recover(tmp_path)
    for wrong in (Founders("raftkv", THREE), Founders("shop", OWN)):
        with pytest.raises(YourFault, match="did not begin under the name"):
            recover(tmp_path, founders=wrong)
    assert recover(tmp_path, founders=Founders("shop", THREE)).after.removed == (2, 3)


@pytest.mark.parametrize(
    ("members", "why"),
    [({2: "h2:8001"}, "must be among --members"), ({1: "h1:8001", 7: "h7:8001"}, r"\[7\] were no members")],
)
def test_members_that_cannot_be(founded: Path, members: dict[int, str], why: str) -> None:
    with pytest.raises(YourFault, match=why):
        recover(founded, members)
    recover(founded)  # the lock was given back


def test_a_running_member_refuses(founded: Path) -> None:
    with closing(open_log(founded)), pytest.raises(StorageCorrupt, match="in use by process"):
        recover(founded)


def test_what_is_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(YourFault, match="holds no log"):
        recover(tmp_path)
