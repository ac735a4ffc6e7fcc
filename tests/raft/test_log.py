"""The log against a naive twin: a plain list of all entries, with the positions as plain numbers.

Hypothesis drives both through the same life: entries appended, suffixes cut, syncs, commits, trims, restarts. The
stored part is what was synced, as the real log store would hold it.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raftkv.errors import BrokenInvariant
from raftkv.raft.log import ENTRY_OVERHEAD_BYTES, Log
from raftkv.raft.messages import Entry, EntryKind

CACHE_BYTES_MAX = 5 * ENTRY_OVERHEAD_BYTES
"""A handful of entries, so that trimming happens all the time."""


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(index, term, int(EntryKind.COMMANDS), data)


def bounded(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """At least one, then only as many as fit."""
    taken: list[Entry] = []
    for candidate in entries:
        if taken and sum(len(e.data) for e in [*taken, candidate]) > bytes_max:
            break
        taken.append(candidate)
    return taken


class LogBesideTwin(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.stored: list[Entry] = []
        self.commit = self.synced = self.applied = self.base = 0
        self.log = self.opened()

    def opened(self) -> Log:
        runs: list[tuple[int, int]] = []
        for e in self.entries[self.base :]:
            if not runs or runs[-1][1] != e.term:
                runs.append((e.index, e.term))
        return Log(
            base=(self.base, self.entries[self.base - 1].term if self.base else 0),
            last_index=len(self.entries),
            terms=runs,
            commit=self.commit,
            read_stored=self.read_stored,
            cache_bytes_max=CACHE_BYTES_MAX,
        )

    def read_stored(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        assert self.base < first <= last <= self.synced, "asked the disk for what it need not have"
        return bounded(self.stored[first - 1 : last], bytes_max)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else 0

    # ---- what happens to a log

    @rule(terms_later=st.integers(0, 2), data=st.binary(max_size=40), count=st.integers(1, 4))
    def append(self, terms_later: int, data: bytes, count: int) -> None:
        term = max(1, self.last_term + terms_later)
        for _ in range(count):
            new = entry(len(self.entries) + 1, term, data)
            self.entries.append(new)
            self.log.append(new)

    @precondition(lambda self: len(self.entries) > self.commit)
    @rule(draw=st.data())
    def cut_from(self, draw: st.DataObject) -> None:
        index = draw.draw(st.integers(self.commit + 1, len(self.entries)))
        del self.entries[index - 1 :]
        self.synced = min(self.synced, len(self.entries))
        self.log.cut_from(index)

    @rule(draw=st.data())
    def sync(self, draw: st.DataObject) -> None:
        self.synced = draw.draw(st.integers(self.synced, len(self.entries)))
        self.stored = self.entries[: self.synced]
        self.log.synced = self.synced

    @rule(draw=st.data())
    def advance_commit(self, draw: st.DataObject) -> None:
        self.commit = self.log.commit = draw.draw(st.integers(self.commit, len(self.entries)))

    @rule(draw=st.data())
    def apply_and_trim(self, draw: st.DataObject) -> None:
        self.applied = draw.draw(st.integers(self.applied, self.commit))
        self.log.trim(self.applied)

    @precondition(lambda self: self.base <= self.synced)
    @rule(draw=st.data())
    def compact(self, draw: st.DataObject) -> None:
        self.base = draw.draw(st.integers(self.base, min(self.commit, self.synced)))
        self.log.compact(self.base)

    @rule(draw=st.data(), terms_later=st.integers(0, 2))
    def begin_behind(self, draw: st.DataObject, terms_later: int) -> None:
        """A snapshot supersedes the log; what the twin has below it is of no matter but for the last term."""
        self.base = draw.draw(st.integers(self.commit, self.commit + 4).filter(lambda index: index > 0))
        term = max(1, self.last_term) + terms_later
        self.entries = [entry(index, term) for index in range(1, self.base + 1)]
        self.synced, self.commit = min(self.synced, self.base), self.base
        self.stored = self.entries[: self.synced]
        self.log.begin_behind(self.base, term)

    @rule()
    def restart(self) -> None:
        """Only what was synced is there again; the commit index is at most that, and at least the base."""
        self.synced = max(self.synced, self.base)
        del self.entries[self.synced :]
        self.stored = list(self.entries)
        self.commit = max(min(self.commit, self.synced), self.base)
        self.applied = 0
        self.log = self.opened()

    # ---- what is refused

    @precondition(lambda self: self.commit > 0)
    @rule(draw=st.data())
    def cutting_what_is_committed_is_refused(self, draw: st.DataObject) -> None:
        with pytest.raises(BrokenInvariant):
            self.log.cut_from(draw.draw(st.integers(1, self.commit)))

    @precondition(lambda self: self.base > 0)
    @rule(draw=st.data())
    def what_is_forgotten_cannot_be_asked_for(self, draw: st.DataObject) -> None:
        index = draw.draw(st.integers(0, self.base - 1))
        with pytest.raises(BrokenInvariant):
            self.log.slice(index + 1, len(self.entries), 10, 100)
        with pytest.raises(BrokenInvariant):
            self.log.term(index)

    @rule(offset=st.sampled_from([-1, 1, 5]))
    def a_gap_or_a_repetition_is_refused(self, offset: int) -> None:
        with pytest.raises(BrokenInvariant):
            self.log.append(entry(len(self.entries) + 1 + offset, max(1, self.last_term)))

    @precondition(lambda self: self.last_term > 1)
    @rule()
    def a_falling_term_is_refused(self) -> None:
        with pytest.raises(BrokenInvariant):
            self.log.append(entry(len(self.entries) + 1, self.last_term - 1))

    # ---- what must be equal

    @invariant()
    def positions_are_equal_and_in_order(self) -> None:
        log = self.log
        assert (log.last_index, log.last_term) == (len(self.entries), self.last_term)
        assert (log.commit, log.synced) == (self.commit, self.synced)
        log.check()

    @invariant()
    def every_term_is_known(self) -> None:
        if not self.base:
            assert self.log.term(0) == 0
        from_base_on = self.entries[max(self.base - 1, 0) :]
        for e in from_base_on:
            assert self.log.term(e.index) == e.term
            assert self.log.first_of_term_at(e.index) == min(x.index for x in from_base_on if x.term == e.term)

    @rule(index=st.integers(0, 30), term=st.integers(0, 6))
    def has(self, index: int, term: int) -> None:
        """Below the base it is sure to agree with every log that is asked about."""
        terms = [0, *(e.term for e in self.entries)]
        expected = index < self.base or (index < len(terms) and terms[index] == term)
        assert self.log.has(index, term) == expected

    @rule(last_index=st.integers(0, 30), last_term=st.integers(0, 6))
    def is_up_to_date(self, last_index: int, last_term: int) -> None:
        if last_term == self.last_term:
            expected = last_index >= len(self.entries)
        else:
            expected = last_term > self.last_term
        assert self.log.is_up_to_date(last_index, last_term) == expected

    @precondition(lambda self: len(self.entries) > self.base)
    @rule(draw=st.data(), entries_max=st.integers(1, 6), bytes_max=st.integers(0, 100))
    def slice(self, draw: st.DataObject, entries_max: int, bytes_max: int) -> None:
        """From `first`, nothing left out, within the bounds; fewer only where memory and disk meet."""
        first = draw.draw(st.integers(self.base + 1, len(self.entries)))
        last = draw.draw(st.integers(first, len(self.entries)))
        got = self.log.slice(first, last, entries_max, bytes_max)
        most = bounded(self.entries[first - 1 : last][:entries_max], bytes_max)
        assert got
        assert got == most[: len(got)]
        assert len(got) == len(most) or got[-1].index + 1 == self.log._tail_first

    @invariant()
    def memory_is_accounted_for(self) -> None:
        assert self.log._tail_bytes == sum(len(e.data) + ENTRY_OVERHEAD_BYTES for e in self.log._tail)

    @rule()
    def trimming_everything_leaves_little(self) -> None:
        if self.applied == self.commit == self.synced == len(self.entries):
            self.log.trim(self.applied)
            assert self.log._tail_bytes <= CACHE_BYTES_MAX


TestLogBesideTwin = LogBesideTwin.TestCase
TestLogBesideTwin.settings = settings(max_examples=60, stateful_step_count=40, derandomize=True)


def test_a_commit_hint_beyond_the_recovered_log_is_cut_to_it() -> None:
    assert Log(last_index=3, terms=[(1, 1)], commit=9).commit == 3


def test_nothing_is_read_back_from_a_log_that_was_never_stored() -> None:
    log = Log(last_index=3, terms=[(1, 1)])
    with pytest.raises(BrokenInvariant):
        log.slice(1, 3, 10, 100)


@pytest.mark.parametrize("position", ["commit", "synced"])
def test_check_reports_a_position_above_the_last_entry(position: str) -> None:
    log = Log()
    setattr(log, position, 1)
    with pytest.raises(BrokenInvariant, match=position):
        log.check()
