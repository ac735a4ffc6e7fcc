"""What happened in a run: a digest of all events, to compare runs, and the last few thousand, to read afterwards."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

from raftkv.testing.schedule import Schedule


class Trace:
    def __init__(self, schedule: Schedule, keep: int = 3000) -> None:
        self.events = 0
        self._schedule = schedule
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[int, str]] = deque(maxlen=keep)

    def note(self, *what: Any) -> None:
        """Record an event. The parts' repr must not depend on addresses or on the order of sets."""
        text = repr(what)
        now_us = self._schedule.now_us
        self.events += 1
        self._hash.update(b"%d %b\n" % (now_us, text.encode()))
        self._last.append((now_us, text))

    def digest(self) -> str:
        return self._hash.hexdigest()

    def lines(self) -> list[str]:
        return [f"{now_us / 1e6:10.6f}  {text}" for now_us, text in self._last]
