"""``raftkv wal`` on logs that are sound, damaged or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from raftkv.cli.main import app
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.interface import Write
from raftkv.storage.wal import Wal


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two batches: a vote, then two entries."""
    directory = tmp_path / "node1"
    wal = Wal.open(
        str(directory),
        cluster_id="c1",
        member_id=1,
        machine="redis",
        fsync=False,
        segment_bytes=64 * 1024,
        prepare_ahead=False,
    )
    wal.append([Write(HardState(term=7, vote=1), [])])
    wal.append([Write(None, [Entry(1, 7, EntryKind.NO_OP, b""), Entry(2, 7, EntryKind.NO_OP, b"x" * 50)])])
    wal.close()
    return directory


def wal(command: str, directory: Path) -> Result:
    return CliRunner().invoke(app, ["wal", command, str(directory)])


def test_a_sound_log(log: Path) -> None:
    dumped, verified = wal("dump", log), wal("verify", log)
    assert (dumped.exit_code, verified.exit_code) == (0, 0)
    assert "entry index=2 term=7" in dumped.output
    assert "1 of cluster c1" in verified.output
    assert "1 to 2" in verified.output
    assert "7, vote for 1" in verified.output


def test_a_damaged_log_is_exit_code_1_and_says_where(log: Path) -> None:
    segment = next(log.glob("*.wal"))
    content = bytearray(segment.read_bytes())
    content[600] ^= 0xFF  # inside the first batch, so with a good one behind it: not a torn tail
    segment.write_bytes(content)
    for command in ("dump", "verify"):
        result = wal(command, log)
        assert result.exit_code == 1
        assert f"{segment} at byte" in result.stderr


def test_a_log_that_begins_behind_a_snapshot(log: Path) -> None:
    store = Wal.open(str(log), cluster_id="c1", member_id=1, machine="redis", fsync=False, prepare_ahead=False)
    store.append([Write(None, [], (1, 7))])
    assert "2 to 2, behind the snapshot of entry 1 of term 7" in wal("verify", log).output
    store.append([Write(None, [], (2, 7))])
    assert "none, behind the snapshot of entry 2 of term 7" in wal("verify", log).output
    assert "base index=2 term=7" in wal("dump", log).output
    store.close()
