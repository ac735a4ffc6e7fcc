"""Linearizable reads of a member that does not lead, from its own state (thesis, section 6.4; `follower_reads`).

::

    waiting  --question sent-->  asked  --answer: the read index-->  confirmed  --applied up to it--> answered here

All reads that have gathered wait for one question, so any number of them costs the leader one place in one of its read
rounds (`rounds.py`), and not the reading. One question is under way at a time; reads that come meanwhile wait for the
next one: an answer to a question that was asked before a read had come would not cover what was written in between.

The question is a work of kind READ without commands. So it travels, is asked again, and waits for a leader as other
reads do; when it fails, its reads have failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.replies import Error, Reply
from raftkv.replica.gathering import Gathering
from raftkv.replica.work import Work, by_age


class FollowerReads:
    def __init__(self, applied: Callable[[], int]) -> None:
        self.answered = 0
        """Reads answered here, since the start."""

        self._applied = applied
        self._waiting = Gathering()
        self._asked: _Question | None = None
        self._confirmed: deque[tuple[int, list[Work]]] = deque()

    @property
    def wants_turn(self) -> bool:
        """Whether a question can be asked now."""
        return self._asked is None and not self._confirmed and self._waiting.is_ripe

    @property
    def has_confirmed(self) -> bool:
        return bool(self._confirmed)

    def on_quiet(self) -> None:
        self._waiting.on_quiet()

    def take(self, work: Work) -> None:
        self._waiting.add(work)

    def take_back(self) -> list[Work]:
        """Those that no question was asked for yet: this member leads now, or sends its reads on again."""
        return self._waiting.take_all()

    def ask(self, now_ms: int) -> Work:
        """The question for all that wait, to be sent to the leader."""
        self._asked = _Question(self, self._waiting.take_all())
        return Work(Kind.READ, [], NO_SCOPES, 0, self._asked, now_ms)

    def on_answered(self, question: _Question, read_index: int) -> None:
        self._asked = None
        if question.works:
            self._confirmed.append((read_index, question.works))

    def on_own_answer(self, question: _Question) -> None:
        """This member leads by now, and has applied the read index."""
        self.on_answered(question, self._applied())

    def on_failed(self, question: _Question, tell: Callable[[Work], None]) -> None:
        self._asked = None
        for work in question.works:
            tell(work)

    def take_answerable(self) -> list[Work]:
        """Works that may be answered from the present state."""
        if not self._confirmed or self._confirmed[0][0] > self._applied():
            return []
        _, works = self._confirmed.popleft()
        self._waiting.on_answered(works)
        self.answered += sum(work.clients for work in works)
        return works

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Works that have waited since before `since_ms`: no longer wanted."""
        late = self._waiting.take_older_than(since_ms)

        def keep(works: list[Work]) -> list[Work]:
            too_late, rest = by_age(works, since_ms)
            late.extend(too_late)
            return rest

        if self._asked is not None:
            self._asked.works = keep(self._asked.works)
        self._confirmed = deque((index, kept) for index, works in self._confirmed if (kept := keep(works)))
        return late


class _Question:
    """The sink of a question (replica.work.Sink), and the works that wait for its answer."""

    resp3 = False
    remote = False
    readonly = True

    def __init__(self, reads: FollowerReads, works: list[Work]) -> None:
        self.works = works
        self._reads = reads

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        self._reads.on_own_answer(self)

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self._reads.on_answered(self, int(replies[0]))

    def on_redirect(self, leader_id: int) -> None:
        self._reads.on_failed(self, lambda work: work.sink.on_redirect(leader_id))

    def on_not_done(self, error: Error) -> None:
        self._reads.on_failed(self, lambda work: work.sink.on_not_done(error))

    def on_unknown(self, error: Error) -> None:
        self._reads.on_failed(self, lambda work: work.sink.on_not_done(error))
