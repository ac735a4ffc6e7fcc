"""Links: the connections between members after their handshake, one for each pair, in the hub.

A link only carries frames. Slow or dead peers never delay anybody: what a socket does not take is kept up to
`queue_bytes_max`; above that Raft's messages are dropped, for Raft sends them again, and anything else closes the link,
so that a forwarded command is never silently lost. A frame that is not ours closes its link and nothing else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio

from raftkv.errors import ProtocolError
from raftkv.raft.messages import RaftMessage
from raftkv.server.connection import EVENTS, Connection
from raftkv.server.hub import Hub
from raftkv.wire.peer import FrameParser, PeerMessage, encode_frame

RECEIVE_BYTES = 256 * 1024
_RAFT_MESSAGES = RaftMessage.__args__


class Link(Connection):
    __slots__ = ("_links", "_outgoing", "_parser", "gone", "heard_ms", "instance", "peer_id")

    def __init__(self, links: Links, sock: socket.socket, peer_id: int, instance: int) -> None:
        super().__init__(links.hub, sock)
        self.peer_id = peer_id
        self.instance = instance
        self.heard_ms = links.read_clock()
        self.gone = trio.Event()
        self._links = links
        self._parser = FrameParser(links.frame_bytes_max)
        self._outgoing: list[bytes] = []

    def on_readable(self) -> None:
        while not self.closed:
            try:
                count = self.sock.recv_into(self._links.buffer)
            except BlockingIOError:
                return None
            except OSError as error:
                return self.close(f"receive failed: {error.strerror}")
            if not count:
                return self.close("closed by the other member")
            self.heard_ms = self._links.read_clock()
            try:
                on_message = self._links.on_message
                for message in self._parser.feed(bytes(self._links.view[:count])):
                    on_message(self.peer_id, message)
                if self._parser.failed:
                    self._parser.feed(b"")  # raises with the reason, which came behind the good messages
            except ProtocolError as error:
                return self.close(f"bad frame: {error}")
            if count < RECEIVE_BYTES and not self.ending:
                return None
        return None

    def queue(self, message: PeerMessage, frame: bytes) -> bool:
        """Keep a frame for `send_queued`. Returns whether it is the first since then."""
        if self.out_bytes > self._links.queue_bytes_max:
            if not isinstance(message, _RAFT_MESSAGES):
                self.close("too much is waiting to be sent")
            return False
        self._outgoing.append(frame)
        return len(self._outgoing) == 1

    def send_queued(self) -> None:
        frames, self._outgoing = self._outgoing, []
        self.send(frames[0] if len(frames) == 1 else b"".join(frames))

    def on_closed(self, reason: str) -> None:
        self.gone.set()
        self._links.on_gone(self, reason)


class Links:
    """All links of this member. `on_up`, `on_down`, `on_message` are the replica's; `read_clock` the driver's.

    `on_message` raises ProtocolError for what no member of this version sends; that closes the link."""

    def __init__(
        self,
        hub: Hub,
        *,
        read_clock: Callable[[], int],
        on_up: Callable[[int, int], None],
        on_down: Callable[[int], None],
        on_message: Callable[[int, PeerMessage], None],
        frame_bytes_max: int,
        queue_bytes_max: int,
        log: Any,
    ) -> None:
        self.hub = hub
        self.read_clock = read_clock
        self.on_message = on_message
        self.frame_bytes_max = frame_bytes_max
        self.queue_bytes_max = queue_bytes_max
        self.buffer = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.buffer)
        self.client_addresses: dict[int, str] = {}
        """Member id -> where its clients connect, as it said in its newest handshake."""
        self._on_up = on_up
        self._on_down = on_down
        self._log = log
        self._links: dict[int, Link] = {}

    def get(self, peer_id: int) -> Link | None:
        return self._links.get(peer_id)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def add(
        self, sock: socket.socket, peer_id: int, instance: int, client_address: str, machine_version: int = 1
    ) -> Link:
        """Take over a connection whose handshake is done. An older link to the same member is closed first."""
        old = self._links.get(peer_id)
        if old is not None:
            old.close("replaced by a newer connection")
        link = Link(self, sock, peer_id, instance)
        self._links[peer_id] = link
        self.client_addresses[peer_id] = client_address
        self.hub.add(link.fd, link, EVENTS)
        self._log.info("peer_connected", peer=peer_id)
        self._on_up(peer_id, machine_version)
        return link

    def on_gone(self, link: Link, reason: str) -> None:
        if self._links.get(link.peer_id) is link:
            del self._links[link.peer_id]
            self._log.warning("peer_disconnected", peer=link.peer_id, reason=reason)
            self._on_down(link.peer_id)

    def send_all(self, sends: Sequence[tuple[int, PeerMessage]]) -> None:
        """Send a turn's messages: each is encoded once, however many get it; one system call for each peer."""
        links = self._links
        encoded: PeerMessage | None = None
        frame = b""
        touched: list[Link] = []
        for peer_id, message in sends:
            link = links.get(peer_id)
            if link is None:
                continue
            if message is not encoded:
                encoded, frame = message, encode_frame(message)
            if link.queue(message, frame):
                touched.append(link)
        for link in touched:
            link.send_queued()

    def close(self) -> None:
        for link in list(self._links.values()):
            link.close("stopping")
