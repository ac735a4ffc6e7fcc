"""Snapshots in memory: for tests, and for the simulator. What is finished survives a crash, what is not does not."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from raftkv.errors import StorageCorrupt
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotReader, SnapshotReceiver, SnapshotStore
from raftkv.storage.interface import SnapshotWriter as Writer

_encode = msgspec.msgpack.Encoder().encode
_Content = tuple[SnapshotMeta, list[tuple[int, bytes]]]
_decode = msgspec.msgpack.Decoder(_Content).decode


class MemorySnapshotStore(SnapshotStore):
    def __init__(self) -> None:
        self.files: dict[SnapshotInfo, bytes] = {}

    def list(self) -> list[SnapshotInfo]:
        return sorted(self.files, key=lambda info: (info.meta.index, info.meta.term), reverse=True)

    def create(self, meta: SnapshotMeta) -> Writer:
        return _Writer(self, meta)

    def open(self, info: SnapshotInfo) -> SnapshotReader:
        return _Reader(self.files[info])

    def receive(self, index: int, term: int, size_bytes: int) -> SnapshotReceiver:
        return _Receiver(self, (index, term), size_bytes)

    def prune(self, keep: int) -> None:
        for info in self.list()[keep:]:
            del self.files[info]

    def put(self, meta: SnapshotMeta, data: bytes) -> SnapshotInfo:
        info = SnapshotInfo(meta, len(data))
        self.files[info] = data
        return info


class _Writer(Writer):
    def __init__(self, store: MemorySnapshotStore, meta: SnapshotMeta) -> None:
        self._store, self._meta = store, meta
        self._slices: list[tuple[int, bytes]] = []

    def write(self, kind: int, data: bytes) -> None:
        self._slices.append((kind, data))

    def finish(self) -> SnapshotInfo:
        return self._store.put(self._meta, _encode((self._meta, self._slices)))

    def abandon(self) -> None:
        self._slices = []


class _Reader(SnapshotReader):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def slices(self) -> Iterator[tuple[int, bytes]]:
        return iter(_decode(self._data)[1])

    def close(self) -> None:
        return


class _Receiver(SnapshotReceiver):
    def __init__(self, store: MemorySnapshotStore, position: tuple[int, int], size_bytes: int) -> None:
        self._store, self._position, self._size_bytes = store, position, size_bytes
        self._data = b""

    @property
    def offset(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._data += data

    def finish(self) -> SnapshotInfo:
        try:
            meta, _ = _decode(self._data)
        except msgspec.DecodeError as error:
            raise StorageCorrupt("the snapshot is damaged") from error
        if (meta.index, meta.term) != self._position or len(self._data) != self._size_bytes:
            raise StorageCorrupt("the snapshot is not the one that was announced")
        return self._store.put(meta, self._data)

    def abandon(self) -> None:
        self._data = b""
