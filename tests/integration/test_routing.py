"""Clients that know Redis Cluster or Redis Sentinel, as they are, against real members whose leader is killed.

Each writer sets its own key to 1, 2, 3 ... and reads it back. What was acknowledged must be there, at once and for
ever; a write that ended with an exception may be there or not. What the client library does meanwhile (tries again,
asks for the slots, looks for the master) is its own business.
"""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from tests.integration.cluster import Cluster, Member, wait_until
from tests.integration.terminal import Terminal
from tests.integration.test_redis_tools import cli, run
from tests.integration.workload import Running

pytestmark = [
    pytest.mark.processes,
    # redis-py leaves sockets of members that it has given up to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Those sockets are collected here, where nobody minds, and not in the middle of another file's test."""
    yield
    gc.collect()


FAILOVERS = int(os.environ.get("TEST_FAILOVERS", "3"))


class Writer(threading.Thread):
    """`make` gives the client to write with, and that to read with."""

    def __init__(self, number: int, make: Callable[[], tuple[Any, Any]], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.key = f"writer:{number}"
        self._make = make
        self._stop_writing = stop
        self.acknowledged = 0
        self.reads = 0
        self.refused: list[str] = []
        self.wrong: list[str] = []
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            writes, reads = self._make()
            with writes, reads:
                self._write_and_read(writes, reads)
        except Exception as error:
            self.failed = error

    def _write_and_read(self, writes: Any, reads: Any) -> None:
        for value in itertools.count(1):
            if self._stop_writing.is_set():
                return
            try:
                assert writes.set(self.key, value)
                self.acknowledged = value
            except redis.RedisError as error:
                self.refused.append(f"{type(error).__name__}: {error}")
            try:
                self.check(int(reads.get(self.key) or 0), value)
                self.reads += 1
            except redis.RedisError as error:
                self.refused.append(f"{type(error).__name__}: {error}")

    def check(self, found: int, tried: int | None = None) -> None:
        if found < self.acknowledged or (tried is not None and found > tried):
            self.wrong.append(f"{self.key}: found {found}, acknowledged {self.acknowledged}, tried {tried}")


class Load(Running[Writer]):
    def __init__(self, make: Callable[[], tuple[Any, Any]], count: int = 3) -> None:
        super().__init__(lambda number, stop: Writer(number, make, stop), count)

    def wait_progress(self) -> None:
        """Until everyone has written and read a few times more."""
        before = [(writer.acknowledged, writer.reads) for writer in self.writers]

        def moved() -> bool:
            for writer in self.writers:
                if writer.failed is not None:
                    raise writer.failed
            return all(
                writer.acknowledged > written + 10 and writer.reads > read + 10
                for writer, (written, read) in zip(self.writers, before, strict=True)
            )

        wait_until("every client writes and reads", moved)

    def verify(self, member: Member) -> None:
        with member.client() as client:
            for writer in self.writers:
                writer.check(int(client("GET", writer.key)))
        wrong = [text for writer in self.writers for text in writer.wrong]
        assert not wrong, "\n".join(wrong)


def ride_through_failovers(cluster: Cluster, make: Callable[[], tuple[Any, Any]]) -> None:
    cluster.wait_leader()
    with Load(make) as load:
        load.wait_progress()
        pauses_s = []
        for _ in range(FAILOVERS):
            leader = cluster.wait_leader()
            killed_at = time.monotonic()
            leader.kill()
            load.wait_progress()
            pauses_s.append(time.monotonic() - killed_at)
            leader.start()
            wait_until("it is back", leader.status)
    load.verify(cluster.wait_leader())
    refused = [text for writer in load.writers for text in writer.refused]
    # Seen with `pytest -s`; the progress waited for above is what the test insists on.
    print(f"\n{FAILOVERS} kills, {sum(writer.acknowledged for writer in load.writers)} writes acknowledged,")
    print(f"all clients go on after {[round(pause, 2) for pause in pauses_s]} s; {len(refused)} exceptions:")
    print("\n".join(sorted({text[:150] for text in refused})))


# Redis Cluster


def cluster_client(cluster: Cluster, **more: Any) -> RedisCluster:
    nodes = [ClusterNode("127.0.0.1", member.port) for member in cluster]
    return RedisCluster(startup_nodes=nodes, socket_timeout=5, **more)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_cluster(redirecting: Cluster, protocol: int) -> None:
    leader = redirecting.wait_leader()
    with cluster_client(redirecting, protocol=protocol) as client:
        assert client.get_primaries()[0].port == leader.port
        assert {node.port for node in client.get_replicas()} == {member.port for member in redirecting} - {leader.port}
        assert client.mset_nonatomic({"a": 1, "b": 2, "{a}x": 3})
        assert client.mget_nonatomic("a", "b") == [b"1", b"2"]
        assert client.cluster_keyslot("foo") == 12182
        assert client.cluster_countkeysinslot(client.keyslot("{a}x")) == 2
        assert client.cluster_info()["cluster_state"] == "ok"
        assert len(client.cluster_nodes()) == 3
        with client.pipeline() as pipeline:
            assert pipeline.set("c", 1).get("c").incr("d").execute()[:2] == [True, b"1"]


@pytest.mark.parametrize("strategy", [None, LoadBalancingStrategy.RANDOM_REPLICA], ids=["leader", "replicas"])
def test_redis_py_cluster_rides_through_failovers(redirecting: Cluster, strategy: LoadBalancingStrategy | None) -> None:
    """Reads from the leader, or from replicas: these must be no older."""

    def make() -> tuple[RedisCluster, RedisCluster]:
        client = cluster_client(redirecting, load_balancing_strategy=strategy)
        return client, client

    ride_through_failovers(redirecting, make)


@pytest.mark.redis
def test_redis_cli_follows_redirections(redirecting: Cluster) -> None:
    leader = redirecting.wait_leader()
    follower = next(member for member in redirecting if member is not leader)
    assert cli(follower, "set", "cli", "1").startswith("MOVED ")
    assert cli(follower, "-c", "set", "cli", "1") == "OK\n"
    assert cli(follower, "-c", "get", "cli") == "1\n"
    assert cli(follower, stdin=b"READONLY\nGET cli\n") == "OK\n1\n"


@pytest.mark.redis
def test_redis_cli_goes_over_to_the_leader_for_good(redirecting: Cluster, tmp_path: Path) -> None:
    leader = redirecting.wait_leader()
    follower = next(member for member in redirecting if member is not leader)
    with Terminal(tmp_path, "redis-cli", "-c", "-p", str(follower.port)) as terminal:
        terminal.wait_shown(f"127.0.0.1:{follower.port}> ")
        terminal.type("incr foo\r")
        shown = terminal.wait_shown(f"\n127.0.0.1:{leader.port}> ")
        assert f"-> Redirected to slot [12182] located at 127.0.0.1:{leader.port}" in shown


def _members_shown(member: Member) -> int:
    """In CLUSTER SLOTS: one that was just started may not be connected to all yet."""
    with member.client() as client:
        return sum(len(slots) - 2 for slots in client("CLUSTER", "SLOTS"))


@pytest.mark.redis
def test_redis_cli_looks_over_the_cluster(redirecting: Cluster) -> None:
    """`--cluster check` adds up what each member says of the slots; `create` must leave a cluster that is there."""
    leader = redirecting.wait_leader()
    wait_until("all know who leads", lambda: all((m.status() or {}).get("leader") == leader.id for m in redirecting))
    wait_until("all are seen by all", lambda: all(_members_shown(member) == 3 for member in redirecting))
    addresses = [f"127.0.0.1:{member.port}" for member in redirecting]
    for address in addresses:
        output = run("redis-cli", "--cluster", "check", address)
        assert "[OK] All nodes agree about slots configuration." in output
        assert "[OK] All 16384 slots covered." in output
        assert "2 additional replica(s)" in output
    command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
    done = subprocess.run(command, capture_output=True, timeout=15, check=False)
    assert done.returncode == 1
    assert b"is not empty" in done.stdout


# Redis Sentinel


def sentinel_client(cluster: Cluster) -> Sentinel:
    """It goes on to the next sentinel at once when one is dead."""
    addresses = [("127.0.0.1", member.port) for member in cluster]
    return Sentinel(addresses, sentinel_kwargs={"retry": Retry(NoBackoff(), 0), "socket_timeout": 5}, socket_timeout=5)


def test_redis_py_sentinel(cluster: Cluster, leader: Member) -> None:
    sentinel = sentinel_client(cluster)
    assert sentinel.discover_master("mymaster") == ("127.0.0.1", leader.port)
    assert set(sentinel.discover_slaves("mymaster")) == {
        ("127.0.0.1", member.port) for member in cluster if member is not leader
    }
    assert sentinel.master_for("mymaster").set("a", 1)
    assert sentinel.slave_for("mymaster").get("a") == b"1"


def test_redis_py_sentinel_rides_through_failovers(cluster: Cluster) -> None:
    def make() -> tuple[redis.Redis, redis.Redis]:
        sentinel = sentinel_client(cluster)
        # The library tries the lost leader again before it asks who leads; by default that takes seconds.
        quick = Retry(ExponentialBackoff(cap=0.1, base=0.01), 3)
        return sentinel.master_for("mymaster", retry=quick), sentinel.slave_for("mymaster", retry=quick)

    ride_through_failovers(cluster, make)


def test_a_subscriber_hears_of_the_new_leader(cluster: Cluster, leader: Member) -> None:
    asked = next(member for member in cluster if member is not leader)
    with redis.Redis(port=asked.port) as client, client.pubsub(ignore_subscribe_messages=True) as events:
        # It may have been started again by another test just now, and only who knew the old leader tells of a new one.
        wait_until("it follows", lambda: (asked.status() or {}).get("leader") == leader.id)
        events.subscribe("+switch-master")
        events.get_message(timeout=10)
        leader.kill()
        message = wait_until("it is told", lambda: events.get_message(timeout=1))
        new = cluster.wait_leader()
        assert message["data"] == f"mymaster 127.0.0.1 {leader.port} 127.0.0.1 {new.port}".encode()
    leader.start()
    wait_until("it is back", leader.status)
