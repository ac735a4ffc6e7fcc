"""What members send each other, as frames on a byte stream.

    +----------------+----------------+----------------+------------------------------------------+
    | payload bytes  | the same, all  | CRC-32 of      | payload: MessagePack of one message, an  |
    | u32, little    | bits turned    | payload, u32   | array of the message's tag and fields    |
    +----------------+----------------+----------------+------------------------------------------+

Tags 1-9 are the consensus messages of `raft/messages.py`; from 16 on, those that are defined here: greeting,
and client commands forwarded to the leader.

The checksum is not against attackers: TCP's own 16 bits let about one damaged segment in 65 thousand pass,
and a damaged entry would be replicated for ever. The length is told twice because the checksum comes too late
for it: a damaged one would have the parser wait for megabytes that never come, and swallow all that does. A
stream that was wrong once has no known frame borders any more, so the parser then refuses everything until the
connection is made anew.

Whole frames are decoded where they lie in the received bytes. Only what a feed leaves incomplete is copied,
once, into a buffer that grows with what has really arrived (never to what a header promises).
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from raftkv.errors import ProtocolError
from raftkv.raft.messages import RaftMessage
from raftkv.wire.limits import FRAME_BYTES_MAX

_HEADER: Final = struct.Struct("<III")
HEADER_BYTES: Final = _HEADER.size
_ALL_BITS: Final = 0xFFFFFFFF


class Hello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=16):
    """First message of who opened the connection.

    protocol: version of this file's language; both ends must speak the same.
    instance: random number of the process, so that a restarted member is told from a repeated connection.
    members: id -> peer address, as the sender believes; members that disagree must not work together.
    machine_version: `StateMachine.version` of the sender's machine.
    """

    protocol: int
    cluster_id: str
    member_id: int
    instance: int
    peer_address: str
    client_address: str
    members: dict[int, str]
    machine_version: int = 1


class HelloReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=17):
    """Answer to `Hello`. Not `ok`: the connection is closed, `reason` says why in a sentence for a person."""

    ok: bool
    reason: str
    member_id: int
    instance: int
    client_address: str
    machine_version: int = 1
    removed: bool = False
    """With not `ok`: the caller was a member once, and was removed for ever."""


class Forward(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=18):
    """Commands of clients of a follower, for the leader to carry out.

    request_id: the sender's number, unique on this connection; the answer repeats it.
    kind: `machines.interface.Kind` of all of them.
    resp3: whether replies are to be encoded for RESP3.
    commands: none of kind READ: the one reply is to be the read index, in decimal digits.
    scopes, system: as in `machines.interface.Batch`.
    """

    request_id: int
    kind: int
    resp3: bool
    commands: list[list[bytes]]
    scopes: dict[int, int]
    system: bool = False


class ForwardReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=19):
    """Carried out: one encoded RESP reply for each command, in order. `more`: further replies follow in another
    message, since together they would not fit into a frame. `unfinished`: this is a piece of one reply, and the next
    message has the next piece of it."""

    request_id: int
    replies: list[bytes]
    more: bool = False
    unfinished: bool = False


class ForwardRefused(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=20):
    """Certainly not carried out, now or later. `leader_id`: whom to ask instead, if known."""

    request_id: int
    leader_id: int | None


class ForwardUnknown(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=21):
    """May have been carried out, or may still be."""

    request_id: int
    reason: str


class StateDigest(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=22):
    """The hash of the sender's state at entry (`term`, `index`), a mark of RAFT.VERIFY; b"": it could make none."""

    term: int
    index: int
    digest: bytes


PeerMessage = RaftMessage | Hello | HelloReply | Forward | ForwardReply | ForwardRefused | ForwardUnknown | StateDigest

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[PeerMessage]] = msgspec.msgpack.Decoder(PeerMessage)
_TAGS: Final = frozenset({*range(1, 10), 16, 17, 18, 19, 20, 21, 22})


def frame_header(payload_bytes: int, checksum: int) -> bytes:
    return _HEADER.pack(payload_bytes, payload_bytes ^ _ALL_BITS, checksum)


def payload_bytes_of(header: bytes) -> int:
    """Length of the payload behind a header of `HEADER_BYTES` bytes that a `FrameParser` has accepted."""
    return int(_HEADER.unpack(header)[0])


def encode_frame(message: PeerMessage) -> bytes:
    """One frame. Raises struct.error above 4 GiB; the sender keeps far below by its own limits."""
    payload = _encoder.encode(message)
    return frame_header(len(payload), zlib.crc32(payload)) + payload


class FrameParser:
    """Parses what one peer sends. `frame_bytes_max` bounds the payload of one frame, and so the memory held."""

    __slots__ = ("_error", "_frame_bytes_max", "_held", "_wanted_bytes")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._held = bytearray()  # the start of a frame that is not complete
        self._wanted_bytes = HEADER_BYTES  # length of _held with which to look again
        self._error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the next `feed` will raise, whatever it is fed."""
        return self._error is not None

    @property
    def buffered_bytes(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[PeerMessage]:
        """The messages completed by `data`, oldest first.

        Raises ProtocolError with the reason when the stream is wrong, then and on every later call. Messages
        before the fault in the same data are returned first: then `failed` is set, and the next call raises.
        """
        messages: list[PeerMessage] = []
        if self._error is None:
            try:
                self._take(memoryview(data), messages)
            except ProtocolError as error:
                self._error = str(error)
                self._held = bytearray()
        if self._error is not None and not messages:
            raise ProtocolError(self._error)
        return messages

    def _take(self, data: memoryview, messages: list[PeerMessage]) -> None:
        position = 0
        while self._held and position < len(data):
            position = self._top_up(data, position, messages)
        while len(data) - position >= HEADER_BYTES:
            end = position + self._frame_bytes(data, position)
            if end > len(data):
                self._wanted_bytes = end - position
                break
            messages.append(_decode(data[position:end]))
            position = end
        self._held += data[position:]

    def _top_up(self, data: memoryview, position: int, messages: list[PeerMessage]) -> int:
        """Add to the held frame what belongs to it, and decode it when it is whole."""
        end = min(len(data), position + self._wanted_bytes - len(self._held))
        self._held += data[position:end]
        if len(self._held) < self._wanted_bytes:
            return end
        if self._wanted_bytes == HEADER_BYTES:
            self._wanted_bytes = self._frame_bytes(self._held, 0)
        if len(self._held) == self._wanted_bytes:
            frame, self._held = self._held, bytearray()
            self._wanted_bytes = HEADER_BYTES
            messages.append(_decode(memoryview(frame)))
        return end

    def _frame_bytes(self, data: memoryview | bytearray, position: int) -> int:
        """Length of the frame at `position`, its header included."""
        payload_bytes, turned, _ = _HEADER.unpack_from(data, position)
        if payload_bytes ^ _ALL_BITS != turned:
            raise ProtocolError(f"frame header is damaged: {payload_bytes} bytes, or {turned ^ _ALL_BITS}")
        if payload_bytes > self._frame_bytes_max:
            raise ProtocolError(f"frame of {payload_bytes} bytes, allowed are {self._frame_bytes_max}")
        return HEADER_BYTES + int(payload_bytes)


def _decode(frame: memoryview) -> PeerMessage:
    payload = frame[HEADER_BYTES:]
    expected: int = _HEADER.unpack_from(frame)[2]
    actual = zlib.crc32(payload)
    if actual != expected:
        raise ProtocolError(f"frame of {len(payload)} bytes: checksum is {actual:08x}, header says {expected:08x}")
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(_why_not_decodable(payload, error)) from error


def _why_not_decodable(payload: memoryview, error: Exception) -> str:
    # An array of up to 15 items begins with 0x90 + their number; small numbers stand for themselves.
    is_short_array = len(payload) > 1 and 0x90 < payload[0] < 0xA0
    if is_short_array and payload[1] < 0x80 and payload[1] not in _TAGS:
        return f"unknown message tag {payload[1]}: the peer speaks a newer version"
    return f"frame of {len(payload)} bytes is not decodable: {error}"
