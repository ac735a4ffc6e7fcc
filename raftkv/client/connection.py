"""One connection to one member: many tasks ask at the same time, replies are matched by their order.

A request is written whole, under a lock, and its place in the queue of those who wait is taken with it. Whoever is
cancelled while waiting leaves that place behind: the replies come, and are dropped, so that nobody gets another's.
Whoever is cancelled while writing breaks the connection, since half a request cannot be taken back.

What is certain when it ends is told apart: `NotSent` (nothing of this request has left) and `Lost` (it may have).
"""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
import trio

from raftkv.errors import RaftkvError
from raftkv.wire.resp_decode import NOTHING_YET
from raftkv.wire.words import Word, spelled

Words = tuple[Word, ...]
RECEIVE_BYTES = 64 * 1024


class ReplyError(Exception):
    """An error reply, as a value."""


class NotSent(RaftkvError):
    """The connection ended before anything of the request had left."""


class Lost(RaftkvError):
    """The connection ended; what was asked may have been done. `replies` had come until then."""

    def __init__(self, reason: str, replies: list[Any]) -> None:
        super().__init__(reason)
        self.replies = replies


class _Waiting:
    __slots__ = ("done", "replies", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.replies: list[Any] = []
        self.done = trio.Event()


class Connection:
    """`silence_ms_max`: a member that owes a reply and says nothing for so long counts as gone."""

    def __init__(self, stream: trio.SocketStream, address: str, *, silence_ms_max: int, requests_max: int) -> None:
        self.address = address
        self.closed = ""
        """Why it ended; empty while it has not."""

        self._stream = stream
        self._silence_s = silence_ms_max / 1000
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=NOTHING_YET)
        self._waiting: deque[_Waiting] = deque()
        self._writing = trio.Lock()
        self._room = trio.CapacityLimiter(requests_max)
        self._heard_s = trio.current_time()
        self._retired = False

    @property
    def load(self) -> int:
        """Requests that are not answered yet."""
        return len(self._waiting)

    async def ask(self, requests: Sequence[Words]) -> list[Any]:
        """The replies, errors among them as `ReplyError` values. Raises NotSent, Lost."""
        async with self._room:
            waiting = _Waiting(len(requests))
            async with self._writing:
                if self.closed:
                    raise NotSent(self.closed)
                data = b"".join(_packed(words) for words in requests)
                self._waiting.append(waiting)
                self._heard_s = trio.current_time() if len(self._waiting) == 1 else self._heard_s
                await self._write(data)
            await waiting.done.wait()
        if len(waiting.replies) < waiting.wanted:
            raise Lost(self.closed, waiting.replies)
        return waiting.replies

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close(f"writing to {self.address} failed: {error}")
        except BaseException:
            self.close("a caller was cancelled while it wrote")
            raise

    async def run(self) -> None:
        """Hand replies to those who wait, until the connection ends."""
        reason = f"{self.address} closed the connection"
        try:
            while not self.closed:
                data = await self._receive()
                if not data:
                    break
                self._heard_s = trio.current_time()
                self._reader.feed(data)
                self._hand_out()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            reason = f"the connection to {self.address} broke: {error}"
        except trio.TooSlowError:
            reason = f"{self.address} owed a reply and said nothing for {self._silence_s:g} s"
        except hiredis.ProtocolError as error:
            reason = f"{self.address} sent what is no RESP: {error}"
        finally:
            self.close(reason)

    async def _receive(self) -> bytes:
        while True:
            limit_s = self._heard_s + self._silence_s if self._waiting else math.inf
            with trio.move_on_at(min(limit_s, trio.current_time() + self._silence_s)):
                return bytes(await self._stream.receive_some(RECEIVE_BYTES))
            if self._waiting and trio.current_time() >= self._heard_s + self._silence_s:
                raise trio.TooSlowError

    def _hand_out(self) -> None:
        while (reply := self._reader.gets()) is not NOTHING_YET:
            if not self._waiting:
                raise hiredis.ProtocolError("a reply that nobody has asked for")
            first = self._waiting[0]
            first.replies.append(reply)
            if len(first.replies) == first.wanted:
                self._waiting.popleft()
                first.done.set()
        if self._retired and not self._waiting:
            self.close("it is not used any more")

    def retire(self) -> None:
        """End it once all who wait have their replies."""
        self._retired = True
        if not self._waiting:
            self.close("it is not used any more")

    def close(self, reason: str) -> None:
        """End it; those who wait are told. Safe to call twice."""
        if self.closed:
            return
        self.closed = reason
        self._stream.socket.close()
        while self._waiting:
            self._waiting.popleft().done.set()


async def open_connection(address: str, timeout_ms: int, *, silence_ms_max: int, requests_max: int) -> Connection:
    """Raises OSError, or trio.TooSlowError after `timeout_ms`."""
    host, _, port = address.rpartition(":")
    with trio.fail_after(timeout_ms / 1000):
        stream = await trio.open_tcp_stream(host.strip("[]") or "127.0.0.1", int(port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(stream, address, silence_ms_max=silence_ms_max, requests_max=requests_max)


def _packed(words: Words) -> bytes:
    argv: Any = tuple(spelled(words))  # hiredis's annotation allows one word only
    packed: bytes = hiredis.pack_command(argv)
    return packed
