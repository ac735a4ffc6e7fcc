"""``raftkv dev``: what is checked before the start, and how processes are watched and stopped.

The processes here are small scripts that behave like members (or do not); the real ones run in
tests/integration.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from rich.console import Console

from raftkv.cli.dev import check_directories, check_ports, plan
from raftkv.cli.local_cluster import LocalCluster, Member
from raftkv.config import load
from raftkv.errors import YourFault

POLITE = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    "print('ready', flush=True); signal.sigwait([signal.SIGTERM])"
)
"""Without a handler: a signal that comes right before `signal.pause()` would be handled only after it, so never."""

STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\n"
    "while True: signal.pause()"
)


# ---- before the start ----


def test_the_plan_is_a_cluster(tmp_path: Path) -> None:
    members = plan(3, tmp_path, 7101, 8101, ["--storage-fsync", "off"])
    loaded = [load(None, {}, as_flags(member.flags)) for member in members]
    assert [settings.client.port for settings in loaded] == [7101, 7102, 7103]
    assert loaded[2].cluster.members == {1: "127.0.0.1:8101", 2: "127.0.0.1:8102", 3: "127.0.0.1:8103"}
    assert loaded[2].node.data_dir == str(tmp_path / "node3")
    assert all(settings.storage.fsync == "off" for settings in loaded)


def test_the_default_plan_is_the_one_in_conf() -> None:
    root = Path(__file__).parent.parent.parent
    for member in plan(3, Path("data"), 7001, 8001, []):
        assert load(None, {}, as_flags(member.flags)) == load(root / "conf" / f"{member.name}.toml", {}, {})


def as_flags(words: tuple[str, ...]) -> dict[str, str]:
    return {name.removeprefix("--"): text for name, text in zip(words[::2], words[1::2], strict=True)}


def test_ports_must_not_overlap_or_run_out() -> None:
    with pytest.raises(YourFault, match="overlap"):
        plan(3, Path("x"), 7001, 7003, [])
    with pytest.raises(YourFault, match="65535"):
        plan(3, Path("x"), 65534, 8001, [])


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(YourFault, match=f"port {port} is taken"):
            check_ports([Member(1, port, 0, ())])


def test_data_of_another_size_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    check_directories(data, 3)
    assert data.is_dir()
    for number in (1, 2, 3):
        (data / f"node{number}").mkdir()
    check_directories(data, 3)
    with pytest.raises(YourFault, match="--nodes 3 or another --data"):
        check_directories(data, 5)


def test_unusable_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(YourFault, match=r"cannot be used: .*--data"):
        check_directories(tmp_path / "file" / "data", 3)


# ---- processes ----


class Watched:
    """A LocalCluster of scripts; its log can be waited for."""

    def __init__(self, *scripts: str) -> None:
        members = [Member(number, 1, 1, ("-c", script)) for number, script in enumerate(scripts, 1)]
        self._out = io.StringIO()
        self.cluster = LocalCluster(members, Console(file=self._out, soft_wrap=True), command=(sys.executable,))
        self.code: int | None = None

    @property
    def log(self) -> str:
        return self._out.getvalue()

    async def run(self) -> None:
        self.code = await self.cluster.run()

    async def wait_for(self, text: str, times: int = 1) -> None:
        with trio.fail_after(60):
            while self.log.count(text) < times:
                await trio.sleep(0.01)


async def test_stop_on_a_signal_and_all_end_well() -> None:
    watched = Watched(POLITE, POLITE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await watched.wait_for("ready", 2)
        os.kill(os.getpid(), signal.SIGTERM)
    assert watched.code == 0
    assert "SIGTERM: stopping all members" in watched.log
    assert "node1 | ended with exit code 0" in watched.log
    assert "node2 | ready" in watched.log


async def test_a_member_that_ends_is_told_and_not_restarted() -> None:
    watched = Watched("print('[red]no[/red] port'); raise SystemExit(3)", POLITE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await watched.wait_for("ended with exit code 3; to start it again: raftkv serve")
        await watched.wait_for("ready")
        os.kill(os.getpid(), signal.SIGINT)
    assert watched.code == 1
    assert "node1 | [red]no[/red] port" in watched.log  # markup in a log line is text


async def test_the_end_of_the_last_member_is_the_end() -> None:
    watched = Watched("print('no newline', end='')", "import os; os.kill(os.getpid(), 9)")
    with trio.fail_after(60):
        await watched.run()
    assert watched.code == 1
    assert "node1 | no newline" in watched.log
    assert "node2 | was killed by SIGKILL" in watched.log


async def test_a_second_signal_kills() -> None:
    watched = Watched(STUBBORN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await watched.wait_for("ready")
        os.kill(os.getpid(), signal.SIGINT)
        await watched.wait_for("stopping all members")
        os.kill(os.getpid(), signal.SIGINT)
    assert watched.code == 1
    assert "was killed by SIGKILL" in watched.log


PARENT = """
import sys, trio
from rich.console import Console
from raftkv.cli.local_cluster import LocalCluster, Member

member = Member(1, 1, 1, (sys.argv[1],))
trio.run(LocalCluster([member], Console(soft_wrap=True), command=(sys.executable,)).run)
"""


async def test_members_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "member.py"
    script.write_text("import os; print('pid', os.getpid(), flush=True)\n" + STUBBORN)
    command = [sys.executable, "-c", PARENT, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        member = next(int(line.split()[-1]) for line in parent.stdout if "pid" in line)
        parent.kill()
    with trio.fail_after(60):
        while is_running(member):
            await trio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # dead, and its new parent has not asked yet
