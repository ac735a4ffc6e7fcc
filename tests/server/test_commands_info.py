"""INFO, ROLE, WAIT, RAFT.STATUS, DEBUG, LOLWUT and the refused cluster commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from raftkv.cli.status import leader_of, members_table, peers_table
from raftkv.machines.replies import OK, Error, Simple, Verbatim
from raftkv.server import driver
from raftkv.server.commands.info_sections import human
from raftkv.server.memory import resident_bytes
from tests.server.member import Client, Cluster


def info(client: Client, sections: str = "") -> dict[str, str]:
    lines = client.ask(f"info {sections}").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def three(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three members; clients talk to the one that leads."""
    return make_cluster(voters=3)


@pytest.fixture
def follower(make_cluster: Callable[..., Cluster]) -> Client:
    return make_cluster(voters=3, at=2).connect()


# INFO


def test_info_has_every_section_of_redis(client: Client) -> None:
    text = client.ask("info").decode()
    assert re.findall(r"^# (\w+)\r$", text, re.MULTILINE) == [
        *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication"),
        *("CPU", "Modules", "Errorstats", "Cluster", "Raft", "Keyspace"),
    ]
    assert re.fullmatch(r"(# \w+\r\n([^:\r\n]+:[^\r\n]*\r\n)*(\r\n|$))+", text)


def test_no_field_stands_in_two_sections(client: Client) -> None:
    lines = [line for line in client.ask("info").decode().splitlines() if ":" in line]
    assert len(lines) == len(info(client))


def test_sections_can_be_chosen(client: Client) -> None:
    assert client.ask("info CPU cluster").startswith(b"# CPU\r\nused_cpu_sys:")
    assert client.ask("info cluster") == b"# Cluster\r\ncluster_enabled:0\r\n"
    assert client.ask("info nonsense") == b""
    for word in ("all", "default", "everything"):
        assert info(client, f"{word} cluster").keys() == info(client).keys()


def test_info_is_verbatim_in_resp3(cluster: Cluster) -> None:
    assert isinstance(cluster.connect(resp3=True).ask("info"), Verbatim)


def test_info_counts(client: Client, cluster: Cluster) -> None:
    client.ask("set a 1")
    cluster.advance(90_000, step_ms=1000)
    shown = info(client)
    assert (shown["uptime_in_seconds"], shown["uptime_in_days"]) == ("90", "0")
    assert (shown["connected_clients"], shown["total_commands_processed"]) == ("1", "1")
    assert shown["process_id"] == str(os.getpid())
    assert shown["db0"] == "keys=1,expires=0,avg_ttl=0"
    assert int(shown["used_memory"]) > 1_000_000
    assert len(shown["run_id"]) == len(shown["master_replid"]) == 40


def test_replication_on_the_leader(three: Cluster) -> None:
    client = three.connect()
    client.ask("set a 1")
    three.cut_off = {3}
    shown = info(client, "replication")
    assert (shown["role"], shown["connected_slaves"], shown["master_repl_offset"]) == ("master", "1", "2")
    assert shown["slave0"] == "ip=127.0.0.1,port=7002,state=online,offset=2,lag=0"
    assert "slave1" not in shown


def test_replication_on_a_follower(follower: Client) -> None:
    shown = info(follower)
    assert (shown["role"], shown["master_host"], shown["master_port"]) == ("slave", "127.0.0.1", "7001")
    assert (shown["master_link_status"], shown["connected_slaves"]) == ("up", "0")
    assert (shown["raft_role"], shown["raft_leader_id"], shown["raft_voters"]) == ("follower", "1", "1,2,3")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1536, "1.50K"), (1 << 20, "1.00M"), (3 << 30, "3.00G")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human(size) == text


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = bytearray(os.urandom(32 << 20))
    assert resident_bytes() - before > len(held) // 2


# ROLE


def test_role_of_the_leader(three: Cluster) -> None:
    client = three.connect()
    client.ask("set a 1")
    assert client.ask("role") == [b"master", 2, [[b"127.0.0.1", b"7002", b"2"], [b"127.0.0.1", b"7003", b"2"]]]
    three.cut_off = {2}
    assert client.ask("role")[2] == [[b"127.0.0.1", b"7003", b"2"]]


def test_role_of_a_follower(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3, at=2)
    follower = cluster.connect()
    cluster.advance(100)  # the next heartbeat says what is committed
    assert follower.ask("role") == [b"slave", b"127.0.0.1", 7001, b"connected", 1]


def test_role_without_a_leader(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3, at=2)
    client = cluster.connect()
    cluster.advance(100)
    cluster.cut_off = {2}
    cluster.advance(1000)
    assert client.ask("role") == [b"slave", b"", 0, b"connect", 1]
    assert info(client)["master_link_status"] == "down"


# WAIT


def test_an_acknowledged_write_is_on_a_majority_already(three: Cluster) -> None:
    client = three.connect()
    three.cut_off = {3}
    assert client.pipeline("set a 1", "wait 1 0", "wait 0 0") == [OK, 1, 1]


def test_wait_waits_for_the_last_member(three: Cluster) -> None:
    client = three.connect()
    three.cut_off = {3}
    client.send([b"SET", b"a", b"1"], [b"WAIT", b"2", b"0"], [b"PING"])
    assert client.receive() == OK
    three.advance(300)
    assert client.is_silent
    three.cut_off = set()
    three.advance(1000)
    assert [client.receive(), client.receive()] == [2, Simple("PONG")]


def test_wait_gives_up_after_its_time(three: Cluster) -> None:
    client = three.connect()
    three.cut_off = {3}
    client.send([b"SET", b"a", b"1"], [b"WAIT", b"5", b"100"])
    assert client.receive() == OK
    three.advance(90)
    assert client.is_silent
    three.advance(10)
    assert client.receive() == 1


def test_wait_on_a_follower_knows_of_the_majority(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3, at=2)
    client = cluster.connect()
    assert client.pipeline("set a 1", "wait 1 0") == [OK, 1]
    client.send([b"WAIT", b"2", b"50"])
    cluster.advance(50)
    assert client.receive() == 1


def test_wait_ends_when_the_member_stops(three: Cluster) -> None:
    client = three.connect()
    client.send([b"WAIT", b"3", b"0"])
    three.server.stopping = True
    three.advance(10)
    assert client.receive() == 2
    assert not client.session.busy


def test_a_client_that_waits_may_leave(three: Cluster) -> None:
    client = three.connect()
    client.send([b"WAIT", b"3", b"0"])
    client.session.close("gone")
    assert not three.server.parked


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("wait x 1", "ERR value is not an integer or out of range"),
        ("wait 1 x", "ERR timeout is not an integer or out of range"),
        ("wait 1 -1", "ERR timeout is negative"),
        ("wait 1", "ERR wrong number of arguments for 'wait' command"),
    ],
)
def test_wait_refuses(client: Client, line: str, text: str) -> None:
    assert client.ask(line) == Error(text)


# RAFT.STATUS


def test_status_of_the_leader(three: Cluster) -> None:
    client = three.connect(resp3=True)
    client.ask("set a 1")
    three.cut_off = {3}
    client.ask("set a 2")
    status = client.ask("raft.status")
    peers = status.pop(b"peers")
    assert status == {
        b"id": 1,
        b"role": b"leader",
        b"term": 1,
        b"leader": 1,
        b"leader_address": b"127.0.0.1:7001",
        b"commit": 3,
        b"applied": 3,
        b"last": 3,
        b"synced": 3,
        b"first": 1,
        b"quorum": 2,
        b"cluster_id": three.server.cluster_id.encode(),
        b"founders": {b"%d" % member: b"127.0.0.1:%d" % (8000 + member) for member in (1, 2, 3)},
        b"voters": [1, 2, 3],
        b"outgoing": [],
        b"learners": [],
        b"transferring_to": None,
        b"snapshot": None,
        b"verified": None,
        b"uptime_ms": 0,
        b"machine": b"redis",
        b"machine_version": 1,
        b"machine_version_effective": 1,
        b"sessions": 0,
        b"outbox": 0,
        b"effects_run": 0,
        b"effects_failed": 0,
        b"effects_dropped": 0,
    }
    late = {b"match": 2, b"lag": 1, b"connected": 0, b"last_heard_ms": None}
    assert {name: peers[1][name] for name in late} == late
    assert (peers[0][b"match"], peers[0][b"next"], peers[0][b"lag"], peers[0][b"last_heard_ms"]) == (3, 4, 0, 0)
    assert [peer[b"machine_version"] for peer in peers] == [1, 1]
    assert (peers[0][b"address"], peers[0][b"client_address"]) == (b"127.0.0.1:8002", b"127.0.0.1:7002")


def test_status_of_a_follower_knows_nothing_of_the_others_logs(follower: Client) -> None:
    follower.session.resp3 = True
    status = follower.ask("raft.status")
    assert (status[b"role"], status[b"leader"]) == (b"follower", 1)
    assert [(peer[b"id"], peer[b"match"], peer[b"lag"]) for peer in status[b"peers"]] == [
        (1, None, None),
        (3, None, None),
    ]


def test_the_command_line_can_show_it(three: Cluster) -> None:
    def text(value: object) -> object:
        if isinstance(value, dict):
            return {text(name): text(part) for name, part in value.items()}
        if isinstance(value, list):
            return [text(part) for part in value]
        return value.decode() if isinstance(value, bytes) else value

    status = text(three.connect(resp3=True).ask("raft.status"))
    assert isinstance(status, dict)
    answers = {"127.0.0.1:7001": status}
    leader = leader_of(answers)
    assert leader is not None
    assert members_table(answers).row_count == 1
    assert peers_table(leader).row_count == 2


# The rest


def test_debug_is_refused_unless_enabled(client: Client) -> None:
    for line in ("debug sleep 0", "debug help", "debug foo"):
        assert client.ask(line).text.startswith("ERR DEBUG command not allowed. If the enable-debug-command option")


@pytest.mark.parametrize(("word", "seconds"), [("1.5", 1.5), ("0", 0.0), ("x", 0.0), ("-1", 0.0), ("nan", 0.0)])
def test_debug_sleep(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, word: str, seconds: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(driver, "sleep", slept.append)
    client = make_cluster(redis_enable_debug_command="yes").connect()
    assert client.ask(f"debug sleep {word}") == OK
    assert slept == [seconds]
    text = "ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP."
    assert client.ask("debug sleep") == Error(text)


def test_there_is_no_redis_cluster(client: Client) -> None:
    refused = Error("ERR This instance has cluster support disabled")
    lines = ("cluster slots", "cluster INFO", "readonly", "readwrite", "asking")
    assert client.pipeline(*lines) == [refused] * len(lines)
    assert client.ask("cluster foo") == Error("ERR unknown subcommand 'foo'. Try CLUSTER HELP.")


def test_lolwut_draws_every_member(three: Cluster) -> None:
    client = three.connect()
    picture = client.ask("lolwut").decode()
    assert all(f"= {number}  =" in picture for number in (1, 2, 3))
    assert picture.count(">>") == 1
    assert picture.endswith("Redis ver. 7.0.15\n")
    assert client.ask("lolwut version x") == Error("ERR value is not an integer or out of range")


def test_info_tells_of_the_snapshot_under_way_and_of_the_last(three: Cluster) -> None:
    client, taking = three.connect(), three.replicas[1].snapshots.taking

    def fields() -> dict[bytes, bytes]:
        lines = client.ask("info persistence").splitlines()
        return dict(line.split(b":", 1) for line in lines if b":" in line)

    assert fields()[b"rdb_bgsave_in_progress"] == b"0"
    assert fields()[b"rdb_last_bgsave_status"] == b"ok"
    client.ask("bgsave")
    three.advance(10)
    assert fields()[b"rdb_bgsave_in_progress"] == b"1"
    taking._on_failed(OSError("no space"))
    assert fields()[b"rdb_bgsave_in_progress"] == b"0"
    assert fields()[b"rdb_last_bgsave_status"] == b"err"
