"""Snapshots in situations that are set up on purpose."""

from __future__ import annotations

import errno

import pytest

from raftkv.errors import StorageCorrupt
from raftkv.machines.interface import Kind
from raftkv.replica.snapshots import SnapshotSettings
from raftkv.testing.history import Outcome
from raftkv.testing.linearizability import check_history
from raftkv.testing.member import Member
from raftkv.testing.simulation import Simulation
from tests.simulation.directing import WITHOUT_MEMORY, directed, leader_of, separate
from tests.simulation.mutants import cuts_what_a_snapshot_under_way_needs, takes_skipped_writes_for_lost

APPEND, OTHER = [[b"APPEND", b"a1", b"<x>"]], [[b"APPEND", b"a2", b"<y>"]]


def others(simulation: Simulation, member: Member) -> list[Member]:
    return [other for other in simulation.members.values() if other is not member]


def base_of(member: Member) -> int:
    assert member.replica is not None
    return member.replica.node.log.base_index


def write_until_cut(simulation: Simulation, leader: Member, index: int) -> None:
    """Write until the log begins behind `index`."""
    for _ in range(50):
        if base_of(leader) > index:
            return
        simulation.ask_until_done(leader, Kind.WRITE, OTHER, 1000)
        simulation.run_for(30)
    raise AssertionError("the log is never cut")


def test_a_write_that_a_snapshot_stands_for_is_of_unknown_outcome() -> None:
    """Its leader was lost when all had it. The entry itself never comes by again."""
    simulation = directed(3, WITHOUT_MEMORY, request_timeout_ms=60_000, snapshots=SnapshotSettings(log_entries_max=2))
    old = leader_of(simulation)
    simulation.ask_until_done(old, Kind.WRITE, APPEND, 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first write")
    for other in others(simulation, old):
        simulation.network.cut(other.id, old.id)
    write = simulation.clients.ask(old, Kind.WRITE, APPEND, lambda operation: None)
    end = len(old.log) + 1
    simulation.run_until(lambda: all(len(m.log) == end for m in simulation.members.values()), 1000, "its way")
    separate(simulation, {old.id})
    simulation.run_until(lambda: any(m.leads for m in others(simulation, old)), 5000, "another leader")
    new = next(member for member in others(simulation, old) if member.leads)
    write_until_cut(simulation, new, end)
    assert write.outcome is None
    for other in others(simulation, old):
        simulation.network.break_link(old.id, other.id)  # with all that was on its way
    separate(simulation, {old.id}, cut=False)
    simulation.run_until(lambda: write.outcome is not None, 5000, "an answer")
    simulation.converge()
    assert write.outcome is Outcome.UNKNOWN
    check_history(simulation.clients.operations)


def test_taking_such_a_write_for_lost_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    takes_skipped_writes_for_lost(monkeypatch)
    with pytest.raises(AssertionError):
        test_a_write_that_a_snapshot_stands_for_is_of_unknown_outcome()


def test_a_read_that_waits_for_what_only_a_snapshot_brings_is_answered_from_it() -> None:
    """Asked at a member that does not lead, and lacks entries that nobody has any more."""
    slowly = SnapshotSettings(log_entries_max=2, send_bytes_per_s_max=1000, send_chunk_bytes=20)
    simulation = directed(3, WITHOUT_MEMORY, snapshots=slowly, reads_locally=True)
    leader = leader_of(simulation)
    away = others(simulation, leader)[0]
    away.crash()
    had = len(away.log)
    simulation.ask_until_done(leader, Kind.WRITE, APPEND, 1000)
    write_until_cut(simulation, leader, had)
    away.start()
    replica = away.replica
    assert replica is not None
    simulation.run_until(lambda: replica.snapshots.receiving.progress is not None, 2000, "the snapshot on its way")
    read = simulation.clients.ask(away, Kind.READ, [[b"GET", b"a1"]], lambda operation: None)
    simulation.run_for(20)
    assert read.outcome is None
    assert replica.follower_reads.has_confirmed, "the leader has answered"
    simulation.run_until(lambda: read.outcome is not None, 5000, "an answer")
    assert (read.outcome, read.replies) == (Outcome.OK, [b"<x>"])
    assert replica.follower_reads.answered == 1
    assert base_of(away) > had


def test_the_log_is_kept_behind_a_snapshot_that_is_on_its_way() -> None:
    """Sending takes long, and writes go on: the receiver must not have to begin with the next one, for ever."""
    slowly = SnapshotSettings(log_entries_max=2, send_bytes_per_s_max=1000, send_chunk_bytes=20)
    simulation = directed(3, WITHOUT_MEMORY, snapshots=slowly)
    leader = leader_of(simulation)
    away = others(simulation, leader)[0]
    away.crash()
    had = len(away.log)
    write_until_cut(simulation, leader, had)
    away.start()
    for _ in range(100):
        simulation.ask_until_done(leader, Kind.WRITE, OTHER, 1000)
        simulation.run_for(20)
        if base_of(away) > had:
            break
    assert base_of(away) > had
    simulation.converge()
    assert sum("installed=True" in line for line in simulation.trace.lines()) == 1, "the log goes on behind the first"


def test_cutting_what_it_needs_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts_what_a_snapshot_under_way_needs(monkeypatch)
    with pytest.raises(AssertionError):
        test_the_log_is_kept_behind_a_snapshot_that_is_on_its_way()


def test_a_leader_that_is_lost_while_it_sends_leaves_the_next_one_to_it() -> None:
    """The next has only an older snapshot, and nobody writes, so there will be no newer one."""
    slowly = SnapshotSettings(log_entries_max=1_000_000, send_bytes_per_s_max=1000, send_chunk_bytes=20)
    simulation = directed(3, WITHOUT_MEMORY, snapshots=slowly)
    leader = leader_of(simulation)
    away, next_ = others(simulation, leader)
    simulation.ask_until_done(leader, Kind.WRITE, OTHER, 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first write")
    away.crash()
    simulation.ask_until_done(leader, Kind.WRITE, OTHER, 1000)
    for member in (next_, leader):
        simulation.ask_until_done(leader, Kind.WRITE, OTHER, 1000)
        simulation.run_for(100)
        member.request_snapshot()
        simulation.run_for(200)
    assert len(away.log) < base_of(next_) < base_of(leader)
    away.start()
    replica = away.replica
    assert replica is not None
    simulation.run_until(lambda: (replica.snapshots.receiving.progress or (0, 0))[0] > 0, 5000, "the first bytes")
    leader.crash()
    simulation.run_until(lambda: replica.applied == len(next_.log), 20_000, "catching up")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "the disk is full"), StorageCorrupt("it is damaged")])
def test_a_receiver_whose_files_fail_gets_all_of_it_again(error: OSError | StorageCorrupt) -> None:
    simulation = directed(3, WITHOUT_MEMORY, snapshots=SnapshotSettings(log_entries_max=2, send_chunk_bytes=20))
    leader = leader_of(simulation)
    away = others(simulation, leader)[0]
    away.crash()
    write_until_cut(simulation, leader, len(away.log))
    away.start()
    replica = away.replica
    assert replica is not None
    simulation.run_until(lambda: (replica.snapshots.receiving.progress or (0, 0))[0] > 100, 5000, "a part")
    away.snapshots.fails_next = error
    simulation.converge()
