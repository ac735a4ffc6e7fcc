"""`dump` and `verify`: what they show, that they stop at damage, and that they change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from raftkv.errors import ConfigError, StorageCorrupt
from raftkv.machines.interface import Batch
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.inspect import dump, verify
from raftkv.storage.interface import Write
from tests.storage.disks import one, open_wal, segments


@pytest.fixture
def log(tmp_path: Path) -> Path:
    batch = msgspec.msgpack.encode(Batch(1, 2, [[b"set", b"a", b"1"], [b"get", b"a"]]))
    wal = open_wal(tmp_path)
    wal.append([Write(HardState(4, 2, 0), [Entry(1, 4, 0, b""), Entry(2, 4, 1, batch)])])
    wal.append([one(3, 4, b"\xc1 not msgpack"), Write(None, [Entry(4, 4, 9, b"")])])
    wal.append([one(3, 5, b"x" * 3500)])
    wal.close()
    return tmp_path


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_dump_shows_every_record_with_its_place(log: Path):
    lines = list(dump(str(log)))
    first, second = segments(log)
    assert lines[0] == f"segment 1 {first} 4096 bytes"
    assert [line.split(maxsplit=1)[1] for line in lines[1:6]] == [
        "batch 1 hard_state term=4 vote=2 commit=0 bytes=4",
        "batch 1 entry index=1 term=4 kind=NO_OP bytes=6",
        "batch 1 entry index=2 term=4 kind=COMMANDS bytes=33 commands=2",
        "batch 2 entry index=3 term=4 kind=COMMANDS bytes=19",
        "batch 2 entry index=4 term=4 kind=9 bytes=6",
    ]
    assert lines[6] == f"segment 2 {second} 4096 bytes"
    assert lines[7].endswith("batch 3 entry index=3 term=5 kind=COMMANDS bytes=3507")
    assert len(lines) == 8
    offset = int(lines[3].split()[0])
    data = Path(first).read_bytes()
    assert msgspec.msgpack.decode(data[offset : offset + 33], type=Entry).index == 2


def test_verify_counts(log: Path):
    report = verify(str(log))
    assert (report.cluster_id, report.member_id, report.machine) == ("test-cluster", 1, "redis")
    assert (report.segments, report.batches, report.first_index, report.last_index) == (2, 3, 1, 3)
    assert report.hard_state == HardState(4, 2, 0)
    assert (report.bytes_on_disk, report.torn) == (8192, None)
    assert 512 * 2 + 3500 < report.bytes_used < 512 * 2 + 4096


def test_a_torn_tail_is_told_and_left_alone(log: Path):
    path = Path(segments(log)[1])
    path.write_bytes(path.read_bytes()[:2000])
    before = snapshot(log)
    torn = verify(str(log)).torn
    assert torn is not None
    assert (torn.file, torn.offset, torn.bytes) == (str(path), 512, 2000 - 512)
    assert "torn tail of 1488 bytes: the file ends inside a batch" in list(dump(str(log)))[-1]
    assert snapshot(log) == before


def test_damage_is_raised_after_the_lines_before_it(log: Path):
    path = Path(segments(log)[0])
    path.write_bytes(path.read_bytes().replace(b"not msgpack", b"not msgpicK"))
    shown = list[str]()
    with pytest.raises(StorageCorrupt, match=f"{path} at byte"):
        shown.extend(dump(str(log)))
    assert len(shown) == 4
    with pytest.raises(StorageCorrupt, match=f"{path} at byte"):
        verify(str(log))


def test_a_running_member_can_be_looked_at(log: Path):
    wal = open_wal(log)
    assert verify(str(log)).last_index == 3
    wal.append([one(4, 5)])
    assert verify(str(log)).last_index == 4
    wal.close()


def test_no_log_is_the_callers_fault(tmp_path: Path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="holds no log"):
            verify(str(directory))
        with pytest.raises(ConfigError, match="holds no log"):
            list(dump(str(directory)))
    assert os.listdir(tmp_path) == []
