"""Works that have come in and are on no way yet: neither in the log, nor in a read round, nor sent to the leader.

Whatever comes back from such a way, certainly not done, comes back to here and is tried again under its old deadline,
by this member or by whoever leads then. Works of other members do not: their own member decides what is next.
"""

from __future__ import annotations

from raftkv.machines.interface import Kind
from raftkv.replica.gathering import Gathering
from raftkv.replica.work import LEADERSHIP_LOST, Work, by_age


class Intake:
    __slots__ = ("admin", "reads", "writes")

    def __init__(self) -> None:
        self.writes = Gathering()
        self.reads = Gathering()
        self.admin: list[Work] = []
        """One for each kind; `Replica.submit` puts them here."""

    def __bool__(self) -> bool:
        return bool(self.writes or self.reads or self.admin)

    def on_quiet(self) -> None:
        """Nothing has come in for a moment: what has gathered should go."""
        self.writes.on_quiet()
        self.reads.on_quiet()

    def take_back(self, works: list[Work]) -> None:
        """These were certainly not done. Ours are tried again, under their old deadline; another member's go back."""
        for work in works:
            work.refusals = None
            if work.sink.remote:
                work.sink.on_not_done(LEADERSHIP_LOST)
            elif work.kind is Kind.WRITE:
                self.writes.add(work)
            elif work.kind is Kind.ADMIN:
                self.admin.append(work)
            else:
                self.reads.add(work)

    def take_all(self) -> list[Work]:
        """For this member cannot do them itself."""
        works = [*self.writes.take_all(), *self.reads.take_all(), *self.admin]
        self.admin = []
        return works

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Works that have waited since before `since_ms`: no longer wanted, and certainly not done."""
        late, self.admin = by_age(self.admin, since_ms)
        return self.writes.take_older_than(since_ms) + self.reads.take_older_than(since_ms) + late
