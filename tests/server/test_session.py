"""How a session takes what a client sends in chunks: which way each chunk goes, and which reply lands where.

The replica is replaced by one that only takes notes, so that the test decides when and how work is answered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from raftkv.machines.interface import Kind
from raftkv.machines.replies import Error, Reply, Simple
from raftkv.replica.work import Sink
from raftkv.server.pieces import STALLED_MS, Pieces
from raftkv.wire import resp_encode
from tests.server.member import Client, Cluster


class Submitted(NamedTuple):
    kind: Kind
    commands: list[str]
    scopes: dict[int, int]
    sink: Sink

    def answer(self, *replies: Reply) -> None:
        """The replies of the machine, within those of other clients, as the replica gives them."""
        self.sink.on_replies([b"of another", *replies, b"of a third"], 1, 1 + len(replies))


class Desk:
    """Where work arrives instead of at the replica."""

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.submitted: list[Submitted] = []
        self.dirty: list[list[str]] = []
        monkeypatch.setattr(cluster.server.replica, "submit", self._submit)
        monkeypatch.setattr(cluster.server.replica, "read_dirty", self._read_dirty)

    def _submit(
        self,
        kind: Kind,
        commands: list[list[bytes]],
        scopes: Mapping[int, int],
        size_bytes: int,
        sink: Sink,
        system: bool = False,
        clients: int = 1,
    ) -> None:
        self.submitted.append(Submitted(kind, _lines(commands), dict(scopes), sink))

    def _read_dirty(self, commands: list[list[bytes]], scopes: Mapping[int, int], wall_ms: int) -> list[Reply]:
        self.dirty.append(_lines(commands))
        return [b"dirty"] * len(commands)

    def take(self) -> Submitted:
        [only] = self.submitted
        self.submitted = []
        return only


def _lines(commands: list[list[bytes]]) -> list[str]:
    return [b" ".join(argv).decode() for argv in commands]


@pytest.fixture
def desk(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(cluster, monkeypatch)


def send(client: Client, *lines: str) -> None:
    client.send(*(line.encode().split() for line in lines))


def replies(client: Client, count: int) -> list[Any]:
    got = [client.receive() for _ in range(count)]
    assert client.is_silent
    return got


OK = Simple("OK")


# ---- which way a chunk goes


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["set a 1"], Kind.WRITE),
        (["get a"], Kind.READ),
        (["get a", "mget a b", "strlen a"], Kind.READ),
        (["get a", "set a 1", "get a"], Kind.WRITE),
        (["get a", "dirtyget a"], Kind.READ),
        (["dirtyget a", "GeT a", "SET a 1"], Kind.WRITE),
    ],
)
def test_a_chunk_goes_the_way_of_its_strictest_command(
    desk: Desk, client: Client, lines: list[str], kind: Kind
) -> None:
    send(client, *lines)
    work = desk.take()
    assert (work.kind, work.commands) == (kind, lines)
    work.answer(*[b"%d" % number for number in range(len(lines))])
    assert replies(client, len(lines)) == [b"%d" % number for number in range(len(lines))]


def test_dirty_reads_are_answered_at_once(desk: Desk, client: Client) -> None:
    send(client, "dirtyget a", "dirtyget b")
    assert desk.submitted == []
    assert desk.dirty == [["dirtyget a", "dirtyget b"]]
    assert replies(client, 2) == [b"dirty"] * 2


def test_one_chunk_at_a_time(desk: Desk, client: Client) -> None:
    """What arrives while a chunk is under way waits, whatever it is: replies are in order by construction."""
    send(client, "set a 1")
    send(client, "get a", "ping", "dirtyget a")
    assert client.is_silent
    assert desk.dirty == []
    desk.take().answer(OK)
    assert replies(client, 1) == [OK]
    client._cluster.run()
    work = desk.take()
    assert work.commands == ["get a", "dirtyget a"]
    work.answer(b"1", b"2")
    assert replies(client, 3) == [b"1", Simple("PONG"), b"2"]


@pytest.mark.parametrize(
    "lines",
    [["smembers s"], ["get a", "smembers s", "get b"], ["ping", "smembers s", "echo x", "get b", "ping"]],
    ids=["alone", "pipeline", "mixed"],
)
def test_a_huge_reply_leaves_in_pieces_and_others_are_served_between(
    desk: Desk, client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(resp_encode, "WEIGHT_MAX", 10)
    monkeypatch.setattr(resp_encode, "_ITEMS_AT_ONCE", 10)
    members = [b"%d" % number for number in range(30)]
    answers: dict[str, Any] = {"smembers s": members, "ping": Simple("PONG")}
    replies = [answers.get(line, b"x") for line in lines]
    other = cluster.connect()
    client.send(*(line.encode().split() for line in lines))
    waiting: list[Any] = []
    call_soon = cluster.hub.call_soon
    with monkeypatch.context() as patch:
        patch.setattr(
            cluster.hub, "call_soon", lambda who: (waiting.append if isinstance(who, Pieces) else call_soon)(who)
        )
        desk.take().answer(*(answers.get(line, b"x") for line in lines if line.startswith(("get", "sm"))))
        client.send(b"get c".split())
        pieces = 1
        while client.session.busy:
            assert other.ask("ping") == Simple("PONG")
            waiting.pop().go_on()
            pieces += 1
    assert pieces >= 4
    assert desk.submitted == []
    assert [client.receive() for _ in lines] == replies
    cluster.run()
    assert desk.take().commands == ["get c"]


def test_a_client_that_goes_in_the_middle_of_a_huge_reply(desk: Desk, client: Client, cluster: Cluster) -> None:
    client.send(b"smembers s".split())
    desk.take().answer([b"x"] * 3 * resp_encode.WEIGHT_MAX)
    client.session.close("test")
    cluster.run()
    assert not cluster.hub.has_more
    assert not cluster.server.parked


def test_pieces_wait_for_a_client_that_reads_slowly(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a value of any size, little is copied and kept for it at any time."""
    value = b"x" * 50_000_000
    cluster = make_cluster(client_output_buffer_bytes_max="3000000")
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    client.send(b"get a".split())
    desk.take().answer(value)
    cluster.run()
    assert 0 < client.session.out_bytes < 3_000_000
    assert client.receive_bytes(50_000_013) == b"$50000000\r\n%b\r\n" % value
    assert not client.session.closed
    assert not client.session.busy


def test_a_client_that_takes_nothing_of_a_huge_reply_is_cut_off(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster()
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    client.send(b"get a".split())
    desk.take().answer(b"x" * 50_000_000)
    cluster.run()
    now = cluster.server.now_ms()
    monkeypatch.setattr(cluster.server, "now_ms", lambda: now + STALLED_MS)
    cluster.server.on_tick()
    assert not client.session.closed
    monkeypatch.setattr(cluster.server, "now_ms", lambda: now + STALLED_MS + 1000)
    cluster.server.on_tick()
    assert client.session.closed
    assert cluster.server.stats.output_buffer_limit_disconnections == 1
    assert not cluster.server.parked


def test_a_client_that_takes_a_huge_reply_byte_by_byte_is_not(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on a line where a piece takes longer than that."""
    cluster = make_cluster()
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    client.send(b"get a".split())
    desk.take().answer([b"x" * 4_000_000] * 9)
    cluster.run()
    kept = client.session.out_bytes
    for _ in range(5):
        assert client.receive_bytes(300_000)
        cluster.advance(STALLED_MS * 3 // 4, step_ms=STALLED_MS // 4)
    assert not client.session.closed
    assert client.session.out_bytes < kept
    cluster.advance(STALLED_MS * 2, step_ms=STALLED_MS // 4)
    assert client.session.closed


def test_a_chunk_is_bounded(make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster(client_turn_commands_max="3")
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    send(client, *(f"get {number}" for number in range(7)))
    sizes = []
    while desk.submitted:
        work = desk.take()
        sizes.append(len(work.commands))
        work.answer(*(line.split()[1].encode() for line in work.commands))
        cluster.run()
    assert (sum(sizes), max(sizes)) == (7, 3)
    assert replies(client, 7) == [b"%d" % number for number in range(7)]


def test_pipelines_take_turns(make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass of the hub takes at most one chunk of each client, also where it is answered at once."""
    cluster = make_cluster(client_turn_commands_max="2")
    desk = Desk(cluster, monkeypatch)
    deep, other = cluster.connect(), cluster.connect()
    monkeypatch.setattr(cluster, "run", lambda: None)  # only single passes from here on
    send(deep, *["dirtyget deep"] * 12)
    for number in range(6):
        send(other, f"dirtyget other{number}")
        cluster.hub._pass(0.0)
        cluster.hub.send_all()
    assert [line for chunk in desk.dirty for line in chunk if "other" in line] == [
        f"dirtyget other{number}" for number in range(6)
    ]
    assert max(map(len, desk.dirty)) == 2
    assert sum(chunk == ["dirtyget deep"] * 2 for chunk in desk.dirty) == 6


# ---- the connection's own commands in a chunk


def test_immediate_commands_wait_in_their_slot(desk: Desk, client: Client) -> None:
    send(client, "ping", "set a 1", "echo x", "get a", "ping")
    work = desk.take()
    assert work.commands == ["set a 1", "get a"]
    assert client.is_silent
    work.answer(OK, b"1")
    assert replies(client, 5) == [Simple("PONG"), OK, b"x", b"1", Simple("PONG")]


def test_wrong_commands_have_slots_too(desk: Desk, client: Client) -> None:
    send(client, "get", "set a 1", "nosuch", "get a")
    work = desk.take()
    assert (work.kind, work.commands) == (Kind.WRITE, ["set a 1", "get a"])
    work.answer(OK, b"1")
    first, second, third, fourth = replies(client, 4)
    assert first == Error("ERR wrong number of arguments for 'get' command")
    assert (second, fourth) == (OK, b"1")
    assert third.text.startswith("ERR unknown command 'nosuch'")


def test_the_database_is_that_of_the_moment(desk: Desk, client: Client) -> None:
    send(client, "get a", "select 2", "get b", "get c", "select 0", "get d")
    work = desk.take()
    assert (work.commands, work.scopes) == (["get a", "get b", "get c", "get d"], {1: 2, 2: 2})
    work.answer(b"a", b"b", b"c", b"d")
    assert replies(client, 6) == [b"a", OK, b"b", b"c", OK, b"d"]
    send(client, "select 3", "get e")
    desk.take().answer(b"e")
    send(client, "get f", "set g 1")
    assert desk.take().scopes == {0: 3, 1: 3}


@pytest.mark.parametrize("barrier", ["client id", "hello 2", "raft.status", "info", "config get port"])
def test_a_barrier_sees_everything_before_it_done(desk: Desk, client: Client, barrier: str) -> None:
    send(client, "set a 1", barrier, "get a", "echo end")
    work = desk.take()
    assert work.commands == ["set a 1"]
    assert client.is_silent
    work.answer(OK)
    client._cluster.run()
    work = desk.take()
    assert work.commands == ["get a"]
    work.answer(b"1")
    first, _, *rest = replies(client, 4)
    assert (first, rest) == (OK, [b"1", b"end"])


def test_a_new_protocol_version_holds_from_its_place_on(desk: Desk, client: Client) -> None:
    send(client, "get a", "hello 3", "get b")
    desk.take().answer({b"k": 1.5})
    client._cluster.run()
    desk.take().answer({b"k": 1.5})
    first, second, third = replies(client, 3)
    assert first == [b"k", b"1.5"]
    assert second[b"proto"] == 3
    assert third == {b"k": 1.5}


# ---- CLIENT REPLY


def test_hidden_replies_of_the_machine_are_taken_and_not_shown(desk: Desk, client: Client) -> None:
    send(client, "client reply off", "set a 1", "get a", "ping", "nosuch", "client reply on", "get b")
    work = desk.take()
    assert work.commands == ["set a 1", "get a"]
    work.answer(OK, b"hidden")
    client._cluster.run()
    work = desk.take()
    assert work.commands == ["get b"]
    work.answer(b"shown")
    assert replies(client, 2) == [OK, b"shown"]


def test_skip_hides_exactly_the_next_reply(desk: Desk, client: Client) -> None:
    send(client, "client reply skip", "get a", "get b", "ping")
    work = desk.take()
    assert work.commands == ["get a", "get b"]
    work.answer(b"hidden", b"shown")
    assert replies(client, 2) == [b"shown", Simple("PONG")]
    send(client, "client reply skip", "ping", "get c")
    desk.take().answer(b"c")
    assert replies(client, 1) == [b"c"]


# ---- how work can end


@pytest.mark.parametrize("call", ["on_not_done", "on_unknown"])
def test_an_error_for_the_whole_chunk_takes_the_place_of_each_reply(desk: Desk, client: Client, call: str) -> None:
    send(client, "ping", "get a", "client id")
    getattr(desk.take().sink, call)(Error("UNKNOWN why"))
    client._cluster.run()
    assert replies(client, 3) == [Simple("PONG"), Error("UNKNOWN why"), client.session.id]
    send(client, "get a", "get b")
    getattr(desk.take().sink, call)(Error("UNKNOWN why"))
    assert replies(client, 2) == [Error("UNKNOWN why")] * 2


def test_replies_encoded_elsewhere_are_passed_on(desk: Desk, client: Client) -> None:
    send(client, "get a", "get b")
    desk.take().sink.on_encoded([b"$1\r\nx\r\n", b":5\r\n"])
    assert replies(client, 2) == [b"x", 5]
    send(client, "echo 1", "get a", "nosuch", "get b")
    desk.take().sink.on_encoded([b"$1\r\nx\r\n", b":5\r\n"])
    first, second, _, fourth = replies(client, 4)
    assert (first, second, fourth) == (b"1", b"x", 5)


def test_redirects(make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster(voters=3)
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    send(client, "get foo", "ping", "set 123456789 x", "mset {foo}a 1 b 2", "dbsize", "get {}x", "get x{a}{b}")
    desk.take().sink.on_redirect(2)
    assert [reply.text for reply in replies(client, 7) if isinstance(reply, Error)] == [
        "MOVED 12182 127.0.0.1:7002",
        "MOVED 12739 127.0.0.1:7002",
        "MOVED 12182 127.0.0.1:7002",
        "MOVED 0 127.0.0.1:7002",
        "MOVED 10595 127.0.0.1:7002",
        "MOVED 15495 127.0.0.1:7002",
    ]


def test_an_answer_to_a_client_that_is_gone_is_dropped(desk: Desk, client: Client, cluster: Cluster) -> None:
    send(client, "set a 1")
    client.session.close("test")
    desk.take().answer(OK)
    cluster.run()
    assert cluster.server.sessions == {}


# ---- ends


def test_quit_lets_nothing_after_it_run_even_when_the_reader_is_slow(desk: Desk, client: Client) -> None:
    client.session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    send(client, "get a")
    desk.take().answer(b"x" * 500_000)
    client.session.hub.send_all()
    assert client.session.out_bytes
    send(client, "quit", "set a 1")
    assert desk.submitted == []
    got = b""
    while data := client._socket.recv(65536):
        got += data
        client._cluster.run()
    assert got == b"$500000\r\n" + b"x" * 500_000 + b"\r\n+OK\r\n"
    assert desk.submitted == []


def test_a_protocol_error_is_said_once_after_all_before_it(desk: Desk, client: Client) -> None:
    client._socket.sendall(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n*x\r\nmore")
    client._cluster.run()
    desk.take().answer(b"1")
    client._cluster.run()
    assert client.receive() == b"1"
    assert client.receive() == Error("ERR Protocol error: invalid multibulk length")
    assert client.is_closed


def test_the_end_of_what_a_client_sends_is_seen_with_its_last_bytes(desk: Desk, client: Client) -> None:
    """The kernel tells of both in one event, and never again."""
    client._socket.sendall(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n")
    client._socket.shutdown(socket.SHUT_WR)
    client._cluster.run()
    desk.take().answer(b"1")
    client._cluster.run()
    assert client.receive() == b"1"
    assert client.is_closed


def test_the_end_while_a_chunk_is_under_way(desk: Desk, client: Client) -> None:
    send(client, "get a")
    client._socket.shutdown(socket.SHUT_WR)
    client._cluster.run()
    assert not client.session.closed
    desk.take().answer(b"1")
    client._cluster.run()
    assert client.receive() == b"1"
    assert client.is_closed


@pytest.mark.parametrize("command", ["get a", "dirtyget a", "ping"])
def test_a_client_that_never_reads_is_cut_off(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Whoever answers: the log, the local state, or the connection itself."""
    cluster = make_cluster(client_output_buffer_bytes_max="65536")
    desk, client = Desk(cluster, monkeypatch), cluster.connect()
    monkeypatch.setattr(cluster.server.replica, "read_dirty", lambda *_: [b"x" * 10_000])
    line = "ping " + "x" * 10_000 if command == "ping" else command
    sent = 0
    while not client.session.closed and sent < 1000:
        send(client, line)
        sent += 1
        if desk.submitted:
            desk.take().answer(b"x" * 10_000)
    assert client.session.closed
    assert cluster.server.stats.output_buffer_limit_disconnections == 1


def test_a_command_that_never_ends_is_cut_off(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(client_query_buffer_bytes_max=str(256 * 1024))
    client = cluster.connect()
    client._socket.sendall(b"*1000\r\n$60000\r\n")
    for _ in range(5):
        assert not client.session.closed
        client._socket.sendall(b"x" * 60_000 + b"\r\n$60000\r\n")
        cluster.run()
    assert client.session.closed
    assert cluster.server.stats.query_buffer_limit_disconnections == 1
