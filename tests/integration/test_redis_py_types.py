"""redis-py with every data type, its helpers and its asyncio side, in both protocols, on the leader and on a follower.

What redis-py makes of replies depends on their shape to the last detail (a score that is a number or a string, pairs
that are flat or not), so values are compared as a program gets them.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.integration.cluster import Member

pytestmark = pytest.mark.processes

MANY = 1000


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def client(member: Member, protocol: int) -> Iterator[Any]:
    """redis-py of an empty database. Without retries: nothing here may fail even once."""
    options: dict[str, Any] = {"protocol": protocol, "decode_responses": True, "retry": Retry(NoBackoff(), 0)}
    with redis.Redis(port=member.port, **options) as client:
        client.flushall()
        yield client


def test_hashes(client: Any) -> None:
    assert client.hset("h", mapping={"a": 1, "b": "x"}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "x"}
    assert client.hmget("h", "a", "missing") == ["1", None]
    assert client.hincrby("h", "a", 5) == 6
    assert client.hincrbyfloat("h", "a", 0.25) == 6.25
    assert client.hsetnx("h", "a", 1) == 0
    assert client.hstrlen("h", "a") == 4
    assert sorted(client.hrandfield("h", 5)) == ["a", "b"]
    assert client.hdel("h", "a", "b") == 2
    assert client.exists("h") == 0


def test_lists(client: Any) -> None:
    assert client.rpush("l", "a", "b", "c", "b") == 4
    assert client.lrange("l", 0, -1) == ["a", "b", "c", "b"]
    assert client.lpos("l", "b", count=0) == [1, 3]
    assert client.linsert("l", "BEFORE", "c", "x") == 5
    assert client.lrem("l", 1, "x") == 1
    assert client.lmove("l", "other", "LEFT", "RIGHT") == "a"
    assert client.lmpop(2, "none", "l", direction="RIGHT", count=2) == ["l", ["b", "c"]]
    assert client.lpop("l", 5) == ["b"]
    assert client.lpop("l") is None
    with pytest.raises(redis.ResponseError, match="no such key"):
        client.lset("l", 0, "x")


def test_sets(client: Any) -> None:
    assert client.sadd("s", "a", "b", "c") == 3
    assert client.sadd("t", "b", "c", "d") == 3
    assert client.smembers("s") == {"a", "b", "c"}
    assert client.sinter("s", "t") == {"b", "c"}
    assert client.sdiffstore("d", "s", "t") == 1
    assert client.sintercard(2, ["s", "t"], limit=1) == 1
    assert client.smismember("s", ["a", "d"]) == [1, 0]
    assert client.sismember("s", "a") == 1
    assert client.spop("d") == "a"
    assert client.smove("s", "t", "a") is True


def test_sorted_sets(client: Any) -> None:
    assert client.zadd("z", {"a": 1, "b": 2.5, "least": -math.inf}) == 3
    assert client.zadd("z", {"a": 2}, xx=True, gt=True, ch=True) == 1
    assert client.zadd("z", {"a": 1}, incr=True) == 3.0
    assert client.zscore("z", "b") == 2.5
    assert client.zmscore("z", ["b", "missing"]) == [2.5, None]
    assert client.zrank("z", "b") == 1
    assert client.zrangebyscore("z", "(1", "+inf") == ["b", "a"]
    assert client.zrange("z", 0, 0, desc=True) == ["a"]
    scored = client.zrange("z", 0, -1, withscores=True)
    assert [tuple(pair) for pair in scored] == [("least", -math.inf), ("b", 2.5), ("a", 3.0)]
    client.zadd("y", {"b": 10})
    assert [tuple(pair) for pair in client.zinter({"z": 2, "y": 1}, withscores=True)] == [("b", 15.0)]
    assert client.zunionstore("u", ["z", "y"], aggregate="MAX") == 3
    assert client.zdiff(["z", "y"]) == ["least", "a"]
    assert client.zpopmin("u") in ([("least", -math.inf)], ["least", -math.inf])  # flat in RESP3, as Redis has it
    assert client.zlexcount("y", "-", "+") == 1


def test_bitmaps_and_hyperloglogs(client: Any) -> None:
    assert client.setbit("bits", 7, 1) == 0
    assert client.getbit("bits", 7) == 1
    assert client.bitcount("bits", 0, -1) == 1
    assert client.bitpos("bits", 1) == 7
    assert client.bitop("NOT", "flipped", "bits") == 1
    field = client.bitfield("counters", default_overflow="SAT")
    assert field.set("u8", 0, 250).incrby("u8", 0, 10).get("u4", 4).execute() == [0, 255, 15]
    assert client.pfadd("seen", *(f"visitor {number}" for number in range(100))) == 1
    assert client.pfmerge("all", "seen") is True
    assert 95 <= client.pfcount("all", "seen") <= 105


def test_places(client: Any) -> None:
    assert client.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")) == 2
    assert client.geodist("g", "Palermo", "Catania", unit="km") == pytest.approx(166.2742)
    assert client.geohash("g", "Palermo") == ["sqc8b49rny0"]
    assert client.geopos("g", "Palermo", "missing") == [pytest.approx((13.361389, 38.115556), abs=1e-5), None]
    found = client.geosearch("g", member="Palermo", radius=200, unit="km", sort="ASC", withdist=True)
    assert [list(place) for place in found] == [["Palermo", 0.0], ["Catania", pytest.approx(166.2742)]]


def test_keys_of_every_type(client: Any) -> None:
    client.rpush("l", 3, 1, 2)
    client.mset({"weight_1": 30, "weight_2": 20, "weight_3": 10})
    assert client.sort("l") == ["1", "2", "3"]
    assert client.sort("l", by="weight_*", get=["#", "weight_*"], groups=True) == [
        ("3", "10"),
        ("2", "20"),
        ("1", "30"),
    ]
    assert client.object("encoding", "l") == "quicklist"
    assert client.memory_usage("l") > 0
    assert client.copy("l", "copied") is True
    assert client.type("copied") == "list"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hgetall("l")


def test_iterators(client: Any) -> None:
    """More than one call each, and nothing is missed."""
    words = [f"word {number}" for number in range(MANY)]
    client.hset("h", mapping=dict.fromkeys(words, "x"))
    client.sadd("s", *words)
    client.zadd("z", {word: number for number, word in enumerate(words)})
    client.mset(dict.fromkeys(words, "x"))
    assert dict(client.hscan_iter("h", count=50)) == dict.fromkeys(words, "x")
    assert set(client.sscan_iter("s", count=50)) == set(words)
    found = {tuple(pair) for pair in client.zscan_iter("z", count=50)}
    assert found == {(word, float(number)) for number, word in enumerate(words)}
    assert set(client.scan_iter(_type="string", count=50)) == set(words)
    assert set(client.sscan_iter("s", match="word 99*")) == {word for word in words if word.startswith("word 99")}


def test_a_transaction_over_all_types(client: Any) -> None:
    with client.pipeline() as pipeline:
        pipeline.set("a", 1).hset("h", "f", "v").rpush("l", "x").sadd("s", "x").zadd("z", {"x": 1.5}).lpush("a", "x")
        pipeline.hgetall("h").lrange("l", 0, -1).smembers("s").zscore("z", "x")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[:5] == [True, 1, 1, 1, 1]
    assert str(replies[5]).endswith("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert replies[6:] == [{"f": "v"}, ["x"], {"x"}, 1.5]


def test_the_transaction_helper_tries_until_nobody_interferes(member: Member, protocol: int) -> None:
    """Read, calculate, write: WATCH lets each go through exactly once, whoever comes between."""
    turns, failed = 10, []

    def work() -> None:
        def add_one(pipeline: Any) -> None:
            before = int(pipeline.get("n") or 0)
            pipeline.multi()
            pipeline.set("n", before + 1)

        try:
            with redis.Redis(port=member.port, protocol=protocol) as own:
                for _ in range(turns):
                    assert own.transaction(add_one, "n") == [True]
        except Exception as error:
            failed.append(error)

    with redis.Redis(port=member.port) as client:
        client.flushall()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert client.get("n") == b"%d" % (turns * len(threads))


def test_asyncio_with_every_type(member: Member, protocol: int) -> None:
    async def main() -> None:
        async with redis.asyncio.Redis(port=member.port, protocol=protocol, decode_responses=True) as client:
            await client.flushall()
            async with client.pipeline() as pipeline:
                pipeline.hset("h", mapping={"a": "1", "b": "2"}).sadd("s", "x", "y").zadd("z", {"m": 1.5}).rpush(
                    "l", "e"
                )
                assert await pipeline.execute() == [2, 2, 1, 1]
            assert {pair async for pair in client.hscan_iter("h")} == {("a", "1"), ("b", "2")}
            assert {member async for member in client.sscan_iter("s")} == {"x", "y"}
            assert [tuple(pair) async for pair in client.zscan_iter("z")] == [("m", 1.5)]

            async def add_one(pipeline: Any) -> None:
                before = int(await pipeline.get("n") or 0)
                pipeline.multi()
                pipeline.set("n", before + 1)

            await asyncio.gather(*(client.transaction(add_one, "n") for _ in range(10)))
            assert await client.get("n") == "10"

    asyncio.run(main())


def test_health_checks(member: Member, protocol: int) -> None:
    """A connection that has been idle is asked by PING before it is used; also one that only listens."""
    with redis.Redis(port=member.port, protocol=protocol, health_check_interval=1) as client:
        client.ping()
        connection = client.connection_pool.get_connection()
        connection.next_health_check = 0
        connection.check_health()
        assert connection.next_health_check > 0
        client.connection_pool.release(connection)
        with client.pubsub(ignore_subscribe_messages=True) as events:
            events.subscribe("+switch-master")
            assert events.get_message(timeout=10) is None, "that it has subscribed"
            events.connection.next_health_check = 0
            assert events.get_message(timeout=10) is None, "the answer to PING"
            assert events.health_check_response_counter == 0
            assert events.connection.next_health_check > 0


def test_a_lock_is_taken_but_cannot_be_given_back(client: Any) -> None:
    """`acquire` is SET NX; `release`, `extend` and `reacquire` are scripts, which there are none of yet. The lock ends
    with its timeout."""
    lock = client.lock("lock", timeout=60)
    assert lock.acquire(blocking=False)
    assert not client.lock("lock", timeout=60).acquire(blocking=False)
    assert lock.owned()
    for command in (lambda: lock.extend(60), lock.reacquire, lock.release):
        with pytest.raises(redis.ResponseError, match="unknown command 'EVALSHA'"):
            command()
    assert 50 < client.ttl("lock") <= 60
