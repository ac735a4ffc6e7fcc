"""The hub: one trio task, one epoll set, everything that is hot.

Client sockets, the links to the other members and the disk thread's bell are all in one epoll set; its own file
descriptor is readable when any of them is. So one trio wake-up serves however many are ready: an await for each
command would cost more than the command (about 10,000 SET/s instead of 50,000, measured on two cores).

One pass: take all events, let each connection read and hand over what it has, then run the member's turn once for
all of it. Passes repeat while there is something to do, and yield to the rest of trio after a few.

Everything else (dialling, handshakes, accepting, signals, timers) is ordinary structured trio in other files.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

import trio

PASSES_PER_WAKEUP_MAX = 64
"""After so many passes without a pause the other trio tasks (timers, handshakes) get their turn."""

EVENTS_PER_PASS_MAX = 512


class Handler(Protocol):
    def on_event(self, events: int) -> None: ...


class Continues(Protocol):
    def go_on(self) -> None: ...


class Hub:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._ready: list[Continues] = []

    def add(self, fd: int, handler: Handler, events: int) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def remove(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_soon(self, continues: Continues) -> None:
        """Have `continues.go_on()` called in the next pass: for a connection that has more to do but must let
        others go first. Only from within a pass."""
        self._ready.append(continues)

    async def run(self, turn: Callable[[], bool]) -> None:
        """Serve until cancelled. `turn` is called once after each pass; it returns whether it has more to do."""
        more = False
        while True:
            if not more and not self._ready:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            else:
                await trio.lowlevel.checkpoint()
            for _ in range(PASSES_PER_WAKEUP_MAX):
                worked = self._pass()
                more = turn()
                if not worked and not more and not self._ready:
                    break

    def _pass(self) -> bool:
        events = self._epoll.poll(0, EVENTS_PER_PASS_MAX)
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)  # an earlier event of this pass may have closed it
            if handler is not None:
                handler.on_event(mask)
        if self._ready:
            ready, self._ready = self._ready, []
            for continues in ready:
                continues.go_on()
            return True
        return bool(events)

    def close(self) -> None:
        self._epoll.close()
