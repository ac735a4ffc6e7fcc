"""A non-blocking socket in the hub: sends without waiting, keeps what the other end does not take yet, within bounds.

Registered edge-triggered, once, for everything: the kernel tells of each change (something came, there is room
again), and no system call is spent on changing one's mind. The price is that whoever leaves bytes unread has to
remember that they are there (see `session.py`).
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftkv.server.hub import Hub

EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_ARRIVED, _ENDING = select.EPOLLIN, select.EPOLLRDHUP
ROOM = select.EPOLLOUT
"""What the kernel says, alone, of one that takes more now."""

DATA = _ARRIVED | ROOM
"""What the kernel says of a healthy connection when bytes have come."""

_BROKEN = select.EPOLLERR | select.EPOLLHUP


class Connection:
    """Subclasses say what arriving bytes mean (`on_readable`) and what follows a close (`on_closed`)."""

    __slots__ = (
        "_due",
        "_out",
        "_soon",
        "close_when_sent",
        "closed",
        "ending",
        "fd",
        "hub",
        "out_bytes",
        "send_some",
        "sock",
    )

    def __init__(self, hub: Hub, sock: socket.socket) -> None:
        self.hub = hub
        self.sock = sock
        self.fd = sock.fileno()
        self.closed = False
        self.ending = False
        """The other end sends no more. The kernel says so once, perhaps together with the last bytes: whoever reads
        must then read on until there is nothing, or would never see the end."""

        self.close_when_sent = False
        self.out_bytes = 0
        self._out: deque[memoryview] = deque()
        self._soon = b""
        self._due = False
        self.send_some = sock.send
        """The socket's own. Returns how many bytes it took; raises OSError."""

    def on_event(self, events: int) -> None:
        if events == DATA and not self._out:  # nearly always
            self.on_readable()
            return
        if self._out and events & ROOM:
            self.flush()
        if events & _ENDING:
            self.ending = True
        if not self.closed and events & _ARRIVED:
            self.on_readable()
        if not self.closed and events & _BROKEN:
            self.close("connection reset")

    def on_readable(self) -> None:
        raise AssertionError("a connection that is not read from")

    def on_closed(self, reason: str) -> None:
        """Called once, after the socket is closed."""

    @property
    def has_kept(self) -> bool:
        """Whether the socket did not take all that was sent."""
        return bool(self._out)

    @property
    def has_unsent(self) -> bool:
        """Whether the other end has not been given everything yet."""
        return bool(self._soon or self._out)

    @property
    def has_more(self) -> bool:
        """Whether there is more to come of what is being sent."""
        return False

    def send_soon(self, data: bytes) -> None:
        """Send at the end of the hub's pass, behind what was said so before.

        Replies leave together: a client that waits on another processor is woken by the first, and finds the next ones
        there. Sent one by one between other work, each would wake it once more, which costs several times the reply.
        """
        if not self._due:
            self._due = True
            self.hub.send_at_end(self)
        self._soon += data

    def send_what_is_due(self) -> None:
        """The end of the pass has come."""
        data, self._soon = self._soon, b""
        self._due = False
        self.send(data)

    def on_kept(self) -> None:
        """Called when the socket did not take all: `out_bytes` are kept by now."""

    def on_drained(self) -> None:
        """Called when the socket has taken what was kept."""

    def send(self, data: bytes) -> None:
        """Send now what the socket takes, keep the rest. `out_bytes` tells how much is kept."""
        if self.closed:
            return
        sent = 0
        if not self._out:
            try:
                sent = self.send_some(data)
            except BlockingIOError:
                pass
            except OSError as error:
                self.close(f"send failed: {error.strerror}")
                return
        if sent < len(data):
            rest = memoryview(data)[sent:]
            self._out.append(rest)
            self.out_bytes += len(rest)
            self.on_kept()
        elif self.close_when_sent and not self.has_more:
            self.close("closed after reply")

    def flush(self) -> None:
        """Send what was kept, as far as it goes."""
        while self._out:
            chunk = self._out[0]
            try:
                sent = self.send_some(chunk)
            except BlockingIOError:
                return
            except OSError as error:
                self.close(f"send failed: {error.strerror}")
                return
            self.out_bytes -= sent
            if sent < len(chunk):
                self._out[0] = chunk[sent:]
                return
            self._out.popleft()
        if self.close_when_sent and not self.has_more:
            self.close("closed after reply")
        else:
            self.on_drained()

    def close(self, reason: str) -> None:
        """Close at once; what was kept is dropped. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._out.clear()
        self._soon = b""
        self.out_bytes = 0
        self.hub.remove(self.fd)
        with contextlib.suppress(OSError):
            self.sock.close()
        self.on_closed(reason)
