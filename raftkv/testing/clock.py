"""A member's two clocks: both run a little too fast or too slow, and the wall clock is also set back and forth."""

from __future__ import annotations

from raftkv.testing.schedule import Schedule

EPOCH_MS = 1_700_000_000_000


class Clock:
    """`drift_ppm`: parts per million too fast (negative: too slow). `start_ms`: what the monotonic clock begins with,
    different for each member, as on real machines. `wall_offset_ms` may be changed at any time."""

    def __init__(self, schedule: Schedule, *, drift_ppm: int = 0, start_ms: int = 0, wall_offset_ms: int = 0) -> None:
        self._schedule = schedule
        self._drift_ppm = drift_ppm
        self._start_ms = start_ms
        self.wall_offset_ms = wall_offset_ms

    def _elapsed_ms(self) -> int:
        now_us = self._schedule.now_us
        return (now_us + now_us * self._drift_ppm // 1_000_000) // 1000

    def now_ms(self) -> int:
        return self._start_ms + self._elapsed_ms()

    def wall_ms(self) -> int:
        return EPOCH_MS + self.wall_offset_ms + self._elapsed_ms()
