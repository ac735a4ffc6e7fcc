"""The driver: the one place with a clock and with chance. It turns the replica and carries out what it asks for."""

from __future__ import annotations

import secrets
import time
from random import Random
from typing import TYPE_CHECKING

from raftkv.replica import Replica
from raftkv.server.disk import DiskThread
from raftkv.server.jobs import JobThread

if TYPE_CHECKING:
    from raftkv.server.effects import Effects
    from raftkv.server.links import Links

TICK_INTERVAL_MS = 10
"""Time is told to the replica at least this often, and at most about twice as often."""


def now_ms() -> int:
    """A clock that does not go back, in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def wall_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1000


def sleep(seconds: float) -> None:
    """Stop this thread, and with it the whole member: for DEBUG SLEEP alone."""
    time.sleep(seconds)


def new_random() -> Random:
    return Random(secrets.randbits(128))


def new_instance() -> int:
    """A number that tells this process from any other that claims to be the same member."""
    return secrets.randbits(62)


def new_cluster_id() -> str:
    """For a cluster that is not made from a list of members: in the form of `cluster.identity`."""
    return secrets.token_hex(8)


class Driver:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.links: Links
        self.disk: DiskThread
        self.jobs: JobThread
        self.effects: Effects
        self._ticked_ms = 0

    def read_clock(self) -> int:
        """The time now, which the replica is told at once: what arrives after a pause of this process must not be
        judged by the time before it (a leader heard just now would count as silent for as long as the pause)."""
        now = now_ms()
        self.replica.on_clock(now)
        return now

    def turn(self, quiet: bool = False) -> bool:
        """Run turns until the replica has nothing more to do at once. `quiet`: nothing has come for a moment.
        Returns whether entries are left to apply."""
        replica = self.replica
        if quiet:
            replica.on_quiet()
        now = now_ms()
        if now - self._ticked_ms >= TICK_INTERVAL_MS // 2:
            self._ticked_ms = now
            replica.on_tick(now)
        more = False
        if replica.only_reads:
            replica.reads.serve(wall_ms())
        if replica.needs_turn:
            more = self._take_turns()
        if replica.effects.stirred:
            self.effects.on_stirred()
        return more

    def _take_turns(self) -> bool:
        replica, wall = self.replica, wall_ms()
        while True:
            self.read_clock()  # what was read by lease is judged by it
            turn = replica.turn(wall)
            if turn.write is not None:
                # First: the disk works while the messages are being sent.
                self.disk.submit(turn.sequence, turn.write)
            if turn.jobs:
                self.jobs.submit(turn.jobs)
            if turn.sends:
                self.links.send_all(turn.sends)
            more = replica.apply(wall)
            if not replica.wants_turn:
                return more
