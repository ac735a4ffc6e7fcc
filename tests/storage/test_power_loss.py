"""The machine loses power after any acknowledged append: what was synced by then must contain everything."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raftkv.storage.files import Buffer, Files
from tests.storage.disks import Model, contents, one, open_wal, reopened, segments
from tests.storage.test_failures import LOAD


class PowerFiles(Files):
    """Keeps beside the real files what of them would survive: bytes by sync, names by sync of their directory."""

    def __init__(self, *, dsync: bool) -> None:
        self._dsync = dsync
        self._bytes = dict[int, bytearray]()  # by inode
        self._names = dict[str, int]()
        self._renamed = ""

    def pwritev_dsync(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        if not self._dsync:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        super().pwritev_dsync(fd, buffers, offset)
        kept, data = self._bytes.setdefault(os.fstat(fd).st_ino, bytearray()), b"".join(buffers)
        kept.extend(bytes(max(0, offset + len(data) - len(kept))))
        kept[offset : offset + len(data)] = data

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self._bytes[os.fstat(fd).st_ino] = bytearray(self.pread(fd, self.size(fd), 0))

    def rename(self, source: str, target: str) -> None:
        # Two names on their way at once may arrive in either order: IDENTITY before the segment it names.
        assert not self._renamed, f"{target} renamed before {self._renamed} was durable"
        self._renamed = target
        super().rename(source, target)

    def fsync_directory(self, directory: str) -> None:
        super().fsync_directory(directory)
        self._renamed = ""
        entries = [entry for entry in os.scandir(directory) if entry.is_file()]
        self._names = {entry.name: entry.inode() for entry in entries}

    def lose_power(self, directory: Path) -> Path:
        """Makes `directory` as the disk is when the power comes back."""
        directory.mkdir()
        for name, inode in self._names.items():
            (directory / name).write_bytes(self._bytes.get(inode, b""))
        return directory


@pytest.mark.parametrize("dsync", [True, False], ids=["dsync", "write then sync"])
@pytest.mark.parametrize("ahead", [True, False], ids=["helper", "no helper"])
def test_everything_acknowledged_survives_a_loss_of_power(tmp_path: Path, dsync: bool, ahead: bool):
    files, model = PowerFiles(dsync=dsync), Model()
    wal = open_wal(tmp_path / "log", files=files, fsync=True, prepare_ahead=ahead)
    assert reopened(files.lose_power(tmp_path / "after opening")) == model.state()
    for number, writes in enumerate(LOAD):
        wal.append(writes)
        model.append(writes)
        assert reopened(files.lose_power(tmp_path / f"after {number}")) == model.state(), number
    wal.close()


def test_what_opening_found_survives_a_loss_of_power(tmp_path: Path):
    """The first life wrote without syncs; what the second one reports must be on disk by then, the cut too."""
    files = PowerFiles(dsync=True)
    wal = open_wal(tmp_path / "log", files=files)
    for index in range(1, 12):
        wal.append([one(index, data=b"x" * 700)])
    wal.close()
    path = Path(segments(tmp_path / "log")[-1])
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[:-300])
    wal = open_wal(tmp_path / "log", files=files, fsync=True)
    found: Any = contents(wal)
    assert len(found[1]) == 10
    after = files.lose_power(tmp_path / "after")
    assert reopened(after) == found
    assert [p.read_bytes() for p in map(Path, segments(after))] == [
        p.read_bytes() for p in map(Path, segments(tmp_path / "log"))
    ]
    wal.close()


def test_segments_are_zeros_on_disk_before_they_are_used(tmp_path: Path):
    """Otherwise each append would also have to bring out new blocks, and what follows the end were not known."""
    files = PowerFiles(dsync=True)
    wal = open_wal(tmp_path / "log", files=files, fsync=True)
    wal.append([one(1, data=b"x" * 3000)])
    wal.append([one(2, data=b"x" * 1000)])
    after = files.lose_power(tmp_path / "after")
    assert [os.path.getsize(path) for path in segments(after)] == [4096, 4096]
    wal.close()
