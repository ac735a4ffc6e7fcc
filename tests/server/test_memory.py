"""maxmemory: what may grow is refused before it is logged, and allowed again once there is room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from raftkv.machines.replies import OK, Error
from raftkv.server.memory import MemoryGauge
from tests.server.member import Client, Cluster

OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


def test_writes_that_may_grow_are_refused_and_not_logged(cluster: Cluster, client: Client) -> None:
    assert client.pipeline("SET a 1", "CONFIG SET maxmemory 1mb") == [OK, OK]
    last = cluster.replicas[1].node.log.last_index
    assert client.pipeline("SET a 2", "APPEND a 2") == [OOM, OOM]
    assert cluster.replicas[1].node.log.last_index == last
    assert client.pipeline("SET a 2", "GET a") == [OOM, b"1"]
    assert client.pipeline("EXPIRE a 100", "DEL a", "SET b 1") == [1, 1, OOM]
    assert client.pipeline("CONFIG SET maxmemory 0", "SET a 2", "GET a") == [OK, OK, b"2"]


def test_a_limit_that_is_not_reached(client: Client) -> None:
    assert client.pipeline("CONFIG SET maxmemory 900gb", "SET a 1") == [OK, OK]
    assert b"maxmemory:966367641600\r\n" in client.ask("INFO memory")


def test_what_the_leader_says_counts(make_cluster: Callable[..., Cluster]) -> None:
    three = make_cluster(voters=3, at=2)
    three.replicas[1].screen.memory_is_full = True
    assert three.connect().pipeline("SET a 1", "DEL a") == [OOM, 0]


IN_A_NEW_PROCESS = """
import os
from raftkv.server.memory import MemoryGauge
gauge = MemoryGauge()
before = gauge.used_bytes()
held = [os.urandom(400) for _ in range(100_000)]
full = gauge.used_bytes() - before
del held[::2]  # every second one: hardly a page is empty
half = gauge.used_bytes() - before
held.clear()
print(full, half / full, (gauge.used_bytes() - before) / full)
"""


def test_what_is_freed_no_longer_counts_although_the_process_keeps_it() -> None:
    """In a process of its own: this one has free memory of other tests, which is used before more is asked for."""
    printed = subprocess.run([sys.executable, "-c", IN_A_NEW_PROCESS], capture_output=True, text=True, check=True)
    full, half, none = map(float, printed.stdout.split())
    assert full > 35_000_000
    assert 0.4 < half < 0.6
    assert none < 0.1


def test_a_new_limit_is_looked_at_at_once_the_same_one_seldom() -> None:
    gauge = MemoryGauge()
    assert gauge.look(1, now_ms=0)
    gauge.full = False
    assert not gauge.look(1, now_ms=50)
    assert gauge.look(1, now_ms=100)
    assert not gauge.look(0, now_ms=101)
