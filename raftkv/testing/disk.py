"""A simulated disk under `storage.memory.MemoryLogStore`: a write becomes durable after a delay, or never.

It works as the disk thread does: what has gathered is one batch with one sync, what comes meanwhile is the next.
Faults it knows:

slow          a sync takes `slow_factor` times as long
crash         the batch under way survives as a prefix, drawn at random; what waited behind it is lost
failing sync  the same, and the member stops at once

It also remembers everything that was ever durable here, for the invariants about promises, and what a snapshot stands
for: `entries` are all from index 1 on, whatever the log itself still has.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from raftkv.raft.messages import Entry, HardState
from raftkv.storage.interface import Position, Write
from raftkv.storage.memory import MemoryLogStore
from raftkv.testing.schedule import Schedule


def _ignore(_what: object) -> None:
    """Nobody listens."""


class Disk:
    """`on_synced(sequence)` and `on_failed()` are called when a sync ends; `sync_us` is (least, most)."""

    def __init__(self, schedule: Schedule, random: Random, sync_us: tuple[int, int]) -> None:
        self._schedule = schedule
        self._random = random
        self._sync_us = sync_us
        self.slow_factor = 1
        self.fails_next = False
        self.on_synced: Callable[[int], None] = _ignore
        self.on_failed: Callable[[], None] = lambda: None
        self.on_durable: Callable[[Write], None] = _ignore

        self.store = MemoryLogStore()
        self.hard_state = HardState()
        self.base: Position = (0, 0)
        self.entries: list[Entry] = []
        """The durable entries; the first is that of index 1."""
        self.history: Callable[[int], list[Entry]] = lambda index: []  # noqa: ARG005
        """Tells the committed entries up to an index: what an installed snapshot stands for."""
        self.ever_durable: set[tuple[int, int]] = set()
        """Every (index, term) that was durable here once."""
        self.votes: dict[int, int] = {}
        """Term -> the vote that became durable in it."""

        self._waiting: list[tuple[int, Write]] = []
        self._under_way: list[tuple[int, Write]] = []
        self._life = 0

    def submit(self, sequence: int, write: Write) -> None:
        self._waiting.append((sequence, write))
        if not self._under_way:
            self._start()

    def crash(self) -> None:
        """The process is gone: of the batch under way a prefix is durable."""
        survivors = self._random.randint(0, len(self._under_way))
        for _, write in self._under_way[:survivors]:
            self._make_durable(write)
        self._waiting, self._under_way = [], []
        self._life += 1
        self.fails_next = False

    def reopen(self) -> MemoryLogStore:
        """What a restarted process finds."""
        base = None if self.base == (0, 0) else self.base
        self.store = MemoryLogStore([Write(self.hard_state, self.entries[self.base[0] :], base)])
        return self.store

    def has(self, index: int, term: int) -> bool:
        return index <= len(self.entries) and self.entries[index - 1].term == term

    def _start(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        delay_us = self._random.randint(*self._sync_us) * self.slow_factor
        self._schedule.after(delay_us, self._finish, self._life)

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        if self.fails_next:
            self.on_failed()
            return
        for _, write in self._under_way:
            self._make_durable(write)
        sequence = self._under_way[-1][0]
        self._under_way = []
        self.on_synced(sequence)
        if self._waiting:
            self._start()

    def _make_durable(self, write: Write) -> None:
        self.store.append([write])
        if write.hard_state is not None:
            self.hard_state = write.hard_state
            if write.hard_state.vote:
                self.votes[write.hard_state.term] = write.hard_state.vote
        if write.base is not None:
            self.base = write.base
            if not self.has(*write.base):
                self.entries = self.history(write.base[0])
                self.ever_durable.update((entry.index, entry.term) for entry in self.entries)
        if write.entries:
            self.entries[write.entries[0].index - 1 :] = write.entries
            self.ever_durable.update((entry.index, entry.term) for entry in write.entries)
        self.on_durable(write)
