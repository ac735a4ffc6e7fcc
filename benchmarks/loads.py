"""The loads by name, and how long each is run. All numbers that shape a run are here or on the command line.

Keys are "key:" and 12 digits (16 bytes), values 3 bytes, as redis-benchmark has them.
"""

from __future__ import annotations

from dataclasses import dataclass

KEYSPACE = 100_000
CLIENTS = 50
PIPELINE = 16


@dataclass(frozen=True)
class Load:
    """One closed loop: so many connections, each with so many operations at once."""

    name: str
    kind: str  # set, get (linearizable where the peer can), dirtyget (local, possibly stale)
    clients: int
    pipeline: int
    about: str
    with_redis_benchmark: bool = False


LOADS = [
    Load("set", "set", CLIENTS, 1, "SET, 50 clients"),
    Load("get", "get", CLIENTS, 1, "GET, 50 clients"),
    Load("set-p16", "set", CLIENTS, PIPELINE, "SET, 50 clients, -P 16"),
    Load("get-p16", "get", CLIENTS, PIPELINE, "GET, 50 clients, -P 16"),
    Load("dirtyget", "dirtyget", CLIENTS, 1, "DIRTYGET (local, may be stale), 50 clients"),
    Load("dirtyget-p16", "dirtyget", CLIENTS, PIPELINE, "DIRTYGET (local, may be stale), 50 clients, -P 16"),
    Load("set-c1", "set", 1, 1, "SET, 1 client"),
    Load("get-c1", "get", 1, 1, "GET, 1 client"),
    Load("rb-set", "set", CLIENTS, 1, "redis-benchmark -t set -c 50", with_redis_benchmark=True),
    Load("rb-get", "get", CLIENTS, 1, "redis-benchmark -t get -c 50", with_redis_benchmark=True),
    Load(
        "rb-set-p16",
        "set",
        CLIENTS,
        PIPELINE,
        "redis-benchmark -t set -c 50 -P 16",
        with_redis_benchmark=True,
    ),
    Load(
        "rb-get-p16",
        "get",
        CLIENTS,
        PIPELINE,
        "redis-benchmark -t get -c 50 -P 16",
        with_redis_benchmark=True,
    ),
]
OTHER_MEASUREMENTS = {
    "failover": "leader killed (kill -9) to the first acknowledged write",
    "memory": "RSS growth of the largest member, per million small keys",
    "restart": "all members killed and started, to the GET of a known key",
}
COMMANDS = "commands"
"""Each test of redis-benchmark's default set, without and with a pipeline."""

NAMES = [load.name for load in LOADS] + [COMMANDS] + list(OTHER_MEASUREMENTS)


def command_load(test: str, pipeline: int) -> str:
    """The name under which samples of one such test are kept."""
    return f"{COMMANDS}-p{pipeline} {test}"


@dataclass(frozen=True)
class Plan:
    """How much of everything a run does. Durations in seconds."""

    rounds: int = 3
    load_s: float = 1.5
    warmup_s: float = 0.3
    prefill_s_max: float = 2.0
    command_requests: int = 20_000
    failovers: int = 10
    footprint_keys: int = 1_000_000
    footprint_fill_s_max: float = 40.0


QUICK = Plan(
    rounds=1,
    load_s=0.5,
    warmup_s=0.1,
    prefill_s_max=0.5,
    command_requests=2_000,
    failovers=2,
    footprint_keys=50_000,
    footprint_fill_s_max=3.0,
)
