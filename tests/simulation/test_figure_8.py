"""Figure 8 of the paper, acted out by whole members: why entries of older terms are not committed by counting."""

from __future__ import annotations

import msgspec
import pytest

from raftkv.machines.interface import Kind
from raftkv.testing.failure import RuleBroken
from raftkv.testing.simulation import Simulation
from tests.simulation.directing import PATIENT, directed, elect, restart
from tests.simulation.mutants import commits_an_old_term_by_counting

ONE_BY_ONE = msgspec.structs.replace(PATIENT, append_entries_max=1, inflight_appends_max=1)


def act() -> Simulation:
    simulation = directed(5, ONE_BY_ONE)
    members, disks = simulation.members, {member.id: member.disk for member in simulation.members.values()}
    # (a) 1 leads term 1; its last entry reaches only 2.
    elect(simulation, 1)
    simulation.ask_until_done(members[1], Kind.WRITE, [[b"APPEND", b"a1", b"<first>"]], 1000)
    simulation.run_until(simulation.is_whole, 1000, "the first entry")
    index = len(disks[1].entries) + 1
    for other in (3, 4, 5):
        simulation.network.cut(1, other)
    simulation.clients.ask(members[1], Kind.WRITE, [[b"APPEND", b"a1", b"<second>"]], lambda operation: None)
    simulation.run_until(lambda: disks[1].has(index, 1) and disks[2].has(index, 1), 1000, "reaching member 2")
    # (b) 1 crashes; 5 is elected by 3 and 4, and what it appends stays with it.
    members[1].crash()
    simulation.network.heal_all()
    restart(simulation, 3, 4, 5)
    members[5].campaign()
    simulation.run_until(lambda: disks[3].votes.get(2) == disks[4].votes.get(2) == 5, 1000, "voting for 5")
    for other in (1, 2, 3, 4):
        simulation.network.cut(5, other)
    simulation.run_until(lambda: disks[5].has(index, 2), 1000, "the entry of 5")
    members[5].crash()
    simulation.network.heal_all()
    # (c) 1 is back, leads again, and its old entry reaches a majority: 1, 2 and 3.
    members[1].start()
    simulation.network.cut(1, 4)
    simulation.network.cut(4, 1)
    restart(simulation, 2, 3)
    members[1].campaign()
    simulation.run_for(30)  # refused: it hears of the newer term
    members[1].campaign()
    simulation.run_until(lambda: disks[3].has(index, 1), 1000, "reaching member 3")
    leader = members[1].replica
    assert leader is not None
    simulation.run_until(lambda: leader.node.progress[3].match == index, 1000, "the acknowledgement of 3")
    for other in (2, 3):
        simulation.network.cut(1, other)
    # (d) 1 crashes before an entry of its new term reaches a majority; 5 may win with the votes of 3 and 4.
    members[1].crash()
    simulation.network.heal_all()
    members[5].start()
    restart(simulation, 2, 3, 4)
    elect(simulation, 5)
    simulation.run_for(500)
    members[1].start()
    simulation.converge()
    return simulation


def test_the_old_entry_is_overwritten_and_was_never_committed() -> None:
    simulation = act()
    assert not any(b"<second>" in entry.data for entry in simulation.facts.committed)


def test_committing_it_by_counting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    commits_an_old_term_by_counting(monkeypatch)
    with pytest.raises(RuleBroken, match=r"leader completeness|commitment"):
        act()
