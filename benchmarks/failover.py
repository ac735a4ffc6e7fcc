"""Failover time: from ``kill -9`` of the leader to the first write that a survivor acknowledges.

How it works: for each survivor two threads try one write after the other, each on a connection of its own and
with a short limit, beginning right after the kill. An attempt that hangs on a member without a leader
therefore hides at most one limit of time. The first acknowledgement ends the measurement; the killed member
is then started again on its data, and the cluster must be whole before the next trial.
"""

from __future__ import annotations

import threading
import time

from benchmarks.peers import Peer
from benchmarks.processes import PeerFailed

ATTEMPT_S_MAX = 0.1
PROBES_PER_MEMBER = 2
FAILOVER_S_MAX = 30.0


def measure_failover(peer: Peer) -> float:
    """One trial, in seconds. Raises PeerFailed when no write succeeds within FAILOVER_S_MAX."""
    leader = peer.wait_for_leader()
    survivors = [at for at in range(len(peer.processes)) if at != leader]
    acknowledged = _FirstTime()
    killed_at = time.monotonic()
    peer.processes[leader].kill()
    probes = [
        threading.Thread(target=_probe, args=(peer, member, acknowledged), daemon=True)
        for member in survivors
        for _ in range(PROBES_PER_MEMBER)
    ]
    for probe in probes:
        probe.start()
    try:
        acknowledged.event.wait(FAILOVER_S_MAX)
    finally:
        at = acknowledged.at
        acknowledged.event.set()
        for probe in probes:
            probe.join()
    if at is None:
        raise PeerFailed(f"{peer.name}: no write acknowledged within {FAILOVER_S_MAX:.0f} s of the leader's death")
    peer.processes[leader].start()
    peer.wait_whole()
    return at - killed_at


class _FirstTime:
    """When the first of several threads succeeded (monotonic seconds)."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.at: float | None = None
        self._lock = threading.Lock()

    def note(self) -> None:
        now = time.monotonic()
        with self._lock:
            if self.at is None:
                self.at = now
        self.event.set()


def _probe(peer: Peer, member: int, acknowledged: _FirstTime) -> None:
    while not acknowledged.event.is_set():
        if peer.try_write(member, ATTEMPT_S_MAX):
            acknowledged.note()
