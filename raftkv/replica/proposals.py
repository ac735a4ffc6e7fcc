"""Writes that this member has put into the log as leader, until their fate is known.

Each turn's writes are one entry, remembered by (index, term) with the works that wait for it. Their fate is
decided by what is *applied*, whoever leads by then:

- the entry applied at that index has that term: it is ours, it was carried out just now, the replies are at hand;
- an entry of a higher term is applied at or before that index: every later leader has it, so ours can never be
  committed any more: certainly not done, and it may be tried again;
- neither for too long: unknown.

So a deposed leader still answers its clients, and a new leader's first entry settles everything the old one left.
"""

from __future__ import annotations

from collections import deque

from raftkv.machines.interface import Batch
from raftkv.replica.work import TIMED_OUT_UNKNOWN, Work


class Proposal:
    __slots__ = ("batch", "index", "term", "works")

    def __init__(self, index: int, term: int, batch: Batch, works: list[Work]) -> None:
        self.index = index
        self.term = term
        self.batch = batch
        self.works = works


class Proposals:
    def __init__(self) -> None:
        self._waiting: deque[Proposal] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, proposal: Proposal) -> None:
        self._waiting.append(proposal)

    def on_applying(self, index: int, term: int) -> tuple[Proposal | None, list[Work]]:
        """The entry (`index`, `term`) is about to be applied: our proposal for it, if it is ours, and the works that
        are thereby certain never to be done."""
        waiting = self._waiting
        lost: list[Work] = []
        while waiting and waiting[0].term < term:
            lost += waiting.popleft().works
        if waiting and waiting[0].index == index and waiting[0].term == term:
            return waiting.popleft(), lost
        return None, lost

    def on_skipped(self, index: int) -> list[Work]:
        """A snapshot stands for all entries up to `index`: the works of ours among them, whose fate nobody can tell."""
        skipped: list[Work] = []
        while self._waiting and self._waiting[0].index <= index:
            skipped += self._waiting.popleft().works
        return skipped

    def give_up_older_than(self, since_ms: int) -> None:
        """Tell the clients of proposals made before `since_ms` that their outcome is unknown."""
        for proposal in self._waiting:
            if proposal.works and proposal.works[0].since_ms < since_ms:
                works, proposal.works = proposal.works, []
                for work in works:
                    work.sink.on_unknown(TIMED_OUT_UNKNOWN)
