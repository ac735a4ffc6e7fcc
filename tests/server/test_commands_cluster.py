"""CLUSTER, READONLY, READWRITE, ASKING: beside a real redis-server that is a cluster, and through a failover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftkv.machines.interface import Kind
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import OK, Error, Simple, Verbatim
from raftkv.server.commands import cluster_keys
from raftkv.server.slots import hash_slot
from tests.server.member import Client, Cluster
from tests.support.redis_server import RespConnection, start_redis_server

LINES = """
cluster
cluster foo
cluster help a
cluster slots a
cluster shards a
cluster nodes a
cluster info a
cluster myid a
cluster keyslot
cluster keyslot foo
cluster keyslot {foo}bar
cluster keyslot foo{}{bar}
cluster keyslot foo{{bar}}zap
cluster keyslot foo{bar}{zap}
cluster keyslot {
cluster keyslot {}
cluster keyslot }a{b
cluster countkeysinslot
cluster countkeysinslot 1
cluster countkeysinslot 16383
cluster countkeysinslot 16384
cluster countkeysinslot -1
cluster countkeysinslot x
cluster getkeysinslot 1
cluster getkeysinslot 1 2
cluster getkeysinslot 1 0
cluster getkeysinslot 1 -1
cluster getkeysinslot 16384 1
cluster getkeysinslot x 1
cluster getkeysinslot 1 x
cluster replicas
cluster replicas foo
cluster slaves foo
cluster addslots
cluster setslot 1
cluster meet a
readonly
readonly a
readwrite
asking
asking a
info cluster
config get cluster-enabled
"""


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    options = ("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
    with start_redis_server(*options) as port, RespConnection(port) as redis:
        assert redis.call(b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383") == OK
        yield port


@pytest.fixture(params=[False, True], ids=["resp2", "resp3"])
def pair(
    redis_port: int, request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]
) -> Iterator[tuple[RespConnection, Client]]:
    """The same connection to both, each alone with all slots."""
    with RespConnection(redis_port, protocol=3 if request.param else 2) as theirs:
        yield theirs, make_cluster(client_routing="redirect").connect(request.param)


@pytest.mark.redis
@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_the_same_reply(pair: tuple[RespConnection, Client], line: str) -> None:
    theirs, ours = pair
    words = line.encode().split()
    assert ours.call(*words) == theirs.call(*words)


def shape(value: Any) -> Any:
    """What is left when one does not look at numbers and identities; names stay."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    if isinstance(value, int):
        return int
    if isinstance(value, bytes) and len(value) == 40:
        return "an identity"
    return value


@pytest.mark.redis
@pytest.mark.parametrize("line", ["cluster slots", "cluster shards", "cluster myid"])
def test_the_same_shape(pair: tuple[RespConnection, Client], line: str) -> None:
    theirs, ours = pair
    words = line.encode().split()
    assert shape(ours.call(*words)) == shape(theirs.call(*words))


@pytest.mark.redis
def test_nodes_are_told_in_the_same_words(pair: tuple[RespConnection, Client]) -> None:
    def words(reply: Any) -> list[str]:
        text = reply.text if isinstance(reply, Verbatim) else reply
        identity, address, *rest = text.decode().split(" ")
        assert len(identity) == 40
        assert address.startswith("127.0.0.1:")
        assert address.count("@") == 1
        return [type(reply).__name__, *rest[:4], *rest[5:]]  # without the epoch

    theirs, ours = pair
    assert words(ours.call(b"CLUSTER", b"NODES")) == words(theirs.call(b"CLUSTER", b"NODES"))


@pytest.mark.redis
def test_info_has_the_same_fields(pair: tuple[RespConnection, Client]) -> None:
    def fields(reply: Any) -> list[str]:
        text = reply.text if isinstance(reply, Verbatim) else reply
        return [type(reply).__name__, *(line.partition(":")[0] for line in text.decode().splitlines())]

    theirs, ours = pair
    known = fields(theirs.call(b"CLUSTER", b"INFO"))
    assert fields(ours.call(b"CLUSTER", b"INFO")) == [
        name for name in known if "messages" not in name and "links" not in name
    ]


def test_what_gives_out_slots_is_refused(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(client_routing="redirect").connect()
    assert client.ask("cluster addslots 1").text.startswith("ERR CLUSTER ADDSLOTS is not possible here")


# Three members


@pytest.fixture
def three(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three members in redirect mode. The first leads, the second is asked."""
    return make_cluster(voters=3, at=2, client_routing="redirect")


def fields(reply: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in reply.decode().splitlines())


def ports(slots: list[Any]) -> list[int]:
    [[first, last, *nodes]] = slots
    assert (first, last) == (0, 16383)
    return [node[1] for node in nodes]


def test_all_slots_are_the_leaders(three: Cluster) -> None:
    client = three.connect()
    assert ports(client.ask("cluster slots")) == [7001, 7002, 7003]
    lines = [line.split(" ") for line in client.ask("cluster nodes").decode().splitlines()]
    leader = lines[0][0]
    assert [line[1:4] + line[6:] for line in lines] == [
        ["127.0.0.1:7001@8001", "master", "-", "1", "connected", "0-16383"],
        ["127.0.0.1:7002@8002", "myself,slave", leader, "1", "connected"],
        ["127.0.0.1:7003@8003", "slave", leader, "1", "connected"],
    ]
    assert client.ask("cluster myid").decode() == lines[1][0]
    followers = client.ask(f"cluster replicas {leader}")
    assert followers == [" ".join(line).encode() for line in lines[1:]]
    assert client.ask(f"cluster replicas {lines[1][0]}") == Error("ERR The specified node is not a master")


def test_members_are_called_the_same_by_all(make_cluster: Callable[..., Cluster]) -> None:
    told = []
    for at in (1, 2, 3):
        client = make_cluster(voters=3, at=at, client_routing="redirect").connect()
        told.append({node[1]: node[2] for node in client.ask("cluster slots")[0][2:]})
    assert told[0] == told[1] == told[2]


def test_who_is_not_connected_serves_nothing(three: Cluster) -> None:
    three.cut_off = {3}
    client = three.connect()
    assert ports(client.ask("cluster slots")) == [7001, 7002]
    assert b"127.0.0.1:7003@8003 slave,fail" in client.ask("cluster nodes")
    [[_, _, _, nodes]] = client.ask("cluster shards")
    assert [node[node.index(b"health") + 1] for node in nodes] == [b"online", b"online", b"failed"]


def test_who_asks_during_an_election_waits_for_the_leader(three: Cluster) -> None:
    client = three.connect()
    three.advance(100)
    three.cut_off = {1}
    assert fields(client.ask("cluster info"))["cluster_state"] == "fail"
    client.send([b"CLUSTER", b"SLOTS"])
    assert client.is_silent, "it still takes the dead leader for one, but a client must not be sent there"
    three.advance(2500)
    assert ports(client.receive())[0] in (7002, 7003)
    assert fields(client.ask("cluster info"))["cluster_state"] == "ok"


def test_who_asks_without_a_majority_is_told_so(three: Cluster) -> None:
    client = three.connect()
    three.advance(100)
    three.cut_off = {1, 3}
    for line in ("cluster slots", "cluster shards", "get a"):
        client.send(line.encode().split())
        three.advance(2900)
        assert client.is_silent
        three.advance(200)
        assert client.receive().text.startswith("CLUSTERDOWN No leader is known")
    assert b"master" not in client.ask("cluster nodes")
    assert fields(client.ask("cluster info"))["cluster_size"] == "0"


def test_reads_are_carried_to_the_leader_after_readonly(three: Cluster) -> None:
    client = three.connect()
    moved = Error("MOVED 15495 127.0.0.1:7001")
    assert client.pipeline("get a", "readonly", "get a", "set a 1") == [moved, OK, moved, moved]
    assert client.ask("get a") is None
    assert client.pipeline("mget a b", "strlen a") == [[None, None], 0]
    assert client.pipeline("readwrite", "get a") == [OK, moved]
    assert client.pipeline("readonly", "reset", "get a") == [OK, Simple("RESET"), moved]


def test_reads_of_a_read_only_connection_are_not_stale(make_cluster: Callable[..., Cluster]) -> None:
    """The member that is asked has not even heard of the write, which two others have."""
    cluster = make_cluster(voters=3, at=2, client_routing="redirect")
    client = cluster.connect()
    client.ask("readonly")
    behind = cluster.replicas[2].applied
    cluster.cut_off = {2}
    cluster.replicas[1].submit(Kind.WRITE, [[b"set", b"a", b"1"]], {}, 20, Nobody())
    cluster.run()
    cluster.cut_off = set()
    assert cluster.replicas[2].applied == behind < cluster.replicas[3].node.log.last_index
    client.send([b"get", b"a"])
    cluster.advance(200)  # the lost entries are sent again
    assert client.receive() == b"1"


class Nobody:
    """A client of the leader that does not wait for its reply."""

    resp3 = remote = readonly = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_a_client_is_told_that_it_sees_a_cluster(three: Cluster, make_cluster: Callable[..., Cluster]) -> None:
    for cluster, mode in ((three, b"cluster"), (make_cluster(), b"standalone")):
        client = cluster.connect(resp3=True)
        assert client.ask("hello 3")[b"mode"] == mode
        assert b"redis_mode:" + mode in client.ask("info server").text


# Keys of a slot


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_keys, "SLICE_KEYS", 10)


def tagged(count: int) -> str:
    return "mset " + " ".join(f"{{a}}{number} x" for number in range(count))


SLOT = hash_slot(b"a")


def test_keys_of_a_slot(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(client_routing="redirect").connect()
    client.pipeline(tagged(5), "set b 1", "select 1", "set {a}other 1")
    assert client.ask(f"cluster countkeysinslot {SLOT}") == 5
    some = client.ask(f"cluster getkeysinslot {SLOT} 3")
    assert len(some) == 3
    assert set(some) < {b"{a}%d" % number for number in range(5)}
    assert len(client.ask(f"cluster getkeysinslot {SLOT} 9")) == 5


def test_a_long_walk_is_done_in_slices(make_cluster: Callable[..., Cluster], slices: None) -> None:
    cluster = make_cluster(client_routing="redirect")
    client, other = cluster.connect(), cluster.connect()
    client.ask(tagged(35))
    client.send([b"CLUSTER", b"COUNTKEYSINSLOT", b"%d" % SLOT], [b"PING"])
    assert client.is_silent
    assert other.ask("del {a}30 {a}0") == 2
    cluster.advance(20)
    assert client.is_silent
    cluster.advance(10)
    assert [client.receive(), client.receive()] == [34, Simple("PONG")], "{a}30 had been counted, {a}0 had not"


def test_a_walk_ends_when_it_has_enough(make_cluster: Callable[..., Cluster], slices: None) -> None:
    client = make_cluster(client_routing="redirect").connect()
    client.ask(tagged(35))
    assert len(client.ask(f"cluster getkeysinslot {SLOT} 10")) == 10
    assert client.session.server.key_walk is None


def test_one_walk_at_a_time(make_cluster: Callable[..., Cluster], slices: None) -> None:
    """Otherwise a hundred clients would make a tick a hundred times as long. Who leaves makes room."""
    cluster = make_cluster(client_routing="redirect")
    clients = [cluster.connect() for _ in range(3)]
    clients[0].ask(tagged(25))
    for client in clients:
        client.send([b"CLUSTER", b"COUNTKEYSINSLOT", b"%d" % SLOT])
    walking = [client for client in clients if cluster.server.key_walk.session is client.session]  # type: ignore[union-attr]
    walking[0].session.close("gone")
    cluster.advance(100)
    rest = [client for client in clients if client not in walking]
    assert [client.receive() for client in rest] == [25, 25]
    assert cluster.server.key_walk is None


def test_a_machine_without_keys_has_none(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(client_routing="redirect", machine="register")
    assert not isinstance(cluster.server.replica.machine, RedisMachine)
    client = cluster.connect()
    assert client.pipeline("cluster countkeysinslot 1", "cluster getkeysinslot 1 1") == [0, []]
