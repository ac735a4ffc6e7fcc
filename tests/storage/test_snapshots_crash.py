"""Taking, receiving and pruning stop, fail or lose power at every call: what was certain is there, and what is there is
whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from raftkv.errors import StorageCorrupt, StorageFailed
from raftkv.storage import aside
from raftkv.storage.interface import SnapshotStore
from raftkv.storage.snapshots import SnapshotFiles
from tests.storage.snapshots import (
    Crash,
    PowerFiles,
    StepFiles,
    content,
    names,
    open_store,
    raw,
    receive,
    slices_of,
    take,
)


@pytest.fixture(autouse=True)
def _many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one small snapshot is written and synced several times."""
    monkeypatch.setattr(aside, "UNWRITTEN_BYTES_MAX", 64)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The snapshot at 40, as another member sends it."""
    store = open_store(tmp_path_factory.mktemp("sender"))
    return raw(store, take(store, 40))


class Life:
    """Takes 10, 20 and 30, receives 40, prunes. `certain`: entries whose snapshots must be found from now on.
    `possible`: those that may."""

    def __init__(self, directory: Path, files: StepFiles, sent: bytes, *, keep: int = 2) -> None:
        self.directory, self.files, self.sent, self.keep = directory, files, sent, keep
        self.certain, self.possible = set[int](), set[int]()
        self.store: SnapshotFiles | None = None

    def open(self, *, fsync: bool = True) -> SnapshotFiles:
        self.store = open_store(self.directory, files=self.files, fsync=fsync)
        self.certain = set(entries(self.store))
        return self.store

    def steps(self) -> None:
        """Goes on after an error, as a member does."""
        assert self.store is not None
        for index in (10, 20, 30, 40):
            with contextlib.suppress(OSError, StorageCorrupt):
                self.possible.add(index)
                if index < 40:
                    take(self.store, index)
                else:
                    receive(self.store, 40, 1, self.sent)
                self.certain.add(index)
        kept = set(entries(self.store)[: self.keep])
        with contextlib.suppress(OSError, StorageCorrupt):
            self.certain &= kept
            self.store.prune(self.keep)
            self.certain = kept

    def check(self, store: SnapshotStore) -> None:
        found = entries(store)
        assert self.certain <= set(found) <= self.possible
        assert found == sorted(found, reverse=True)
        for info in store.list():
            assert content(store, info) == slices_of(info.meta.index)


def entries(store: SnapshotStore) -> list[int]:
    return [info.meta.index for info in store.list()]


def whole_life(directory: Path, files: StepFiles, sent: bytes) -> Life:
    life = Life(directory, files, sent)
    with contextlib.suppress(Crash, StorageFailed):
        life.open()
        life.steps()
    files.bury()
    return life


def count_calls(directory: Path, sent: bytes) -> int:
    files = StepFiles()
    life = whole_life(directory, files, sent)
    assert life.certain == {30, 40}
    assert names(directory) == [f"{index:016d}-00000001.snap" for index in (30, 40)]
    return files.calls


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_the_process_ends_at_every_call(tmp_path: Path, sent: bytes, how: str):
    total = count_calls(tmp_path / "all", sent)
    assert total > 60
    for stop_at in range(1, total + 1):
        directory = tmp_path / str(stop_at)
        life = whole_life(directory, StepFiles(stop_at, how), sent)
        life.check(open_store(directory))
        assert all(name.endswith(".snap") for name in names(directory)), "leftovers are removed"


@pytest.mark.parametrize("how", ["once", "for good"])
def test_a_call_fails_and_the_store_goes_on(tmp_path: Path, sent: bytes, how: str):
    total = count_calls(tmp_path / "all", sent)
    for fail_at in range(1, total + 1):
        directory, files = tmp_path / str(fail_at), StepFiles(fail_at, how)
        life = whole_life(directory, files, sent)
        files.stop_at = 1 << 30
        if life.store is not None:
            life.check(life.store)
            take(life.store, 50)
            assert entries(life.store)[0] == 50
            life.certain.add(50)
        life.possible.add(50)
        life.check(open_store(directory))


def test_a_failed_snapshot_leaves_no_file(tmp_path: Path, sent: bytes):
    """But when removing it fails too: then it is removed at the next opening."""
    total = count_calls(tmp_path / "all", sent)
    for fail_at in range(1, total + 1):
        directory = tmp_path / str(fail_at)
        life = whole_life(directory, StepFiles(fail_at, "once"), sent)
        assert life.store is None or [name for name in names(directory) if name.endswith(".tmp")] == []


def test_power_is_lost_at_every_call(tmp_path: Path, sent: bytes):
    assert check_power(tmp_path, sent, 1 << 30, keep=2) > 20


def test_power_is_lost_at_any_time_after_a_call_failed(tmp_path: Path, sent: bytes):
    """As the sync of the directory behind a rename may: an older snapshot must not go before the newer is certain."""
    total = count_calls(tmp_path / "all", sent)
    for fail_at in range(1, total + 1):
        check_power(tmp_path / str(fail_at), sent, fail_at, keep=1)


def check_power(directory: Path, sent: bytes, fail_at: int, *, keep: int) -> int:
    """Returns in how many ways."""
    seen = set[object]()

    def lose_power() -> None:
        for disk in files.disks():
            state = (frozenset(disk.items()), frozenset(life.certain), frozenset(life.possible))
            if state not in seen:
                seen.add(state)
                check_disk(directory / str(len(seen)), disk, life)

    files = PowerFiles(directory / "live/snapshots", stop_at=fail_at, how="once", on_call=lose_power)
    life = Life(directory / "live", files, sent, keep=keep)
    with contextlib.suppress(StorageFailed):
        life.open()
        life.steps()
    lose_power()
    files.bury()
    return len(seen)


def check_disk(directory: Path, disk: dict[str, bytes], life: Life) -> None:
    (directory / "snapshots").mkdir(parents=True)
    for name, data in disk.items():
        (directory / "snapshots" / name).write_bytes(data)
    life.check(open_store(directory))


@pytest.mark.parametrize("fsync", [True, False], ids=["fsync", "fsync off"])
def test_what_the_next_life_lists_survives_a_loss_of_power(tmp_path: Path, sent: bytes, fsync: bool):
    """The first life ends anywhere, perhaps between a rename and the sync of the directory, perhaps all without syncs:
    the second one cuts the log behind what it finds."""
    total = count_calls(tmp_path / "all", sent)
    for stop_at in range(1, total + 1):
        directory = tmp_path / str(stop_at)
        files = PowerFiles(directory / "live/snapshots", stop_at=stop_at, how="before")
        life = Life(directory / "live", files, sent)
        with contextlib.suppress(Crash):
            life.open(fsync=fsync)
            life.steps()
        files.bury()
        files.stop_at = 1 << 30
        life.open(fsync=True)
        for number, disk in enumerate(files.disks()):
            check_disk(directory / str(number), disk, life)


def test_at_every_call_all_that_is_listed_can_be_read(tmp_path: Path, sent: bytes):
    """As the hub does, while the job thread is in the middle of something."""

    def look() -> None:
        if life.store is not None:
            looks.append(entries(life.store))
            for info in life.store.list():
                assert content(life.store, info) == slices_of(info.meta.index)

    looks, files = list[list[int]](), StepFiles(on_call=look)
    life = Life(tmp_path, files, sent)
    life.open()
    life.steps()
    assert [10] in looks
    assert [40, 30, 20] in looks
    assert entries(life.open()) == [40, 30]
