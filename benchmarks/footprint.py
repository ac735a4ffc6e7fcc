"""What a million small keys cost in memory, and how long a start with them takes.

Keys are written one after the other (each once) on a freshly started peer, until all are there or the time is
over. Memory is the growth of resident memory of the member that grew most, from before the first key, so an
interpreter's own size does not count and a cache of recent log entries does. Then all members are killed
(kill -9) and started again; the clock runs from the start until a GET of the last key written answers with
its value.
"""

from __future__ import annotations

import time

from benchmarks.loadgen import Generator, GeneratorFailed
from benchmarks.loads import CLIENTS, PIPELINE, Plan
from benchmarks.peers import Peer
from benchmarks.processes import wait_until

RESTART_S_MAX = 120.0


def measure_memory(peer: Peer, generator: Generator, plan: Plan) -> tuple[int, dict[str, float]]:
    """Fill a fresh peer. The number of keys, and the figures of the sample. Raises GeneratorFailed."""
    workload = peer.workload("set")
    assert workload is not None, "every peer can SET"
    before = [process.rss_bytes() for process in peer.processes]
    filled = generator.run(
        peer.main_port,
        workload,
        clients=CLIENTS,
        pipeline=PIPELINE,
        seconds=plan.footprint_fill_s_max,
        keyspace=plan.footprint_keys,
        requests=plan.footprint_keys,
        sequential=True,
    )
    if not filled.total_ops:
        raise GeneratorFailed(f"no key was written: {filled.first_error}")
    keys = filled.total_ops
    grown = max(process.rss_bytes() - old for process, old in zip(peer.processes, before, strict=True))
    return keys, {"bytes_per_key": grown / keys, "keys": keys}


def measure_restart(peer: Peer, keys: int) -> dict[str, float]:
    """Kill all members and start them again on their data. Raises PeerFailed when the key does not come back."""
    # Not the very last one: keys of 50 connections end in any order when the fill was ended by its time.
    key = f"key:{max(0, keys - 2 * CLIENTS * PIPELINE):012d}"
    wait_until(lambda: peer.has_key(key), peer.processes, f"{peer.name}: {key} is there before the restart")
    for process in peer.processes:
        process.kill()
    started_at = time.monotonic()
    for process in peer.processes:
        process.start()
    wait_until(
        lambda: peer.has_key(key),
        peer.processes,
        f"{peer.name}: {key} after the restart",
        timeout_s=RESTART_S_MAX,
    )
    return {"seconds": time.monotonic() - started_at, "keys": keys}
