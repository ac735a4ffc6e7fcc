"""DIRTYGET with MAXLAG, and RAFT.STALENESS: what a member says about the age of what it has is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest

from raftkv.errors import ProtocolError
from raftkv.machines.interface import Kind
from raftkv.machines.replies import OK, Error, Reply
from raftkv.raft.roles import Role
from raftkv.wire.peer import ForwardReply
from tests.server.member import Client, Cluster


@pytest.fixture(params=["forward", "redirect"])
def three(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Cluster:
    """The first of three leads, the second is asked."""
    return make_cluster(voters=3, at=2, client_routing=request.param)


def ask(client: Client, line: str) -> Any:
    """The reply to a command that has to ask the leader first."""
    client.send(line.encode().split())
    client._cluster.advance(50)  # the least time between two questions
    return client.receive()


class Writer:
    """A client of whoever leads. Notes when each of its writes was acknowledged. Each has a key of its own, n1, n2 ...,
    for one that was left on its way by a lost leader may be carried out behind later ones."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tried = 0
        self.acknowledged: dict[bytes, int] = {}
        """key -> when"""

    def write(self) -> None:
        for replica in self._cluster.replicas.values():
            if replica.node.role is Role.LEADER:
                self._tried += 1
                key = b"n%d" % self._tried
                replica.submit(Kind.WRITE, [[b"set", key, b"x"]], {}, 30, Attempt(self, key))

    def note(self, key: bytes) -> None:
        self.acknowledged[key] = self._cluster.now_ms

    def missing(self, values: Mapping[bytes, Any], before_ms: int) -> list[bytes]:
        """Of the writes that were acknowledged before that time, those that are not among `values`."""
        return [key for key, when in self.acknowledged.items() if when < before_ms and key not in values]


class Attempt:
    resp3 = remote = readonly = False

    def __init__(self, writer: Writer, key: bytes) -> None:
        self._writer, self._key = writer, key

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        assert replies[start:stop] == [OK]
        self._writer.note(self._key)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_a_follower_that_hears_from_the_leader_is_fresh(three: Cluster) -> None:
    client = three.connect()
    Writer(three).write()
    assert ask(client, "dirtyget n1 maxlag 100") == b"x"
    assert 1 <= ask(client, "raft.staleness") <= 51
    three.advance(200)
    assert client.ask("dirtyget n1 maxlag 100") == b"x", "at once"


def test_the_leader_too(make_cluster: Callable[..., Cluster]) -> None:
    for voters in (1, 3):
        client = make_cluster(voters=voters).connect()
        assert client.ask("set n1 x") == OK
        assert ask(client, "dirtyget n1 maxlag 100") == b"x"
        assert 1 <= ask(client, "raft.staleness") <= 51


def test_a_follower_that_is_cut_off_is_stale(three: Cluster) -> None:
    client = three.connect()
    assert ask(client, "dirtyget n1 maxlag 100") is None
    three.cut_off = {2}
    Writer(three).write()
    three.advance(20)
    assert client.ask("dirtyget n1 maxlag 100") is None, "the write is not so old yet"
    client.send([b"DIRTYGET", b"n1", b"MAXLAG", b"20"])
    assert client.is_silent, "it asks"
    three.advance(20)
    assert client.receive().text.startswith("STALE What this member has is not certainly at most 20 ms old: it may be")
    three.cut_off = set()
    three.advance(6000)
    assert client.ask("dirtyget n1 maxlag 100") == b"x"


def test_who_asks_first_waits_for_the_leaders_word(three: Cluster) -> None:
    """Nobody has wanted to know for long: then nothing is asked, and what is known is old."""
    client = three.connect()
    assert ask(client, "dirtyget n1 maxlag 100") is None
    three.advance(20_000, step_ms=50)
    before = three.replicas[1].node.round
    three.advance(200)
    assert three.replicas[1].node.round == before
    client.send([b"DIRTYGET", b"n1", b"MAXLAG", b"20"])
    assert client.is_silent
    three.advance(10)
    assert client.receive() is None
    assert three.replicas[1].node.round == before + 1


def test_a_deposed_leader_is_stale(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3)
    client = cluster.connect()
    assert ask(client, "dirtyget n1 maxlag 100") is None
    cluster.cut_off = {1}
    cluster.advance(120)
    client.send([b"DIRTYGET", b"n1", b"MAXLAG", b"100"])
    assert cluster.replicas[1].node.role is Role.LEADER, "it does not know yet, but knows that it does not know"
    cluster.advance(100)
    assert client.receive().text.startswith("STALE ")


def test_a_follower_that_is_behind_is_stale_although_it_hears_the_leader(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader tells a follower no commit index beyond what it has, so that cannot be the measure."""
    client = three.connect()
    assert ask(client, "dirtyget n1 maxlag 100") is None
    replica = three.replicas[2]
    with monkeypatch.context() as patched:
        patched.setattr(replica, "apply", lambda wall_ms: False)
        patched.setattr(type(replica), "needs_turn", property(lambda self: self._stirred or self.wants_turn))
        Writer(three).write()
        three.advance(150)
        client.send([b"DIRTYGET", b"n1", b"MAXLAG", b"100"])
        three.advance(100)
        assert client.receive().text.startswith("STALE ")
    three.advance(10)
    assert ask(client, "dirtyget n1 maxlag 100") == b"x"


def test_nothing_is_known_without_a_leader(three: Cluster) -> None:
    three.cut_off = {1, 2, 3}
    client = three.connect()
    client.send([b"DIRTYGET", b"n1", b"MAXLAG", b"100000"])
    three.advance(2900)
    assert client.is_silent
    three.advance(200)
    assert "it has not heard from a leader yet" in client.receive().text
    client.send([b"RAFT.STALENESS"])
    three.advance(3100)
    assert client.receive() is None


def test_among_other_commands(make_cluster: Callable[..., Cluster]) -> None:
    """It waits for what comes before it, and what comes behind waits for it."""
    cluster = make_cluster()
    client = cluster.connect()
    lines = ("set n1 x", "dirtyget n1 maxlag 100", "get n1", "select 1", "dirtyget n1 maxlag 100", "dirtyget n1")
    client.send(*(line.encode().split() for line in lines))
    cluster.advance(50)
    assert [client.receive() for _ in lines] == [OK, b"x", b"x", OK, None, None]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("dirtyget n1 maxlag", "ERR syntax error"),
        ("dirtyget maxlag 5", "ERR syntax error"),
        ("dirtyget n1 maxlag x", "ERR value is not an integer or out of range"),
        ("dirtyget n1 maxlag -1", "ERR MAXLAG is negative"),
        ("dirtyget n1 maxlag 1 2", "ERR syntax error"),
        ("raft.staleness 1", "ERR wrong number of arguments for 'raft.staleness' command"),
    ],
)
def test_errors(client: Client, line: str, text: str) -> None:
    assert client.ask(line) == Error(text)


def test_no_dirty_reads_no_maxlag(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(client_dirty_reads="no").connect()
    for line in ("dirtyget n1", "dirtyget n1 maxlag 100"):
        assert client.ask(line).text.startswith("ERR Dirty reads are disabled")


def test_nothing_less_than_a_millisecond_is_promised(client: Client) -> None:
    assert client.ask("dirtyget n1 maxlag 0").text.startswith("STALE ")


@pytest.mark.parametrize("replies", [[], [b"x"], [b"9" * 5000], [b"1", b"2"]])
def test_what_is_no_read_index_closes_the_link(three: Cluster, replies: list[bytes]) -> None:
    three.cut_off = {2}
    client = three.connect()
    client.send([b"RAFT.STALENESS"])
    with pytest.raises(ProtocolError):
        three.replicas[2].on_message(1, ForwardReply(1, replies))


@pytest.mark.parametrize("seed", range(10))
def test_what_is_promised_holds(seed: int, make_cluster: Callable[..., Cluster]) -> None:
    """Members are cut off and come back at random, leaders change. Whatever a member says about its age, it has every
    write that was acknowledged before that."""
    random = Random(seed)
    cluster = make_cluster(voters=3, at=2, raft_request_timeout_ms="1000", raft_no_leader_wait_ms="1000")
    writer = Writer(cluster)
    staleness, machine = cluster.server.staleness, cluster.replicas[2].machine
    known = 0
    for _ in range(400):
        staleness.want()
        if random.random() < 0.1:
            cluster.cut_off = {random.choice([1, 2, 3])} if random.random() < 0.6 else set()
        if random.random() < 0.5:
            writer.write()
        cluster.advance(random.choice([10, 10, 10, 50, 200]))
        ms = staleness.ms
        if ms is not None:
            values = machine.space.databases[0].values  # type: ignore[attr-defined]
            assert writer.missing(values, cluster.now_ms - ms) == []
            known += ms <= 100
    assert known > 50
    assert len(writer.acknowledged) > 50
