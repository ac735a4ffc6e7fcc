"""Must show 2: redis-py as people use it, against real members, on the leader and on a follower."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from tests.integration.cluster import Cluster, Member

pytestmark = pytest.mark.processes

Connect = Callable[..., Any]


@pytest.fixture
def connect(member: Member) -> Iterator[Connect]:
    """redis.Redis of the member, with an empty database."""
    made: list[redis.Redis] = []

    def make(**options: Any) -> Any:
        made.append(redis.Redis(port=member.port, **options))
        return made[-1]

    make().flushall()
    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_commands(connect: Connect, protocol: int) -> None:
    client = connect(protocol=protocol, decode_responses=True)
    assert client.set("a", "1") is True
    assert client.get("a") == "1"
    assert client.get("missing") is None
    assert client.set("a", "2", nx=True) is None
    assert client.set("a", "3", get=True) == "1"
    assert client.incr("a", 5) == 8
    assert client.incrbyfloat("f", 1.5) == 1.5
    assert client.mset({"x": "1", "y": "2"}) is True
    assert client.mget("x", "y", "z") == ["1", "2", None]
    assert client.append("x", "23") == 3
    assert client.exists("x", "y", "z") == 2
    assert client.delete("x", "y") == 2
    assert client.rename("a", "b") is True
    assert client.type("b") == "string"
    assert client.echo("hällo") == "hällo"
    assert client.ping() is True
    assert client.dbsize() == 2
    assert client.role()[0] in ("master", "slave")
    assert client.wait(0, 100) >= 0
    with pytest.raises(redis.ResponseError, match="not an integer"):
        client.incr("f")


def test_bytes_are_not_touched(connect: Connect) -> None:
    client = connect()
    everything = bytes(range(256)) * 10
    assert client.set(everything, everything)
    assert client.get(everything) == everything
    assert client.keys() == [everything]


def test_from_url(member: Member) -> None:
    with redis.Redis.from_url(f"redis://127.0.0.1:{member.port}/5?protocol=3&decode_responses=True") as client:
        client.flushdb()
        assert client.set("here", "five")
        assert client.client_info()["db"] == 5
        assert client.get("here") == "five"
        with redis.Redis.from_url(f"redis://127.0.0.1:{member.port}/4") as other:
            assert other.get("here") is None


def test_pipelines(connect: Connect) -> None:
    client = connect()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            pipeline.set(f"k{number}", number).get(f"k{number}").incr("sum")
        replies = pipeline.execute()
    assert replies[0::3] == [True] * 3000
    assert replies[1::3] == [b"%d" % number for number in range(3000)]
    assert replies[2::3] == list(range(1, 3001))


def test_errors_within_a_pipeline_stay_in_their_place(connect: Connect) -> None:
    client = connect()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set("a", "x").incr("a").execute_command("NOSUCH").get("a")
        ok, not_a_number, unknown, value = pipeline.execute(raise_on_error=False)
    assert (ok, value) == (True, b"x")
    assert "not an integer" in str(not_a_number)
    assert "unknown command 'NOSUCH'" in str(unknown)


def test_who_connects_is_shown(connect: Connect) -> None:
    """redis-py sends CLIENT SETINFO and SETNAME when it connects."""
    client = connect(client_name="worker-7", protocol=3)
    info = client.client_info()
    assert (info["name"], info["lib-name"], info["lib-ver"], info["resp"]) == (
        "worker-7",
        "redis-py",
        redis.__version__,
        "3",
    )
    assert any(line["name"] == "worker-7" for line in client.client_list())


def test_info_and_config(connect: Connect, member: Member) -> None:
    client = connect()
    info = client.info()
    assert info["process_id"] == member.pid
    assert info["tcp_port"] == member.port
    assert client.config_get("port") == {"port": str(member.port)}
    assert client.command()["get"]["arity"] == 2
    assert client.command_count() > 60


def test_scan(connect: Connect) -> None:
    client = connect(decode_responses=True)
    expected = {f"item:{number}" for number in range(1500)}
    client.mset(dict.fromkeys(expected, "x") | {"other": "y"})
    assert set(client.scan_iter("item:*", count=100)) == expected
    assert set(client.scan_iter(_type="string")) == expected | {"other"}


def test_expiry(connect: Connect) -> None:
    client = connect()
    client.set("a", "1", ex=100)
    assert 90 < client.ttl("a") <= 100
    assert client.expire("a", 1000, gt=True)
    assert not client.expire("a", 10, gt=True)
    assert 900 < client.ttl("a") <= 1000
    assert client.getex("a", px=50_000) == b"1"
    assert 40_000 < client.pttl("a") <= 50_000
    assert client.persist("a")
    assert client.ttl("a") == -1
    assert client.ttl("missing") == -2
    client.set("b", "1", pxat=1)
    assert client.get("b") is None
    assert client.expireat("a", 1)
    assert client.exists("a") == 0


def test_a_connection_pool_with_many_threads(member: Member) -> None:
    """More threads than connections: each gets the replies to its own commands."""
    pool: Any = redis.BlockingConnectionPool(port=member.port, max_connections=8, timeout=30)  # type: ignore[no-untyped-call]
    with redis.Redis(connection_pool=pool) as client:
        client.flushall()
        wrong: list[object] = []

        def work(number: int) -> None:
            for turn in range(25):
                text = f"{number}-{turn}".encode()
                client.set(f"thread:{number}", text)
                found = client.get(f"thread:{number}")
                if found != text:
                    wrong.append((text, found))
                client.incr("total")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert client.get("total") == b"600"
    pool.disconnect()


def test_a_pool_that_is_empty_says_so(member: Member) -> None:
    pool = redis.ConnectionPool(port=member.port, max_connections=1)
    taken = pool.get_connection()
    with pytest.raises(redis.exceptions.ConnectionError, match="Too many connections"):
        redis.Redis(connection_pool=pool).ping()
    pool.release(taken)
    assert redis.Redis(connection_pool=pool).ping()
    pool.disconnect()


@pytest.mark.parametrize("protocol", [2, 3])
def test_asyncio(member: Member, protocol: int) -> None:
    async def work(client: redis.asyncio.Redis, number: int) -> None:
        for turn in range(20):
            assert await client.set(f"task:{number}", f"{number}-{turn}")
            assert await client.get(f"task:{number}") == f"{number}-{turn}"

    async def main() -> None:
        async with redis.asyncio.Redis(port=member.port, protocol=protocol, decode_responses=True) as client:
            await client.flushall()
            await asyncio.gather(*(work(client, number) for number in range(40)))
            async with client.pipeline(transaction=False) as pipeline:
                for _ in range(500):
                    pipeline.incr("n")
                assert await pipeline.execute() == list(range(1, 501))
            assert len([key async for key in client.scan_iter("task:*")]) == 40

    asyncio.run(main())


def test_retries_over_the_death_of_the_leader(cluster: Cluster, follower: Member, leader: Member) -> None:
    """A client with retries on a follower goes on through a change of the leader. SET may be done twice (redis-py
    cannot tell); what the member says is unknown is an error that the application has to decide about."""
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries=30)
    with redis.Redis(port=follower.port, retry=retry, socket_timeout=10) as client:
        client.set("k", "before")
        leader.kill()
        acknowledged = None
        for number in range(30):
            try:
                client.set("k", number)
            except redis.ResponseError as error:
                assert str(error).startswith(("UNKNOWN", "CLUSTERDOWN", "TRYAGAIN"))  # noqa: PT017
                continue
            acknowledged = number
            assert int(client.get("k")) == number
        assert acknowledged == 29
    leader.start()
    cluster.wait_equal()


def test_retries_when_the_member_itself_dies(cluster: Cluster, follower: Member) -> None:
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries=60)
    errors: list[type[Exception]] = [redis.exceptions.ConnectionError, redis.exceptions.TimeoutError]
    with redis.Redis(port=follower.port, retry=retry, retry_on_error=errors, socket_timeout=5) as client:
        client.set("k", "kept")
        follower.kill()
        threading.Timer(0.3, follower.start).start()
        assert client.get("k") == b"kept"
    cluster.wait_equal()
