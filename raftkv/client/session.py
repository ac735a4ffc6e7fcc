"""A client's exactly-once session (docs/exactly-once.md): its numbers, and keeping it alive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

import trio

from raftkv.client.connection import Connection, Lost, NotSent, ReplyError
from raftkv.errors import CommandError, NotDone

TTL_MS = 60_000
UNANSWERED_MAX = 64
"""Numbers in use at a time: below the number that a member remembers (session.replies_max, 128 by default), so that a
command in doubt is never forgotten while it is being repeated."""


class OnceSession:
    def __init__(self, session_id: int) -> None:
        self.id = session_id
        self.ended = False
        self._last_seq = 0
        self._in_use: set[int] = set()
        self._room = trio.Condition()

    @classmethod
    async def open(cls, connection: Connection) -> Self:
        """Raises NotDone when the members do not open one now, CommandError when they know no sessions."""
        [reply] = await connection.ask([("RAFT.SESSION", "OPEN", "TTL", TTL_MS)])
        if isinstance(reply, ReplyError):
            text = str(reply)
            raise CommandError(text) if text.startswith("ERR ") else NotDone(text)
        return cls(reply)

    async def take(self) -> int:
        """A new number. Waits while the oldest in use is too far behind: the window that members remember slides."""
        async with self._room:
            while self._in_use and self._last_seq - min(self._in_use) >= UNANSWERED_MAX - 1:
                await self._room.wait()
            self._last_seq += 1
            self._in_use.add(self._last_seq)
            return self._last_seq

    def give_back(self, seq: int) -> None:
        """The command of this number is settled."""
        self._in_use.discard(seq)
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            return  # whoever holds it looks again before it waits
        self._room.notify_all()
        self._room.release()

    async def keep_alive(self, connection: Callable[[], Awaitable[Connection]]) -> None:
        """Renew it in good time, until it has ended."""
        while not self.ended:
            await trio.sleep(TTL_MS / 3000)
            try:
                reply: Any = (await (await connection()).ask([("RAFT.SESSION", "KEEPALIVE", self.id)]))[0]
            except (OSError, trio.TooSlowError, NotSent, Lost):
                continue
            self.ended = self.ended or (isinstance(reply, ReplyError) and str(reply).startswith("NOSESSION"))

    async def close(self, connection: Connection) -> None:
        self.ended = True
        await connection.ask([("RAFT.SESSION", "CLOSE", self.id)])
