"""Snapshots in memory: for tests, and for the simulator. What is finished survives a crash, what is not does not.

The same in all that can be seen as `snapshots.SnapshotFiles`, but for the bytes of a file and the owner's names.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from raftkv.errors import StorageCorrupt
from raftkv.storage.interface import (
    Position,
    SnapshotInfo,
    SnapshotMeta,
    SnapshotReader,
    SnapshotReceiver,
    SnapshotStore,
    SnapshotWriter,
)

_encode = msgspec.msgpack.Encoder().encode
_Content = tuple[SnapshotMeta, list[tuple[int, bytes]]]
_decode = msgspec.msgpack.Decoder(_Content).decode


class MemorySnapshotStore(SnapshotStore):
    def __init__(self) -> None:
        self.files: dict[SnapshotInfo, bytes] = {}
        self.fails_next: OSError | StorageCorrupt | None = None
        """What the next create, receive, write or finish raises, once."""

    def list(self) -> list[SnapshotInfo]:
        return sorted(self.files, key=lambda info: (info.meta.index, info.meta.term), reverse=True)

    def fail_if_told(self) -> None:
        error, self.fails_next = self.fails_next, None
        if error is not None:
            raise error

    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        self.fail_if_told()
        return _Writer(self, meta)

    def open(self, info: SnapshotInfo) -> SnapshotReader:
        if info not in self.files:
            raise FileNotFoundError(errno.ENOENT, f"the snapshot at entry {info.meta.index} was removed or replaced")
        return _Reader(self.files[info])

    def receive(self, index: int, term: int, size_bytes: int) -> SnapshotReceiver:
        self.fail_if_told()
        return _Receiver(self, (index, term), size_bytes)

    def prune(self, keep: int) -> None:
        for info in self.list()[max(keep, 1) :]:
            del self.files[info]

    def put(self, meta: SnapshotMeta, data: bytes) -> SnapshotInfo:
        for other in self.list():
            if (other.meta.index, other.meta.term) == (meta.index, meta.term):
                del self.files[other]
        info = SnapshotInfo(meta, len(data))
        self.files[info] = data
        return info


class _Unfinished:
    """What is not in the store yet; it ends with the first failure."""

    _ended = False
    _store: MemorySnapshotStore

    def abandon(self) -> None:
        self._ended = True

    def _check(self) -> None:
        if self._ended:
            raise OSError(errno.EBADF, "this snapshot was finished or given up before")
        try:
            self._store.fail_if_told()
        except (OSError, StorageCorrupt):
            self._ended = True
            raise


class _Writer(_Unfinished, SnapshotWriter):
    def __init__(self, store: MemorySnapshotStore, meta: SnapshotMeta) -> None:
        self._store, self._meta = store, meta
        self._slices: list[tuple[int, bytes]] = []

    def write(self, kind: int, data: bytes) -> None:
        self._check()
        self._slices.append((kind, data))

    def finish(self) -> SnapshotInfo:
        self._check()
        self._ended = True
        return self._store.put(self._meta, _encode((self._meta, self._slices)))


class _Reader(SnapshotReader):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def slices(self) -> Iterator[tuple[int, bytes]]:
        return iter(_decode(self._data)[1])

    def close(self) -> None:
        return


class _Receiver(_Unfinished, SnapshotReceiver):
    def __init__(self, store: MemorySnapshotStore, position: Position, size_bytes: int) -> None:
        self._store, self._position, self._size_bytes = store, position, size_bytes
        self._data = bytearray()

    @property
    def offset(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._check()
        if self.offset + len(data) > self._size_bytes:
            raise self._corrupt("more bytes came than were announced")
        self._data += data

    def finish(self) -> SnapshotInfo:
        self._check()
        self._ended = True
        try:
            meta, _ = _decode(self._data)
        except msgspec.DecodeError as error:
            raise self._corrupt("it is damaged") from error
        if (meta.index, meta.term) != self._position or self.offset != self._size_bytes:
            raise self._corrupt("it is not the one that was announced")
        return self._store.put(meta, bytes(self._data))

    def _corrupt(self, why: str) -> StorageCorrupt:
        self._ended = True
        return StorageCorrupt(f"the snapshot at entry {self._position[0]} cannot be received: {why}")
