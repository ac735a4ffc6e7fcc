"""The log's time: each entry carries the clock of its leader, never below that of an earlier entry.

A new leader therefore proposes nothing before it has applied its first own entry: only then it knows the newest time.
Keys become invisible by that time only: when the clock has passed the machine's deadline, the leader commits an
empty batch with the new time before it answers reads (otherwise a client could see a key gone on one leader, and back
on the next whose clock is behind).
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.interface import StateMachine
from raftkv.replica.callbacks import Report

STUCK_DEADLINE_MS: Final = 1000
"""How often a machine is told the time whose deadline has passed and does not move."""


class LogTime:
    def __init__(self, machine: StateMachine, report: Report) -> None:
        self.newest_ms = 0
        """Time of the newest entry applied or proposed here."""

        self.applied_ms = 0
        """Time of the newest entry applied: the same on every member, as `newest_ms` is not."""

        self._machine = machine
        self._report = report
        self._deadline_ms: int | None = None
        self._deadline_is_known = False
        """Whether the machine was asked since the last entry. A leader wants it in every turn."""

        self._told_deadline_ms: int | None = None
        """The machine's deadline when an entry was last proposed for its sake; not again for the same one before
        `_tell_again_ms`."""
        self._tell_again_ms = 0
        self._said_stuck = False

    def stamp(self, wall_ms: int) -> int:
        """The time of an entry that is proposed now."""
        if wall_ms > self.newest_ms:
            self.newest_ms = wall_ms
        return self.newest_ms

    def on_applied(self, time_ms: int) -> None:
        """An entry of that time is applied now, or a snapshot whose newest entry it is of."""
        self.applied_ms = time_ms
        if time_ms > self.newest_ms:
            self.newest_ms = time_ms
        self.on_state_changed()

    def on_state_changed(self) -> None:
        """The machine's deadline may be another from now on."""
        self._deadline_is_known = False

    # ---- the machine's deadline

    def deadline_due(self, wall_ms: int) -> int | None:
        """The machine's deadline, if its time has come and the machine is to hear of it by an entry."""
        if not self._deadline_is_known:
            self._deadline_ms = self._machine.deadline_ms()
            self._deadline_is_known = True
        deadline_ms = self._deadline_ms
        if deadline_ms is None or deadline_ms > wall_ms:
            return None
        if deadline_ms == self._told_deadline_ms and self.applied_ms >= deadline_ms:
            # It has heard, and the deadline has not moved (an `on_time` that raises, say). Telling it in every turn
            # would fill the log for ever; readers need not wait, since nothing more is to come by that time.
            if wall_ms < self._tell_again_ms:
                return None
            if not self._said_stuck:
                self._said_stuck = True
                self._report("deadline_ms", ValueError(f"{deadline_ms} is past, and stays when its time is told"))
        else:
            self._said_stuck = False
        return deadline_ms

    def on_telling(self, wall_ms: int) -> None:
        """An entry is proposed for the deadline's sake."""
        self._told_deadline_ms = self._deadline_ms
        self._tell_again_ms = wall_ms + STUCK_DEADLINE_MS

    def on_elected(self) -> None:
        """What an earlier leadership has proposed may be lost."""
        self._told_deadline_ms = None
