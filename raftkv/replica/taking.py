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
from typing import Any, Final

from raftkv.replica.jobs import Job
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotStore

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
        self.meta: SnapshotMeta | None = None
        """Of the one that is being taken."""

        self.wanted = False
        """Somebody asked for one; taken as soon as none is under way."""

        self.last_failed = False
        self._store = store
        self._keep = keep
        self._on_taken = on_taken
        self._tell_failed = on_failed
        self._slices: Slices | None = None
        self._made_all = False
        self._unwritten: deque[int] = deque()
        self._retry_at_ms = 0
        self._now_ms = 0
        self._number = 0

    def may_begin(self, now_ms: int) -> bool:
        self._now_ms = now_ms
        return self.meta is None and (self.wanted or now_ms >= self._retry_at_ms)

    def begin(self, meta: SnapshotMeta, slices: Slices) -> None:
        self.wanted = False
        self.meta, self._slices, self._made_all = meta, slices, False
        self._number += 1
        self._writer: Any = None
        self._job("create", self._create, self._nothing)

    def _create(self) -> None:
        self._writer = self._store.create(self._required_meta)

    @property
    def _required_meta(self) -> SnapshotMeta:
        assert self.meta is not None
        return self.meta

    @property
    def has_more(self) -> bool:
        """Whether `step` would do something now."""
        return self.meta is not None and not self._made_all and sum(self._unwritten) < UNWRITTEN_BYTES_MAX

    def step(self) -> None:
        """Make one more slice."""
        assert self._slices is not None
        part = next(self._slices, None)
        if part is None:
            self._made_all = True
            self._job("finish", self._finish, self._on_finished)
            return
        kind, data = part
        self._unwritten.append(len(data))
        self._job("write", lambda: self._writer.write(kind, data), self._on_written)

    def _finish(self) -> SnapshotInfo:
        info: SnapshotInfo = self._writer.finish()
        self._store.prune(self._keep)
        return info

    def _on_written(self, _result: Any) -> None:
        self._unwritten.popleft()

    def _on_finished(self, info: SnapshotInfo) -> None:
        self._end()
        self.last_failed = False
        self._on_taken(info)

    def abandon(self) -> None:
        """Another snapshot has made this one useless."""
        if self.meta is not None:
            self._end()
            self._drop()

    def _drop(self) -> None:
        writer_of = self._take_writer()
        self.jobs.append(Job("abandon", writer_of, self._nothing, self._ignore))

    def _take_writer(self) -> Callable[[], None]:
        def drop() -> None:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.abandon()

        return drop

    def _on_failed(self, error: Exception) -> None:
        self.last_failed = True
        self._retry_at_ms = self._now_ms + RETRY_MS
        self._end()
        self._drop()
        self._tell_failed(error)

    def _end(self) -> None:
        slices, self._slices = self._slices, None
        close = getattr(slices, "close", None)
        if close is not None:
            close()
        self.meta = None
        self._made_all = False
        self._unwritten.clear()
        self._number += 1  # what is still under way for it comes back to nobody

    def _job(self, what: str, run: Callable[[], Any], then: Callable[[Any], None]) -> None:
        number = self._number
        self.jobs.append(
            Job(
                what,
                run,
                lambda result: then(result) if number == self._number else None,
                lambda error: self._on_failed(error) if number == self._number else None,
            )
        )

    def _nothing(self, _result: Any) -> None:
        return

    def _ignore(self, _error: Exception) -> None:
        return
