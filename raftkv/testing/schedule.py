"""Simulated time: a heap of things to happen, carried out in order of time, and of scheduling where times are equal.

Everything in a simulation happens inside one of these actions, so a run is one straight sequence that depends on
nothing but its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Schedule:
    """`now_us` is simulated time in microseconds since the start."""

    def __init__(self) -> None:
        self.now_us = 0
        self._heap: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time_us: int, action: Callable[..., object], *args: Any) -> None:
        """Call `action(*args)` at `time_us`, or as soon as possible when that is past."""
        self._count += 1
        heappush(self._heap, (max(time_us, self.now_us), self._count, action, args))

    def after(self, delay_us: int, action: Callable[..., object], *args: Any) -> None:
        self.at(self.now_us + delay_us, action, *args)

    def run_next(self) -> None:
        """Carry out the next action. Raises IndexError when there is none."""
        self.now_us, _, action, args = heappop(self._heap)
        action(*args)
