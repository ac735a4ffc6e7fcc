"""Finding the other members: dialling, accepting and the handshake, in plain structured trio.

Of each pair the member with the lower id dials. The other one does too when it has waited in vain: a member that was
away while others joined does not know yet whom to dial. The dialler says who it is (Hello), the other end checks that
it belongs to the same cluster, and answers (HelloReply). After that the socket leaves trio and becomes a link in the
hub. Whom to dial, and where, is what the newest membership in the log says; it may change at any time.

Refused, and logged once for each stranger and reason: another protocol version, another cluster, a member that was
removed, a second process with the id of a member that is connected, and a second link from the one that should be
dialled. An id that is not known here is let in: this
member may be the one that does not know the present members yet, and whose word counts is for the core to say.
"""

from __future__ import annotations

import random
import socket
from typing import Any

import msgspec
import trio

from raftkv.errors import ProtocolError, Removed
from raftkv.raft.membership import Membership
from raftkv.raft.node import Node
from raftkv.server.links import Links
from raftkv.settings import ID_MAX, Settings, split_address
from raftkv.wire.peer import (
    HEADER_BYTES,
    FrameParser,
    Hello,
    HelloReply,
    PeerMessage,
    encode_frame,
    payload_bytes_of,
)

PROTOCOL_VERSION = 3
HELLO_BYTES_MAX = 64 * 1024
KEEPALIVE_S = 6
"""A link whose other end does not even answer the kernel's probes for so long is closed."""


DIAL_ANYWAY_S = 1.0
"""So long a member waits for one with a lower id to dial."""

LOOK_S = 0.05
"""How often to look whether the members have changed."""


class Identity(msgspec.Struct, frozen=True):
    """Who this process is to the others. `members` are those that the cluster began with."""

    cluster_id: str
    member_id: int
    instance: int
    members: dict[int, str]
    peer_address: str
    client_address: str
    machine_version: int = 1
    cluster_name: str = ""
    """That the cluster's id was made from, if this member knows."""

    began_empty: bool = False
    """See Founding."""

    @property
    def founders(self) -> Membership:
        """Who voted when the log began, as far as this member may act by it."""
        members = dict(self.members)
        if self.began_empty:
            members.pop(self.member_id, None)
        return Membership.founding(members)

    def hello(self) -> Hello:
        return Hello(
            PROTOCOL_VERSION,
            self.cluster_id,
            self.member_id,
            self.instance,
            self.peer_address,
            self.client_address,
            self.members,
            self.machine_version,
        )


class Peers:
    def __init__(
        self, settings: Settings, identity: Identity, node: Node, links: Links, jitter: random.Random, log: Any
    ) -> None:
        self._settings = settings.peer
        self._identity = identity
        self._node = node
        self._dialled: dict[int, tuple[str, trio.CancelScope]] = {}
        self._links = links
        self._jitter = jitter
        self._log = log
        self._said: set[tuple[object, str]] = set()

    async def run(self, listeners: list[trio.SocketListener]) -> None:
        """Dial and accept until cancelled. Raises Removed when another member says so."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._accept, listeners)
            known = None
            while True:
                if self._node.membership is not known:
                    known = self._node.membership
                    self._follow(nursery, known.addresses)
                await trio.sleep(LOOK_S)

    def _follow(self, nursery: trio.Nursery, addresses: dict[int, str]) -> None:
        """Dial the members at these addresses, and no others."""
        for peer_id, (address, scope) in list(self._dialled.items()):
            if addresses.get(peer_id) != address:
                scope.cancel()
                del self._dialled[peer_id]
        for peer_id, address in addresses.items():
            if peer_id != self._identity.member_id and peer_id not in self._dialled:
                scope = trio.CancelScope()
                self._dialled[peer_id] = address, scope
                nursery.start_soon(self._stay_connected, peer_id, address, scope)

    # ---- dialling

    async def _stay_connected(self, peer_id: int, address: str, scope: trio.CancelScope) -> None:
        wait_ms = self._settings.reconnect_ms_min
        with scope:
            while True:
                known = self._links.get(peer_id)
                if known is not None:
                    await known.gone.wait()
                elif peer_id < self._identity.member_id:
                    await trio.sleep(DIAL_ANYWAY_S)
                if self._links.get(peer_id) is None:
                    wait_ms = await self._try_to_connect(peer_id, address, wait_ms)

    async def _try_to_connect(self, peer_id: int, address: str, wait_ms: int) -> int:
        """Dial once, and wait so long after a failure. Returns the next wait."""
        settings = self._settings
        try:
            with trio.fail_after(settings.handshake_timeout_ms / 1000):
                stream, reply = await self._dial(peer_id, address)
        except (OSError, ProtocolError, trio.TooSlowError, trio.BrokenResourceError) as error:
            self._say_once(peer_id, "peer_unreachable", str(error) or type(error).__name__, address=address)
            # Jitter, so that members started together do not knock at the same moments for ever.
            await trio.sleep(wait_ms * self._jitter.uniform(0.5, 1.0) / 1000)
            return min(wait_ms * 2, settings.reconnect_ms_max)
        self._forget(peer_id)
        if peer_id < self._identity.member_id and self._links.get(peer_id) is not None:
            # It has dialled meanwhile, and what is under way on that link must not be lost for a second one.
            await trio.aclose_forcefully(stream)
            return settings.reconnect_ms_min
        self._links.add(_take_socket(stream), peer_id, reply.instance, reply.client_address, reply.machine_version)
        return settings.reconnect_ms_min

    async def _dial(self, peer_id: int, address: str) -> tuple[trio.SocketStream, HelloReply]:
        host, port = split_address(address)
        stream = await trio.open_tcp_stream(host, port)
        try:
            await stream.send_all(encode_frame(self._identity.hello()))
            reply = await _receive_one(stream)
            if not isinstance(reply, HelloReply):
                raise ProtocolError("answered the handshake with something else")
            if reply.removed:
                raise Removed(self._identity.member_id, self._identity.cluster_id)
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
                    isinstance(hello, Hello) and reason is not None and self._was_removed(hello),
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
        if hello.cluster_id != identity.cluster_id:
            if hello.members != identity.members:
                # The cluster's id is made from the members: this says what to look at.
                return f"the member lists differ: {hello.members} there, {identity.members} here"
            return f"cluster {hello.cluster_id}, but this member belongs to {identity.cluster_id}"
        if not 1 <= hello.member_id <= ID_MAX:
            return f"member id {hello.member_id} is none: they are 1 to {ID_MAX}"
        if hello.member_id == identity.member_id:
            return f"member id {hello.member_id} is this member's own"
        if self._was_removed(hello):
            return f"member {hello.member_id} was removed from the cluster"
        link = self._links.get(hello.member_id)
        if link is not None and link.instance != hello.instance:
            # However long it has been silent: two followers have nothing to tell each other for hours, and a second
            # process let in here would vote once more in the first one's name. When the first is really gone, its
            # connection ends by itself: at once with the process, within KEEPALIVE_S with the machine.
            return f"another process is connected as member {hello.member_id}"
        if link is not None and hello.member_id > identity.member_id:
            return "connected already"
        return None

    def _was_removed(self, hello: Hello) -> bool:
        return hello.cluster_id == self._identity.cluster_id and hello.member_id in self._node.membership.removed

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
