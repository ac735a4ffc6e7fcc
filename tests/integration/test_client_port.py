"""The client port under every kind of bad input and hard use, while other clients go on being served."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Client, Cluster, Member, ReplyError, wait_until
from tests.support.redis_server import encode_command

pytestmark = pytest.mark.processes

CONNECTIONS = int(os.environ.get("TEST_CONNECTIONS", "2000"))
LINE_BYTES_MAX = 64 * 1024
UNSENT = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nva"


def receive_to_end(sock: socket.socket) -> bytes:
    """All that comes until the member closes the connection."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def end_sending(client: Client) -> None:
    """Half-close a connection that the member may have reset already, which the kernel then calls not connected."""
    with contextlib.suppress(OSError):
        client.sock.shutdown(socket.SHUT_WR)


def reset(client: Client) -> None:
    """Vanish without a good-bye: the member gets a reset."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


@pytest.fixture
def bystander(member: Member) -> Iterator[Client]:
    """A client that has nothing to do with it, and is to be served before and after."""
    with member.client() as client:
        assert client("SET", "bystander", "1") == b"OK"
        yield client
        assert client("INCR", "bystander") == 2


# ---- wrong bytes


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b'SET "a\r\n', "unbalanced quotes in request"),
        (b"SET 'a'b\r\n", "unbalanced quotes in request"),
        (b"a" * (LINE_BYTES_MAX + 1), "too big inline request"),
        (b"*" + b"1" * LINE_BYTES_MAX, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * LINE_BYTES_MAX, "too big bulk count string"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_protocol_errors(member: Member, bystander: Client, data: bytes, text: str) -> None:
    """Redis's text, after the replies to what came before it; then the connection is closed."""
    with member.client() as client:
        client.sock.sendall(encode_command([b"ECHO", b"before"]) + data)
        assert receive_to_end(client.sock) == b"$6\r\nbefore\r\n-ERR Protocol error: " + text.encode() + b"\r\n"


def test_garbage(member: Member, bystander: Client) -> None:
    """Random bytes: whatever comes of it, it is answered with errors only and ends by itself or by us."""
    chance = random.Random(7)
    for _ in range(30):
        with member.client() as client, contextlib.suppress(ConnectionError):
            client.sock.sendall(chance.randbytes(chance.randrange(1, 5000)))
            end_sending(client)
            for line in receive_to_end(client.sock).split(b"\r\n"):
                assert line == b"" or line.startswith(b"-ERR ")


def test_a_web_browser(member: Member, bystander: Client) -> None:
    """A request for a web page could smuggle commands in its body, so Redis closes at once; here too."""
    with member.client() as client:
        client.sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET smuggled 1\r\n")
        end_sending(client)
        with contextlib.suppress(ConnectionResetError):
            receive_to_end(client.sock)
    with member.client() as client:
        assert client("GET", "smuggled") is None
    assert "web_request" in member.log_text()


def test_half_commands(member: Member, bystander: Client) -> None:
    """Halves cost nothing and harm nobody; a whole one in single bytes is a command like any other."""
    with contextlib.ExitStack() as stack:
        for cut in range(1, len(UNSENT)):
            stack.enter_context(member.client()).sock.sendall(UNSENT[:cut])
        slow = stack.enter_context(member.client())
        for byte in UNSENT + b"lue\r\n":
            slow.sock.sendall(bytes([byte]))
        assert slow.receive() == b"OK"
        assert bystander("GET", "half") == b"value"


def test_huge_declared_sizes_reserve_nothing(member: Member, bystander: Client) -> None:
    before_kb = resident_kb(member)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(member.client()) for _ in range(30)]
        for client in clients:
            client.sock.sendall(b"*1048576\r\n$60000000\r\nbegun")
        wait_until("all of it has arrived", lambda: bystander("CLIENT", "LIST").count(b" qbuf=5 ") == len(clients))
        for _ in range(10):
            assert bystander("PING") == b"PONG"
        assert resident_kb(member) - before_kb < 20_000


def resident_kb(member: Member) -> int:
    status = Path(f"/proc/{member.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1])


def test_unknown_commands_and_wrong_arguments(member: Member, bystander: Client) -> None:
    """Errors of commands close nothing, and a pipeline goes on behind them."""
    with member.client() as client:
        for argv in (["NOSUCH", "x"], ["GET"], ["SET", "a"], ["PING"]):
            client.send(*argv)
        texts = []
        for _ in range(3):
            with pytest.raises(ReplyError) as caught:
                client.receive()
            texts.append(str(caught.value))
        assert texts == [
            "ERR unknown command 'NOSUCH', with args beginning with: 'x' ",
            "ERR wrong number of arguments for 'get' command",
            "ERR wrong number of arguments for 'set' command",
        ]
        assert client.receive() == b"PONG"


def test_inline_commands(member: Member, bystander: Client) -> None:
    with member.client() as client:
        client.sock.sendall(b"\r\n  set inline 'a b'\r\nGET inline\nget \"inl\\x69ne\"\r\nPING\r\n")
        assert [client.receive() for _ in range(4)] == [b"OK", b"a b", b"a b", b"PONG"]


# ---- many clients, and clients that go


@pytest.fixture
def open_files() -> Iterator[int]:
    """As many open files as this user may have; the usual soft limit of 1024 is for ordinary programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_connections_at_once(tmp_path: Path, open_files: int) -> None:
    """All stay open, each is served, and each is forgotten when it goes."""
    count = min(CONNECTIONS, open_files - 500)
    with Cluster(tmp_path, 1, "--client-clients-max", str(count + 10)) as cluster:
        member = cluster.wait_leader()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(member.client(timeout_s=60)) for _ in range(count)]
            for number, client in enumerate(clients):
                client.send("SET", f"connection:{number}", number)
                client.send("GET", f"connection:{number}")
            for number, client in enumerate(clients):
                assert (client.receive(), client.receive()) == (b"OK", b"%d" % number)
            with member.client() as client:
                assert f"connected_clients:{count + 1}" in client("INFO", "clients").decode()
        wait_for_clients(member, 1)


def wait_for_clients(member: Member, count: int) -> None:
    """Until so many are connected, the one who asks included."""
    with member.client() as client:
        text = f"connected_clients:{count}\r\n"
        wait_until(text, lambda: text in client("INFO", "clients").decode())


def test_one_client_too_many(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--client-clients-max", "5") as cluster:
        member = cluster.wait_leader()
        wait_for_clients(member, 1)
        with contextlib.ExitStack() as stack:
            first, *_ = [stack.enter_context(member.client()) for _ in range(5)]
            assert first("PING") == b"PONG"
            for _ in range(3):
                with member.client() as refused:
                    assert receive_to_end(refused.sock) == b"-ERR max number of clients reached\r\n"
            for _ in range(50):
                reset(member.client())  # refused ones that do not even wait for the refusal
            assert first("PING") == b"PONG"
            found = re.search(rb"rejected_connections:(\d+)", first("INFO", "stats"))
            assert found
            assert int(found[1]) >= 3
        wait_for_clients(member, 1)


@pytest.mark.parametrize("how", ["closed", "reset", "in the middle of a command", "with replies under way"])
def test_clients_that_go_are_forgotten(member: Member, bystander: Client, how: str) -> None:
    for number in range(20):
        client = member.client()
        assert client("CLIENT", "SETNAME", f"gone-{number}") == b"OK"
        if how == "in the middle of a command":
            client.sock.sendall(UNSENT)
        elif how == "with replies under way":
            client.sock.sendall(encode_command([b"INCR", b"counter"]) * 500)
        if how == "closed":
            client.sock.close()
        else:
            reset(client)
    wait_until("they are forgotten", lambda: b"gone-" not in bystander("CLIENT", "LIST"))


def test_a_client_that_waits_is_forgotten_too(leader: Member) -> None:
    """WAIT for more members than there are has no end of its own."""
    with leader.client() as bystander:
        client = leader.client()
        client("CLIENT", "SETNAME", "waiting")
        client.send("WAIT", 9, 0)
        wait_until("it waits", lambda: b"name=waiting" in bystander("CLIENT", "LIST"))
        client.sock.close()
        wait_until("it is forgotten", lambda: b"name=waiting" not in bystander("CLIENT", "LIST"))


def test_the_kernel_looks_after_silent_clients(leader: Member) -> None:
    """A client whose machine lost power sends nothing, not even an end: only keep-alive probes can tell."""
    with leader.client() as client:
        assert client("PING") == b"PONG"
        ours = client.sock.getsockname()[1]
        local, remote = f":{leader.port:04X}", f":{ours:04X}"

        def is_watched() -> bool:
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            [timer] = [words[5] for words in lines if words[1].endswith(local) and words[2].endswith(remote)]
            return timer.startswith("02:")  # the kernel's number for keep-alive; 01 while a reply is not acknowledged

        wait_until("the kernel watches it", is_watched)


def test_a_half_closed_client_gets_its_replies(member: Member, bystander: Client) -> None:
    """As with `printf ... | nc`: the end of what it sends is not the end of what it wants to hear."""
    with member.client() as client:
        commands = [encode_command([b"SET", b"half", b"closed"]), encode_command([b"GET", b"half"]) * 5000]
        client.sock.sendall(b"".join(commands))
        client.sock.shutdown(socket.SHUT_WR)
        assert receive_to_end(client.sock) == b"+OK\r\n" + b"$6\r\nclosed\r\n" * 5000


def test_a_half_closed_client_that_reads_late(member: Member, bystander: Client) -> None:
    """More replies than sockets hold: they wait in the member until they are taken."""
    value = b"x" * 1_000_000
    assert bystander("SET", "big", value) == b"OK"
    with member.client() as client:
        client.sock.sendall(encode_command([b"GET", b"big"]) * 20)
        client.sock.shutdown(socket.SHUT_WR)
        wait_until("replies wait in the member", lambda: re.search(rb" omem=[1-9]", bystander("CLIENT", "LIST")))
        received = receive_to_end(client.sock)
    assert received == (b"$1000000\r\n" + value + b"\r\n") * 20


IMPATIENT = "from raftkv.server import pieces; pieces.STALLED_MS = 500; from raftkv.cli.main import main; main()"
"""As `-m raftkv`, but what is ten seconds there is half a second."""


@pytest.mark.parametrize(("size_bytes", "asked"), [(100_000, 300), (1000, 40_000)], ids=["huge together", "small"])
def test_a_client_that_never_reads_is_cut_off(tmp_path: Path, size_bytes: int, asked: int) -> None:
    """Bounded memory: logged and counted, and nobody else notices. A piece of a huge reply is kept a while."""
    cluster = Cluster(tmp_path, 1, "--client-output-buffer-bytes-max", str(1 << 20))
    [member] = cluster
    member._argv[1:3] = ["-c", IMPATIENT]
    with cluster:
        cluster.wait_leader()
        with member.client() as bystander, member.client() as slow:
            assert bystander("SET", "big", b"x" * size_bytes) == b"OK"
            with contextlib.suppress(OSError):
                for _ in range(asked):
                    slow.send("GET", "big")
            counted = "client_output_buffer_limit_disconnections:1\r\n"
            wait_until("it is cut off", lambda: counted in bystander("INFO", "stats").decode())
            assert bystander("STRLEN", "big") == size_bytes
        lines = [line for line in member.log_text().splitlines() if "client_cut_off" in line]
        assert len(lines) == 1
        assert "reads too slowly" in lines[0]


def test_idle_clients_are_closed(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--client-idle-timeout-ms", "300") as cluster:
        member = cluster.wait_leader()
        with member.client() as idle, member.client() as busy:
            idle("CLIENT", "SETNAME", "idle")
            idle.sock.setblocking(False)

            def closed() -> bool:
                assert busy("PING") == b"PONG"
                with contextlib.suppress(BlockingIOError):
                    return idle.sock.recv(1) == b""
                return False

            wait_until("it is closed", closed)


# ---- order


def test_a_deep_pipeline_starves_nobody(member: Member) -> None:
    """Two hundred thousand commands of one client: another's are answered long before the last of them."""
    count = 200_000
    received = 0

    def read_all() -> None:
        nonlocal received
        for number in range(count):
            assert deep.receive() == (b"deep" if number % 2 else b"PONG")
            received = number + 1

    with member.client(timeout_s=60) as deep, member.client() as other:
        assert other("SET", "deep", "deep") == b"OK"
        data = (encode_command([b"PING"]) + encode_command([b"GET", b"deep"])) * (count // 2)
        sender = threading.Thread(target=deep.sock.sendall, args=(data,))
        reader = threading.Thread(target=read_all)
        sender.start()
        reader.start()
        wait_until("the deep one is being served", lambda: received)
        replies = [other("PING"), other("SET", "a", "1"), other("GET", "a")]
        received_then = received
        assert replies == [b"PONG", b"OK", b"1"]
        assert received_then < count
        sender.join()
        reader.join()
        assert received == count


def test_mixed_pipelines_keep_their_order(member: Member) -> None:
    """Reads, writes, the connection's own commands and errors in one stream: each reply is in its place, in the RESP
    version and database of that moment."""
    for seed in range(8):
        chance = random.Random(seed)
        with member.client() as client:
            assert client("FLUSHALL") == b"OK"
            commands, expected = _mixed_pipeline(chance, 1500)
            sender = threading.Thread(target=client.sock.sendall, args=(b"".join(map(encode_command, commands)),))
            sender.start()
            for number, wanted in enumerate(expected):
                try:
                    got = client.receive()
                except ReplyError as error:
                    got = str(error)
                if wanted is not ...:
                    assert got == wanted, f"seed {seed}, reply {number}"
            sender.join()


def _mixed_pipeline(chance: random.Random, count: int) -> tuple[list[list[bytes]], list[Any]]:
    """Commands, and the replies that are to come; `...` stands for any."""
    data: dict[tuple[int, bytes], bytes] = {}
    database, resp3, off, skip = 0, False, False, False
    commands: list[list[bytes]] = []
    expected: list[Any] = []
    for number in range(count):
        key = b"k%d" % chance.randrange(5)
        text = b"%d" % number
        what = chance.choices(
            ["set", "get", "incr", "ping", "echo", "select", "hello", "off", "on", "skip", "bad", "map"],
            [20, 20, 15, 10, 5, 4, 3, 1, 3, 2, 4, 4],
        )[0]
        shown = not off and not skip
        skip = False
        reply: Any = None
        if what == "set":
            argv, reply, data[database, key] = [b"SET", key, text], b"OK", text
        elif what == "get":
            argv, reply = [b"get", key], data.get((database, key))
        elif what == "incr":
            data[database, key] = b"%d" % (int(data.get((database, key), b"0")) + 1)
            argv, reply = [b"INCR", key], int(data[database, key])
        elif what == "ping":
            argv, reply = [b"PING"], b"PONG"
        elif what == "echo":
            argv, reply = [b"ECHO", text], text
        elif what == "select":
            database = chance.randrange(3)
            argv, reply = [b"SELECT", b"%d" % database], b"OK"
        elif what == "hello":
            resp3 = chance.random() < 0.5
            argv, reply = [b"HELLO", b"3" if resp3 else b"2"], ...
        elif what == "off":
            argv, off = [b"CLIENT", b"REPLY", b"OFF"], True
            shown = False
        elif what == "on":
            argv, reply, off = [b"CLIENT", b"REPLY", b"ON"], b"OK", False
            shown = True
        elif what == "skip":
            argv, skip = [b"CLIENT", b"REPLY", b"SKIP"], not off
            shown = False
        elif what == "bad":
            argv, reply = [b"GET"], "ERR wrong number of arguments for 'get' command"
        else:
            argv = [b"CONFIG", b"GET", b"databases"]
            reply = {b"databases": b"16"} if resp3 else [b"databases", b"16"]
        commands.append(argv)
        if shown:
            expected.append(reply)
    return [*commands, [b"CLIENT", b"REPLY", b"ON"], [b"ECHO", b"end"]], [*expected, b"OK", b"end"]


def test_replies_never_cross(follower: Member) -> None:
    """Fifty clients with pipelines of unlike depth on one member that forwards: each gets its own, in order."""
    wrong: list[object] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        with follower.client(timeout_s=60) as client:
            for turn in range(8):
                expected: list[object] = []
                data = b""
                for step in range(chance.randrange(1, 40)):
                    text = b"%d/%d/%d" % (number, turn, step)
                    data += encode_command([b"SET", b"own:%d" % number, text]) * (step % 3 == 0)
                    expected += [b"OK"] * (step % 3 == 0)
                    data += encode_command([b"ECHO", text])
                    expected.append(text)
                data += encode_command([b"GET", b"own:%d" % number])
                expected.append(b"%d/%d/%d" % (number, turn, (step // 3) * 3))
                client.sock.sendall(data)
                got = [client.receive() for _ in expected]
                if got != expected:
                    wrong.append((got, expected))
                if client("GET", f"own:{number}") != expected[-1]:
                    wrong.append(expected[-1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("size", [1 << 20, 30 << 20])
def test_big_values(member: Member, bystander: Client, size: int) -> None:
    value = random.Random(size).randbytes(size)
    with member.client(timeout_s=60) as client:
        assert client("SET", "big", value) == b"OK"
        assert client("STRLEN", "big") == size
        assert client("GET", "big") == value
        assert client("GETRANGE", "big", -3, -1) == value[-3:]
        assert client("DEL", "big") == 1


# ---- settings that change how clients are served


def test_a_password(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--client-requirepass", "s3cret") as cluster:
        [member] = cluster
        wait_until("it listens", lambda: _can_connect(member))
        with member.client() as client:
            for argv in (["GET", "a"], ["PING"], ["RAFT.STATUS"]):
                with pytest.raises(ReplyError, match="NOAUTH Authentication required"):
                    client(*argv)
            with pytest.raises(ReplyError, match="WRONGPASS invalid username-password pair or user is disabled"):
                client("AUTH", "wrong")
            assert client("AUTH", "s3cret") == b"OK"
            assert client("SET", "a", "1") == b"OK"
        with member.client() as client:
            assert client("HELLO", 3, "AUTH", "default", "s3cret")[b"proto"] == 3
            assert client("GET", "a") == b"1"
        for data, text in (
            (b"*11\r\n", b"unauthenticated multibulk length"),
            (b"*1\r\n$16385\r\n", b"unauthenticated bulk length"),
        ):
            with member.client() as client:
                client.sock.sendall(data)
                assert receive_to_end(client.sock) == b"-ERR Protocol error: " + text + b"\r\n"
        assert "s3cret" not in member.log_text()


def _can_connect(member: Member) -> bool:
    with contextlib.suppress(OSError):
        member.client().sock.close()
        return True
    return False


def test_redirects_and_dirty_reads(tmp_path: Path) -> None:
    """routing = redirect: MOVED with the slot of Redis Cluster and the leader's client address."""
    with Cluster(tmp_path, 3, "--client-routing", "redirect", "--client-dirty-reads", "no") as cluster:
        leader = cluster.wait_leader()
        cluster.wait_equal()
        follower = next(member for member in cluster if member is not leader)
        with leader.client() as client:
            assert client("SET", "foo", "1") == b"OK"
        with follower.client() as client:
            for argv, slot in (
                (["GET", "foo"], 12182),
                (["SET", "123456789", "x"], 12739),
                (["SET", "{foo}.other", "x"], 12182),
                (["MGET", "{foo}1", "a"], 12182),
                (["DBSIZE"], 0),
            ):
                with pytest.raises(ReplyError) as caught:
                    client(*argv)
                assert str(caught.value) == f"MOVED {slot} 127.0.0.1:{leader.port}"
            client.sock.sendall(encode_command([b"GET", b"foo"]) * 3 + encode_command([b"PING"]))
            for _ in range(3):
                with pytest.raises(ReplyError, match="MOVED 12182"):
                    client.receive()
            assert client.receive() == b"PONG"
            with pytest.raises(ReplyError, match="ERR Dirty reads are disabled on this member"):
                client("DIRTYGET", "foo")


def test_dirty_reads_are_answered_locally(cluster: Cluster, leader: Member, follower: Member) -> None:
    with leader.client() as client:
        assert client("SET", "dirty", "1") == b"OK"
    cluster.wait_equal()
    others = [member for member in cluster if member is not follower]
    with follower.client() as client:
        for member in others:
            member.pause()
        try:
            # Nobody else is there to be asked.
            client.sock.sendall(encode_command([b"DIRTYGET", b"dirty"]) * 3000)
            assert [client.receive() for _ in range(3000)] == [b"1"] * 3000
        finally:
            for member in others:
                member.resume()
    cluster.wait_leader()
