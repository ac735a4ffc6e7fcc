"""Finding the other members: dialling, accepting and the handshake, in plain structured trio.

Of each pair the member with the lower id dials. The dialler says who it is (Hello), the other end checks that it is a
member of the same cluster, and answers (HelloReply). After that the socket leaves trio and becomes a link in the hub.

Refused, and logged once for each stranger and reason: another protocol version, another cluster, an id that is not a
member's, an id that should have been dialled instead, and a second process with the id of a member that is
connected.
"""

from __future__ import annotations

import random
import socket
from typing import Any

import msgspec
import trio

from raftkv.errors import ProtocolError
from raftkv.server.links import Links
from raftkv.settings import Settings, split_address
from raftkv.wire.peer import (
    HEADER_BYTES,
    FrameParser,
    Hello,
    HelloReply,
    PeerMessage,
    encode_frame,
    payload_bytes_of,
)

PROTOCOL_VERSION = 2
HELLO_BYTES_MAX = 64 * 1024
KEEPALIVE_S = 6
"""A link whose other end does not even answer the kernel's probes for so long is closed."""


class Identity(msgspec.Struct, frozen=True):
    """Who this process is to the others."""

    cluster_id: str
    member_id: int
    instance: int
    members: dict[int, str]
    client_address: str
    machine_version: int = 1

    def hello(self) -> Hello:
        return Hello(
            PROTOCOL_VERSION,
            self.cluster_id,
            self.member_id,
            self.instance,
            self.members[self.member_id],
            self.client_address,
            self.members,
            self.machine_version,
        )


class Peers:
    def __init__(self, settings: Settings, identity: Identity, links: Links, jitter: random.Random, log: Any) -> None:
        self._settings = settings.peer
        self._identity = identity
        self._links = links
        self._jitter = jitter
        self._log = log
        self._said: set[tuple[object, str]] = set()

    async def run(self, listeners: list[trio.SocketListener]) -> None:
        """Dial and accept until cancelled."""
        async with trio.open_nursery() as nursery:
            for peer_id, address in self._identity.members.items():
                if peer_id > self._identity.member_id:
                    nursery.start_soon(self._dial_for_ever, peer_id, address)
            nursery.start_soon(trio.serve_listeners, self._accept, listeners)

    # ---- dialling

    async def _dial_for_ever(self, peer_id: int, address: str) -> None:
        settings = self._settings
        wait_ms = settings.reconnect_ms_min
        while True:
            try:
                with trio.fail_after(settings.handshake_timeout_ms / 1000):
                    stream, reply = await self._dial(peer_id, address)
            except (OSError, ProtocolError, trio.TooSlowError, trio.BrokenResourceError) as error:
                self._say_once(peer_id, "peer_unreachable", str(error) or type(error).__name__, address=address)
                # Jitter, so that members started together do not knock at the same moments for ever.
                await trio.sleep(wait_ms * self._jitter.uniform(0.5, 1.0) / 1000)
                wait_ms = min(wait_ms * 2, settings.reconnect_ms_max)
                continue
            wait_ms = settings.reconnect_ms_min
            self._forget(peer_id)
            link = self._links.add(
                _take_socket(stream), peer_id, reply.instance, reply.client_address, reply.machine_version
            )
            await link.gone.wait()

    async def _dial(self, peer_id: int, address: str) -> tuple[trio.SocketStream, HelloReply]:
        host, port = split_address(address)
        stream = await trio.open_tcp_stream(host, port)
        try:
            await stream.send_all(encode_frame(self._identity.hello()))
            reply = await _receive_one(stream)
            if not isinstance(reply, HelloReply):
                raise ProtocolError("answered the handshake with something else")
            if not reply.ok:
                raise ProtocolError(f"refused: {reply.reason}")
            if reply.member_id != peer_id:
                raise ProtocolError(f"member {reply.member_id} answers at the address of member {peer_id}")
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            raise
        return stream, reply

    # ---- accepting

    async def _accept(self, stream: trio.SocketStream) -> None:
        """Handshake with whoever called. Runs for each connection; nothing in here may harm another."""
        try:
            with trio.fail_after(self._settings.handshake_timeout_ms / 1000):
                hello = await _receive_one(stream)
                reason = self._refusal(hello)
                if reason is not None:
                    caller = hello.member_id if isinstance(hello, Hello) else "stranger"
                    self._say_once(caller, "peer_refused", reason)
                identity = self._identity
                reply = HelloReply(
                    reason is None,
                    reason or "",
                    identity.member_id,
                    identity.instance,
                    identity.client_address,
                    identity.machine_version,
                )
                await stream.send_all(encode_frame(reply))
        except (OSError, ProtocolError, trio.TooSlowError, trio.BrokenResourceError) as error:
            self._say_once("stranger", "peer_handshake_failed", str(error) or type(error).__name__)
            return
        if reason is None and isinstance(hello, Hello):
            self._forget(hello.member_id)
            self._links.add(
                _take_socket(stream), hello.member_id, hello.instance, hello.client_address, hello.machine_version
            )

    def _refusal(self, hello: PeerMessage) -> str | None:
        """Why this caller is not let in; None: it is."""
        identity = self._identity
        if not isinstance(hello, Hello):
            return "the first message must be a handshake"
        if hello.protocol != PROTOCOL_VERSION:
            return f"protocol version {hello.protocol}, but this member speaks {PROTOCOL_VERSION}"
        if hello.members != identity.members:
            # Before the cluster id, which is made from the members: this says what to look at.
            return f"the member lists differ: {hello.members} there, {identity.members} here"
        if hello.cluster_id != identity.cluster_id:
            return f"cluster {hello.cluster_id}, but this member belongs to {identity.cluster_id}"
        if hello.member_id == identity.member_id:
            return f"member id {hello.member_id} is this member's own"
        if hello.member_id not in identity.members:
            return f"{hello.member_id} is not a member"
        if hello.member_id > identity.member_id:
            return "the member with the lower id dials"
        link = self._links.get(hello.member_id)
        if link is not None and link.instance != hello.instance:
            # However long it has been silent: two followers have nothing to tell each other for hours, and a second
            # process let in here would vote once more in the first one's name. When the first is really gone, its
            # connection ends by itself: at once with the process, within KEEPALIVE_S with the machine.
            return f"another process is connected as member {hello.member_id}"
        return None

    # ---- what is logged

    def _say_once(self, who: object, event: str, reason: str, **more: object) -> None:
        if (who, reason) not in self._said and len(self._said) < 1000:
            self._said.add((who, reason))
            self._log.warning(event, peer=who, reason=reason, **more)

    def _forget(self, peer_id: int) -> None:
        """It is well again: what goes wrong next is news."""
        self._said = {said for said in self._said if said[0] != peer_id}


async def _receive_one(stream: trio.SocketStream) -> PeerMessage:
    """Exactly one frame, and not a byte of what follows it, which belongs to the link."""
    parser = FrameParser(HELLO_BYTES_MAX)
    header = await _receive_exactly(stream, HEADER_BYTES)
    parser.feed(header)  # refuses a length above the limit
    [message] = parser.feed(await _receive_exactly(stream, payload_bytes_of(header)))
    return message


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            raise ProtocolError("closed before the handshake was complete")
        data += piece
    return data


def _take_socket(stream: trio.SocketStream) -> socket.socket:
    """The plain non-blocking socket, out of trio's hands."""
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A member whose machine lost power never says goodbye.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S - 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, KEEPALIVE_S * 1000)
    return sock
