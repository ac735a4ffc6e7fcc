"""The peer port under bad input: from strangers, from wrong members, and from one that was let in.

Each costs its sender the connection and nobody else anything: the cluster goes on serving in the same term, and the
log says once what it was.
"""

from __future__ import annotations

import contextlib
import random
import socket
import zlib
from collections.abc import Iterator
from typing import Any, Self

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raftkv.cluster.identity import cluster_id
from raftkv.errors import ProtocolError
from raftkv.machines.interface import Kind
from raftkv.server.peers import PROTOCOL_VERSION
from raftkv.wire.peer import (
    Forward,
    ForwardRefused,
    ForwardReply,
    FrameParser,
    Hello,
    HelloReply,
    PeerMessage,
    encode_frame,
    frame_header,
)
from tests.integration.cluster import Cluster, Member, wait_until

pytestmark = pytest.mark.processes

INSTANCE = 4711
HARMLESS = encode_frame(ForwardRefused(10**9, None))
"""A message that means nothing to who gets it."""


def frame(payload: bytes) -> bytes:
    return frame_header(len(payload), zlib.crc32(payload)) + payload


class Caller:
    """Somebody who connects to a member's peer port."""

    def __init__(self, member: Member) -> None:
        self.sock = socket.create_connection(("127.0.0.1", member.peer_port), timeout=15)
        self.parser = FrameParser()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        # Who is refused while sending has been refused all the same.
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def greet(self, hello: Hello) -> HelloReply:
        self.send(encode_frame(hello))
        while True:
            data = self.sock.recv(65536)
            assert data, "closed without a reply"
            for message in self.parser.feed(data):
                assert isinstance(message, HelloReply)
                return message

    def wait_closed(self) -> None:
        """Fails by time-out when the member keeps the connection."""
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(65536):
                pass


def hello(cluster: Cluster, member_id: int, **changes: Any) -> Hello:
    members = {member.id: f"127.0.0.1:{member.peer_port}" for member in cluster}
    sound = Hello(
        protocol=PROTOCOL_VERSION,
        cluster_id=cluster_id("raftkv", members),
        member_id=member_id,
        instance=INSTANCE,
        peer_address=members.get(member_id, "127.0.0.1:1"),
        client_address="127.0.0.1:1",
        members=members,
    )
    return msgspec.structs.replace(sound, **changes)


def logged(member: Member, *words: str) -> list[str]:
    return [line for line in member.log_text().splitlines() if all(word in line for word in words)]


@pytest.fixture
def undisturbed(cluster: Cluster) -> Iterator[None]:
    """Afterwards the same member leads in the same term, and answers; nobody has stopped."""
    leader = cluster.wait_leader([member for member in cluster if member.status() is not None])
    before = leader.status()
    with leader.client() as client:
        client("SET", "n", 0)
        yield
        assert client("INCR", "n") == 1
    after = leader.status()
    assert before is not None
    assert after is not None
    assert (after["role"], after["term"]) == ("leader", before["term"])


# ---- strangers


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "frame header is damaged: 542393671 bytes"),
        (b"*1\r\n$4\r\nPING\r\n", "frame header is damaged: 168636714 bytes"),
        (frame_header(2**32 - 1, 0), "frame of 4294967295 bytes"),
        (frame_header(65537, 0), "frame of 65537 bytes"),
        (frame_header(0, 0), "frame of 0 bytes is not decodable"),
        (frame_header(3, 1) + b"abc", "checksum is"),
        (frame(b"\x92\x63\x01"), "unknown message tag 99"),
        (frame(b"\xc1"), "frame of 1 bytes is not decodable"),
        (frame(b"\x93\x10\xa1x\x01"), "frame of 5 bytes is not decodable"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_handshake(cluster: Cluster, undisturbed: None, data: bytes, reason: str) -> None:
    for member in cluster:
        for _ in range(2):
            with Caller(member) as caller:
                caller.send(data)
                caller.wait_closed()
        assert len(logged(member, "peer_handshake_failed", reason)) == 1


def test_another_message_first(cluster: Cluster, undisturbed: None) -> None:
    for member in cluster:
        with Caller(member) as caller:
            caller.send(HARMLESS)
            caller.wait_closed()
        assert len(logged(member, "peer_refused", "the first message must be a handshake")) == 1


def test_a_handshake_cut_anywhere(cluster: Cluster, undisturbed: None) -> None:
    whole = encode_frame(hello(cluster, 1))
    for cut in range(0, len(whole), 7):
        with Caller(cluster.members[3]) as caller:
            caller.send(whole[:cut])
            caller.sock.shutdown(socket.SHUT_WR)
            caller.wait_closed()
    reason = "closed before the handshake was complete"
    assert len(logged(cluster.members[3], "peer_handshake_failed", reason)) == 1


def test_silence(cluster: Cluster, undisturbed: None) -> None:
    """Many who say nothing, or not enough, are all closed when the time for the handshake is over."""
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Caller(cluster.members[2])) for _ in range(40)]
        for caller in callers[::2]:
            caller.send(encode_frame(hello(cluster, 1))[:20])
        for caller in callers:
            caller.wait_closed()
    assert len(logged(cluster.members[2], "peer_handshake_failed", "TooSlowError")) == 1


def test_garbage(cluster: Cluster, undisturbed: None) -> None:
    chance = random.Random(3)
    for _ in range(50):
        with Caller(cluster.members[chance.randrange(1, 4)]) as caller:
            caller.send(chance.randbytes(chance.randrange(1, 3000)))
            with contextlib.suppress(OSError):
                caller.sock.shutdown(socket.SHUT_WR)
            caller.wait_closed()


# ---- wrong members


@pytest.mark.parametrize(
    ("caller_id", "changes", "reason"),
    [
        (1, {"protocol": 2}, "protocol version 2, but this member speaks 3"),
        (1, {"cluster_id": "0123456789abcdef"}, "cluster 0123456789abcdef, but this member belongs to"),
        (1, {"cluster_id": "0", "members": {1: "127.0.0.1:1", 2: "127.0.0.1:2"}}, "the member lists differ: {1: "),
        (1, {"cluster_id": "0", "members": {}}, "the member lists differ: {} there"),
        (0, {}, "member id 0 is none: they are 1 to 2147483647"),
        (-1, {}, "member id -1 is none"),
        (2**63 - 1, {}, "member id 9223372036854775807 is none"),
        (2, {}, "member id 2 is this member's own"),
        (3, {}, "another process is connected as member 3"),
        (1, {"instance": 1}, "another process is connected as member 1"),
    ],
)
def test_refusals(cluster: Cluster, undisturbed: None, caller_id: int, changes: dict[str, Any], reason: str) -> None:
    """The caller is told why, and closed; the log says it once."""
    asked = cluster.members[2]
    wait_until("all have met", lambda: logged(asked, "peer_connected", "peer=1"))
    links_lost = len(logged(asked, "peer_disconnected"))
    for _ in range(3):
        with Caller(asked) as caller:
            reply = caller.greet(hello(cluster, caller_id, **changes))
            assert not reply.ok
            assert reason in reply.reason
            caller.wait_closed()
    assert len(logged(asked, "peer_refused", reason)) == 1
    assert len(logged(asked, "peer_disconnected")) == links_lost


def test_a_second_process_is_refused_by_a_member_that_hears_nothing_of_the_first(cluster: Cluster) -> None:
    """Two followers have nothing to tell each other. Their link must not look dead, or a second process with the id of
    one would vote in its name."""
    leader = cluster.wait_leader()
    low, high = sorted((member for member in cluster if member is not leader), key=lambda member: member.id)
    with Caller(high) as caller:
        reply = caller.greet(hello(cluster, low.id))
        assert reply.reason == f"another process is connected as member {low.id}"


# ---- a member that went mad: 1 is down, and somebody who knows everything takes its place


@pytest.fixture(scope="module")
def without_first(cluster: Cluster) -> Iterator[Cluster]:
    cluster.members[1].kill()
    others = [cluster.members[2], cluster.members[3]]
    for other in others:
        wait_until("the others know", lambda m=other: logged(m, "peer_disconnected", "peer=1"))  # type: ignore[misc]
    cluster.wait_leader(others)
    yield cluster
    cluster.members[1].start()
    cluster.wait_equal()


def speak(cluster: Cluster, member: Member, data: bytes) -> None:
    """Be let in as member 1, say this, and wait to be thrown out."""
    with Caller(member) as caller:
        assert caller.greet(hello(cluster, 1)).ok
        caller.send(data)
        caller.wait_closed()


@pytest.fixture(params=["leader", "follower"])
def asked(request: pytest.FixtureRequest, without_first: Cluster) -> Member:
    others = [without_first.members[2], without_first.members[3]]
    leader = without_first.wait_leader(others)
    return leader if request.param == "leader" else next(member for member in others if member is not leader)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff" * 100, "frame header is damaged: 4294967295 bytes"),
        (frame_header(10, 12345) + b"0123456789", "header says 00003039"),
        (frame(b"\x92\x3f\x00"), "unknown message tag 63"),
        (frame(b"\x92\x03\xa3abc"), "not decodable"),
        (frame(b""), "not decodable"),
        (frame(b"\x91" * 5000), "not decodable"),
        (encode_frame(HelloReply(True, "", 1, INSTANCE, "")), "a second handshake"),
        (HARMLESS * 3 + frame_header(2**31, 0), "frame of 2147483648 bytes, allowed are 67108864"),
        (HARMLESS[:-1] + b"\x00", "checksum is"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_broken_frames_from_a_member(
    without_first: Cluster, asked: Member, undisturbed: None, data: bytes, reason: str
) -> None:
    before = len(logged(asked, "peer_disconnected", "peer=1", reason))
    speak(without_first, asked, data)
    wait_until("it is logged", lambda: len(logged(asked, "peer_disconnected", "peer=1", reason)) == before + 1)


def test_a_second_hello(without_first: Cluster, asked: Member, undisturbed: None) -> None:
    speak(without_first, asked, encode_frame(hello(without_first, 1)))
    assert logged(asked, "peer_disconnected", "peer=1", "a second handshake")


def test_a_frame_that_ends_in_the_middle(without_first: Cluster, asked: Member, undisturbed: None) -> None:
    """The end of the connection comes together with its last bytes, and must be seen all the same."""
    for cut in range(1, len(HARMLESS)):
        before = len(logged(asked, "peer_disconnected", "peer=1"))
        with Caller(asked) as caller:
            assert caller.greet(hello(without_first, 1)).ok
            caller.send(HARMLESS + HARMLESS[:cut])
            caller.sock.shutdown(socket.SHUT_WR)
            caller.wait_closed()
        wait_until("it is seen", lambda n=before: len(logged(asked, "peer_disconnected", "peer=1")) > n)  # type: ignore[misc]


def test_forwards_that_no_member_sends(without_first: Cluster, asked: Member, undisturbed: None) -> None:
    """Commands that a client could not have sent are answered or refused, and stop nobody, now or when applied."""
    nonsense: list[PeerMessage] = [
        Forward(1, 0, False, [[b"NOSUCH"], [b"GET"], [b""], [b"set", b"a"]], {}),
        Forward(2, 1, True, [[b"SET", b"a", b"1"]], {0: 99, 7: -1}),
        Forward(3, 0, False, [[]], {}),
        Forward(4, 0, False, [], {5: 5}),
        Forward(5, 0, False, [[b"PING"], [b"\xff\xfe"]], {0: -(2**63)}),
        ForwardReply(1, []),
        ForwardReply(2**62, [b"+OK\r\n"] * 3),
    ]
    with Caller(asked) as caller:
        assert caller.greet(hello(without_first, 1)).ok
        for message in nonsense:
            caller.send(encode_frame(message))
    for commands in (
        [],
        [[]],
        [[b"RAFT.NODE"]],
        [[b"RAFT.NODE", b"ADD", b"9"], [b"PING"]],
        [[b"RAFT.TRANSFER_LEADER", b"x"]],
    ):
        with Caller(asked) as caller:
            assert caller.greet(hello(without_first, 1)).ok
            caller.send(encode_frame(Forward(7, int(Kind.ADMIN), False, commands, {})))
    for kind in (2, 3, 77, -1):
        with Caller(asked) as caller:
            assert caller.greet(hello(without_first, 1)).ok
            caller.send(encode_frame(Forward(6, kind, False, [[b"PING"]], {})))
    with asked.client() as client:
        assert client("SET", "still", "there") == b"OK"


def _is_wrong(data: bytes) -> bool:
    parser = FrameParser()
    try:
        parser.feed(data)
    except ProtocolError:
        return True
    return parser.failed


_SOUND = [HARMLESS, encode_frame(Forward(1, 1, False, [[b"GET", b"a"]], {}))]


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SOUND)))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
    return bytes(data)


@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@example(frame(b"\xdd\xff\xff\xff\xff"))
@example(frame(b"\x96\x03" + b"\xcf" + b"\xff" * 8))
@given(st.one_of(st.binary(max_size=200).map(frame), _damaged(), st.binary(min_size=8, max_size=300)))
def _fuzz(cluster: Cluster, member: Member, data: bytes) -> None:
    if _is_wrong(data):
        speak(cluster, member, data)
        assert member.process is not None
        assert member.process.poll() is None


def test_fuzz(without_first: Cluster, asked: Member, undisturbed: None) -> None:
    _fuzz(without_first, asked)
