"""The n-th write or sync fails: the store stops at once, and nothing acknowledged is missing afterwards."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raftkv.errors import StorageCorrupt, StorageFailed
from raftkv.raft.messages import HardState
from raftkv.storage.files import Buffer, Files
from raftkv.storage.interface import Write
from raftkv.storage.wal import Wal
from tests.storage.disks import FailingFiles, Model, contents, entry, one, open_wal, reopened, segments

LOAD = [
    [Write(HardState(1, 1, 0), [entry(1)])],
    [one(2, data=b"x" * 1500)],
    [one(3, data=bytes(1400)), one(4)],
    [one(3, 2, b"y" * 900)],
    [Write(HardState(2, 2, 3), [])],
    [one(4, 2, b"large" * 2000)],
    [one(5, 2)],
    [one(6, 2, b"z" * 2000)],
]
"""Runs over several segments, one batch larger than a segment, one suffix replaced."""


def run(directory: Path, files: Files, **settings: Any) -> tuple[list[Any], bool]:
    """Writes LOAD until it fails. Returns the states that reopening may find, and whether it failed."""
    model = Model()
    try:
        wal = open_wal(directory, files=files, fsync=True, **settings)
    except StorageFailed:
        return [model.state()], True
    try:
        for writes in LOAD:
            before = model.state()
            model.append(writes)
            try:
                wal.append(writes)
            except StorageFailed as error:
                assert "What to do" in str(error)  # noqa: PT017
                assert_poisoned(wal)
                return [before, model.state()], True
    finally:
        wal.close()
    return [model.state()], False


def assert_poisoned(wal: Wal) -> None:
    calls = wal._files.calls  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.raises(StorageFailed):
            wal.append([Write(HardState(9, 9, 9), [])])
    assert wal._files.calls == calls, "a failed log must not touch the disk again"  # type: ignore[attr-defined]


def calls_without_failure(directory: Path, **settings: Any) -> int:
    files = FailingFiles(1 << 30, 0)
    assert not run(directory, files, **settings)[1]
    return files.calls


class NoDsync:
    """Mixed in: a file system without durable writes in one call."""

    def pwritev_dsync(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")


class FailingNoDsync(NoDsync, FailingFiles):
    pass


@pytest.mark.parametrize("make", [FailingFiles, FailingNoDsync], ids=["dsync", "write then sync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_the_nth_call_fails(tmp_path: Path, error: int, make: type[FailingFiles]):
    total = calls_without_failure(tmp_path / "all")
    for fail_at in range(1, total + 1):
        for seed in range(3):
            directory = tmp_path / f"{fail_at}-{seed}"
            allowed, failed = run(directory, make(fail_at, error, seed))
            assert failed
            found = reopened(directory, fsync=True)
            assert found in allowed, (fail_at, seed)
            assert reopened(directory) == found


def test_the_nth_call_fails_while_opening_again(tmp_path: Path):
    """Opening cuts a torn tail and makes the rest durable; failing in the middle of it loses nothing either."""
    run(tmp_path / "log", FailingFiles(1 << 30, 0))
    path = Path(segments(tmp_path / "log")[-1])
    whole = reopened(tmp_path / "log")
    data = path.read_bytes()
    fail_at, failed = 0, True
    while failed:
        fail_at += 1
        path.write_bytes(data + b"torn")
        files = FailingFiles(fail_at, errno.EIO, fail_at)
        try:
            open_wal(tmp_path / "log", files=files, fsync=True).close()
            failed = False
        except StorageFailed as error:
            assert "opening the log failed" in str(error)  # noqa: PT017
        assert reopened(tmp_path / "log") == whole
    assert fail_at > 4


def test_a_failure_of_the_helper_shows_when_its_segment_is_needed(tmp_path: Path):
    total = calls_without_failure(tmp_path / "all", prepare_ahead=True)
    for fail_at in range(1, total + 1):
        directory = tmp_path / str(fail_at)
        allowed, _ = run(directory, FailingFiles(fail_at, errno.ENOSPC), prepare_ahead=True)
        assert reopened(directory) in allowed


def test_the_error_names_file_offset_reason_and_number(tmp_path: Path):
    files = FailingFiles(1 << 30, errno.ENOSPC)
    wal = open_wal(tmp_path, files=files, fsync=True)
    wal.append([one(1)])
    end = wal._live.end
    files.fail_at = 0
    [path] = segments(tmp_path)
    with pytest.raises(StorageFailed, match=rf"{path} at byte {end}: .*No space left on device \(errno 28\)"):
        wal.append([one(2)])
    assert wal.read(1, 1, 100) == [entry(1)], "reading goes on"
    wal.close()


def test_a_short_write_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wal = open_wal(tmp_path, fsync=True)
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, *rest: real(fd, [b"".join(buffers)[:-32]], *rest))
    with pytest.raises(StorageFailed, match="short write"):
        wal.append([one(1)])
    wal.close()


def test_a_disk_that_cannot_read_is_corrupt(tmp_path: Path):
    class Unreadable(Files):
        broken = False

        def pread(self, fd: int, length: int, offset: int) -> bytes:
            if self.broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().pread(fd, length, offset)

    files = Unreadable()
    wal = open_wal(tmp_path, files=files)
    wal.append([one(1)])
    files.broken = True
    with pytest.raises(StorageCorrupt, match=r"cannot be read \(Input/output error\)"):
        wal.read(1, 1, 100)
    wal.close()
    files.broken = False
    with pytest.raises(StorageCorrupt, match=r"0001\.wal at byte 0: cannot be read"):
        open_wal(tmp_path, files=UnreadableSegments())


class UnreadableSegments(Files):
    def read_whole(self, path: str) -> bytes:
        if path.endswith(".wal"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read_whole(path)


class Watching(Files):
    """Notes every call that writes or syncs."""

    def __init__(self) -> None:
        self.calls = list[tuple[str, Any]]()

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self.calls.append(("write", offset))
        super().pwritev(fd, buffers, offset)

    def pwritev_dsync(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self.calls.append(("write and sync", offset))
        super().pwritev_dsync(fd, buffers, offset)

    def fdatasync(self, fd: int) -> None:
        self.calls.append(("sync", None))
        super().fdatasync(fd)


class WatchingNoDsync(NoDsync, Watching):
    pass


@pytest.mark.parametrize(
    ("make", "fsync", "expected"),
    [
        (Watching, True, ["write and sync"]),
        (WatchingNoDsync, True, ["write", "sync"]),
        (Watching, False, ["write"]),
    ],
    ids=["dsync", "write then sync", "fsync off"],
)
def test_the_calls_of_one_append(tmp_path: Path, make: type[Watching], fsync: bool, expected: list[str]):
    files, events = make(), list[str]()
    wal = open_wal(tmp_path, files=files, fsync=fsync, on_event=lambda name, _: events.append(name))
    files.calls.clear()
    wal.append([one(1), one(2), Write(HardState(1, 1, 1), [])])
    assert [name for name, _ in files.calls] == expected
    assert ("wal_dsync_unsupported" in events) == (make is WatchingNoDsync)
    wal.close()


def test_opening_writes_the_last_batch_again(tmp_path: Path):
    """It may be in the page cache only, and marked clean there by a sync that failed before."""
    wal = open_wal(tmp_path, fsync=True)
    wal.append([one(1)])
    start = wal._live.end
    wal.append([one(2)])
    wal.close()
    files = Watching()
    wal = open_wal(tmp_path, files=files, fsync=True)
    assert ("write and sync", start) in files.calls
    assert files.calls[-1][0] == "sync"
    assert contents(wal)[1] == [entry(1), entry(2)]
    wal.close()
