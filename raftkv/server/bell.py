"""A bell that wakes the hub: for work that comes from tasks, or from another thread, rather than from sockets.

However often it rings before the hub comes to it, the hub is woken once. What it rings for must be put down before:
then it is seen by the hub, whichever of two rings was the one that woke it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from raftkv.server.hub import Hub


class Bell:
    def __init__(self, hub: Hub, on_rung: Callable[[], None]) -> None:
        self._hub = hub
        self._on_rung = on_rung
        self._rung = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        hub.add(self._fd, self, select.EPOLLIN)

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._fd, 1)

    def on_event(self, events: int) -> None:  # noqa: ARG002
        # In this order: a ring from another thread in between would otherwise be read away, and taken for one that is
        # still to be heard; after that no ring would wake the hub any more.
        os.eventfd_read(self._fd)
        self._rung = False
        self._on_rung()

    def close(self) -> None:
        self._hub.remove(self._fd)
        os.close(self._fd)
