"""The replicated log as one member sees it: positions, terms, and the newest entries in memory.

Positions, each at most the next one::

    0 <= base <= applied <= commit <= last          synced <= last

``base``     everything up to here is in a snapshot and no longer in the log (compaction; paper, section 7)
``applied``  the machine has carried out everything up to here (kept by the replica, told here for trimming)
``commit``   a quorum has it on disk; it can never change again
``synced``   this member's own disk has it; a follower's commit may be ahead of it for a moment
``last``     the newest entry this member knows of, perhaps only in memory

All terms from the base on are known without reading the disk, as runs: `(first index, term)`, one run for each
leadership, a few dozen numbers for millions of entries. The first run begins with the base itself: its entry is gone,
its term is not. The entries themselves are in memory only near the end (the *tail*);
older ones come from `read_stored`, the one thing here that is not plain memory. It must be a function of what was
synced, so the core stays deterministic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from raftkv.errors import BrokenInvariant
from raftkv.raft.messages import Entry

ENTRY_OVERHEAD_BYTES = 160
"""What one entry costs in memory beside its data, so that a million empty ones are not counted as nothing."""

ReadStored = Callable[[int, int, int], list[Entry]]


def _nothing_stored(first: int, last: int, _bytes_max: int) -> list[Entry]:
    raise BrokenInvariant(f"entries {first}..{last} are neither in memory nor stored")


class Log:
    def __init__(
        self,
        *,
        base: tuple[int, int] = (0, 0),
        last_index: int = 0,
        terms: Sequence[tuple[int, int]] = (),
        commit: int = 0,
        read_stored: ReadStored = _nothing_stored,
        cache_bytes_max: int = 16 * 1024 * 1024,
    ) -> None:
        """Start from what the log store recovered: everything up to `last_index` is synced, nothing is in memory.

        base: index and term of the newest entry that only the snapshot has; `last_index` and `terms` are of what
        lies behind it.
        """
        self.base_index, self.base_term = base
        if terms and terms[0][1] == self.base_term:
            terms = terms[1:]  # it goes on with the base's own run
        self.last_index = max(last_index, self.base_index)
        self.last_term = terms[-1][1] if terms else self.base_term
        self.commit = max(min(commit, last_index), self.base_index)
        self.synced = self.last_index
        self._run_starts = [self.base_index, *(first for first, _ in terms)]
        self._run_terms = [self.base_term, *(term for _, term in terms)]
        self._tail: list[Entry] = []
        self._tail_first = self.last_index + 1
        self._tail_bytes = 0
        self._cache_bytes_max = cache_bytes_max
        self._read_stored = read_stored

    def check(self) -> None:
        """Assert the order of the positions; called where a mistake elsewhere would show first."""
        if not (self.base_index <= self.commit <= self.last_index and self.synced <= self.last_index):
            places = f"base {self.base_index}, commit {self.commit}, synced {self.synced}, last {self.last_index}"
            raise BrokenInvariant(f"positions in the log are out of order: {places}")

    @property
    def memory_first(self) -> int:
        """The oldest entry that is in memory."""
        return self._tail_first

    @property
    def first_index(self) -> int:
        """The oldest entry that the log can still have."""
        return self.base_index + 1

    def term(self, index: int) -> int:
        """Term of the entry at `index`; 0 for index 0. The index must not be above `last_index`, nor below the base."""
        if index == self.last_index:
            return self.last_term
        if index < self.base_index:
            raise BrokenInvariant(f"the term of {index} is forgotten, the log begins behind {self.base_index}")
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def first_of_term_at(self, index: int) -> int:
        """The first index, from the base on, of the run of equal terms that `index` lies in."""
        return self._run_starts[bisect_right(self._run_starts, index) - 1]

    def has(self, index: int, term: int) -> bool:
        """Whether this log agrees with one that has `term` at `index` (paper, 5.3: then all before agrees too). What
        lies below the base is committed, and so equal in all logs that are asked about."""
        return index < self.base_index or (index <= self.last_index and self.term(index) == term)

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log ending in (`last_index`, `last_term`) is at least as new as this one (paper, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def append(self, entry: Entry) -> None:
        """Add the next entry. Its index must be `last_index` + 1 and its term not lower than the last one."""
        if entry.index != self.last_index + 1 or entry.term < self.last_term:
            raise BrokenInvariant(
                f"entry {entry.index} of term {entry.term} cannot follow {self.last_index} of term {self.last_term}"
            )
        if entry.term != self.last_term:
            self._run_starts.append(entry.index)
            self._run_terms.append(entry.term)
            self.last_term = entry.term
        self._tail.append(entry)
        self._tail_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self.last_index = entry.index

    def cut_from(self, index: int) -> None:
        """Forget `index` and everything after it: a conflicting suffix that was never committed."""
        if index <= self.commit:
            # Two leaders of one log: whatever caused it, going on would lose what a client was promised.
            raise BrokenInvariant(f"asked to cut the log from {index}, but {self.commit} is committed")
        if index < self._tail_first:
            self._tail, self._tail_first, self._tail_bytes = [], index, 0
        else:
            gone = self._tail[index - self._tail_first :]
            self._tail_bytes -= sum(len(e.data) + ENTRY_OVERHEAD_BYTES for e in gone)
            del self._tail[index - self._tail_first :]
        while self._run_starts[-1] >= index:
            self._run_starts.pop()
            self._run_terms.pop()
        self.last_index = index - 1
        self.last_term = self._run_terms[-1]
        self.synced = min(self.synced, self.last_index)

    def compact(self, index: int) -> None:
        """Forget everything up to `index`: a snapshot has it."""
        if not self.base_index <= index <= self.commit:
            raise BrokenInvariant(f"asked to forget up to {index}; base is {self.base_index}, commit {self.commit}")
        self.base_index, self.base_term = index, self.term(index)
        run = bisect_right(self._run_starts, index) - 1
        self._run_starts[: run + 1] = [index]
        del self._run_terms[:run]
        if index >= self._tail_first:
            self._drop_oldest(index + 1 - self._tail_first)

    def begin_behind(self, index: int, term: int) -> None:
        """Forget everything: a snapshot has all up to (`index`, `term`), and this log had something else there, or
        nothing. What was committed is below, and in the snapshot."""
        if index < self.commit:
            raise BrokenInvariant(f"asked to begin behind {index}, but {self.commit} is committed")
        self.base_index = self.last_index = self.commit = index
        self.base_term = self.last_term = term
        self.synced = min(self.synced, index)
        self._run_starts, self._run_terms = [index], [term]
        self._tail, self._tail_first, self._tail_bytes = [], index + 1, 0

    def slice(self, first: int, last: int, entries_max: int, bytes_max: int) -> list[Entry]:
        """Entries from `first` to at most `last`, within the two bounds but at least one; read back when need be."""
        if first <= self.base_index:
            raise BrokenInvariant(f"entry {first} is forgotten, the log begins behind {self.base_index}")
        last = min(last, first + entries_max - 1)
        if first < self._tail_first:
            return self._read_stored(first, min(last, self._tail_first - 1), bytes_max)
        start = first - self._tail_first
        entries = self._tail[start : last - self._tail_first + 1]
        total = 0
        for count, entry in enumerate(entries):
            total += len(entry.data)
            if total > bytes_max and count:
                return entries[:count]
        return entries

    def trim(self, applied: int) -> None:
        """Let go of entries in memory that are applied, committed and synced, oldest first, down to half the bound."""
        if self._tail_bytes <= self._cache_bytes_max:
            return
        keep_from = min(applied, self.commit, self.synced) + 1
        count, too_many_bytes = 0, self._tail_bytes - self._cache_bytes_max // 2
        for entry in self._tail:
            if entry.index >= keep_from or too_many_bytes <= 0:
                break
            too_many_bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
            count += 1
        self._drop_oldest(count)

    def _drop_oldest(self, count: int) -> None:
        self._tail_bytes -= sum(len(e.data) + ENTRY_OVERHEAD_BYTES for e in self._tail[:count])
        del self._tail[:count]
        self._tail_first += count
