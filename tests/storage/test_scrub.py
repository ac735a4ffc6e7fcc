"""Reading cold segments again: every damaged byte is found, in small steps, while the log is written and cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv.errors import StorageCorrupt
from raftkv.storage import scrub
from raftkv.storage.files import Files
from raftkv.storage.interface import Write
from raftkv.storage.wal import Wal
from tests.storage.disks import one, open_wal, segments
from tests.storage.test_base import long_log


@pytest.fixture
def wal(tmp_path: Path):
    made = open_wal(tmp_path, segment_bytes=1024)
    for write in [*long_log(8), one(9, data=bytes(5000)), *[one(index) for index in range(10, 14)]]:
        made.append([write])
    yield made
    made.close()


def used(wal: Wal) -> dict[str, int]:
    return {segment.path: segment.end for segment in wal.cold_segments()}


def test_what_is_sound_is_read_once(wal: Wal, tmp_path: Path) -> None:
    assert list(used(wal)) == segments(tmp_path)[:-1], "all but the one that is being written"
    assert sum(scrub.log(Files(), wal.cold_segments())) == sum(used(wal).values())


def test_every_flipped_byte_is_found_except_in_the_padding(wal: Wal) -> None:
    path, end = [*used(wal).items()][1]
    data = Path(path).read_bytes()
    missed = []
    for at in range(end):
        Path(path).write_bytes(data[:at] + bytes([data[at] ^ 0x04]) + data[at + 1 :])
        try:
            list(scrub.log(Files(), wal.cold_segments()))
        except StorageCorrupt as error:
            assert f"{path} at byte" in str(error)  # noqa: PT017
        else:
            missed.append(at)
    assert len(missed) < 32 * 3, "three batches, each with at most an end mark and padding"
    assert not any(data[at] not in (0, 0xFF) for at in missed)


def test_a_file_cut_at_any_byte_is_found(wal: Wal) -> None:
    path, end = [*used(wal).items()][1]
    data = Path(path).read_bytes()
    for cut in range(end):
        Path(path).write_bytes(data[:cut])
        with pytest.raises(StorageCorrupt, match=f"{path} at byte"):
            list(scrub.log(Files(), wal.cold_segments()))


def test_steps_are_small_and_a_large_batch_is_one(wal: Wal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "STEP_BYTES", 512)
    steps = list(scrub.log(Files(), wal.cold_segments()))
    assert sum(steps) == sum(used(wal).values())
    assert sorted(steps)[-1] > 5000 > 1024 > sorted(steps)[-2]


def test_segments_that_are_cut_meanwhile_are_passed_over(wal: Wal) -> None:
    steps = scrub.log(Files(), wal.cold_segments())
    next(steps)
    wal.append([Write(None, [], (13, 1))])
    assert wal.cold_segments() == []
    list(steps)


def test_what_is_read_comes_from_the_disk(wal: Wal) -> None:
    """The page cache would show what was written, not what the disk has made of it since."""

    class Watching(Files):
        calls: list[str] = []

        def drop_cached(self, fd: int) -> None:
            self.calls.append("drop")
            super().drop_cached(fd)

        def pread(self, fd: int, length: int, offset: int) -> bytes:
            self.calls.append("read")
            return super().pread(fd, length, offset)

    list(scrub.log(Watching(), wal.cold_segments()[:1]))
    assert Watching.calls[0] == "drop"
    assert Watching.calls[-1] == "drop", "nor does it push out what others read"
