"""What the storage tests share: entries and writes, opening logs, and a disk that fails on command."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

from raftkv.raft.messages import Entry, HardState
from raftkv.storage.files import Buffer, Files
from raftkv.storage.interface import LogStore, Write
from raftkv.storage.wal import Wal

OWNER: dict[str, Any] = {"cluster_id": "test-cluster", "member_id": 1, "machine": "redis"}
BYTES_ALL = 1 << 40


def entry(index: int, term: int = 1, data: bytes = b"data") -> Entry:
    return Entry(index, term, 1, data)


def one(index: int, term: int = 1, data: bytes = b"data") -> Write:
    """A write of one entry."""
    return Write(None, [entry(index, term, data)])


def open_wal(directory: object, **settings: Any) -> Wal:
    """Small segments, no helper thread, no syncs unless asked for: fast, and the same on every run."""
    defaults = {"segment_bytes": 4096, "fsync": False, "prepare_ahead": False}
    return Wal.open(str(directory), **{**OWNER, **defaults, **settings})


def contents(store: LogStore) -> tuple[HardState, list[Entry], list[tuple[int, int]]]:
    """Everything a store gives after opening."""
    found = store.recovered
    entries = store.read(1, found.last_index, BYTES_ALL) if found.last_index else []
    return found.hard_state, entries, found.terms


def reopened(directory: object, **settings: Any) -> tuple[HardState, list[Entry], list[tuple[int, int]]]:
    """What a new life of the member finds."""
    wal = open_wal(directory, **settings)
    try:
        return contents(wal)
    finally:
        wal.close()


def segments(directory: object) -> list[str]:
    return [f"{directory}/{name}" for name in sorted(os.listdir(str(directory))) if name.endswith(".wal")]


class Model:
    """The naive twin: a list of entries and a hard state."""

    def __init__(self) -> None:
        self.hard_state, self.entries = HardState(), list[Entry]()

    def append(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self.hard_state = write.hard_state or self.hard_state
            if write.entries:
                self.entries = [*self.entries[: write.entries[0].index - 1], *write.entries]

    def state(self) -> tuple[HardState, list[Entry], list[tuple[int, int]]]:
        runs = [
            (entry.index, entry.term)
            for before, entry in zip([None, *self.entries], self.entries, strict=False)
            if before is None or before.term != entry.term
        ]
        return self.hard_state, list(self.entries), runs


class FailingFiles(Files):
    """The n-th call that changes or syncs something fails with `error`, and so do all after it.

    A failing write leaves any subset of its sectors behind, chosen by `seed`. `calls` counts.
    """

    def __init__(self, fail_at: int, error: int, seed: int = 0) -> None:
        self.fail_at, self.error, self.calls = fail_at, error, 0
        self._random = random.Random(seed)

    def _fails(self) -> bool:
        self.calls += 1
        return self.calls >= self.fail_at

    def _check(self) -> None:
        if self._fails():
            raise OSError(self.error, os.strerror(self.error))

    def _pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int) -> None:
        if self._fails():
            self._tear(fd, b"".join(buffers), offset)
            raise OSError(self.error, os.strerror(self.error))
        super()._pwritev(fd, buffers, offset, flags)

    def _tear(self, fd: int, data: bytes, offset: int) -> None:
        at, step = 0, 512 - offset % 512
        while at < len(data):
            if self._random.random() < 0.5:
                os.pwrite(fd, data[at : at + step], offset + at)
            at, step = at + step, 512

    def fdatasync(self, fd: int) -> None:
        self._check()
        super().fdatasync(fd)

    def fsync_directory(self, directory: str) -> None:
        self._check()
        super().fsync_directory(directory)

    def rename(self, source: str, target: str) -> None:
        self._check()
        super().rename(source, target)

    def truncate(self, fd: int, size: int) -> None:
        self._check()
        super().truncate(fd, size)
