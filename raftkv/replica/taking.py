"""Taking a snapshot of the state while serving: a slice of it after each turn, written aside by the job thread.

    begin    the first slices of ledger and machine are made: from here on both keep what is overwritten
    step     one more slice, unless the disk is behind
    finish   the file is synced and has its name: only then may the log be cut behind it

A snapshot that fails (a full disk) is given up, and tried again after a while: nothing depends on it but the length of
the log. One that is abandoned (a newer one was installed) closes its slices, so that nothing is kept for it any more.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from raftkv.replica.jobs import Job
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


class _Take:
    """One snapshot in the making. `writer` belongs to the job thread."""

    def __init__(self, meta: SnapshotMeta, slices: Slices) -> None:
        self.meta = meta
        self.slices = slices
        self.made_all = False
        self.unwritten: deque[int] = deque()
        self.writer: SnapshotWriter | None = None

    def write(self, kind: int, data: bytes) -> None:
        self._created().write(kind, data)

    def finish(self) -> SnapshotInfo:
        return self._created().finish()

    def _created(self) -> SnapshotWriter:
        if self.writer is None:
            raise OSError(errno.ECANCELED, "its file could not be made")  # which has been told already
        return self.writer

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()


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
        self._take = take = _Take(meta, slices)

        def create() -> None:
            take.writer = self._store.create(meta)

        self._job("create", take, create)

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
            self._job("finish", take, take.finish, self._on_finished)
            return
        kind, data = part
        take.unwritten.append(len(data))
        self._job("write", take, lambda: take.write(kind, data), lambda _result: take.unwritten.popleft())

    def _on_finished(self, info: SnapshotInfo) -> None:
        self._end()
        self.last_failed = False
        self.jobs.append(Job("prune", lambda: self._store.prune(self._keep), _ignore, _ignore))
        self._tell_taken(info)

    def abandon(self) -> None:
        """Another snapshot has made this one useless."""
        if self._take is not None:
            self.jobs.append(Job("abandon", self._take.drop, _ignore, _ignore))
            self._end()

    def _on_failed(self, error: Exception) -> None:
        self.abandon()
        self.last_failed = True
        self._retry_at_ms = self._now_ms + RETRY_MS
        self._tell_failed(error)

    def _end(self) -> None:
        """What is still under way for it comes back to nobody."""
        take, self._take = self._take, None
        close = getattr(take and take.slices, "close", None)
        if close is not None:
            close()

    def _job(
        self, what: str, take: _Take, run: Callable[[], Any], then: Callable[[Any], object] = lambda _result: None
    ) -> None:
        self.jobs.append(
            Job(
                what,
                run,
                lambda result: then(result) if take is self._take else None,
                lambda error: self._on_failed(error) if take is self._take else None,
            )
        )


def _ignore(_what: object) -> None:
    return
