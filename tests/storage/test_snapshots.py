"""What both snapshot stores do, and what the one on disk does with its directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from raftkv.errors import StorageFailed
from raftkv.storage.files import Files
from raftkv.storage.interface import SnapshotStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from tests.storage.snapshots import content, meta, names, open_store, raw, receive, slices_of, take


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStore:
    return open_store(tmp_path) if request.param == "disk" else MemorySnapshotStore()


def positions(store: SnapshotStore) -> list[tuple[int, int]]:
    return [(info.meta.index, info.meta.term) for info in store.list()]


def test_the_newest_comes_first(store: SnapshotStore):
    for index, term in ((10, 1), (30, 2), (20, 1), (30, 3)):
        take(store, index, term)
    assert positions(store) == [(30, 3), (30, 2), (20, 1), (10, 1)]
    assert [content(store, info) for info in store.list()] == [slices_of(index) for index in (30, 30, 20, 10)]


def test_an_unfinished_snapshot_is_not_there(store: SnapshotStore):
    writer = store.create(meta(10))
    writer.write(1, b"data")
    assert store.list() == []
    writer.abandon()
    writer.abandon()
    for again in (lambda: writer.write(1, b"data"), writer.finish):
        with pytest.raises(OSError, match="given up before"):
            again()
    assert store.list() == []


def test_a_finished_snapshot_is_not_abandoned(store: SnapshotStore):
    writer = store.create(meta(10))
    info = writer.finish()
    writer.abandon()
    assert store.list() == [info]
    assert content(store, info) == []
    with pytest.raises(OSError, match="finished or given up before"):
        writer.finish()


def test_a_second_one_of_the_same_entry_takes_its_place(store: SnapshotStore):
    first = take(store, 10)
    reader = store.open(first)
    writer = store.create(meta(10, time_ms=5))
    writer.write(2, b"the second")
    second = writer.finish()
    assert store.list() == [second]
    assert content(store, second) == [(2, b"the second")]
    assert list(reader.slices()) == slices_of(10), "who reads it goes on"
    with pytest.raises(FileNotFoundError):
        store.open(first)


def test_two_of_the_same_entry_are_made_at_the_same_time(store: SnapshotStore):
    first = store.create(meta(10))
    second = store.create(meta(10))
    first.write(1, b"first")
    second.write(1, b"second")
    first.abandon()
    assert content(store, second.finish()) == [(1, b"second")]


def test_sent_and_received_it_is_the_same(store: SnapshotStore, tmp_path: Path):
    other: SnapshotStore = MemorySnapshotStore()
    if not isinstance(store, MemorySnapshotStore):
        other = open_store(tmp_path / "other")
    info = take(other, 10, 3)
    data = raw(other, info)
    assert len(data) == info.size_bytes
    received = receive(store, 10, 3, data)
    assert received == info
    assert hash(received) == hash(info)
    assert store.list() == [info]
    assert content(store, received) == slices_of(10)


def test_pruning_never_takes_the_newest_and_disturbs_no_reader(store: SnapshotStore):
    store.prune(1)
    for index in (10, 20, 30, 40):
        take(store, index)
    old = store.list()[-1]
    reader = store.open(old)
    store.prune(3)
    assert positions(store) == [(40, 1), (30, 1), (20, 1)]
    store.prune(0)
    assert positions(store) == [(40, 1)]
    assert list(reader.slices()) == slices_of(10)
    assert reader.read(0, 1 << 20)[5:10] == reader.read(5, 5)
    reader.close()
    with pytest.raises(FileNotFoundError):
        store.open(old)


def test_names_tell_the_entry_and_leftovers_are_removed(tmp_path: Path):
    take(open_store(tmp_path), 12, 3)
    open_store(tmp_path).create(meta(13))
    (tmp_path / "snapshots/notes.txt").write_text("by hand")
    assert len(names(tmp_path)) == 3
    events = list[tuple[str, Any]]()
    assert positions(open_store(tmp_path, on_event=lambda *event: events.append(event))) == [(12, 3)]
    assert names(tmp_path) == ["0000000000000012-00000003.snap", "notes.txt"]
    assert [name for name, _ in events] == ["snapshot_leftover"]
    assert events[0][1]["file"].endswith("0000000000000013-00000001.snap.1.tmp")


def test_numbers_beyond_the_width_of_a_name(tmp_path: Path):
    store = open_store(tmp_path)
    take(store, 10**17, 10**9)
    take(store, 10**16 - 1, 1)
    assert positions(open_store(tmp_path)) == positions(store) == [(10**17, 10**9), (10**16 - 1, 1)]


def test_opening_makes_both_directories_durable(tmp_path: Path):
    """The last life may have ended when it had made one, and not synced yet what it is in."""

    class Noting(Files):
        def fsync_directory(self, directory: str) -> None:
            synced.add(directory)
            super().fsync_directory(directory)

    open_store(tmp_path)
    synced = set[str]()
    open_store(tmp_path, files=Noting(), fsync=True)
    assert synced == {str(tmp_path), str(tmp_path / "snapshots")}


def test_a_directory_that_cannot_be_opened(tmp_path: Path):
    (tmp_path / "snapshots").write_text("a file")
    with pytest.raises(StorageFailed, match=r"opening the snapshots failed.*What to do"):
        open_store(tmp_path)


def test_the_list_tells_what_is_there_when_the_directory_could_not_be_synced(tmp_path: Path):
    """The new file has replaced the old one by then, so the old one must not be listed any more."""

    class Failing(Files):
        fails = False

        def fsync_directory(self, directory: str) -> None:
            if self.fails:
                raise OSError(5, "Input/output error")
            super().fsync_directory(directory)

    files = Failing()
    store = open_store(tmp_path, files=files, fsync=True)
    take(store, 10)
    files.fails = True
    writer = store.create(meta(10, time_ms=5))
    with pytest.raises(OSError, match="Input/output error"):
        writer.finish()
    [info] = store.list()
    assert info.meta.time_ms == 5
    assert content(store, info) == []


class Watching(Files):
    def __init__(self) -> None:
        self.unsynced = self.unsynced_max = self.writes_max = self.syncs = 0

    def pwritev(self, fd: int, buffers: Any, offset: int) -> None:
        size = sum(map(len, buffers))
        self.writes_max = max(self.writes_max, size)
        self.unsynced += size
        self.unsynced_max = max(self.unsynced_max, self.unsynced)
        super().pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int) -> None:
        self.unsynced = 0
        self.syncs += 1
        super().fdatasync(fd)

    def fsync_directory(self, directory: str) -> None:
        self.syncs += 1
        super().fsync_directory(directory)


@pytest.mark.parametrize("slice_bytes", [1000, 64 << 10, 9 << 20], ids=["small", "usual", "huge"])
def test_little_waits_for_the_disk_at_any_time(tmp_path: Path, slice_bytes: int):
    """Else its last sync would hold up the log's for as long as everything takes."""
    files = Watching()
    store = open_store(tmp_path, files=files, fsync=True)
    info = take(store, 10, 1, [(2, bytes(slice_bytes))] * ((10 << 20) // slice_bytes + 1))
    assert files.writes_max <= 1 << 20
    assert files.unsynced_max <= 1 << 20
    data = raw(store, info)
    files.writes_max = files.unsynced_max = 0
    receive(store, 10, 1, data, 256 << 10)
    assert files.writes_max <= 1 << 20
    assert files.unsynced_max <= 1 << 20


def test_without_fsync_nothing_is_synced(tmp_path: Path):
    store = open_store(tmp_path, files=(files := Watching()))
    files.syncs = 0  # making the directory is durable in any case
    data = raw(store, take(store, 10))
    receive(store, 20 // 2, 1, data)
    store.prune(1)
    open_store(tmp_path, files=files)
    assert files.syncs == 0


def test_no_descriptor_is_left(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    store = open_store(tmp_path)
    data = raw(store, take(store, 10))
    receive(store, 10, 1, data)
    store.create(meta(11)).abandon()
    store.receive(11, 1, 5).abandon()
    store.verify(store.list()[0])
    open_store(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
