"""Situations set up on purpose, each with what a client must see in it."""

from __future__ import annotations

import pytest

from raftkv.machines.interface import Kind
from raftkv.raft.roles import Role
from raftkv.testing.history import Operation, Outcome
from raftkv.testing.linearizability import check_history
from raftkv.testing.member import Member
from raftkv.testing.simulation import Simulation
from tests.simulation.directing import IMPATIENT, PATIENT, directed, elect, leader_of, separate
from tests.simulation.mutants import answers_on_any_link

APPEND, GET = [[b"APPEND", b"a1", b"<x>"]], [[b"GET", b"a1"]]


def ask(simulation: Simulation, member: Member, kind: Kind, commands: list[list[bytes]]) -> Operation:
    return simulation.clients.ask(member, kind, commands, lambda operation: None)


def wait(simulation: Simulation, *operations: Operation, within_ms: int = 10_000) -> None:
    simulation.run_until(lambda: all(op.outcome is not None for op in operations), within_ms, "an answer")


def test_halves_of_four_members_commit_nothing() -> None:
    simulation = directed(4, IMPATIENT)
    leader = leader_of(simulation)
    simulation.ask_until_done(leader, Kind.WRITE, APPEND, 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first write")
    committed = len(simulation.facts.committed)
    other = next(member.id for member in simulation.members.values() if member is not leader)
    separate(simulation, {leader.id, other})
    writes = [ask(simulation, member, Kind.WRITE, APPEND) for member in simulation.members.values()]
    reads = [ask(simulation, member, Kind.READ, GET) for member in simulation.members.values()]
    wait(simulation, *writes, *reads, within_ms=20_000)
    assert len(simulation.facts.committed) == committed
    assert Outcome.OK not in {operation.outcome for operation in (*writes, *reads)}
    assert not any(member.leads for member in simulation.members.values())
    separate(simulation, {leader.id, other}, cut=False)
    simulation.converge()
    check_history(simulation.clients.operations)


def deposed_with_a_pending_write(request_timeout_ms: int = 5000) -> tuple[Simulation, Member, Operation]:
    """A leader is cut off, is given a write, and others elect another leader."""
    simulation = directed(3, IMPATIENT, request_timeout_ms=request_timeout_ms)
    old = leader_of(simulation)
    simulation.ask_until_done(old, Kind.WRITE, [[b"APPEND", b"a1", b"<first>"]], 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first write")
    separate(simulation, {old.id})
    write = ask(simulation, old, Kind.WRITE, APPEND)
    simulation.run_until(lambda: any(m.leads and m is not old for m in simulation.members.values()), 5000, "another")
    return simulation, old, write


def test_a_deposed_leader_answers_when_the_fate_of_its_write_becomes_known() -> None:
    simulation, old, write = deposed_with_a_pending_write()
    assert not write.replies
    separate(simulation, {old.id}, cut=False)
    wait(simulation, write)
    # Its entry was replaced, so it was certainly not done, and was sent on to the new leader.
    assert (write.outcome, write.replies) == (Outcome.OK, [len(b"<first><x>")])
    simulation.converge()
    check_history(simulation.clients.operations)


def test_a_deposed_leader_says_unknown_when_it_does_not_become_known() -> None:
    simulation, old, write = deposed_with_a_pending_write(request_timeout_ms=1000)
    wait(simulation, write)
    assert write.outcome is Outcome.UNKNOWN
    separate(simulation, {old.id}, cut=False)
    simulation.converge()
    check_history(simulation.clients.operations)


def test_a_stopped_leader_never_answers_a_stale_read() -> None:
    simulation = directed(3, IMPATIENT)
    old = leader_of(simulation)
    simulation.ask_until_done(old, Kind.WRITE, [[b"APPEND", b"a1", b"<first>"]], 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first write")
    old.pause()
    new = None
    simulation.run_until(lambda: any(m.leads and m is not old for m in simulation.members.values()), 5000, "another")
    new = next(member for member in simulation.members.values() if member.leads and member is not old)
    simulation.ask_until_done(new, Kind.WRITE, APPEND, 1000)
    # It is still leader in its own eyes, and what it is asked now waits in its sockets.
    reads = [ask(simulation, old, Kind.READ, GET) for _ in range(3)]
    simulation.run_for(100)
    assert old.leads
    old.resume()
    wait(simulation, *reads)
    assert [(read.outcome, read.replies) for read in reads] == [(Outcome.OK, [b"<first><x>"])] * 3


def test_an_answer_to_a_former_life_is_not_given_to_another_client() -> None:
    """Found by seeds 243 and 300: numbers of forwarded requests begin again with each life of their sender."""
    simulation = directed(3, PATIENT)
    leader = elect(simulation, 1)
    follower = simulation.members[2]
    for member in simulation.members.values():
        member.disk.slow_factor = 1000
    former = ask(simulation, follower, Kind.WRITE, APPEND)
    simulation.run_until(lambda: len(leader.log) > 1, 1000, "the write at the leader")
    follower.crash()
    follower.start()
    assert former.outcome is Outcome.UNKNOWN
    simulation.run_until(lambda: former.number not in follower.opened and leader.id in links(follower), 2000, "a link")
    assert leader.replica is not None
    assert leader.replica.applied == 1, "the write of the former life is still under way"
    write = ask(simulation, follower, Kind.WRITE, [[b"APPEND", b"a2", b"<another>"]])
    for member in simulation.members.values():
        member.disk.slow_factor = 1
    wait(simulation, write)
    assert (write.outcome, write.replies) == (Outcome.OK, [len(b"<another>")])


def test_an_answer_on_any_link_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answers_on_any_link(monkeypatch)
    with pytest.raises(AssertionError):
        test_an_answer_to_a_former_life_is_not_given_to_another_client()


def links(member: Member) -> set[int]:
    assert member.replica is not None
    return member.replica._links.connected


def test_a_key_that_is_due_is_gone_before_a_read_is_answered_and_stays_gone() -> None:
    """Also when the next leader's clock is an hour behind."""
    simulation = directed(3, IMPATIENT)
    leader = leader_of(simulation)
    for member in simulation.members.values():
        member.clock.wall_offset_ms = 0 if member is leader else -3_600_000
    simulation.ask_until_done(leader, Kind.WRITE, [[b"SET", b"t1", b"<t>", b"PX", b"200"]], 1000)
    assert simulation.ask_until_done(leader, Kind.READ, [[b"GET", b"t1"]], 1000).replies == [b"<t>"]
    simulation.run_for(200)
    assert simulation.ask_until_done(leader, Kind.READ, [[b"GET", b"t1"]], 1000).replies == [None]
    leader.crash()
    new = leader_of(simulation)
    assert simulation.ask_until_done(new, Kind.READ, [[b"GET", b"t1"]], 1000).replies == [None]


@pytest.mark.parametrize(("kind", "commands"), [(Kind.WRITE, APPEND), (Kind.READ, [[b"GET", b"t1"]])])
def test_when_all_disks_hang_everybody_is_answered_in_time(kind: Kind, commands: list[list[bytes]]) -> None:
    """The leader stays, for heartbeats need no disk; the read needs one to let a key expire first."""
    simulation = directed(3, IMPATIENT, request_timeout_ms=1000)
    leader = leader_of(simulation)
    simulation.ask_until_done(leader, Kind.WRITE, [[b"SET", b"t1", b"<t>", b"PX", b"100"]], 1000)
    for member in simulation.members.values():
        member.disk.slow_factor = 1_000_000
    simulation.run_for(200)
    asked = []
    for _ in range(6):
        asked.append(ask(simulation, leader, kind, commands))
        simulation.run_for(20)
    wait(simulation, *asked, within_ms=2000)
    assert leader.leads
    assert Outcome.OK not in {operation.outcome for operation in asked}


def test_a_member_whose_disk_fails_stops_and_the_others_go_on() -> None:
    simulation = directed(3, IMPATIENT)
    leader = leader_of(simulation)
    leader.disk.fails_next = True
    write = ask(simulation, leader, Kind.WRITE, APPEND)
    wait(simulation, write)
    assert write.outcome is Outcome.UNKNOWN
    assert not leader.is_up
    simulation.ask_until_done(leader_of(simulation), Kind.WRITE, APPEND, 5000)
    leader.start()
    simulation.converge()
    check_history(simulation.clients.operations)


def test_a_member_that_was_cut_off_comes_back_without_unseating_the_leader() -> None:
    simulation = directed(5, IMPATIENT)
    leader = leader_of(simulation)
    away = next(member for member in simulation.members.values() if member is not leader)
    separate(simulation, {away.id})
    simulation.run_for(3000)
    separate(simulation, {away.id}, cut=False)
    simulation.run_until(simulation.is_whole, 5000, "catching up")
    assert leader.replica is not None
    assert leader.replica.node.role is Role.LEADER
    assert len(simulation.facts.leaders) == 1
