"""Snapshots on disk: `<data_dir>/snapshots/<index>-<term>.snap`, each written aside and complete once it has its name.

    written aside as .tmp (`aside.py`) -> last sync -> rename -> sync of the directory -> in `list`

One thread (the member's job thread) makes, receives and prunes; another (the hub) may call `list` and `open` at the
same time: the list is a tuple that is replaced, never changed. A file is never changed once it has its name; a reader
keeps its descriptor, so pruning does not disturb it.

An OSError concerns the snapshot that was being made, not the store: its file is removed, and what is in `list` stays
good. The log's lock covers this directory too.

Opening looks at both ends of each file only (`snapshot_format.py`); what lies between is checked by whoever reads it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from raftkv.storage.aside import AsideFile
from raftkv.storage.damage import corrupt, failed
from raftkv.storage.directory import TEMPORARY, Owner, check_owner
from raftkv.storage.files import Files
from raftkv.storage.interface import (
    Position,
    SnapshotInfo,
    SnapshotMeta,
    SnapshotReceiver,
    SnapshotStore,
    SnapshotWriter,
)
from raftkv.storage.snapshot_format import ASK_AGAIN, FrameEncoder, SnapshotFile

DIRECTORY = "snapshots"

_NAME = re.compile(r"\d{16,}-\d{8,}\.snap")

OnEvent = Callable[[str, dict[str, Any]], None]


def snapshot_paths(files: Files, data_dir: str) -> list[str]:
    """The complete ones in `data_dir`, newest first; none when there is no such directory."""
    directory = f"{data_dir}/{DIRECTORY}"
    return [f"{directory}/{name}" for name in reversed(files.list(directory)) if _NAME.fullmatch(name)]


class SnapshotFiles(SnapshotStore):
    """See the module's text."""

    def __init__(
        self,
        data_dir: str,
        *,
        cluster_id: str,
        machine: str,
        fsync: bool = True,
        files: Files | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        """Opens the snapshots in `data_dir`. Without `fsync` they survive the end of the process, not of the machine.

        Event given to `on_event`, for the log: "snapshot_leftover" {file}: an unfinished one was removed.

        Raises StorageCorrupt for a snapshot that must not be used (cut, damaged at its ends, of another cluster or
        machine), and StorageFailed when the operating system refuses a call.
        """
        self.files, self.fsync = files or Files(), fsync
        self.directory = f"{data_dir}/{DIRECTORY}"
        self._owner = Owner(cluster_id, 0, machine)
        self._infos: tuple[SnapshotInfo, ...] = ()
        self._aside_numbers = itertools.count(1)
        try:
            self._open(on_event or (lambda _name, _fields: None))
            if self.fsync:  # the last life may have ended between making a name and the sync of its directory
                self.files.fsync_directory(data_dir)
                self.files.fsync_directory(self.directory)
        except OSError as error:
            raise failed(str(error.filename or self.directory), 0, "opening the snapshots", error) from error

    def _open(self, on_event: OnEvent) -> None:
        self.files.make_directory(self.directory)
        found = []
        for name in self.files.list(self.directory):
            path = f"{self.directory}/{name}"
            if name.endswith(TEMPORARY):
                self.files.unlink(path)
                on_event("snapshot_leftover", {"file": path})
            elif _NAME.fullmatch(name):
                found.append(self._look_at(path))
        self._infos = _newest_first(found)

    def _look_at(self, path: str) -> SnapshotInfo:
        with closing(SnapshotFile(self.files, path)) as file:
            self.check(file, path)
            file.check_end()
            if self.fsync:
                file.sync()  # the last life may have written it without
            return SnapshotInfo(file.meta, file.size_bytes)

    # For the hub, at any time

    def list(self) -> list[SnapshotInfo]:
        return [*self._infos]

    def open(self, info: SnapshotInfo) -> SnapshotFile:
        path = self.path(_position(info))
        file = SnapshotFile(self.files, path)
        if file.meta != info.meta:
            file.close()
            raise FileNotFoundError(errno.ENOENT, "another snapshot of this entry has taken its place", path)
        return file

    # For the job thread

    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        return _Writer(self, meta, self._aside((meta.index, meta.term)))

    def receive(self, index: int, term: int, size_bytes: int) -> SnapshotReceiver:
        return _Receiver(self, (index, term), size_bytes, self._aside((index, term)))

    def prune(self, keep: int) -> None:
        old = self._infos[max(keep, 1) :]
        if old:
            # The rename of the newest may not be on disk, when its own sync failed: an older one must not go before.
            self._sync_directory()
        for info in reversed(old):
            with contextlib.suppress(FileNotFoundError):
                self.files.unlink(self.path(_position(info)))
            self._infos = tuple(each for each in self._infos if each != info)

    def verify(self, info: SnapshotInfo) -> None:
        """Reads all of it. Raises StorageCorrupt when it is damaged."""
        with closing(self.open(info)) as file:
            file.verify()

    # For the snapshots under way

    def path(self, position: Position) -> str:
        index, term = position
        return f"{self.directory}/{index:016d}-{term:08d}.snap"

    def check(self, file: SnapshotFile, path: str) -> None:
        """Raises StorageCorrupt when it is not the snapshot that `path` names, or is somebody else's."""
        meta = file.meta
        check_owner(file.path, Owner(meta.cluster_id, 0, meta.machine), self._owner)
        if self.path((meta.index, meta.term)) != path:
            raise file.corrupt(0, f"holds the state after entry {meta.index} of term {meta.term}, as {path} does not")

    def publish(self, aside: AsideFile, meta: SnapshotMeta) -> SnapshotInfo:
        """Gives a complete file its name."""
        info = SnapshotInfo(meta, aside.size)
        aside.rename(self.path(_position(info)))
        try:
            self._sync_directory()
        finally:
            # Also when that failed: the file is there, and has replaced what was called so before.
            others = [each for each in self._infos if _position(each) != _position(info)]
            self._infos = _newest_first([info, *others])
        return info

    def _aside(self, position: Position) -> AsideFile:
        path = f"{self.path(position)}.{next(self._aside_numbers)}{TEMPORARY}"
        return AsideFile(self.files, path, fsync=self.fsync)

    def _sync_directory(self) -> None:
        if self.fsync:
            self.files.fsync_directory(self.directory)


def _position(info: SnapshotInfo) -> Position:
    return info.meta.index, info.meta.term


def _newest_first(infos: Iterable[SnapshotInfo]) -> tuple[SnapshotInfo, ...]:
    return tuple(sorted(infos, key=_position, reverse=True))


class _Writer(SnapshotWriter):
    def __init__(self, store: SnapshotFiles, meta: SnapshotMeta, aside: AsideFile) -> None:
        self._store, self._meta, self._aside = store, meta, aside
        self._encoder = FrameEncoder(meta)
        aside.append(self._encoder.header)

    def write(self, kind: int, data: bytes) -> None:
        self._aside.append(self._encoder.frame(kind, data))
        self._aside.append(data)

    def finish(self) -> SnapshotInfo:
        self._aside.append(self._encoder.end())
        return self._store.publish(self._aside, self._meta)

    def abandon(self) -> None:
        self._aside.drop()


class _Receiver(SnapshotReceiver):
    def __init__(self, store: SnapshotFiles, position: Position, size_bytes: int, aside: AsideFile) -> None:
        self._store, self._position, self._size_bytes, self._aside = store, position, size_bytes, aside

    @property
    def offset(self) -> int:
        return self._aside.size

    def write(self, data: bytes) -> None:
        with self._aside.dropped_on_error():
            self._check_size(self.offset + len(data) <= self._size_bytes, len(data))
        self._aside.append(data)

    def finish(self) -> SnapshotInfo:
        aside = self._aside
        with aside.dropped_on_error():
            self._check_size(self.offset == self._size_bytes, 0)
            aside.write_out()
            with closing(SnapshotFile(self._store.files, aside.path, ASK_AGAIN)) as file:
                self._store.check(file, self._store.path(self._position))
                file.verify()
        return self._store.publish(aside, file.meta)

    def abandon(self) -> None:
        self._aside.drop()

    def _check_size(self, holds: bool, more: int) -> None:
        if not holds:
            what = f"{self.offset + more} bytes have come, {self._size_bytes} were announced"
            raise corrupt(self._aside.path, self.offset, what, ASK_AGAIN)
