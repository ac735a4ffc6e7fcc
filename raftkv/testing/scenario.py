"""What kind of run a seed stands for: how many members, how rough a world, which settings. All drawn from the seed.

Small limits (one entry in an Append, a window of one, a cache of nothing) are drawn often: they lead into the branches
that generous defaults never enter.
"""

from __future__ import annotations

from random import Random

import msgspec

from raftkv.raft.settings import RaftSettings
from raftkv.replica import ReplicaSettings
from raftkv.replica.forwarding import FRAME_SLACK_BYTES
from raftkv.replica.sessions import Limits
from raftkv.replica.snapshots import SnapshotSettings


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    seed: int = 0
    members: int = 3
    spares: int = 0
    """Further processes that are no members, until the fault "change_members" adds them."""

    machine: str = "redis"
    """"redis" or "register"."""

    replica: ReplicaSettings = ReplicaSettings()
    duration_ms: int = 3000
    """So long are faults and clients at work."""

    converge_ms_max: int = 20_000
    """So long may the cluster take to be whole again afterwards."""

    tick_ms: int = 20

    # ---- network
    delay_us: tuple[int, int] = (100, 2000)
    datagrams: bool = False
    """Raft's messages travel alone: they may be lost, repeated, overtaken, and outlive a crash of either end."""

    loss: float = 0.0
    repeat: float = 0.0
    straggle: float = 0.0
    """With `datagrams`: the part of messages that are lost, arrive twice, arrive very late."""

    frames: bool = True
    """Messages are encoded and parsed as on a real connection."""

    damage: float = 0.0
    """With `frames`: the part of frames in which a byte is changed on the way."""

    # ---- the rest of the world
    sync_us: tuple[int, int] = (200, 2000)
    job_us: tuple[int, ...] = (20, 500, 20_000)
    """One of these is how long a piece of work with a snapshot file takes."""

    drift_ppm_max: int = 0
    wall_spread_ms: int = 0

    clients: int = 4
    session_clients: int = 0
    """Clients that have each write applied exactly once, by sessions (see once.py). For machine "redis"."""

    session_ttl_ms: int = 60_000
    transaction_clients: int = 0
    """Clients that count by transactions with watched keys (see transactions.py). For machine "redis"."""

    think_us: tuple[int, int] = (1000, 40_000)
    patience_ms: int = 1500
    """A client that hears nothing for so long turns to another member; it does not know what became of its command."""

    expiring: bool = True
    """With machine "redis": some keys get a time to live."""

    fault_interval_ms: tuple[int, int] = (100, 600)
    faults: dict[str, int] = {}
    """Name of a fault -> its weight (see faults.py). Empty: no faults."""


ALL_FAULTS = {
    "partition": 4,
    "isolate_leader": 3,
    "one_way": 3,
    "break_link": 3,
    "crash": 4,
    "crash_leader": 4,
    "crash_most": 1,
    "crash_all": 1,
    "pause": 2,
    "pause_leader": 3,
    "slow_disk": 2,
    "fail_disk": 1,
    "wall_jump": 2,
    "campaign": 2,
    "trigger_election": 2,
}


SNAPSHOT_FAULTS = {"fail_job": 4}

OPERATORS = {"change_members": 4, "transfer_leader": 3, "take_snapshot": 2}
"""Not faults, but what may come in between them."""


def draw(seed: int) -> Scenario:
    """The scenario that `seed` stands for."""
    random = Random(f"scenario/{seed}")
    choice, chance = random.choice, random.random
    datagrams = chance() < 0.4
    frames = chance() < 0.6
    by_life = Random(f"life/{seed}")
    by_readers = Random(f"readers/{seed}")
    by_files = Random(f"snapshot files/{seed}")
    by_transactions = Random(f"transactions of {seed}")
    by_sessions = Random(f"sessions/{seed}")  # of its own: a seed stands for the same run as before there were any
    return Scenario(
        seed=seed,
        session_clients=by_sessions.choice((0, 1, 2)),
        session_ttl_ms=by_sessions.choice((300, 2000, 60_000)),
        transaction_clients=by_transactions.choice((0, 2, 3)),
        members=choice((3, 3, 4, 5, 5)),
        spares=by_life.choice((0, 0, 1, 2)),
        machine=choice(("redis", "redis", "redis", "register")),
        replica=_with_readers(
            _draw_settings(random, by_sessions, by_life, _draw_chunk_bytes(by_files, datagrams)), by_readers
        ),
        duration_ms=choice((1500, 2500, 4000)),
        tick_ms=choice((10, 20, 40)),
        delay_us=choice(((50, 300), (100, 2000), (500, 15_000))),
        datagrams=datagrams,
        loss=choice((0.0, 0.02, 0.2)) if datagrams else 0.0,
        repeat=choice((0.0, 0.05, 0.2)) if datagrams else 0.0,
        straggle=choice((0.0, 0.02, 0.1)) if datagrams else 0.0,
        frames=frames,
        damage=choice((0.0, 0.0, 0.002)) if frames else 0.0,
        sync_us=choice(((10, 100), (200, 2000), (1000, 30_000))),
        job_us=by_files.choice(((20, 500, 20_000), (20_000, 100_000, 300_000))),
        drift_ppm_max=choice((0, 100, 50_000)),
        wall_spread_ms=choice((0, 50, 5000)),
        clients=random.randint(3, 6),
        think_us=choice(((200, 10_000), (1000, 40_000))),
        patience_ms=choice((300, 1500, 60_000)),
        expiring=chance() < 0.7,
        fault_interval_ms=choice(((30, 200), (100, 600), (300, 1500))),
        faults=_draw_faults(random) | _draw_life(by_life) | by_files.choice(({}, {}, SNAPSHOT_FAULTS)),
    )


def _draw_settings(random: Random, by_sessions: Random, by_life: Random, chunk_bytes: int) -> ReplicaSettings:
    choice = random.choice
    election_ms_min = choice((100, 150, 400))
    return ReplicaSettings(
        early_round_clients_min=1,
        raft=RaftSettings(
            election_timeout_ms_min=election_ms_min,
            election_timeout_ms_max=2 * election_ms_min,
            heartbeat_interval_ms=election_ms_min // choice((3, 8)),
            append_entries_max=choice((1, 2, 100)),
            append_bytes_max=choice((1, 200, 4 * 1024 * 1024)),
            inflight_appends_max=choice((1, 2, 64)),
            inflight_bytes_max=choice((1, 500, 16 * 1024 * 1024)),
            log_cache_bytes_max=choice((0, 2000, 16 * 1024 * 1024)),
        ),
        snapshots=SnapshotSettings(
            log_entries_max=by_life.choice((3, 20, 100, 1_000_000)),
            log_bytes_max=by_life.choice((500, 1 << 30)),
            keep=by_life.choice((1, 2)),
            send_bytes_per_s_max=by_life.choice((0, 0, 10_000)),
            send_chunk_bytes=chunk_bytes,
        ),
        sessions=Limits(
            sessions_max=by_sessions.choice((2, 10_000)),
            replies_max=by_sessions.choice((1, 3, 128)),
            reply_bytes_max=by_sessions.choice((0, 10, 65_536)),
        ),
        forwards=random.random() < 0.85,
        proposals_inflight_max=choice((1, 2, 5)),
        entry_bytes_max=choice((1, 60, 4 * 1024 * 1024)),
        apply_commands_max=choice((1, 5, 10_000)),
        frame_bytes_max=choice((FRAME_SLACK_BYTES + 200, 64 * 1024 * 1024)),
        no_leader_wait_ms=choice((200, 1000, 3000)),
        request_timeout_ms=choice((400, 1500, 5000)),
    )


def _with_readers(settings: ReplicaSettings, random: Random) -> ReplicaSettings:
    """How reads are answered, and how often states are compared. A lease allows for the most that two clocks of a
    scenario drift apart."""
    raft = msgspec.structs.replace(settings.raft, lease_drift_percent_max=random.choice((0, 10)))
    is_local, verify_interval_ms = random.random() < 0.5, random.choice((0, 300))
    return msgspec.structs.replace(settings, raft=raft, reads_locally=is_local, verify_interval_ms=verify_interval_ms)


def _draw_chunk_bytes(random: Random, datagrams: bool) -> int:
    """Where one overtakes another, as on no real link, each time is followed by a silence: few chunks then."""
    return random.choice((400, 1 << 18) if datagrams else (20, 100, 1 << 18))


def _draw_life(random: Random) -> dict[str, int]:
    """What operators do: mostly nothing."""
    names = random.sample(sorted(OPERATORS), random.choice((0, 0, 1, 3)))
    return {name: OPERATORS[name] for name in sorted(names)}


def _draw_faults(random: Random) -> dict[str, int]:
    """Some faults in some mixture: all at once hide each other."""
    names = random.sample(sorted(ALL_FAULTS), random.randint(2, len(ALL_FAULTS)))
    return {name: ALL_FAULTS[name] for name in sorted(names)}
