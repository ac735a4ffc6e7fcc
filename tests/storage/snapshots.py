"""What the snapshot tests share: making, sending and reading them, and a disk that stops, fails or loses power."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raftkv.storage.files import Files
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotStore
from raftkv.storage.snapshots import SnapshotFiles

CLUSTER = "test-cluster"
Slices = list[tuple[int, bytes]]


def meta(index: int, term: int = 1, **fields: Any) -> SnapshotMeta:
    values = {"time_ms": 1000 + index, "membership": b"members", "machine": "redis", "machine_version": 1}
    return SnapshotMeta(index, term, **{**values, "cluster_id": CLUSTER, **fields})


def slices_of(index: int) -> Slices:
    """Different for each snapshot; over several writes and syncs of a store with small limits."""
    return [(1, b"ledger %d" % index), (2, b"%d " % index * 60), (2, b""), (2, b"end of %d" % index)]


def open_store(directory: Path, **settings: Any) -> SnapshotFiles:
    return SnapshotFiles(str(directory), **{"cluster_id": CLUSTER, "machine": "redis", "fsync": False, **settings})


def take(store: SnapshotStore, index: int, term: int = 1, slices: Slices | None = None) -> SnapshotInfo:
    writer = store.create(meta(index, term))
    for kind, data in slices_of(index) if slices is None else slices:
        writer.write(kind, data)
    return writer.finish()


def raw(store: SnapshotStore, info: SnapshotInfo) -> bytes:
    reader = store.open(info)
    data = reader.read(0, info.size_bytes + 1)
    reader.close()
    return data


def receive(store: SnapshotStore, index: int, term: int, data: bytes, chunk_bytes: int = 100) -> SnapshotInfo:
    receiver = store.receive(index, term, len(data))
    for at in range(0, len(data), chunk_bytes):
        assert receiver.offset == at
        receiver.write(data[at : at + chunk_bytes])
    return receiver.finish()


def content(store: SnapshotStore, info: SnapshotInfo) -> Slices:
    reader = store.open(info)
    found = list(reader.slices())
    reader.close()
    return found


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory / "snapshots"))


class Crash(BaseException):
    """The process ends here. No OSError, so that nothing that handles those can tidy up."""


class StepFiles(Files):
    """Counts every call, tells `on_call` before each, and lets the one numbered `stop_at` go wrong:

    before, after   the process ends before or after it; every later call raises Crash too
    torn            the same, with half of what it should have written
    once, for good  it fails with EIO, and so do, for good, all calls after it
    """

    def __init__(self, stop_at: int = 1 << 30, how: str = "before", on_call: Callable[[], None] = lambda: None) -> None:
        self.calls, self.stop_at, self.how, self.on_call = 0, stop_at, how, on_call
        self.open_fds = set[int]()
        self._nested = False

    def step(self, name: str, args: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if self._nested:
            return real(self, *args)
        self._nested = True
        try:
            self.on_call()
            self.calls += 1
            if self.calls >= self.stop_at:
                self._go_wrong(name, args, real)
            return real(self, *args)
        finally:
            self._nested = False

    def _go_wrong(self, name: str, args: tuple[Any, ...], real: Callable[..., Any]) -> None:
        if self.how in ("once", "for good"):
            if self.calls == self.stop_at or self.how == "for good":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return
        if self.calls == self.stop_at and self.how == "after":
            real(self, *args)
        if self.calls == self.stop_at and self.how == "torn" and name == "pwritev":
            fd, buffers, offset = args
            data = b"".join(buffers)
            real(self, fd, [data[: len(data) // 2]], offset)
        raise Crash

    def open_read(self, path: str) -> int:
        return self.step("open_read", (path,), lambda _, path: self._opened(Files.open_read(self, path)))

    def create(self, path: str) -> int:
        return self.step("create", (path,), lambda _, path: self._opened(Files.create(self, path)))

    def _opened(self, fd: int) -> int:
        self.open_fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self.step("close", (fd,), lambda _, fd: self._closed(fd))

    def _closed(self, fd: int) -> None:
        Files.close(self, fd)
        self.open_fds.discard(fd)

    def size(self, fd: int) -> int:
        return self.step("size", (fd,), Files.size)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return self.step("pread", (fd, length, offset), Files.pread)

    def pwritev(self, fd: int, buffers: Any, offset: int) -> None:
        self.step("pwritev", (fd, buffers, offset), Files.pwritev)

    def fdatasync(self, fd: int) -> None:
        self.step("fdatasync", (fd,), Files.fdatasync)

    def make_directory(self, directory: str) -> None:
        self.step("make_directory", (directory,), Files.make_directory)

    def list(self, directory: str) -> list[str]:
        return self.step("list", (directory,), Files.list)

    def rename(self, source: str, target: str) -> None:
        self.step("rename", (source, target), Files.rename)

    def unlink(self, path: str) -> None:
        self.step("unlink", (path,), Files.unlink)

    def fsync_directory(self, directory: str) -> None:
        self.step("fsync_directory", (directory,), Files.fsync_directory)

    def bury(self) -> None:
        """Closes what a crash left open."""
        for fd in self.open_fds:
            os.close(fd)
        self.open_fds.clear()


class PowerFiles(StepFiles):
    """Knows what of one directory survives a loss of power: bytes by their sync, names by that of the directory. A name
    that was made, changed or removed since may have arrived or not, each for itself."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._directory = directory
        self._durable = dict[str, int]()  # name -> number of a file
        self._now = dict[str, int]()
        self._pending = list[tuple[str, int | None]]()
        self._bytes = dict[int, bytes]()
        self._fds = dict[int, int]()
        self._numbers = itertools.count(1)

    def step(self, name: str, args: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        result = super().step(name, args, real)
        note = getattr(self, f"_note_{name}", None)
        if note is not None and not self._nested:
            note(result, *args)
        return result

    def _set(self, path: str, number: int | None) -> None:
        name = os.path.basename(path)
        self._pending.append((name, number))
        if number is None:
            self._now.pop(name, None)
        else:
            self._now[name] = number

    def _note_create(self, fd: int, path: str) -> None:
        number = self._fds[fd] = next(self._numbers)
        self._set(path, number)

    def _note_open_read(self, fd: int, path: str) -> None:
        self._fds[fd] = self._now[os.path.basename(path)]

    def _note_fdatasync(self, _: None, fd: int) -> None:
        self._bytes[self._fds[fd]] = os.pread(fd, 1 << 30, 0)

    def _note_rename(self, _: None, source: str, target: str) -> None:
        self._set(target, self._now[os.path.basename(source)])
        self._set(source, None)

    def _note_unlink(self, _: None, path: str) -> None:
        self._set(path, None)

    def _note_fsync_directory(self, _: None, directory: str) -> None:
        if directory == str(self._directory):
            self._durable, self._pending = dict(self._now), []

    def disks(self) -> Iterator[dict[str, bytes]]:
        """Name -> bytes, for each way in which the power can go now: none of the pending names arrived, all, one
        alone, all but one."""
        alone = [[each] for each in self._pending]
        without = [self._pending[:at] + self._pending[at + 1 :] for at in range(len(self._pending))]
        for arrived in [[], self._pending, *alone, *without]:
            found = dict(self._durable)
            for name, number in arrived:
                found.pop(name, None)
                if number is not None:
                    found[name] = number
            yield {name: self._bytes.get(number, b"") for name, number in found.items()}
