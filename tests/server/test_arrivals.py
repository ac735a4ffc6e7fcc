"""Clients without a pipeline, whose commands of one pass go on as one work: which work, and which reply lands where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftkv.machines.interface import Kind
from raftkv.machines.replies import Error, Simple
from raftkv.raft.messages import Heartbeat, HeartbeatReply
from raftkv.wire import resp_encode
from tests.server.member import Client, Cluster
from tests.server.test_session import Desk

OK = Simple("OK")


@pytest.fixture
def desk(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(cluster, monkeypatch)


def idle(cluster: Cluster, count: int, resp3: bool = False) -> list[Client]:
    """Clients that have been answered, so that what they send next may go the short way."""
    clients = [cluster.connect(resp3) for _ in range(count)]
    for client in clients:
        assert client.ask("ping") == Simple("PONG")
    cluster.run()  # the kernel says of each that there is room again; from now on it tells of them as they send
    assert all(client.session.plain for client in clients)
    return clients


def post(clients: list[Client], *lines: str) -> None:
    """Each sends one command, before anybody looks."""
    for client, line in zip(clients, lines, strict=True):
        client.post(line.encode().split())
    clients[0]._cluster.run()


def received(clients: list[Client]) -> list[Any]:
    found = [client.receive() for client in clients]
    assert all(client.is_silent for client in clients)
    clients[0]._cluster.run()
    return found


def test_commands_of_one_pass_are_one_work_of_each_kind(desk: Desk, cluster: Cluster) -> None:
    clients = idle(cluster, 6)
    clients[4].session.db = 3
    post(clients, "get a", "set b 1", "dirtyget c", "get d", "get e", "incr f")
    writes, reads = desk.submitted
    assert (writes.kind, writes.commands, writes.scopes) == (Kind.WRITE, ["set b 1", "incr f"], {})
    assert (reads.kind, reads.commands, reads.scopes) == (Kind.READ, ["get a", "get d", "get e"], {2: 3})
    reads.answer(b"a", None, b"e")
    writes.answer(OK, 7)
    assert received(clients) == [b"a", OK, b"dirty", None, b"e", 7]
    assert cluster.server.stats.commands == 12
    assert [client.session.total_commands for client in clients] == [1] * 6
    assert clients[5].session.last_command == b"incr"
    assert all(client.session.plain and not client.session.busy for client in clients)


def test_what_is_not_one_whole_command_of_the_machine_goes_the_long_way(desk: Desk, cluster: Cluster) -> None:
    clients = idle(cluster, 6)
    clients[4]._socket.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\n")
    clients[5]._socket.sendall(b"get h\r\n")
    post(clients[:4], "get a", "ping", "get", "nosuch b")
    inline, together = desk.submitted
    assert (inline.commands, together.commands) == (["get h"], ["get a"])
    inline.answer(b"h")
    together.answer(b"a")
    a, pong, arity, unknown, h = received([*clients[:4], clients[5]])
    assert (a, pong, h) == (b"a", Simple("PONG"), b"h")
    assert arity == Error("ERR wrong number of arguments for 'get' command")
    assert unknown.text.startswith("ERR unknown command 'nosuch'")
    desk.submitted = []
    clients[4]._socket.sendall(b"x\r\n")
    cluster.run()
    desk.take().answer(b"whole")
    assert received(clients[4:5]) == [b"whole"]


def test_clients_of_both_protocols(desk: Desk, cluster: Cluster) -> None:
    clients = [*idle(cluster, 2), *idle(cluster, 2, resp3=True)]
    post(clients, "get a", "get b", "get c", "get d")
    old, new = desk.submitted
    assert (old.sink.resp3, new.sink.resp3) == (False, True)
    old.answer(None, b"b")
    new.answer(None, 1.5)
    cluster.hub.send_all()
    assert [client._file.readline() for client in clients] == [b"$-1\r\n", b"$1\r\n", b"_\r\n", b",1.5\r\n"]


def test_who_is_gone_or_says_more_meanwhile_harms_nobody(desk: Desk, cluster: Cluster) -> None:
    clients = idle(cluster, 4)
    post(clients, "get a", "get b", "get c", "get d")
    work = desk.take()
    clients[0].session.close("test")
    clients[1].send([b"get", b"more"])
    clients[2].close()
    cluster.run()
    work.answer(b"a", b"b", b"c", b"d")
    assert received([clients[1], clients[3]]) == [b"b", b"d"]
    cluster.run()
    desk.take().answer(b"more")
    assert received([clients[1]]) == [b"more"]
    assert clients[2].session.closed


def test_a_huge_reply_among_small_ones(desk: Desk, cluster: Cluster) -> None:
    clients = idle(cluster, 3)
    huge = [b"x"] * 2 * resp_encode.WEIGHT_MAX
    post(clients, "get a", "smembers b", "get c")
    desk.take().answer(b"a", huge, b"c")
    assert received([clients[0], clients[2]]) == [b"a", b"c"]
    assert clients[1].receive_bytes(len(huge) * 7 + len(b"*32768\r\n")).startswith(b"*32768\r\n$1\r\nx\r\n")


def test_a_client_that_does_not_read_and_the_others_are_served(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(client_output_buffer_bytes_max="1000000")
    desk = Desk(cluster, monkeypatch)
    clients = idle(cluster, 3)
    value = b"x" * 900_000
    post(clients, "get a", "get b", "get c")
    desk.take().answer(b"a", value, b"c")
    assert received([clients[0], clients[2]]) == [b"a", b"c"]
    assert clients[1].session.has_kept
    assert not clients[1].session.plain
    assert clients[1].receive_bytes(len(value) + 11) == b"$900000\r\n" + value + b"\r\n"
    clients[1].send([b"get", b"d"])
    desk.take().answer(b"d")
    assert received([clients[1]]) == [b"d"]
    assert clients[1].session.plain
    for line in (b"get e", b"get f"):
        clients[1].send(line.split())
        desk.take().answer(value)
        cluster.run()
    assert clients[1].session.closed
    assert cluster.server.stats.output_buffer_limit_disconnections == 1


@pytest.mark.parametrize("call", ["on_not_done", "on_unknown"])
def test_an_error_for_all(desk: Desk, cluster: Cluster, call: str) -> None:
    clients = idle(cluster, 3)
    post(clients, "set a 1", "set b 1", "incr c")
    getattr(desk.take().sink, call)(Error("UNKNOWN why"))
    assert received(clients) == [Error("UNKNOWN why")] * 3
    stats = cluster.server.stats
    assert (stats.commands_not_done, stats.commands_unknown) == ((3, 0) if call == "on_not_done" else (0, 3))
    post(clients, "get a", "get b", "get c")
    desk.take().answer(b"a", b"b", b"c")
    assert received(clients) == [b"a", b"b", b"c"]


def test_replies_encoded_elsewhere(desk: Desk, cluster: Cluster) -> None:
    clients = idle(cluster, 3)
    post(clients, "get a", "get b", "get c")
    desk.take().sink.on_encoded([b"$1\r\nx\r\n", b":5\r\n", b"-ERR no\r\n"])
    assert received(clients) == [b"x", 5, Error("ERR no")]


def test_each_is_told_who_leads(make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster(voters=3)
    desk = Desk(cluster, monkeypatch)
    clients = idle(cluster, 2)
    post(clients, "get foo", "get 123456789")
    desk.take().sink.on_redirect(2)
    assert received(clients) == [Error("MOVED 12182 127.0.0.1:7002"), Error("MOVED 12739 127.0.0.1:7002")]


@pytest.mark.parametrize("at", [1, 2], ids=["leader", "follower"])
def test_of_three_members(make_cluster: Callable[..., Cluster], at: int) -> None:
    """Twenty clients write and read, each its own key, several times."""
    cluster = make_cluster(voters=3, at=at)
    clients = idle(cluster, 20)
    for turn in range(3):
        post(clients, *(f"set key{number} {turn}-{number}" for number in range(20)))
        assert received(clients) == [OK] * 20
        post(clients, *(f"get key{(number + turn) % 20}" for number in range(20)))
        assert received(clients) == [b"%d-%d" % (turn, (number + turn) % 20) for number in range(20)]


def test_one_round_for_all_and_it_begins_before_they_are_parsed(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3)
    clients = idle(cluster, 20)
    lines = [f"get key{number}" for number in range(20)]
    post(clients, *lines)
    received(clients)
    sent = cluster.noted(2, Heartbeat) + cluster.noted(3, Heartbeat)
    asked: list[int] = []
    replica = cluster.server.replica
    begin = replica.reads.begin_early
    with pytest.MonkeyPatch.context() as patch:

        def note(coming: int, wall_ms: int) -> Any:
            sends = begin(coming, wall_ms)
            asked.append(len(sends))
            assert not replica._intake.reads
            return sends

        patch.setattr(replica.reads, "begin_early", note)
        post(clients, *lines)
    received(clients)
    assert asked[0] == 1, "one of the others makes a quorum"
    assert sent == []


def test_who_comes_later_waits_for_the_next_round(make_cluster: Callable[..., Cluster]) -> None:
    """An answer to the round that was given before its command had come would not cover what was written in between."""
    cluster = make_cluster(voters=3)
    node = cluster.server.replica.node
    clients = idle(cluster, 21)
    lines = [f"get key{number}" for number in range(20)]
    post(clients[:20], *lines)
    received(clients[:20])
    cluster.cut_off = {2, 3}
    post(clients[:20], *lines)
    begun = node.round
    assert node.confirmed_round < begun
    post(clients[20:], "get late")
    assert clients[20].is_silent
    cluster.cut_off = set()
    for peer in (2, 3):
        cluster.replicas[1].on_message(peer, HeartbeatReply(node.term, begun))
    cluster.server.replica.reads.serve(cluster.now_ms)
    assert received(clients[:20]) == [None] * 20
    assert node.round == begun + 1, "one more, for who came later"
    assert clients[20].receive() is None
