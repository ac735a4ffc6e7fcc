"""Starting and stopping real processes: wrong settings and directories are refused with a reason and an exit code, and
what was acknowledged is there after the next start.

Exit codes: 0 as asked, 2 a setting is wrong, 3 had to stop.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Member, ReplyError, free_ports, wait_until
from tests.integration.workload import Load

pytestmark = pytest.mark.processes


def serve(*argv: str, variables: dict[str, str] | None = None) -> tuple[int, str]:
    """Start a member that cannot start: its exit code, and all it says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAFTKV_")} | (variables or {})
    command = [sys.executable, "-m", "raftkv", "serve", "--log-format", "plain", *argv]
    done = subprocess.run(command, capture_output=True, env=env, timeout=30, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).decode().split())


def ports(directory: Path) -> list[str]:
    """Flags with a free place for everything."""
    port, peer_port = free_ports(2)
    return ["--port", str(port), "--peer-port", str(peer_port), "--data", str(directory / "data")]


def starts(member: Member) -> bool:
    return member.status() is not None


def lone(tmp_path: Path, *argv: str) -> Cluster:
    return Cluster(tmp_path, 1, *argv)


# ---- settings


@pytest.mark.parametrize(
    ("argv", "variables", "said"),
    [
        (["--no-such-flag", "1"], {}, "No such option: --no-such-flag"),
        (["--client-portt", "1"], {}, "--client-port"),
        (["--port", "many"], {}, "--port"),
        (["--port", "70000"], {}, "a whole number from 0 to 65535"),
        (["--id", "9", "--members", "1=127.0.0.1:8001,2=127.0.0.1:8002"], {}, "9"),
        (["--members", "1=nowhere"], {}, "'nowhere' is not host:port"),
        (["--storage-fsync", "sometimes"], {}, "always or off"),
        (["--machine-class", "no.such:Thing"], {}, "machine.class"),
        ([], {"RAFTKV_CLIENT_PROT": "7001"}, "RAFTKV_CLIENT_PROT"),
        ([], {"RAFTKV_CLIENT_PORT": "x"}, "RAFTKV_CLIENT_PORT"),
        (["--config", "/no/such/file.toml"], {}, "/no/such/file.toml"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_settings(tmp_path: Path, argv: list[str], variables: dict[str, str], said: str) -> None:
    code, output = serve("--data", str(tmp_path / "data"), *argv, variables=variables)
    assert code == 2, output
    assert said in output
    assert "Traceback" not in output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[client]\nprot = 1\n", "client.prot"),
        ("[clients]\nport = 1\n", "no such section; did you mean client?"),
        ("[client]\nport = 'x'\n", "client.port"),
        ("[client]\nport = ", "is not TOML"),
        ("[raft]\nheartbeat_interval_ms = 5000\n", "raft.heartbeat_interval_ms"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    code, output = serve("--config", str(file), "--data", str(tmp_path / "data"))
    assert code == 2, output
    assert str(file) in output
    assert said in output


@pytest.mark.parametrize("which", ["client", "peer"])
def test_a_port_that_is_taken(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        flag = "--port" if which == "client" else "--peer-port"
        code, output = serve(*ports(tmp_path), flag, number)
    assert code == 2, output
    assert f"{which}.port = '127.0.0.1:{number}'" in output
    assert "Address already in use" in output


# ---- the data directory


def test_a_directory_that_is_in_use(tmp_path: Path) -> None:
    with lone(tmp_path) as cluster:
        member = cluster.wait_leader()
        code, output = serve(*ports(tmp_path), "--data", str(member.data))
        assert code == 3, output
        assert f"directory in use by process {member.pid}" in output
        with member.client() as client:
            assert client("SET", "a", "1") == b"OK"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cluster-name", "other"], "belongs to cluster"),
        (["--machine-class", "register"], "belongs to machine 'redis', the settings say 'register'"),
    ],
)
def test_a_directory_of_somebody_else(tmp_path: Path, argv: list[str], said: str) -> None:
    with lone(tmp_path) as cluster:
        member = cluster.wait_leader()
        assert member.terminate() == 0
        member.start(*argv)
        assert member.wait_exit() == 3
        assert said in member.log_text()
        assert "What to do" in member.log_text()
        member.start()
        cluster.wait_leader()


def test_a_directory_of_another_member(tmp_path: Path) -> None:
    with Cluster(tmp_path, 2) as cluster:
        cluster.wait_leader()
        first, second = cluster
        assert first.terminate() == 0
        assert second.terminate() == 0
        first.start("--data", str(second.data))
        assert first.wait_exit() == 3
        assert "belongs to member 2, the settings say 1" in first.log_text()


@pytest.mark.parametrize("where", ["below a file", "where nobody can write"])
def test_a_directory_that_cannot_be_used(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data" if where == "below a file" else Path("/proc/raftkv")
    code, output = serve(*ports(tmp_path), "--data", str(data))
    assert code in (2, 3), output
    assert str(data.parent if where == "below a file" else data) in output
    assert "Traceback" not in output


def _fill(member: Member, count: int) -> None:
    """Enough for several segments of 64 KiB."""
    with member.client() as client:
        for number in range(count):
            assert client("SET", f"k{number}", b"v" * 10_000) == b"OK"


def _segments(member: Member) -> list[Path]:
    return sorted(path for path in member.data.iterdir() if path.name not in ("LOCK", "IDENTITY"))


def test_damage_in_the_middle_of_the_log(tmp_path: Path) -> None:
    """Nothing is thrown away by guess: the member says which file, where and what to do, and stays down."""
    with lone(tmp_path, "--storage-segment-bytes", str(64 * 1024)) as cluster:
        member = cluster.wait_leader()
        _fill(member, 30)
        assert member.terminate() == 0
        first = _segments(member)[0]
        data = bytearray(first.read_bytes())
        data[20_000] ^= 1
        first.write_bytes(data)
        member.start()
        assert member.wait_exit() == 3
        [line] = [line for line in member.log_text().splitlines() if "critical" in line]
        assert str(first) in line
        assert "at byte" in line
        assert "What to do" in line
        data[20_000] ^= 1
        first.write_bytes(data)
        member.start()
        cluster.wait_leader()
        with member.client() as client:
            assert client("DBSIZE") == 30


def test_a_missing_segment(tmp_path: Path) -> None:
    with lone(tmp_path, "--storage-segment-bytes", str(64 * 1024)) as cluster:
        member = cluster.wait_leader()
        _fill(member, 30)
        assert member.terminate() == 0
        _segments(member)[1].unlink()
        member.start()
        assert member.wait_exit() == 3
        assert "segment is missing" in member.log_text()


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of its files stands for the full disk: the member stops at once and says why, the others go
    on without it, and when there is room again it comes back with everything."""
    with Cluster(tmp_path, 3, "--storage-segment-bytes", str(64 * 1024)) as cluster:
        victim = cluster.wait_leader()
        others = [member for member in cluster if member is not victim]
        limit = 30_000
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (limit, limit))
        acknowledged: list[str] = []
        with others[0].client() as client:

            def write() -> bool:
                key = f"k{len(acknowledged)}"
                with contextlib.suppress(ReplyError):
                    if client("SET", key, b"v" * 5000) == b"OK":
                        acknowledged.append(key)
                return victim.process is not None and victim.process.poll() is not None

            wait_until("it has stopped", write)
            assert victim.wait_exit() == 3
            [line] = [line for line in victim.log_text().splitlines() if "critical" in line]
            assert "StorageFailed" in line
            assert "appending to the log failed" in line
            assert "What to do: see to the disk" in line
            cluster.wait_leader(others)
            assert client("SET", "without it", "1") == b"OK"
            victim.start()
            cluster.wait_equal()
            assert client("EXISTS", *acknowledged) == len(acknowledged)


# ---- stopping


def test_stop_and_start_under_load(tmp_path: Path) -> None:
    """SIGTERM ends each member with 0 while clients write, one after the other and then all of them; nothing that was
    acknowledged is missing afterwards."""
    with Cluster(tmp_path) as cluster:
        cluster.wait_leader()
        with Load(list(cluster), count=4) as load:
            for member in cluster:
                wait_until("writes flow", lambda n=load.acknowledged: load.acknowledged > n + 50)  # type: ignore[misc]
                assert member.terminate() == 0
                member.start()
                wait_until("it is back", member.status)
            for member in cluster:
                assert member.process is not None
                member.process.terminate()
            for member in cluster:
                assert member.wait_exit() == 0
                member.start()
            wait_until("writes flow", lambda n=load.acknowledged: load.acknowledged > n + 50)  # type: ignore[misc]
        with cluster.wait_leader().client() as client:
            load.verify(client)
        for member in cluster:
            assert "critical" not in member.log_text()


def test_a_command_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    """Whoever waits gets its reply; what comes after the signal finds nobody listening."""
    with lone(tmp_path) as cluster:
        member = cluster.wait_leader()
        with member.client() as client:
            for _ in range(200):
                client.send("INCR", "n")
            assert client.receive() == 1
            assert member.process is not None
            member.process.send_signal(signal.SIGINT)
            done = 1
            with contextlib.suppress(ConnectionError):
                while True:
                    done = client.receive()
        assert member.wait_exit() == 0
        member.start()
        cluster.wait_leader()
        with member.client() as client:
            assert int(client("GET", "n")) >= done


# ---- members that do not fit together


def test_members_with_different_lists_refuse_each_other(tmp_path: Path) -> None:
    """Two of three agree and serve; the third, of another opinion, is told so and never leads or follows."""
    with Cluster(tmp_path) as cluster:
        cluster.wait_leader()
        stranger = cluster.members[3]
        assert stranger.terminate() == 0
        table = ",".join(f"{m.id}=127.0.0.1:{m.peer_port}" for m in cluster)
        stranger.start("--members", f"{table},4=127.0.0.1:1", "--data", str(tmp_path / "other"))
        agreeing = [cluster.members[1], cluster.members[2]]
        for member in agreeing:
            wait_until("it is told", lambda m=member: "the member lists differ" in m.log_text())  # type: ignore[misc]
        for member in (*agreeing, stranger):
            wait_until("both sides say so", lambda m=member: "differ" in m.log_text())  # type: ignore[misc]
        cluster.wait_leader(agreeing)
        with agreeing[0].client() as client:
            assert client("SET", "a", "1") == b"OK"
        view = stranger.status()
        assert view is not None
        assert view["leader"] in (None, 0)
        assert view["role"] != "leader"


def test_another_cluster_name(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.wait_leader()
        stranger = cluster.members[3]
        assert stranger.terminate() == 0
        stranger.start("--cluster-name", "other", "--data", str(tmp_path / "other"))
        # 1 and 2 dial it, so it is the one that refuses, and they hear the reason.
        wait_until("it refuses", lambda: "but this member belongs to" in stranger.log_text())
        wait_until("they hear why", lambda: "refused: cluster" in cluster.members[1].log_text())
        cluster.wait_leader([cluster.members[1], cluster.members[2]])


# ---- raftkv dev


def _adjacent_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    while True:
        [first] = free_ports(1)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def test_dev(tmp_path: Path) -> None:
    """Three members that answer; Ctrl-C ends all of them with 0, and nothing is left behind."""
    first = _adjacent_ports(6)
    command = [sys.executable, "-m", "raftkv", "dev", "--data", str(tmp_path / "data")]
    command += ["--base-port", str(first), "--peer-base-port", str(first + 3)]
    log = tmp_path / "log.txt"
    members = [Member(number, first + number - 1, 0, tmp_path, []) for number in (1, 2, 3)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until("one leads", lambda: any((m.status() or {}).get("role") == "leader" for m in members))
        wait_until("all answer", lambda: all(m.status() for m in members))
        with members[1].client() as client:
            assert client("SET", "a", "1") == b"OK"
        pids = []
        for member in members:
            with member.client() as client:
                assert client("GET", "a") == b"1"
                info = client("INFO", "server").decode()
                pids.append(int(info.split("process_id:")[1].split()[0]))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=15) == 0, log.read_text()
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        text = log.read_text()
        assert f"redis-cli -p {first}" in text
        for number in (1, 2, 3):
            assert f"node{number} | ended with exit code 0" in text
        code, _ = _dev_again(command)
        assert code == 0
    finally:
        process.kill()
        process.wait()


def _dev_again(command: list[str]) -> tuple[int, str]:
    """The same command finds its data, and serves it."""
    port = int(command[command.index("--base-port") + 1])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        member = Member(1, port, 0, Path("/"), [])

        def read() -> bytes | None:
            with contextlib.suppress(OSError, ReplyError), member.client() as client:
                value: bytes | None = client("GET", "a")
                return value
            return None

        value = wait_until("the value is there", read)
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=15), value.decode()
    finally:
        process.kill()
        process.wait()


def test_dev_says_which_ports_are_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        command = [sys.executable, "-m", "raftkv", "dev", "--base-port", str(number), "--data", str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 2
    assert str(number) in (done.stdout + done.stderr).decode()
