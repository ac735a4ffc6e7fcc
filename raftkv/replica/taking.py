"""Taking a snapshot of the state while serving: a slice of it after each turn, written aside by the job thread.

    begin    the first slices of ledger and machine are made: from here on both keep what is overwritten
    step     one more slice, unless the disk is behind
    finish   the file is synced and has its name: only then may the log be cut behind it

A snapshot that fails (a full disk) is given up, and tried again after a while: nothing depends on it but the length of
the log. One that is abandoned (a newer one was installed) closes its slices, so that nothing is kept for it any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from raftkv.replica.jobs import FileJobs, Job, ignore
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotStore, SnapshotWriter

LEDGER: Final = 1
MACHINE: Final = 2

UNWRITTEN_BYTES_MAX: Final = 4 * 1024 * 1024
"""So much may wait for the disk before the next slice is made."""

RETRY_MS: Final = 10_000

Slices = Iterator[tuple[int, bytes]]


def all_slices(ledger: Iterator[bytes], machine: Iterator[bytes]) -> Slices:
    """Both states as of now, in slices; the first ones are made at once, so that what follows is of the same moment."""
    parts = [(LEDGER, ledger, next(ledger, None)), (MACHINE, machine, next(machine, None))]

    def rest() -> Slices:
        try:
            for kind, slices, first in parts:
                if first is not None:
                    yield kind, first
                    for data in slices:
                        yield kind, data
        finally:
            for _, slices, _ in parts:
                close = getattr(slices, "close", None)
                if close is not None:
                    close()

    return rest()


class _Take(FileJobs[SnapshotWriter]):
    """One snapshot in the making."""

    def __init__(
        self,
        jobs: list[Job],
        create: Callable[[], SnapshotWriter],
        on_failed: Callable[[Exception], None],
        slices: Slices,
    ) -> None:
        super().__init__(jobs, "create", create, on_failed)
        self.slices = slices
        self.made_all = False
        self.unwritten: deque[int] = deque()


class Taking:
    """At most one snapshot is being taken. `on_taken` hears of each that is complete, `on_failed` of the others."""

    def __init__(
        self,
        store: SnapshotStore,
        keep: int,
        on_taken: Callable[[SnapshotInfo], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.jobs: list[Job] = []
        self.wanted = False
        """Somebody asked for one; taken as soon as none is under way."""

        self.replaces_all = False
        """The next file that comes is the only one that is kept: one of the others is damaged."""

        self.last_failed = False
        self._store = store
        self._keep = keep
        self._tell_taken = on_taken
        self._tell_failed = on_failed
        self._take: _Take | None = None
        self._retry_at_ms = 0
        self._now_ms = 0

    @property
    def under_way(self) -> bool:
        return self._take is not None

    def may_begin(self, now_ms: int) -> bool:
        self._now_ms = now_ms
        return self._take is None and (self.wanted or now_ms >= self._retry_at_ms)

    def begin(self, meta: SnapshotMeta, slices: Slices) -> None:
        self.wanted = False
        self._take = _Take(self.jobs, lambda: self._store.create(meta), self._on_failed, slices)

    @property
    def has_more(self) -> bool:
        """Whether `step` would do something now."""
        take = self._take
        return take is not None and not take.made_all and sum(take.unwritten) < UNWRITTEN_BYTES_MAX

    def step(self) -> None:
        """Make one more slice. To be called only while there is more."""
        take = self._take
        assert take is not None
        part = next(take.slices, None)
        if part is None:
            take.made_all = True
            take.add("finish", lambda writer: writer.finish(), self._on_finished)
            return
        kind, data = part
        take.unwritten.append(len(data))
        take.add("write", lambda writer: writer.write(kind, data), lambda _result: take.unwritten.popleft())

    def _on_finished(self, info: SnapshotInfo) -> None:
        self._end()
        self.last_failed = False
        self.prune()
        self._tell_taken(info)

    def prune(self) -> None:
        """A file has come: only so many of the newest are kept."""
        keep, self.replaces_all = 1 if self.replaces_all else self._keep, False
        self.jobs.append(Job("prune", lambda: self._store.prune(keep), ignore, ignore))

    def abandon(self) -> None:
        """Another snapshot has made this one useless."""
        if self._take is not None:
            self._take.abandon()
            self._end()

    def _on_failed(self, error: Exception) -> None:
        self.abandon()
        self.last_failed = True
        self._retry_at_ms = self._now_ms + RETRY_MS
        self._tell_failed(error)

    def _end(self) -> None:
        take, self._take = self._take, None
        assert take is not None
        take.end()
        close = getattr(take.slices, "close", None)
        if close is not None:
            close()
