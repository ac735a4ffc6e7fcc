"""SENTINEL and the events that it tells: beside a real sentinel and a real redis-server, and through a failover."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftkv.machines.replies import OK, Error, NullArray, Push, Simple
from raftkv.server.commands import sentinel
from tests.integration.cluster import wait_until
from tests.server.member import Client, Cluster
from tests.server.test_commands_against_redis import shared
from tests.support.redis_server import RespConnection, start_redis_sentinel, start_redis_server

LINES = """
sentinel
sentinel foo
sentinel help a
sentinel masters a
sentinel master
sentinel master foo
sentinel replicas
sentinel replicas foo
sentinel slaves foo
sentinel sentinels foo
sentinel get-master-addr-by-name
sentinel get-master-addr-by-name foo
sentinel ckquorum
sentinel ckquorum foo
sentinel ckquorum mymaster
sentinel myid a
sentinel is-master-down-by-addr 127.0.0.1 1 0
sentinel is-master-down-by-addr 127.0.0.1 x 0 *
sentinel is-master-down-by-addr 127.0.0.1 1 x *
sentinel is-master-down-by-addr 127.0.0.1 1 0 *
sentinel failover
sentinel set a
"""


@pytest.fixture(scope="module")
def sentinel_port() -> Iterator[int]:
    """A sentinel that knows a master, a replica and another sentinel."""
    with contextlib.ExitStack() as stack:
        # A master waits five seconds for more replicas before it sends its data to the first.
        master = stack.enter_context(start_redis_server("--repl-diskless-sync-delay", "0"))
        replica = stack.enter_context(start_redis_server("--replicaof", "127.0.0.1", str(master)))
        with RespConnection(replica) as redis:
            wait_until("it follows", lambda: b"master_link_status:up" in redis.call(b"INFO", b"replication"))
        port = stack.enter_context(start_redis_sentinel(master))
        stack.enter_context(start_redis_sentinel(master))
        with RespConnection(port) as asked:
            for kind in (b"REPLICAS", b"SENTINELS"):
                wait_until("it knows the others", lambda k=kind: asked.call(b"SENTINEL", k, b"mymaster"))
        yield port


@pytest.fixture(params=[False, True], ids=["resp2", "resp3"])
def resp3(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def pair(
    sentinel_port: int, resp3: bool, make_cluster: Callable[..., Cluster]
) -> Iterator[tuple[RespConnection, Client]]:
    with RespConnection(sentinel_port, protocol=3 if resp3 else 2) as theirs:
        yield theirs, make_cluster(voters=2).connect(resp3)


@pytest.mark.redis
@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_the_same_reply(pair: tuple[RespConnection, Client], line: str) -> None:
    theirs, ours = pair
    words = line.encode().split()
    assert ours.call(*words) == theirs.call(*words)


def shape(value: Any) -> Any:
    """The names of a map's fields; of other texts, what they look like."""
    if isinstance(value, dict):
        return {name: shape(each) if name != b"flags" else each for name, each in value.items()}
    if isinstance(value, list) and len(value) > 10:
        return shape(dict(zip(value[::2], value[1::2], strict=True)))
    if isinstance(value, list):
        return [shape(each) for each in value]
    return "a number" if value.isdigit() else "an identity" if len(value) == 40 else value.partition(b":")[0]


@pytest.mark.redis
@pytest.mark.parametrize(
    "line", ["masters", "master", "replicas", "slaves", "sentinels", "get-master-addr-by-name", "myid"]
)
def test_the_same_shape(pair: tuple[RespConnection, Client], line: str) -> None:
    theirs, ours = pair
    words = [b"SENTINEL", line.encode(), *([b"mymaster"] if line not in ("masters", "myid") else [])]
    their_reply, our_reply = theirs.call(*words), ours.call(*words)
    assert shape(our_reply) == shape(their_reply)
    assert list(shape(our_reply)) == list(shape(their_reply))


@pytest.mark.redis
def test_command_info(sentinel_port: int, make_cluster: Callable[..., Cluster]) -> None:
    ours = make_cluster().connect(resp3=True)
    with RespConnection(sentinel_port, protocol=3) as theirs:
        their_rows = shared(theirs.call(b"COMMAND", b"INFO", b"SENTINEL"))
    assert shared(ours.call(b"COMMAND", b"INFO", b"SENTINEL")) == their_rows


def test_what_rules_over_sentinel_is_refused(client: Client) -> None:
    for name, arity in sentinel.REFUSED.items():
        words = [b"SENTINEL", name.encode(), *[b"a"] * (abs(arity) - 2)]
        assert client.call(*words).text.startswith(f"ERR SENTINEL {name.upper()} is not possible here")


# Three members


@pytest.fixture
def three(make_cluster: Callable[..., Cluster]) -> Cluster:
    """The first of three leads, the second is asked. The time of a first heartbeat has passed."""
    cluster = make_cluster(voters=3, at=2, cluster_sentinel_name="kv")
    cluster.advance(100)
    return cluster


def ports(reply: list[dict[bytes, bytes]]) -> dict[int, bytes]:
    return {int(fields[b"port"]): fields[b"flags"] for fields in reply}


def test_everybody_has_its_place(three: Cluster) -> None:
    client = three.connect(resp3=True)
    assert client.ask("sentinel get-master-addr-by-name kv") == [b"127.0.0.1", b"7001"]
    assert ports(client.ask("sentinel masters")) == {7001: b"master"}
    assert client.ask("sentinel master kv")[b"num-slaves"] == b"2"
    assert ports(client.ask("sentinel replicas kv")) == {7002: b"slave", 7003: b"slave"}
    assert ports(client.ask("sentinel sentinels kv")) == {7001: b"sentinel", 7003: b"sentinel"}
    assert client.ask("sentinel master mymaster") == Error("ERR No such master with that name")


def test_who_is_lost_is_down(three: Cluster) -> None:
    client = three.connect(resp3=True)
    three.cut_off = {3}
    assert ports(client.ask("sentinel replicas kv")) == {7002: b"slave", 7003: b"s_down,slave,disconnected"}
    assert client.ask("sentinel ckquorum kv").text.startswith("OK 2 usable")
    three.cut_off = {1, 3}
    assert client.ask("sentinel ckquorum kv").text.startswith("NOQUORUM 1 usable")
    assert client.ask("sentinel is-master-down-by-addr 127.0.0.1 7001 0 *") == [1, b"*", 0]
    assert client.ask("sentinel is-master-down-by-addr 127.0.0.1 7003 0 *") == [0, b"*", 0]


def test_who_asks_during_an_election_waits_for_the_leader(three: Cluster) -> None:
    client = three.connect(resp3=True)
    three.cut_off = {1}
    client.send([b"SENTINEL", b"MASTERS"])
    assert client.is_silent
    three.advance(2500)
    [port] = ports(client.receive())
    assert port in (7002, 7003)


def test_without_a_majority_there_is_no_master(three: Cluster) -> None:
    """A client that is told so asks the next sentinel; an error would end its search."""
    client = three.connect()
    three.cut_off = {1, 3}
    for line, reply in (("masters", []), ("get-master-addr-by-name kv", NullArray())):
        client.send([b"SENTINEL", *line.encode().split()])
        three.advance(3100)
        assert client.receive() == reply
    client.send([b"SENTINEL", b"MASTER", b"kv"])
    three.advance(3100)
    assert client.receive().text.startswith("CLUSTERDOWN")
    assert len(client.ask("sentinel replicas kv")) == 3


# +switch-master

SUBSCRIBE_LINES = (
    ["subscribe", "psubscribe"],
    ["unsubscribe", "punsubscribe", "unsubscribe +a -b"],
    ["subscribe +a +switch-master +a", "psubscribe *", "unsubscribe +a +zz", "unsubscribe", "punsubscribe *", "get a"],
    ["subscribe +a", "get a", "echo a", "ping", "ping x", "select 1", "subscribe", "foo", "ping a b", "reset", "ping"],
    ["subscribe +a", "hello 3"],
    ["psubscribe +*", "unsubscribe", "punsubscribe", "get a"],
)


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server() as port:
        yield port


def replies_to(redis: RespConnection, words: list[bytes]) -> list[Any]:
    """All of them: one for each name, and nobody says how many. A PING behind them tells where they end."""
    replies = redis.pipeline([words])
    redis.send([b"PING", b"the end"])
    while (reply := redis.receive()) not in (b"the end", [b"pong", b"the end"]):
        replies.append(reply)
    return replies


@pytest.mark.redis
@pytest.mark.parametrize("lines", SUBSCRIBE_LINES, ids=lambda lines: ";".join(lines))
def test_subscribing_answers_the_same(redis_port: int, resp3: bool, cluster: Cluster, lines: list[str]) -> None:
    ours = cluster.connect(resp3)
    with RespConnection(redis_port, protocol=3 if resp3 else 2) as theirs:
        for line in lines:
            if resp3 and line == "hello 3":
                continue  # allowed there, and its answer is of another server
            words = line.encode().split()
            expected = replies_to(theirs, words)
            ours.send(words)
            assert [ours.receive() for _ in expected] == expected, line
            assert ours.is_silent


def test_only_events_of_sentinel_can_be_subscribed_to(client: Client) -> None:
    for line in ("subscribe news", "subscribe +switch-master news", "psubscribe news.*"):
        assert client.ask(line).text.startswith("ERR only the events of SENTINEL")
    assert client.ask("get a") is None


def test_what_node_redis_subscribes_to_at_a_sentinel(client: Client) -> None:
    """Refused, it tries again a second later, and does without: no client of it would hear of a failover."""
    names = [b"switch-master", b"[-+]sdown", b"+slave", b"+sentinel", b"[-+]odown", b"+slave-reconf-done"]
    client.send([b"PSUBSCRIBE", *names])
    for count, name in enumerate(names, 1):
        assert client.receive() == [b"psubscribe", name, count]
    assert client.ask("subscribe switch-master") == [b"subscribe", b"switch-master", 7]


@pytest.mark.parametrize("shown", [list, Push])
def test_a_new_leader_is_told(three: Cluster, shown: Callable[[Any], Any]) -> None:
    client = three.connect(resp3=shown is Push)
    assert client.ask("subscribe +switch-master +slave") == shown([b"subscribe", b"+switch-master", 1])
    assert client.receive() == shown([b"subscribe", b"+slave", 2])
    assert client.ask("psubscribe *") == shown([b"psubscribe", b"*", 3])
    three.cut_off = {1}
    three.advance(300)
    assert client.is_silent, "nobody leads yet"
    three.advance(2500)
    new = three.server.watch.address
    assert new in ("127.0.0.1:7002", "127.0.0.1:7003")
    text = f"kv 127.0.0.1 7001 {new.replace(':', ' ')}".encode()
    assert client.receive() == shown([b"message", b"+switch-master", text])
    assert client.receive() == shown([b"pmessage", b"*", b"+switch-master", text])
    assert client.is_silent


def test_the_leader_at_the_time_of_subscribing_is_known(three: Cluster) -> None:
    """Also when it was lost before the next tick: of the one that follows it the subscriber must hear."""
    client = three.connect()
    three.server.watch.address = None  # as in a member that has just started
    client.ask("subscribe +switch-master")
    assert three.server.watch.address == "127.0.0.1:7001"


def test_a_subscriber_of_resp3_may_go_on_with_other_commands(three: Cluster) -> None:
    client = three.connect(resp3=True)
    client.ask("subscribe +switch-master")
    assert client.pipeline("get a", "set a 1") == [None, OK]
    three.cut_off = {1}
    three.advance(2500)
    client.send([b"GET", b"a"])
    assert [type(client.receive()), client.receive()] == [Push, b"1"]


def test_a_leader_that_comes_back_is_not_news(three: Cluster) -> None:
    client = three.connect()
    client.ask("subscribe +switch-master")
    three.cut_off = {1, 3}
    three.advance(50)
    three.cut_off = set()
    three.advance(500)
    assert client.is_silent


def test_subscriptions_end_with_the_connection(three: Cluster) -> None:
    client, other = three.connect(), three.connect()
    client.ask("subscribe +switch-master")
    assert b"pubsub_channels:1" in other.ask("info stats")
    listed = other.ask("client list type pubsub")
    assert (listed.count(b"\n"), b" flags=P " in listed, b" sub=1 psub=0 " in listed) == (1, True, True)
    client.session.close("gone")
    assert not three.server.watch.subscribers
    assert b"pubsub_channels:0" in other.ask("info stats")


def test_a_subscriber_may_be_silent(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(client_idle_timeout_ms="1000")
    client, idle = cluster.connect(), cluster.connect()
    client.ask("subscribe +switch-master")
    cluster.advance(1500)
    assert idle.session.closed
    assert client.ask("ping") == [b"pong", b""]
    assert client.ask("reset") == Simple("RESET")
    assert client.ask("client setname a") == OK
