"""Works that have come in and are on no way yet: neither in the log, nor in a read round, nor sent to the leader.

Whatever comes back from such a way, certainly not done, comes back to here and is tried again under its old deadline,
by this member or by whoever leads then. Works of other members do not: their own member decides what is next.
"""

from __future__ import annotations

from collections import deque

from raftkv.machines.interface import Kind
from raftkv.replica.gathering import Gathering
from raftkv.replica.work import LEADERSHIP_LOST, Work


class Intake:
    __slots__ = ("admin", "read_gathering", "reads", "write_gathering", "writes")

    def __init__(self) -> None:
        self.writes: deque[Work] = deque()
        self.reads: list[Work] = []
        self.admin: list[Work] = []
        """One for each kind; `Replica.submit` puts them here."""

        self.write_gathering = Gathering()
        self.read_gathering = Gathering()

    def __bool__(self) -> bool:
        return bool(self.writes or self.reads or self.admin)

    def on_quiet(self) -> None:
        """Nothing has come in for a moment: what has gathered should go."""
        self.write_gathering.on_quiet()
        self.read_gathering.on_quiet()

    def take_back(self, works: list[Work]) -> None:
        """These were certainly not done. Ours are tried again, under their old deadline; another member's go back."""
        for work in works:
            work.refusals = None
            if work.sink.remote:
                work.sink.on_not_done(LEADERSHIP_LOST)
            elif work.kind is Kind.WRITE:
                self.writes.append(work)
            elif work.kind is Kind.ADMIN:
                self.admin.append(work)
            else:
                self.reads.append(work)

    def take_all(self) -> list[Work]:
        """For this member cannot do them itself."""
        works = [*self.writes, *self.reads, *self.admin]
        self.writes, self.reads, self.admin = deque(), [], []
        return works

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Works that have waited since before `since_ms`: no longer wanted, and certainly not done."""
        late = [work for work in (*self.writes, *self.reads, *self.admin) if work.since_ms < since_ms]
        if late:
            self.writes = deque(work for work in self.writes if work.since_ms >= since_ms)
            self.reads = [work for work in self.reads if work.since_ms >= since_ms]
            self.admin = [work for work in self.admin if work.since_ms >= since_ms]
        return late
