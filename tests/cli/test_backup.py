"""``raftkv backup`` and ``raftkv restore``: copied from a fake member, which holds a real snapshot's bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from raftkv.cli import backup as backup_module
from raftkv.cli import resp
from raftkv.cli.main import app
from raftkv.errors import NotDone, StorageCorrupt, YourFault
from tests.cli.fake_member import GONE, HELLO, in_turn, member, status
from tests.cluster.directories import add_snapshot

LEADS = status(1, leader=1, commit=7, applied=7)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return add_snapshot(tmp_path / "member").read_bytes()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "READ_BYTES", 1000)
    monkeypatch.setattr(backup_module, "CATCH_UP_LOOK_S", 0)
    monkeypatch.setattr(resp, "LOOK_S", 0.001)


def holding(content: bytes, size: int | None = None) -> Callable[[list[str]], object]:
    """RAFT.SNAPSHOT of a member with this one; `size`: what it says that it has."""

    def reply(command: list[str]) -> object:
        match command[1:]:
            case ["NOW"]:
                return 7
            case ["LIST"]:
                return [{"index": 9, "bytes": 1}, {"index": 7, "bytes": len(content) if size is None else size}]
            case ["READ", "7", offset, length]:
                return content[int(offset) : int(offset) + int(length)]
        return Exception(f"ERR what is {command}?")

    return reply


def run(*arguments: object) -> Result:
    """Errors that main would show are raised."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_backup_is_the_snapshot_byte_for_byte(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "b.raftkv"
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.SNAPSHOT": holding(content)}) as address:
        result = run("backup", address, file)
    assert result.exit_code == 0
    assert file.read_bytes() == content
    assert "index 7 of term 3" in result.output
    assert result.stderr == ""  # no bars and spinners where nobody looks
    verified = run("backup", "--verify", file)
    assert verified.output == result.output
    for told in (
        "cluster       c1",
        "redis of version 2",
        "2023-11-14 22:13:20 UTC",
        "1=h1:8001, 2=h2:8001, 3=h3:8001",
    ):
        assert told in verified.output


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "b.raftkv"
    file.write_text("dear")
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.SNAPSHOT": holding(content)}) as address:
        with pytest.raises(YourFault, match="is there already"):
            run("backup", address, file)
        assert file.read_text() == "dear"
        assert run("backup", address, file, "--force").exit_code == 0
    assert file.read_bytes() == content


def test_a_follower_is_waited_for_until_it_has_what_was_committed(tmp_path: Path, content: bytes) -> None:
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS}) as leader:
        states = [status(2, leader=1, leader_address=leader, applied=applied) for applied in (5, 6, 7)]
        seen: list[list[str]] = []
        follower = {"HELLO": HELLO, "RAFT.STATUS": in_turn(*states), "RAFT.SNAPSHOT": holding(content)}
        with member(follower, seen) as address:
            assert run("backup", address, tmp_path / "b").exit_code == 0
    names = [command[0] for command in seen if command[0] != "HELLO"]
    assert names[:4] == ["RAFT.STATUS", "RAFT.STATUS", "RAFT.STATUS", "RAFT.SNAPSHOT"]


def test_one_that_stays_behind_is_not_backed_up(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "CATCH_UP_S", 0)
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS}) as leader:
        behind = status(2, leader=1, leader_address=leader, applied=5)
        with (
            member({"HELLO": HELLO, "RAFT.STATUS": behind}) as address,
            pytest.raises(NotDone, match="applied entry 5, and 7 is committed"),
        ):
            run("backup", address, tmp_path / "b")


def test_without_a_leader_it_is_said_that_something_may_be_missing(tmp_path: Path, content: bytes) -> None:
    lost = status(2, leader=None, applied=7)
    with member({"HELLO": HELLO, "RAFT.STATUS": lost, "RAFT.SNAPSHOT": holding(content)}) as address:
        result = run("backup", address, tmp_path / "b")
    assert result.exit_code == 0
    assert "may lack the newest writes" in result.stderr


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def test_what_came_damaged_is_not_kept(tmp_path: Path, content: bytes) -> None:
    snapshot = holding(flipped(content, 3000))
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.SNAPSHOT": snapshot}) as address,
        pytest.raises(NotDone, match=r"what came is damaged, so no backup was made.*checksum"),
    ):
        run("backup", address, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["member"]


@pytest.mark.parametrize("why", ["ends early", "not listed", "refused", "gone", "failed"])
def test_a_copy_that_cannot_be_completed_leaves_nothing(tmp_path: Path, content: bytes, why: str) -> None:
    snapshot = holding(content, len(content) + 1)
    whole = holding(content)
    ends: dict[str, Callable[[list[str]], object]] = {
        "ends early": snapshot,
        "not listed": lambda command: [] if command[1] == "LIST" else whole(command),
        "refused": lambda command: Exception("ERR there is no snapshot") if command[2:3] else whole(command),
        "gone": lambda command: GONE if command[2:3] else whole(command),
        "failed": lambda _command: Exception("ERR the snapshot failed: no space"),
    }
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.SNAPSHOT": ends[why]}) as address,
        pytest.raises((NotDone, resp.Refused)) as caught,
    ):
        run("backup", address, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["member"]
    assert ("no backup was made" in str(caught.value)) == (why != "failed")


def test_a_place_that_cannot_be_written_to(tmp_path: Path, content: bytes) -> None:
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.SNAPSHOT": holding(content)}) as address,
        pytest.raises(NotDone, match=r"nowhere/b\.part: No such file or directory; no backup was made"),
    ):
        run("backup", address, tmp_path / "nowhere" / "b")


@pytest.mark.parametrize("arguments", [[], [":7001"], ["nowhere", "b"], [":7001", "--verify", "pyproject.toml"]])
def test_what_is_wrong_to_ask_is_exit_code_2(arguments: list[str]) -> None:
    assert run("backup", *arguments).exit_code == 2


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_file_is_exit_code_1_for_verify_and_refused_by_restore(
    tmp_path: Path, content: bytes, damage: str
) -> None:
    file, directory = tmp_path / "b", tmp_path / "new"
    file.write_bytes(flipped(content, 4000) if damage == "flipped" else content[:4000])
    result = run("backup", "--verify", file)
    assert result.exit_code == 1
    assert "do not use this file" in result.stderr
    with pytest.raises(StorageCorrupt, match="do not use this file"):
        run("restore", file, "--data", directory)
    assert not directory.exists()


def test_restoring_says_how_to_start(tmp_path: Path, content: bytes) -> None:
    file, table = tmp_path / "b", "1=h1:8001,2=h2:8002"
    file.write_bytes(content)
    lines = run("restore", file, "--id", "2", "--data", tmp_path / "two", "--members", table).output.splitlines()
    assert lines[0].startswith(f"{tmp_path}/two: member 2 of the new cluster ")
    assert lines[0].endswith("with the state after entry 7")
    assert lines[1] == f"start it: raftkv serve --id 2 --data {tmp_path}/two --peer-port 8002 --members {table}"
    alone = run("restore", file, "--data", tmp_path / "alone", "--peer-port", "8111", "--cluster-id", "mine").output
    assert "member 1 of the new cluster mine" in alone
    assert "--members 1=127.0.0.1:8111" in alone


@pytest.mark.parametrize(
    "wrong",
    [
        ["--members", "1"],
        ["--members", "x=h:1"],
        ["--members", "0=h:1"],
        ["--members", "1=h:1,1=h:2"],
        ["--members", "1=h:1,2=h:1"],
        ["--members", "1=h"],
        ["--cluster-id", "a b"],
        ["--id", "0"],
    ],
)
def test_members_that_cannot_be_are_exit_code_2(tmp_path: Path, content: bytes, wrong: list[str]) -> None:
    (tmp_path / "b").write_bytes(content)
    assert run("restore", tmp_path / "b", "--data", tmp_path / "new", *wrong).exit_code == 2
    assert not (tmp_path / "new").exists()
