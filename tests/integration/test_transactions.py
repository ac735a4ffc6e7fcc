"""Transactions of redis-py on real members: through the leader and a follower, and while leaders are killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.cluster import Cluster, Member, wait_until

pytestmark = pytest.mark.processes

UNCERTAIN = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.WatchError)
"""redis-py raises WatchError also where a connection is lost while it watches."""


@pytest.fixture(params=[2, 3])
def client(member: Member, request: pytest.FixtureRequest) -> Iterator[Any]:
    with redis.Redis(port=member.port, protocol=request.param) as client:
        client.flushall()
        yield client


def test_a_pipeline_is_a_transaction(client: Any) -> None:
    """What redis-py does unless it is told otherwise."""
    with client.pipeline() as pipeline:
        assert pipeline.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
        pipeline.set("a", "x").incr("a").set("b", 1)
        replies = pipeline.execute(raise_on_error=False)
    assert replies[::2] == [True, True]
    assert isinstance(replies[1], redis.ResponseError)
    with client.pipeline() as pipeline:
        for number in range(5000):
            pipeline.set(f"key:{number}", number)
        assert pipeline.execute() == [True] * 5000
    assert client.get("key:4999") == b"4999"


def test_an_unknown_command_aborts_all(client: Any) -> None:
    with pytest.raises(redis.ResponseError, match="unknown command"), client.pipeline() as pipeline:
        pipeline.set("a", 1).execute_command("NOSUCH").execute()
    assert client.get("a") is None


def test_watch(client: Any) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        client.set("a", "changed")
        pipeline.multi()
        pipeline.set("a", "mine")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("a") == b"changed"
    assert client.transaction(lambda pipe: pipe.multi() or pipe.set("b", "1"), "a") == [True]


def increment(pipeline: Any) -> None:
    number = int(pipeline.get("count") or 0)
    pipeline.multi()
    pipeline.set("count", number + 1)


def test_counting_by_transactions_of_many_clients(cluster: Cluster) -> None:
    """All members at once; each WATCH, GET, SET is one increment, or is tried again."""
    ports = [member.port for member in cluster]
    with redis.Redis(port=ports[0]) as first:
        first.flushall()

    def work(port: int) -> None:
        with redis.Redis(port=port) as client:
            for _ in range(15):
                client.transaction(increment, "count")

    threads = [threading.Thread(target=work, args=(port,)) for port in ports * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis.Redis(port=ports[0]) as first:
        assert first.get("count") == b"%d" % (15 * len(threads))


def test_no_increment_is_lost_when_leaders_are_killed(tmp_path: Path) -> None:
    """Answered increments are there, and each number was given out once; of the others nobody knows."""
    with Cluster(tmp_path) as cluster:
        cluster.wait_leader()
        answered: list[int] = []
        stop = threading.Event()
        threads = [
            threading.Thread(target=_count, args=([m.port for m in cluster], at, answered, stop)) for at in range(4)
        ]
        for thread in threads:
            thread.start()
        for _ in range(3):
            _wait_for_more(answered)
            leader = cluster.wait_leader()
            leader.kill()
            cluster.wait_leader([member for member in cluster if member is not leader])
            leader.start()
        _wait_for_more(answered)
        stop.set()
        for thread in threads:
            thread.join()
        cluster.wait_equal()
        assert len(set(answered)) == len(answered)
        for member in cluster:
            with redis.Redis(port=member.port) as client:
                total = int(client.get("count"))
                assert total >= max(answered)
                assert total == client.dbsize() - 1


def _wait_for_more(answered: list[int]) -> None:
    before = len(answered)
    wait_until("some increments are answered", lambda: len(answered) > before + 20)


def _count(ports: list[int], at: int, answered: list[int], stop: threading.Event) -> None:
    """One client that goes from member to member when it gets no answer."""
    while not stop.is_set():
        at += 1
        with redis.Redis(port=ports[at % len(ports)], socket_timeout=10) as client:
            try:
                while not stop.is_set():
                    _increment_once(client, answered)
            except UNCERTAIN:
                pass
            except redis.ResponseError as error:
                is_certain = isinstance(error, redis.exceptions.TryAgainError | redis.exceptions.ClusterDownError)
                assert is_certain or str(error).startswith("UNKNOWN")  # noqa: PT017


def _increment_once(client: Any, answered: list[int]) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch("count")
        number = int(pipeline.get("count") or 0) + 1
        pipeline.multi()
        pipeline.set("count", number)
        pipeline.set(f"seen:{number}", 1)
        try:
            pipeline.execute()
        except redis.WatchError:
            return
        answered.append(number)
