"""The hub: one trio task, one epoll set, everything that is hot.

Client sockets, the links to the other members and the disk thread's bell are all in one epoll set; its own file
descriptor is readable when any of them is. So one trio wake-up serves however many are ready: an await for each
command would cost more than the command (about 10,000 SET/s instead of 50,000, measured on two cores).

One pass: take all events, let each connection read and hand over what it has, then run the member's turn once for
all of it. Passes repeat while there is something to do, without going back to trio for each, and yield to the rest
of trio after some milliseconds.

Everything else (dialling, handshakes, accepting, signals, timers) is ordinary structured trio in other files.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

import trio

HOLD_MS = 10
"""So long the hub may keep the thread while it is busy; then the other trio tasks (timers, handshakes) get theirs."""

LINGER_S = 0.001
"""After work the hub waits so long in its own epoll for more, before it goes back to trio's: a wake-up through trio
costs some 40 microseconds, four of them for each write of a lone client. The kernel counts in whole milliseconds."""

EVENTS_PER_PASS_MAX = 512


class Handler(Protocol):
    @property
    def on_event(self) -> Callable[[int], None]: ...


class Continues(Protocol):
    def go_on(self) -> None: ...


class Sends(Protocol):
    def send_what_is_due(self) -> None: ...


class Hub:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._ready: list[Continues] = []
        self._sends: list[Sends] = []
        self.send_at_end: Callable[[Sends], None] = self._sends.append
        """Have `send_what_is_due()` of a connection called at the end of this pass. (Hot: the list's own method.)"""

        self.pass_ms = 0
        """When the present pass began, in the driver's milliseconds: exact enough for who was active when."""

    def add(self, fd: int, handler: Handler, events: int) -> None:
        self._handlers[fd] = handler.on_event
        self._epoll.register(fd, events)

    def remove(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_soon(self, continues: Continues) -> None:
        """Have `continues.go_on()` called in the next pass: for a connection that has more to do but must let
        others go first. Outside of a pass, see to it that there is one (`has_more`)."""
        self._ready.append(continues)

    @property
    def has_more(self) -> bool:
        """Whether somebody waits for the next pass: outside of a pass, nothing else may ever bring it about."""
        return bool(self._ready)

    def send_all(self) -> None:
        """Call it for all. To be called whenever replies may have come up outside of a pass, too."""
        sends = self._sends
        for connection in sends:
            connection.send_what_is_due()
        sends.clear()

    async def run(self, turn: Callable[[bool], bool], now_ms: Callable[[], int]) -> None:
        """Serve until cancelled. `turn` is called once after each pass, and told
        whether nothing came although it was waited for; it returns whether it has more to do."""
        more = False
        while True:
            if more or self._ready:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            self.pass_ms = now_ms()
            until_ms = self.pass_ms + HOLD_MS
            linger_s = 0.0
            while True:
                worked = self._pass(linger_s)
                more = turn(not worked and linger_s > 0)
                if self._sends:
                    self.send_all()
                busy = more or bool(self._ready)
                self.pass_ms = now_ms()
                if not (worked or busy) or self.pass_ms > until_ms:
                    break
                linger_s = 0.0 if busy else LINGER_S

    def _pass(self, wait_s: float) -> bool:
        events = self._epoll.poll(wait_s, EVENTS_PER_PASS_MAX)
        handlers = self._handlers
        for fd, mask in events:
            on_event = handlers.get(fd)  # an earlier event of this pass may have closed it
            if on_event is not None:
                on_event(mask)
        if self._ready:
            ready, self._ready = self._ready, []
            for continues in ready:
                continues.go_on()
            return True
        return bool(events)

    def close(self) -> None:
        self._epoll.close()
