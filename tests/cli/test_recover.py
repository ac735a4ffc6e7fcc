"""``raftkv recover`` asks, warns, does nothing without a yes, and leaves a record."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from raftkv.cli import recover as recover_module
from raftkv.cli.main import app
from raftkv.cluster import founding
from raftkv.cluster.founding import Founding
from raftkv.errors import YourFault
from raftkv.raft.messages import HardState
from raftkv.storage.files import Files
from tests.cluster.directories import CLUSTER, THREE, add_log, no_ops, open_log

OWN = "1=h1:8001"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    add_log(tmp_path, no_ops(1, 5, term=3), HardState(term=3, vote=2, commit=2))
    founding.store(Files(), str(tmp_path), Founding(CLUSTER, THREE))
    return tmp_path


def last_index(directory: Path) -> int:
    with closing(open_log(directory)) as wal:
        return wal.recovered.last_index


def run(directory: Path, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["recover", str(directory), "--members", *arguments], input=answer)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover_module, "_is_terminal", lambda: True)


def test_it_warns_and_keeps_what_it_did(directory: Path) -> None:
    result = run(directory, OWN, "--yes")
    assert result.exit_code == 0, result.output
    assert "entries 3 to 5 may never have been acknowledged" in result.output
    assert "LOST: every write that others acknowledged" in result.output
    [record] = directory.glob("RECOVERED-*.txt")
    for told in (
        "member 1 of cluster c1",
        "entry 6 of term 4: members 1=h1:8001",
        "never again  2, 3",
        "voters 1, 2, 3",
    ):
        assert told in record.read_text()
    assert record.read_text() in result.output
    assert str(record) in result.output
    assert "--rebuild" not in result.output
    assert last_index(directory) == 6


def test_other_survivors_are_told_how_to_come_back(directory: Path) -> None:
    result = run(directory, f"{OWN},3=h3:8001", "--yes")
    assert "Start 3 by raftkv serve --rebuild, never with their old data" in result.output


@pytest.mark.usefixtures("on_a_terminal")
def test_a_yes_is_asked_for(directory: Path) -> None:
    refused = run(directory, OWN, answer="n\n")
    assert (refused.exit_code, last_index(directory)) == (1, 5)
    assert "nothing was changed" in refused.output
    assert not list(directory.glob("RECOVERED-*"))
    agreed = run(directory, OWN, answer="y\n")
    assert (agreed.exit_code, last_index(directory)) == (0, 6)


def test_piped_it_does_nothing_without_yes(directory: Path) -> None:
    result = run(directory, OWN, answer="y\n")
    assert isinstance(result.exception, YourFault)
    assert "--yes" in str(result.exception)
    assert last_index(directory) == 5


def test_a_report_that_cannot_be_kept_is_shown(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recover_module, "Files", lambda: SimpleNamespace(replace_whole=full))
    result = run(directory, OWN, "--yes")
    assert result.exit_code == 0
    assert "Recovered on" in result.output
    assert "Keep this: it could not be written" in result.output
    assert last_index(directory) == 6


def test_members_are_needed(directory: Path) -> None:
    assert CliRunner().invoke(app, ["recover", str(directory)]).exit_code == 2
    assert run(directory, "1", "--yes").exit_code == 2
    assert last_index(directory) == 5
