"""Help, the settings as flags, the manual, and how the command ends when something is wrong."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raftkv.cli import settings as manual
from raftkv.cli.main import app, main
from raftkv.config import SETTINGS, Settings, load
from raftkv.errors import StorageCorrupt

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `raftkv serve` would have run."""
    runs: list[Settings] = []

    def run(settings: Settings) -> int:
        runs.append(settings)
        return 0

    fake: Any = types.ModuleType("raftkv.server.app")
    fake.run = run
    monkeypatch.setitem(sys.modules, "raftkv.server.app", fake)
    monkeypatch.setattr("raftkv.server.app", fake, raising=False)
    return runs


def end_of_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["raftkv", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


GROUPS = {"wal": ["dump", "verify"], "member": ["add", "remove", "promote", "demote", "list"]}
COMMANDS = ["serve", "dev", "status", "settings", "help", "transfer", "backup", "restore", "recover"]


@pytest.mark.parametrize(
    "command",
    [
        [],
        *([name] for name in [*COMMANDS, *GROUPS]),
        *([group, name] for group, names in GROUPS.items() for name in names),
    ],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
    assert result.output == CliRunner().invoke(app, [*command, "-h"]).output
    if command and command[-1] not in GROUPS:
        assert "Example" in result.output


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_help_of_serve_names_every_setting_in_full(columns: str) -> None:
    output = CliRunner(env={"COLUMNS": columns}).invoke(app, ["serve", "--help"]).output
    for setting in SETTINGS:
        assert f"--{setting.dashed} " in output
        assert setting.variable in output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("raftkv ")


# ---- serve ----


def test_flags_reach_the_server(served: list[Settings]) -> None:
    members = "1=127.0.0.1:8001,2=127.0.0.1:8002"
    short = ["--id", "2", "--port", "7002", "--peer-port", "8002", "--data", "there", "--members", members]
    result = CliRunner().invoke(app, ["serve", *short, "--raft-heartbeat-interval-ms", "20"])
    assert result.exit_code == 0, result.output
    assert served[0].node.id == 2
    assert (served[0].client.port, served[0].peer.port, served[0].node.data_dir) == (7002, 8002, "there")
    assert served[0].raft.heartbeat_interval_ms == 20


def test_every_setting_is_a_flag(served: list[Settings]) -> None:
    flags = [part for s in SETTINGS if s.default not in ("", {}) for part in (f"--{s.dashed}", s.text(s.default))]
    result = CliRunner().invoke(app, ["serve", *flags])
    assert result.exit_code == 0, result.output
    assert served == [load(None, {}, {})]


def test_file_and_variables_reach_the_server(served: list[Settings], tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[client]\nport = 7100\nclients_max = 9\n")
    runner = CliRunner(env={"RAFTKV_CONFIG": str(path), "RAFTKV_CLIENT_PORT": "7200"})
    result = runner.invoke(app, ["serve"])
    assert result.exit_code == 0, result.output
    assert (served[0].client.port, served[0].client.clients_max) == (7200, 9)


def test_a_wrong_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of_main(monkeypatch, "serve", "--port", "many") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "flag --port: client.port = 'many': must be a whole number from 0 to 65535\n"


def test_an_unknown_flag_is_exit_code_2_with_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["serve", "--prot", "1"])
    assert result.exit_code == 2
    assert "--port" in result.output


def test_a_member_that_must_stop_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], served: list[Settings]
) -> None:
    def run(settings: Settings) -> int:
        raise StorageCorrupt("wal-1 offset 7: [what] happened")

    monkeypatch.setattr(sys.modules["raftkv.server.app"], "run", run)
    assert end_of_main(monkeypatch, "serve") == 3
    assert capsys.readouterr().err == "wal-1 offset 7: [what] happened\n"


def test_asserts_cannot_be_switched_off() -> None:
    command = [sys.executable, "-O", "-m", "raftkv", "--version"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "without -O" in result.stderr


# ---- settings ----


def test_the_manual_in_conf_is_up_to_date() -> None:
    assert (ROOT / "conf" / "raftkv.toml").read_text("utf-8") == manual.manual(), "run: make fix"


def test_the_manual_holds_every_default(tmp_path: Path) -> None:
    path = tmp_path / "raftkv.toml"
    path.write_text(CliRunner().invoke(app, ["settings"]).output)
    assert load(path, {}, {}) == load(None, {}, {})
    lines = path.read_text().splitlines()
    assert sum(" = " in line and not line.startswith("#") for line in lines) == len(SETTINGS)
    assert max(map(len, lines)) <= 110


# ---- wal ----


def test_wal_says_when_there_is_no_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for command in ("dump", "verify"):
        assert end_of_main(monkeypatch, "wal", command, str(tmp_path)) == 2
        assert str(tmp_path) in capsys.readouterr().err


def test_wal_needs_a_directory() -> None:
    result = CliRunner().invoke(app, ["wal", "verify", "nowhere"])
    assert result.exit_code == 2
