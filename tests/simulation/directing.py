"""For runs that a test directs itself: no chance events, and elections only when asked for."""

from __future__ import annotations

import msgspec

from raftkv.raft.settings import RaftSettings
from raftkv.replica import ReplicaSettings
from raftkv.replica.snapshots import SnapshotSettings
from raftkv.testing.member import Member
from raftkv.testing.scenario import Scenario
from raftkv.testing.simulation import Simulation

PATIENT = RaftSettings(election_timeout_ms_min=60_000, election_timeout_ms_max=120_000, heartbeat_interval_ms=20)
"""Nobody stands for election by itself."""

IMPATIENT = RaftSettings(election_timeout_ms_min=100, election_timeout_ms_max=200, heartbeat_interval_ms=20)


WITHOUT_MEMORY = msgspec.structs.replace(IMPATIENT, log_cache_bytes_max=0)
"""What is in memory is not cut from the log: with this, a snapshot cuts all that it stands for."""


def directed(
    members: int,
    raft: RaftSettings,
    *,
    request_timeout_ms: int = 5000,
    snapshots: SnapshotSettings = SnapshotSettings(),  # noqa: B008
    reads_locally: bool = False,
) -> Simulation:
    """A started cluster without faults and clients."""
    scenario = Scenario(
        members=members,
        replica=ReplicaSettings(
            raft=raft, request_timeout_ms=request_timeout_ms, snapshots=snapshots, reads_locally=reads_locally
        ),
        tick_ms=10,
        delay_us=(1000, 1000),
        sync_us=(500, 500),
        patience_ms=60_000,
    )
    simulation = Simulation(scenario)
    simulation.start()
    simulation.run_for(300)
    return simulation


def restart(simulation: Simulation, *member_ids: int) -> None:
    """So that they remember no leader, and may vote at once; returns when they are connected again."""
    for member_id in member_ids:
        simulation.members[member_id].crash()
        simulation.members[member_id].start()
    simulation.run_for(400)


def elect(simulation: Simulation, member_id: int) -> Member:
    """Let `member_id` stand for election until it is in office."""
    member = simulation.members[member_id]

    def elected() -> bool:
        return member.replica is not None and member.replica.node.role.value == "leader"

    for _ in range(10):
        if not elected():
            member.campaign()
            simulation.run_for(50)
    assert elected()
    return member


def leader_of(simulation: Simulation) -> Member:
    simulation.run_until(lambda: any(m.leads for m in simulation.members.values()), 5000, "electing a leader")
    return next(member for member in simulation.members.values() if member.leads)


def separate(simulation: Simulation, side: set[int], *, cut: bool = True) -> None:
    """Cut (or heal) everything between `side` and the others."""
    for a in sorted(side):
        for b in sorted(simulation.members.keys() - side):
            for pair in ((a, b), (b, a)):
                (simulation.network.cut if cut else simulation.network.heal)(*pair)
