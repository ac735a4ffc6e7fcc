"""Peer frames. The invariant, for any bytes at all: nothing but ProtocolError is ever raised, every call returns,
no more is held than was fed, messages before a fault are delivered before it is raised, and the way the bytes
are chopped does not matter.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.errors import ProtocolError
from raftkv.raft import messages as raft
from raftkv.wire import peer
from raftkv.wire.peer import FrameParser, PeerMessage, encode_frame, frame_header
from tests.wire.conftest import steady

KIB = 1024
MESSAGES: list[PeerMessage] = [
    raft.VoteRequest(5, 10, 4, pre=True),
    raft.VoteReply(5, granted=True, pre=False),
    raft.Append(5, 10, 4, 9, [raft.Entry(11, 5, 1, b"batch"), raft.Entry(12, 5, 0, b"")]),
    raft.Append(5, 10, 4, 9, []),
    raft.AppendReply(5, True, 10, 12, 0, 0),
    raft.Heartbeat(5, 12, 1000),
    raft.HeartbeatReply(5, 1000),
    raft.SnapshotChunk(5, 9, 4, 3000, 1000, b"\0slice\xff"),
    raft.SnapshotReply(5, 9, 2000, installed=False),
    raft.TimeoutNow(5),
    peer.Hello(1, "c0ffee", 2, 2**64 - 1, "10.0.0.2:7001", "10.0.0.2:6379", {1: "10.0.0.1:7001", 2: "10.0.0.2:7001"}),
    peer.HelloReply(False, "wrong cluster: ä", 1, 7, "10.0.0.1:6379"),
    peer.Forward(1, 0, True, [[b"SET", b"k", b"\xff\0"], [b"GET", b"k"]], {1: 3}),
    peer.ForwardReply(1, [b"+OK\r\n", b"$-1\r\n"]),
    peer.ForwardRefused(1, 3),
    peer.ForwardRefused(2, None),
    peer.ForwardUnknown(1, "leadership was lost"),
    peer.StateDigest(5, 9, b"\xff" * 32),
]  # fmt: skip

Outcome = tuple[list[PeerMessage], str | None]


def frame(payload: bytes) -> bytes:
    return frame_header(len(payload), zlib.crc32(payload)) + payload


def run(feeds: Iterable[bytes], frame_bytes_max: int = 64 * KIB) -> Outcome:
    parser = FrameParser(frame_bytes_max)
    messages: list[PeerMessage] = []
    fed_bytes = 0
    for piece in feeds:
        fed_bytes += len(piece)
        try:
            messages += parser.feed(piece)
            if parser.failed:
                parser.feed(b"")
        except ProtocolError as error:
            return messages, str(error)
        assert parser.buffered_bytes <= min(fed_bytes, frame_bytes_max + 8)
    return messages, None


def chop(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def all_ways(data: bytes) -> Outcome:
    outcome = run([data])
    for size in (1, 5, 8, 9, 1000):
        assert run(chop(data, size)) == outcome
    return outcome


@pytest.mark.parametrize("message", MESSAGES)
def test_round_trip(message: PeerMessage) -> None:
    data = encode_frame(message)
    assert all_ways(data) == ([message], None)
    assert all_ways(data * 3) == ([message] * 3, None)
    assert all_ways(data + b"\x05") == ([message], None)


def test_every_kind_of_message_is_in_the_union_and_tested() -> None:
    union = set(PeerMessage.__args__)
    assert {type(message) for message in MESSAGES} == union
    assert {kind.__struct_config__.tag for kind in union} == peer._TAGS


def test_the_bytes_on_the_wire_do_not_change_by_accident() -> None:
    assert encode_frame(raft.HeartbeatReply(1, 2)) == bytes.fromhex("04000000fbffffff89bd297d93060102")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame_header(64 * KIB + 1, 0), "frame of 65537 bytes, allowed are 65536"),
        (struct.pack("<III", 4, 4, 0), "frame header is damaged: 4 bytes, or 4294967291"),
        (frame_header(4, 0) + b"\x93\x06\x01\x02", "frame of 4 bytes: checksum is 7d29bd89, header says 0"),
        (frame(b"\x92\x63\x01"), "unknown message tag 99: the peer speaks a newer version"),
        (frame(b""), "frame of 0 bytes is not decodable: Input data was truncated"),
        (frame(b"\xc0"), "frame of 1 bytes is not decodable: Expected `array`, got `None`"),
        (frame(b"\x93\x06\x01\xa1x"), "frame of 5 bytes is not decodable: Expected `int`, got `str` - at `$[2]`"),
        (frame(b"\x92\x06\x01"), "frame of 3 bytes is not decodable: Expected `array` of at least length 3, got 2"),
        (frame(b"\x93\x15\x01\xa1\xff"), "frame of 5 bytes is not decodable: 'utf-8' codec can't decode byte 0xff"),
        (frame(b"\x9f\x15\x01\xa1x" + b"\x91" * 5000), "frame of 5005 bytes is not decodable: maximum recursion depth"),
        (frame(b"\x93\x06\x01\x02\x00"), "frame of 5 bytes is not decodable: MessagePack data is malformed"),
    ],
)  # fmt: skip
def test_a_wrong_stream_is_refused_for_good(data: bytes, reason: str) -> None:
    good = encode_frame(raft.HeartbeatReply(1, 2))
    for before in (0, 1, 3):
        messages, error = all_ways(good * before + data + good)
        assert messages == [raft.HeartbeatReply(1, 2)] * before
        assert error is not None
        assert error.startswith(reason)
    parser = FrameParser(64 * KIB)
    for piece in (data, good, b""):
        with pytest.raises(ProtocolError):
            parser.feed(piece)
        assert parser.failed
        assert parser.buffered_bytes == 0


def test_one_flipped_bit_is_always_seen() -> None:
    data = encode_frame(raft.Heartbeat(5, 12, 1000))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError, match=r"checksum|header is damaged"):
            FrameParser().feed(bytes(damaged))


def test_a_large_frame_in_pieces_is_held_once() -> None:
    message = raft.Append(1, 0, 0, 0, [raft.Entry(1, 1, 1, b"x" * 4_000_000)])
    data = encode_frame(message)
    pieces = chop(data, 64 * KIB)
    parser = FrameParser()
    tracemalloc.start()
    for piece in pieces[:-1]:
        assert parser.feed(piece) == []
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2 * len(data)
    assert parser.feed(pieces[-1] + data[:10]) == [message]
    assert parser.buffered_bytes == 10


def test_a_promise_reserves_no_memory() -> None:
    declared = frame_header(60_000_000, 0) + b"x"
    huge_list = frame(b"\x93\x13\x01\xdd\xff\xff\xff\xff")
    tracemalloc.start()
    FrameParser().feed(declared)
    with pytest.raises(ProtocolError):
        FrameParser().feed(huge_list)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * KIB


def test_bytes_are_bytes_and_do_not_keep_the_receive_buffer_alive() -> None:
    parser = FrameParser()
    small, large = peer.ForwardReply(1, [b"v" * 50]), encode_frame(peer.ForwardReply(2, [b"x" * 50_000]))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = []
    for _ in range(100):
        message = parser.feed(encode_frame(small) + large)[0]
        assert isinstance(message, peer.ForwardReply)
        assert type(message.replies[0]) is bytes
        kept.append(message.replies[0])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200 * KIB


u64 = st.integers(0, 2**64 - 1)
argvs = st.lists(st.lists(st.binary(max_size=20), max_size=4), max_size=4)
any_message = st.one_of(
    st.sampled_from(MESSAGES),
    st.builds(peer.Forward, u64, u64, st.booleans(), argvs, st.dictionaries(u64, u64, max_size=3)),
    st.builds(peer.ForwardReply, u64, st.lists(st.binary())),
    st.builds(peer.ForwardUnknown, u64, st.text()),
    st.builds(peer.StateDigest, u64, u64, st.binary(max_size=40)),
    st.builds(raft.Append, u64, u64, u64, u64, st.lists(st.builds(raft.Entry, u64, u64, u64, st.binary()))),
)


@steady
@given(st.lists(any_message), st.integers(1, 300))
def test_any_messages_in_any_pieces(messages: list[PeerMessage], size: int) -> None:
    data = b"".join(map(encode_frame, messages))
    assert run(chop(data, size)) == (messages, None)


payloads = st.one_of(
    st.binary(max_size=30),
    st.lists(st.binary(max_size=1) | st.sampled_from([b"\x93\x06", b"\xdd\xff\xff\xff\xff"])).map(b"".join),
    st.recursive(st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=5) | st.text(max_size=5), st.lists)
    .map(msgspec.msgpack.encode),
)  # fmt: skip


@steady
@given(st.lists(payloads.map(frame) | st.binary(max_size=12) | any_message.map(encode_frame)), st.integers(1, 50))
def test_any_bytes(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    assert run(chop(data, size)) == run([data])
