"""The directory: lock, identity, leftovers, roll-over, and the helper that makes segments ahead."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from raftkv.errors import BrokenInvariant, StorageCorrupt, StorageFailed
from raftkv.storage import wal as wal_module
from raftkv.storage.files import Buffer, Files
from raftkv.storage.index import EntryIndex, Place
from tests.storage.disks import entry, one, open_wal, reopened, segments


def test_a_second_store_of_this_process_is_refused(tmp_path: Path):
    wal = open_wal(tmp_path)
    with pytest.raises(StorageCorrupt, match=rf"in use by process {os.getpid()}\..*What to do"):
        open_wal(tmp_path)
    wal.append([one(1)])
    wal.close()
    assert reopened(tmp_path)[1] == [entry(1)]


HOLDER = """
import sys
from tests.storage.disks import one, open_wal
wal = open_wal(sys.argv[1])
wal.append([one(1)])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StorageCorrupt, match=f"in use by process {holder.pid}"):
            open_wal(tmp_path)
        holder.kill()
        holder.wait()
    assert reopened(tmp_path)[1] == [entry(1)]


def test_a_refused_opening_leaves_no_lock_and_no_descriptor(tmp_path: Path):
    open_wal(tmp_path).close()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(StorageCorrupt):
            open_wal(tmp_path, member_id=2)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    open_wal(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_a_failure(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match=r"/file at byte 0: opening the log failed: File exists.*What to do"):
        open_wal(tmp_path / "file" / "log")


def test_parents_are_made_and_strange_files_left_alone(tmp_path: Path):
    directory = tmp_path / "a" / "b"
    open_wal(directory).close()
    (directory / "notes.txt").write_text("mine")
    (directory / "old.wal").write_text("not a number")
    (directory / "spare.tmp").write_bytes(b"left by a crash")
    open_wal(directory).close()
    assert sorted(os.listdir(directory)) == ["000000000001.wal", "IDENTITY", "LOCK", "notes.txt", "old.wal"]


def test_names_too_long_for_the_header_are_refused(tmp_path: Path):
    with pytest.raises(BrokenInvariant, match="names too long"):
        open_wal(tmp_path, cluster_id="c" * 600)
    open_wal(tmp_path, cluster_id="c" * 255).close()


def test_segments_follow_each_other_and_a_large_batch_gets_its_own(tmp_path: Path):
    wal = open_wal(tmp_path, fsync=True)
    wal.append([one(1, data=b"a" * 3000)])
    wal.append([one(2, data=b"b" * 3000)])
    wal.append([one(3, data=b"c" * 9000)])
    wal.append([one(4, data=b"d" * 3000)])
    wal.close()
    sizes = [os.path.getsize(path) for path in segments(tmp_path)]
    assert sizes[:2] + sizes[3:] == [4096] * 3
    assert 9000 + 512 < sizes[2] < 9000 + 512 + 128
    assert [len(found.data) for found in reopened(tmp_path)[1]] == [3000, 3000, 9000, 3000]


def test_segments_grow_from_the_first_to_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wal_module, "FIRST_SEGMENT_BYTES", 4096)
    wal = open_wal(tmp_path, segment_bytes=12_000)
    for index in range(1, 20):
        wal.append([one(index, data=b"x" * 2000)])
    wal.close()
    assert [os.path.getsize(path) for path in segments(tmp_path)][:4] == [4096, 8192, 12_000, 12_000]


def test_a_crash_before_the_identity_names_the_newest_segment(tmp_path: Path):
    wal = open_wal(tmp_path)
    wal.append([one(1, data=b"a" * 3000)])
    first = (tmp_path / "IDENTITY").read_bytes()
    wal.append([one(2, data=b"b" * 3000)])
    wal.close()
    second = (tmp_path / "IDENTITY").read_bytes()
    assert first != second
    (tmp_path / "IDENTITY").write_bytes(first)
    assert len(reopened(tmp_path)[1]) == 2
    assert (tmp_path / "IDENTITY").read_bytes() == second


class Gate(Files):
    """Holds the helper's writes until `go`, and tells when it has begun."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.written_by = dict[str, set[int]]()

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.endswith("spare.tmp"):
            self.begun.set()
            assert self.go.wait(30)
        self.written_by.setdefault(os.path.basename(name), set()).add(threading.get_ident())
        super().pwritev(fd, buffers, offset)


def test_the_helper_makes_the_next_segment_while_appends_go_on(tmp_path: Path):
    files = Gate()
    wal = open_wal(tmp_path, files=files, fsync=True, prepare_ahead=True)
    wal.append([one(1, data=b"a" * 1000)])
    assert not files.begun.is_set(), "not before the segment is half full"
    wal.append([one(2, data=b"b" * 1000)])
    assert files.begun.wait(30)
    wal.append([one(3, data=b"c" * 500)])
    files.go.set()
    wal.append([one(4, data=b"d" * 1500)])
    assert files.written_by["spare.tmp"].isdisjoint({threading.get_ident()})
    assert "large.tmp" in files.written_by, "only the first segment was made on the spot"
    assert len(segments(tmp_path)) == 2
    wal.close()
    assert [found.index for found in reopened(tmp_path)[1]] == [1, 2, 3, 4]


def test_closing_stops_the_helper_and_removes_its_work(tmp_path: Path):
    files = Gate()
    wal = open_wal(tmp_path, files=files, fsync=True, prepare_ahead=True)
    wal.append([one(1, data=b"a" * 3000)])
    assert files.begun.wait(30)
    files.go.set()
    wal.close()
    assert sorted(os.listdir(tmp_path)) == ["000000000001.wal", "IDENTITY", "LOCK"]
    assert not [thread for thread in threading.enumerate() if thread.name == "raftkv-wal-blank"]


def test_a_blank_too_small_for_a_large_batch_is_kept_for_later(tmp_path: Path):
    wal = open_wal(tmp_path, fsync=True, prepare_ahead=True)
    wal.append([one(1, data=b"a" * 3000)])
    wal.append([one(2, data=b"b" * 9000)])
    wal.append([one(3, data=b"c" * 3000)])
    sizes = [os.path.getsize(path) for path in segments(tmp_path)]
    assert sizes[1] > 9000
    assert sizes[2] == 4096
    wal.close()
    assert len(reopened(tmp_path)[1]) == 3


def test_no_append_ever_makes_a_segment_larger(tmp_path: Path):
    wal = open_wal(tmp_path, fsync=True)
    for index in range(1, 150):
        wal.append([one(index, data=b"x" * (index * 7 % 400))])
    wal.close()
    assert {os.path.getsize(path) for path in segments(tmp_path)} == {4096}


def test_what_the_helper_met_is_raised_when_its_segment_is_needed(tmp_path: Path):
    class FailingSpare(Files):
        def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
            if os.readlink(f"/proc/self/fd/{fd}").endswith("spare.tmp"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().pwritev(fd, buffers, offset)

    wal = open_wal(tmp_path, files=FailingSpare(), fsync=True, prepare_ahead=True)
    wal.append([one(1, data=b"a" * 2500)])
    wal.append([one(2, data=b"b" * 500)])
    with pytest.raises(StorageFailed, match="No space left on device"):
        wal.append([one(3, data=b"c" * 2500)])
    wal.close()
    assert [found.index for found in reopened(tmp_path)[1]] == [1, 2]


def test_the_index_is_only_touched_under_its_guard(tmp_path: Path):
    wal = open_wal(tmp_path)

    class Guarded(EntryIndex):
        touched = 0

        def add(self, *place: int) -> None:
            assert wal._index_guard.locked()
            self.touched += 1
            super().add(*place)

        def places(self, first: int, last: int, bytes_max: int) -> list[Place]:
            assert wal._index_guard.locked()
            self.touched += 1
            return super().places(first, last, bytes_max)

    wal._index = index = Guarded()
    wal.append([one(1), one(2)])
    wal.read(1, 2, 100)
    assert index.touched == 3
    wal.close()
