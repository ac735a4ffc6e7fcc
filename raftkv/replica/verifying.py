"""RAFT.VERIFY: do all members have the same state? A hash of it at one index, made by each and compared by the leader.

    leader      puts a mark into the log
    each        when it applies the mark: digests its state as of that entry, a slice between turns (`Digesting`),
                and tells the leader
    leader      compares (`Verification`), answers who asked, and raises the alarm when they differ

A hash is a sum over the parts of the state, so neither the order of keys nor the size of slices matters: a restored
member has other orders. A member whose machine is being written to a snapshot can walk over it only once at a time: it
says so ("busy"); so does one whose machine raises, and its log says why. One that gets the mark by a snapshot, or
replays it after a start, says nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Final

import msgspec

from raftkv.errors import Fatal
from raftkv.machines.digests import sum_bytes
from raftkv.machines.interface import StateMachine
from raftkv.machines.replies import Reply
from raftkv.replica.ledger import Ledger
from raftkv.replica.work import LEADERSHIP_LOST, Work
from raftkv.wire.peer import StateDigest

PARTS_PER_TICK: Final = 2
"""Parts of a hash made between two ticks of the clock, 5 to 10 ms: about a quarter of the member's time. Without a
limit all members would be half as fast at the same time, and nobody is in a hurry."""


def is_verify(work: Work) -> bool:
    """Whether a request of kind ADMIN is for here."""
    return any(argv and argv[0].lower() == b"raft.verify" for argv in work.commands)


class Digesting:
    """The hash that is being made of this member's state. `report` hears what the machine raises: that must not stop a
    member, least of all all of them at the same mark."""

    def __init__(self, ledger: Ledger, machine: StateMachine, report: Callable[[str, Exception], None]) -> None:
        self._ledger = ledger
        self._machine = machine
        self._report = report
        self._mark: tuple[int, int] | None = None
        self._parts: Generator[int, None, None]
        self._sum = 0
        self._parts_left = 0

    @property
    def under_way(self) -> bool:
        return self._mark is not None

    @property
    def has_more(self) -> bool:
        """Whether `step` is to be called now."""
        return self._mark is not None and self._parts_left > 0

    def on_tick(self, is_awaited: bool) -> None:
        """`is_awaited`: a snapshot waits for its end, so it is not to take its time."""
        self._parts_left = sys.maxsize if is_awaited else PARTS_PER_TICK

    def begin(self, term: int, index: int) -> StateDigest | None:
        """The state is as of the mark: whatever changes from now on does not count. Returns what is to be told at once,
        if it cannot be done."""
        self.abandon()
        self._mark, self._parts, self._sum = (term, index), self._both(), 0
        self._parts_left = PARTS_PER_TICK
        return self.step()

    def _both(self) -> Generator[int, None, None]:
        states = (self._ledger.digests(), self._machine.digests())
        try:
            yield sum(next(parts, 0) for parts in states)  # both begin now
            for parts in states:
                yield from parts
        finally:
            for parts in states:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()

    def step(self) -> StateDigest | None:
        """One more part; the whole when there is none."""
        assert self._mark is not None
        self._parts_left -= 1
        try:
            part = next(self._parts, None)
        except (Fatal, MemoryError):
            raise
        except Exception as error:
            self._report("digests", error)
            return self.abandon()
        if part is not None:
            self._sum += part
            return None
        (term, index), self._mark = self._mark, None
        return StateDigest(term, index, sum_bytes(self._sum))

    def abandon(self) -> StateDigest | None:
        """As when the state is about to be replaced. Returns what is to be told instead, if anything was begun."""
        if self._mark is None:
            return None
        (term, index), self._mark = self._mark, None
        self._parts.close()
        return StateDigest(term, index, b"")


class Verdict(msgspec.Struct, frozen=True):
    """digests: member -> its hash; b"": it was busy, None: it gave no answer. `own_id`: who compares. `time_ms`: Unix
    time of the comparison."""

    index: int
    time_ms: int
    digests: dict[int, bytes | None]
    own_id: int

    @property
    def differing(self) -> list[int]:
        """Members whose state is another than the leader's (or, when that was busy, than the first one's)."""
        known = {member: digest for member, digest in sorted(self.digests.items()) if digest}
        base = known.get(self.own_id) or next(iter(known.values()), None)
        return [member for member, digest in known.items() if digest != base]

    def reply(self) -> Reply:
        """As RAFT.VERIFY answers it."""
        members: list[Reply] = [
            {b"id": member, b"digest": (digest or b"").hex(), b"verdict": self._word(member, digest)}
            for member, digest in sorted(self.digests.items())
        ]
        return {
            b"index": self.index,
            b"time_ms": self.time_ms,
            b"equal": int(not self.differing),
            b"members": members,
        }

    def _word(self, member: int, digest: bytes | None) -> str:
        if not digest:
            return "no answer" if digest is None else "busy"
        return "differs" if member in self.differing else "equal"


class Verification:
    """The leader's side: `tell` hears of each verdict. Comparisons begin by themselves each `interval_ms` (0: never). A
    member that is connected and says nothing for `patience_ms` has not answered."""

    def __init__(self, own_id: int, interval_ms: int, patience_ms: int) -> None:
        self.last: Verdict | None = None
        self.alarms: dict[int, int] = {}
        """Member -> the last index at which its state differed, until it is found equal, or is no member any more: that
        it was busy or away is no good news."""

        self.tell: Callable[[Verdict], None] = lambda verdict: None  # noqa: ARG005
        self._own_id = own_id
        self._interval_ms = interval_ms
        self._patience_ms = patience_ms
        self._works: list[Work] = []
        self._due_ms: int | None = None
        self._mark: tuple[int, int] | None = None
        self._begun_ms = 0
        self._digests: dict[int, bytes | None] = {}
        self._awaited: set[int] = set()

    def take(self, work: Work) -> None:
        """Somebody asks. Who asks while one is under way gets its answer."""
        self._works.append(work)

    def wants_to_begin(self, now_ms: int) -> bool:
        """Whether a mark is to be put into the log."""
        if self._interval_ms and self._due_ms is None:
            self._due_ms = now_ms + self._interval_ms
        is_due = self._due_ms is not None and now_ms >= self._due_ms
        return self._mark is None and (bool(self._works) or is_due)

    def begin(self, term: int, index: int, members: set[int], connected: set[int], now_ms: int) -> None:
        """The mark is entry `index`. `members`: all, this one included; those not `connected` will not answer."""
        self._mark, self._begun_ms = (term, index), now_ms
        self._due_ms = now_ms + self._interval_ms if self._interval_ms else None
        self._digests = dict.fromkeys(members)
        self._awaited = members & (connected | {self._own_id})

    def on_digest(self, member: int, message: StateDigest) -> None:
        if self._mark == (message.term, message.index) and member in self._awaited:
            self._digests[member] = message.digest
            self._awaited.discard(member)

    def on_gone(self, member: int) -> None:
        """Its link is down: what it would have said is lost."""
        self._awaited.discard(member)

    def settle(self, term: int, now_ms: int, wall_ms: int) -> None:
        """Compare, once everybody has answered who will. `term`: that which this member leads."""
        if self._mark is None or (self._awaited and now_ms - self._begun_ms < self._patience_ms):
            return
        (begun_term, index), self._mark = self._mark, None
        if begun_term != term:
            return  # of an earlier leadership: the mark may be lost
        self.last = verdict = Verdict(index, wall_ms, self._digests, self._own_id)
        silent = {member: at for member, at in self.alarms.items() if verdict.digests.get(member, b"?") in (b"", None)}
        self.alarms = silent | dict.fromkeys(verdict.differing, index)
        works, self._works = self._works, []
        for work in works:
            work.sink.on_replies([verdict.reply()], 0, 1)
        self.tell(verdict)

    def on_not_leading(self) -> None:
        """Another leads; who waits may ask it."""
        self._mark = self._due_ms = None
        works, self._works = self._works, []
        for work in works:
            work.sink.on_not_done(LEADERSHIP_LOST)
