"""Replies too long to be encoded at once, by the ways that are not a connection's own (those: test_session.py): EXEC,
and another member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftkv.errors import ProtocolError
from raftkv.machines.interface import Kind
from raftkv.machines.replies import OK, Error, Simple
from raftkv.replica.forwarding import REPLY_TOO_LARGE, Answer, Forwarder, RemoteSink, Slices
from raftkv.replica.work import OUTCOME_UNKNOWN, Work
from raftkv.server import execution
from raftkv.server.transaction import QUEUED
from raftkv.wire import resp_encode, resp_split
from raftkv.wire.peer import ForwardReply
from raftkv.wire.resp_encode import encode
from tests.server.member import Client, Cluster

ITEMS = [b"item:%d" % number for number in range(100)]


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp_encode, "WEIGHT_MAX", 40)
    monkeypatch.setattr(resp_encode, "_ITEMS_AT_ONCE", 10)
    monkeypatch.setattr(resp_split, "_VALUES_AT_ONCE", 10)


@pytest.fixture(params=[1, 2], ids=["leader", "follower"])
def cluster(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three members, and the client is at that one; the first leads."""
    return make_cluster(voters=3, at=request.param)


@pytest.fixture
def follower(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster(voters=3, at=2)


def fill(client: Client) -> None:
    client.call(b"RPUSH", b"l", *ITEMS)


def answers(cluster: Cluster) -> list[ForwardReply]:
    """What the leader answers the second member from now on."""
    return cluster.noted(2, ForwardReply)


def begin(cluster: Cluster, client: Client) -> list[ForwardReply]:
    """Ask the second member for a huge reply, until it has the first piece. Returns what it gets."""
    fill(client)
    seen = answers(cluster)
    client.post([b"LPOP", b"l", b"90"])
    while not seen:
        cluster.step()
    assert seen[0].unfinished
    return seen


@pytest.mark.parametrize("protocol", [2, 3])
def test_within_exec(cluster: Cluster, protocol: int) -> None:
    client = cluster.connect()
    client.ask(f"HELLO {protocol}")
    fill(client)
    queue = ["MULTI", "SET a 1", "LRANGE l 0 -1", "GET a", "LPOP l 60", "LLEN l", "EXEC"]
    assert client.pipeline(*queue)[-1] == [OK, ITEMS, b"1", ITEMS[:60], 40]


def test_within_exec_with_the_connections_own_commands(cluster: Cluster) -> None:
    client = cluster.connect()
    fill(client)
    queue = ["PING", "MULTI", "ECHO a", "LRANGE l 0 -1", "PING", "LPOP l 100", "ECHO b", "EXEC", "EXISTS l"]
    assert client.pipeline(*queue)[-2:] == [[b"a", ITEMS, Simple("PONG"), ITEMS, b"b"], 0]


def test_a_follower_walks_it_piece_by_piece(follower: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def noted(encoded: bytes, slots: list[bytes | None]) -> Iterator[bytes]:
        for piece in resp_split.interleaved(encoded, slots):
            made.append(piece)
            yield piece

    monkeypatch.setattr(execution, "interleaved", noted)
    client, other = follower.connect(), follower.connect()
    fill(client)
    client.post([b"PING"], [b"MULTI"], [b"ECHO", b"a"], [b"LPOP", b"l", b"100"], [b"EXEC"])
    for _ in range(100):
        follower.step()
        if made:
            break
    assert len(made) == 2
    while client.session.busy:
        before = len(made)
        other.post([b"PING"])
        follower.step()
        assert other.receive() == Simple("PONG")
        assert len(made) <= before + 1
    assert len(made) > 5
    assert [client.receive() for _ in range(5)] == [Simple("PONG"), OK, QUEUED, QUEUED, [b"a", ITEMS]]
    assert not follower.server.parked


def test_hidden_replies_to_such_an_exec(cluster: Cluster) -> None:
    client = cluster.connect()
    fill(client)
    queue = [b"MULTI", b"PING", b"LPOP l 100", b"CLIENT REPLY SKIP", b"SELECT 3", b"EXEC"]
    client.send([b"CLIENT", b"REPLY", b"OFF"], *map(bytes.split, queue))
    assert client.is_silent
    assert client.pipeline("CLIENT REPLY ON", "PING") == [OK, Simple("PONG")]
    assert client.session.db == 3


def test_hello_within_such_an_exec(cluster: Cluster) -> None:
    """What comes before it, and what the machine answers, is as RESP2 has it."""
    client = cluster.connect()
    fill(client)
    client.call(b"HSET", b"h", b"a", b"1")
    queue = ["MULTI", "LPOP l 100", "COMMAND DOCS nosuch", "HELLO 3", "HGETALL h", "COMMAND DOCS nosuch", "EXEC"]
    [items, none, _, pairs, no_docs] = client.pipeline(*queue)[-1]
    assert (items, none, pairs, no_docs) == (ITEMS, [], [b"a", b"1"], {})
    assert client.ask("HGETALL h") == {b"a": b"1"}


def test_who_ends_its_own_connection_gets_all_of_it_first(cluster: Cluster) -> None:
    client = cluster.connect()
    fill(client)
    queue = ["MULTI", f"CLIENT KILL ID {client.session.id} SKIPME no", "LPOP l 100", "EXEC"]
    assert client.pipeline(*queue)[-1] == [1, ITEMS]
    assert client.is_closed


def test_the_client_goes_away_before_its_huge_reply(cluster: Cluster) -> None:
    client = cluster.connect()
    fill(client)
    client.post([b"MULTI"], [b"LPOP", b"l", b"50"], [b"SELECT", b"3"], [b"EXEC"])
    other = cluster.connect()
    other.post([b"LPOP", b"l", b"50"])
    cluster.hub._pass(0.0)
    for one in (client, other):
        assert one.session.busy
        one.session.close("test")
    cluster.run()
    assert not cluster.server.parked
    assert client.session.db == 0


def test_a_follower_is_sent_pieces(follower: Cluster) -> None:
    client = follower.connect()
    fill(client)
    seen = answers(follower)
    assert client.pipeline("SET a 1", "LPOP l 90", "GET a", "LPOP l 10", "PING") == [
        OK, ITEMS[:90], b"1", ITEMS[90:], Simple("PONG")
    ]  # fmt: skip
    assert [message.unfinished for message in seen].count(True) > 5
    assert seen[-1] == ForwardReply(seen[-1].request_id, seen[-1].replies)


def test_other_forwards_are_answered_between_the_pieces(follower: Cluster) -> None:
    one, other = follower.connect(), follower.connect()
    seen = begin(follower, one)
    other.post([b"SET", b"a", b"1"])
    assert other.receive_bytes(5) == b"+OK\r\n"
    assert one.receive() == ITEMS[:90]
    [of_other] = {message.request_id for message in seen} - {seen[0].request_id}
    ids = [message.request_id for message in seen]
    assert ids.index(of_other) < len(ids) - 1


def test_one_that_is_too_large_is_so_in_pieces_too(make_cluster: Callable[..., Cluster]) -> None:
    follower = make_cluster(voters=3, at=2)
    for replica in follower.replicas.values():
        replica._reply_bytes_max = 1000
    client = follower.connect()
    fill(client)
    [popped, left] = client.pipeline("LPOP l 90", "LPOP l 10")
    assert popped == Error(REPLY_TOO_LARGE.text)
    assert left == ITEMS[90:]


def test_the_link_is_lost_between_the_pieces(follower: Cluster) -> None:
    client = follower.connect()
    begin(follower, client)
    follower.replicas[1].on_link_down(2)
    follower.replicas[2].on_link_down(1)
    follower.run()
    assert client.receive() == Error(OUTCOME_UNKNOWN.text)
    assert not follower.replicas[1]._huge_replies


class Leader:
    """Answers one Forward."""

    def __init__(self, reply_bytes_max: int = 1_000_000) -> None:
        self.messages: list[ForwardReply] = []
        self.has_link = True
        self.slices = Slices()
        self.sink = RemoteSink(1, False, reply_bytes_max, self._send, self.slices, applied=int)

    def _send(self, message: Answer) -> bool:
        assert isinstance(message, ForwardReply)
        self.messages.append(message)
        return self.has_link

    def answer(self, *replies: Any) -> list[int]:
        """Returns how many replies are in each message, 0 for a piece of one."""
        self.sink.on_replies([b"of another", *replies, b"of a third"], 1, 1 + len(replies))
        while self.slices:
            self.slices.step()
        assert [message.more for message in self.messages] == [True] * (len(self.messages) - 1) + [False]
        return [0 if message.unfinished else len(message.replies) for message in self.messages]

    @property
    def sent(self) -> bytes:
        return b"".join(reply for message in self.messages for reply in message.replies)


def test_small_replies_beside_a_huge_one_travel_together() -> None:
    leader = Leader()
    replies = [*range(9), ITEMS, *range(8), ITEMS, ITEMS[:20], ITEMS[:20], b"x", ITEMS[:5], ITEMS, OK]
    counts = leader.answer(*replies)
    assert [count for count in counts if count != 0] == [9, 1, 8, 1, 3, 1, 1, 1]
    assert counts.count(0) >= 30
    assert leader.sent == b"".join(encode(reply, False) for reply in replies)


def test_no_more_than_a_slice_is_sent_at_once() -> None:
    leader = Leader()
    assert leader.answer(*range(25)) == [10, 10, 5]
    leader = Leader()
    assert leader.answer(*[ITEMS[:15]] * 5) == [2, 2, 1]


def test_small_replies_beside_a_huge_one_fit_into_frames() -> None:
    leader = Leader(reply_bytes_max=100)
    long = b"x" * 80
    assert leader.answer(long, 1, long, ITEMS, b"x" * 200, long, 2) == [2, 1, 1, 1, 2]
    too_large = encode(REPLY_TOO_LARGE, False)
    whole = encode(long, False)
    assert leader.sent == whole + b":1\r\n" + whole + 2 * too_large + whole + b":2\r\n"


def test_nothing_more_is_sent_once_the_link_is_lost() -> None:
    leader = Leader()
    leader.sink.on_replies([*range(25)], 0, 25)
    leader.has_link = False
    leader.slices.step()
    leader.slices.step()
    assert len(leader.messages) == 2
    assert not leader.slices


class Asked:
    resp3 = remote = readonly = False

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def on_encoded(self, replies: list[bytes]) -> None:
        self.encoded += replies


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def forwarder(asked: Asked) -> Forwarder:
    """Two commands are with member 1, under number 1."""
    forwarder = Forwarder(reply_bytes_max=10)
    commands = [[b"get", b"a"], [b"get", b"b"]]
    forwarder.forward([Work(Kind.WRITE, commands, {}, 10, asked, 0)], 1, 0, 1000)  # type: ignore[arg-type]
    return forwarder


def test_pieces_are_put_together(forwarder: Forwarder, asked: Asked) -> None:
    forwarder.on_reply(1, ForwardReply(1, [b"abc"], more=True, unfinished=True))
    forwarder.on_reply(1, ForwardReply(1, [b"def"], more=True, unfinished=True))
    forwarder.on_reply(1, ForwardReply(1, [b"g"], more=True))
    assert not asked.encoded
    forwarder.on_reply(1, ForwardReply(1, [b"x"]))
    assert asked.encoded == [b"abcdefg", b"x"]
    assert not len(forwarder)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ForwardReply(1, [b"a", b"b"], more=True, unfinished=True), "2 pieces"),
        (ForwardReply(1, [], more=True, unfinished=True), "0 pieces"),
        (ForwardReply(1, [b"a", b"b"]), "2 pieces"),
        (ForwardReply(1, [b"x"], unfinished=True), "its end"),
        (ForwardReply(1, [b"x" * 11], more=True), "allowed are 10"),
        (ForwardReply(1, [b"x"]), "1 replies to 2 commands"),
    ],
)
def test_pieces_that_cannot_be(forwarder: Forwarder, message: ForwardReply, reason: str) -> None:
    forwarder.on_reply(1, ForwardReply(1, [b"0"], more=True, unfinished=True))
    with pytest.raises(ProtocolError, match=reason):
        forwarder.on_reply(1, message)
