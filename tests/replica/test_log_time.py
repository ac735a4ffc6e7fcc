"""The log's time, and a machine whose deadline does not move."""

from __future__ import annotations

from raftkv.machines.redis.machine import RedisMachine
from raftkv.replica.log_time import STUCK_DEADLINE_MS, LogTime


class Stuck(RedisMachine):
    def deadline_ms(self) -> int | None:
        return 1000


def test_it_never_goes_back() -> None:
    time = LogTime(RedisMachine(), lambda what, error: None)
    assert time.stamp(500) == 500
    time.on_applied(2000)
    assert time.stamp(1500) == 2000, "this leader's clock is behind the one before"
    time.on_applied(1000)
    assert (time.applied_ms, time.newest_ms) == (1000, 2000)


def test_a_deadline_that_stays_is_told_again_now_and_then_and_reported_once() -> None:
    reported: list[str] = []
    time = LogTime(Stuck(), lambda what, error: reported.append(what))
    assert time.deadline_due(999) is None
    assert time.deadline_due(1000) == 1000
    time.on_telling(1000)
    assert time.deadline_due(1000) == 1000, "its entry is not applied yet"
    time.on_applied(time.stamp(1000))
    assert time.deadline_due(1001) is None
    for _ in range(2):
        assert time.deadline_due(1000 + STUCK_DEADLINE_MS) == 1000
    assert reported == ["deadline_ms"]
    time.on_elected()
    assert time.deadline_due(1001) == 1000, "what was told may be lost"
