"""Cutting a log under somebody who reads it, entries that a base forbids, power lost while segments go."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raftkv.errors import BrokenInvariant, StorageCorrupt, StorageFailed
from raftkv.raft.messages import HardState
from raftkv.storage import inspect
from raftkv.storage.files import Files
from raftkv.storage.interface import LogStore, Write
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.recovery import segment_path
from tests.storage.disks import BYTES_ALL, entry, one, open_wal, segments
from tests.storage.test_base import LOAD, expected, long_log, reopened, state_of
from tests.storage.test_power_loss import PowerFiles


class Interrupting(Files):
    """Runs `at_next_read` once, in the middle of a read: after the reader has its places, before it has the bytes."""

    at_next_read: Callable[[], None] | None = None

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        interrupt, self.at_next_read = self.at_next_read, None
        if interrupt is not None:
            interrupt()
        return super().pread(fd, length, offset)


def test_a_reader_keeps_what_it_came_for_while_the_log_is_cut(tmp_path: Path) -> None:
    """Its segments would otherwise be closed under it, and their descriptors be other files by then."""
    files = Interrupting()
    wal = open_wal(tmp_path, segment_bytes=1024, files=files, prepare_ahead=True)
    for write in long_log():  # one at a time: many segments
        wal.append([write])

    def cut() -> None:
        appending = threading.Thread(target=wal.append, args=([Write(None, [], (30, 1))],))
        appending.start()
        appending.join(30)
        assert not appending.is_alive(), "an append does not wait for readers"
        assert wal._remover is not None
        wal._remover.join(0.05)  # it must not come to its end before this reader does

    files.at_next_read = cut
    assert [found.index for found in wal.read(1, 40, BYTES_ALL)] == list(range(1, 41))
    assert wal._remover is not None
    wal._remover.join(30)
    assert segments(tmp_path)[0] > segment_path(str(tmp_path), 8), "then they go"
    with pytest.raises(BrokenInvariant, match="are held"):
        wal.read(1, 40, BYTES_ALL)
    wal.close()
    assert reopened(tmp_path) == expected([*long_log(), Write(None, [], (30, 1))])


@pytest.fixture(params=["memory", "wal"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LogStore:
    return MemoryLogStore() if request.param == "memory" else open_wal(tmp_path, segment_bytes=1024)


REFUSED = {
    "at the base": Write(None, [entry(30, 2)]),
    "below the base": Write(None, [entry(7, 2)]),
    "at its own base": Write(HardState(9), [entry(35, 1)], (35, 1)),
    "a gap behind its own base": Write(None, [entry(52, 2)], (50, 2)),
    "a base that goes back": Write(None, [], (29, 1)),
    "the base with another term": Write(None, [], (30, 2)),
}


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_base_forbids_is_refused_and_nothing_is_written(store: LogStore, tmp_path: Path, write: Write) -> None:
    load = [*long_log(), Write(None, [], (30, 1))]
    store.append(load)
    with pytest.raises(BrokenInvariant):
        store.append([write])
    store.append([one(41)])
    store.close()
    if not isinstance(store, MemoryLogStore):
        assert reopened(tmp_path) == expected([*load, one(41)])


def test_the_hard_state_of_a_refused_write_is_not_taken_along(tmp_path: Path) -> None:
    """The next base brings the newest hard state with it, and that must be one that counts."""
    wal = open_wal(tmp_path, segment_bytes=1024)
    wal.append(long_log())
    with pytest.raises(BrokenInvariant):
        wal.append([Write(HardState(9, 9), [entry(99)])])
    wal.append([Write(None, [], (40, 1))])
    wal.close()
    assert reopened(tmp_path)[0].hard_state == HardState(1, 1, 39)


def test_power_is_lost_after_any_write_of_a_load_that_cuts(tmp_path: Path) -> None:
    files = PowerFiles(dsync=True)
    wal = open_wal(tmp_path / "log", segment_bytes=1024, files=files, fsync=True)
    for number, write in enumerate(LOAD, 1):
        wal.append([write])
        assert reopened(files.lose_power(tmp_path / f"after {number}")) == expected(LOAD[:number]), number
    wal.close()


def test_a_base_that_keeps_what_is_not_there_is_damage(tmp_path: Path) -> None:
    """Cannot be written through the store, so its memory is forged: what it keeps was lost before it was written."""
    wal = open_wal(tmp_path)
    wal.append([one(1)])
    wal._index.add(2, 1, 0, 0, 0)
    wal.append([Write(None, [], (2, 1))])
    wal.close()
    with pytest.raises(StorageCorrupt, match="entry 2 of term 1, behind which the log begins, is not in the log"):
        open_wal(tmp_path)


def test_memory_changes_a_long_log_at_its_end_only() -> None:
    """The simulator's logs are long: an append must not copy them."""
    store = MemoryLogStore()
    store.append([one(1)])
    entries = store._log[1]
    store.append([one(2), one(3), one(2, 2)])
    assert store._log[1] is entries
    assert state_of(MemoryLogStore([Write(None, entries)]))[1] == [entry(1), entry(2, 2)]


def test_verify_tells_the_base_and_the_oldest_segment_that_counts(tmp_path: Path) -> None:
    load = [*long_log(), Write(None, [], (30, 1))]
    wal = open_wal(tmp_path, segment_bytes=1024)
    assert (inspect.verify(str(tmp_path)).base, inspect.verify(str(tmp_path)).oldest_segment) == ((0, 0), 1)
    for write in load:
        wal.append([write])
    wal.close()
    report = inspect.verify(str(tmp_path))
    assert (report.base, report.oldest_segment) == ((30, 1), int(Path(segments(tmp_path)[0]).stem))
    first, *_ = inspect.dump(str(tmp_path))
    assert first == f"the log begins with segment {report.oldest_segment}: a snapshot stands for what was before"


def test_no_append_waits_for_the_removal_and_its_failure_is_told_to_the_next(tmp_path: Path) -> None:
    class Held(Files):
        go = threading.Event()

        def replace_whole(self, directory: str, name: str, data: bytes) -> None:
            if threading.current_thread().name == "raftkv-wal-remove":
                assert self.go.wait(30)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().replace_whole(directory, name, data)

    files = Held()
    wal = open_wal(tmp_path, segment_bytes=4096, files=files, prepare_ahead=True)
    load = [*long_log(), Write(None, [], (30, 1)), one(41)]  # with room for the last in its segment
    for write in load:
        wal.append([write])
    assert wal._remover is not None
    files.go.set()
    wal._remover.join(30)
    with pytest.raises(StorageFailed, match="removing segments failed: Input/output error"):
        wal.append([one(42)])
    assert segments(tmp_path)[0] == segment_path(str(tmp_path), 1), "none may go before IDENTITY says so"
    wal.close()
    assert reopened(tmp_path) == expected(load)
