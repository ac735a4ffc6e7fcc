"""CONFIG: what is shown, what can be changed, and that changes take effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from raftkv.machines.replies import OK, Error, Simple
from raftkv.server import logs
from raftkv.server.commands.config_names import CHANGEABLE, NAMES, BadValue, memory_size
from raftkv.settings import BY_NAME, SETTINGS, Log
from tests.server.member import Client, Cluster


@pytest.fixture(autouse=True)
def _log_level() -> Any:
    """The log's level belongs to the process."""
    yield
    logs.set_level("info")


def failed(name: str, reason: str) -> Error:
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def get(client: Client, *patterns: str) -> dict[str, str]:
    flat = [word.decode() for word in client.ask(f"config get {' '.join(patterns)}")]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_every_setting_is_shown(client: Client) -> None:
    shown = get(client, "*")
    assert {setting.dashed for setting in SETTINGS} <= shown.keys()
    assert (shown["client-port"], shown["redis-databases"]) == ("7001", "16")
    assert shown["cluster-members"] == "1=127.0.0.1:8001"


def test_redis_names(client: Client) -> None:
    assert get(client, "save", "appendonly", "maxmemory", "maxclients", "port", "timeout", "loglevel") == {
        "save": "",
        "appendonly": "yes",
        "maxmemory": "0",
        "maxclients": "10000",
        "port": "7001",
        "timeout": "0",
        "loglevel": "notice",
    }


def test_patterns(client: Client) -> None:
    assert get(client, "MAXC*", "maxclients", "nothing", "p[a-o]rt", "raft-*_min") == {
        "maxclients": "10000",
        "port": "7001",
    }
    assert client.ask("config get MaxClients") == [b"MaxClients", b"10000"]
    assert get(client, "nothing*") == {}


def test_get_is_a_map_in_resp3(cluster: Cluster) -> None:
    assert cluster.connect(resp3=True).ask("config get port") == {b"port": b"7001"}


def test_changes_are_shown_under_both_names(client: Client) -> None:
    assert client.ask("config set TIMEOUT 60 maxclients 7") == OK
    assert get(client, "timeout", "client-idle-timeout-ms") == {"timeout": "60", "client-idle-timeout-ms": "60000"}
    assert get(client, "client-clients-max") == {"client-clients-max": "7"}
    assert client.ask("config set client-query-buffer-limit 5mb") == OK
    assert get(client, "client-query-buffer-bytes-max") == {"client-query-buffer-bytes-max": str(5 << 20)}


@pytest.mark.parametrize("at", [1, 2], ids=["leader", "follower"])
def test_thresholds_of_encodings_are_changed_for_all_members(make_cluster: Callable[..., Cluster], at: int) -> None:
    cluster = make_cluster(voters=3, at=at)
    client = cluster.connect()
    assert get(client, "*max-*list*")["zset-max-ziplist-value"] == "64"
    assert client.ask("config set hash-max-ziplist-entries 1 maxclients 7 hll-sparse-max-bytes 1k") == OK
    assert get(client, "maxclients", "hash-max-listpack-entries", "hll-sparse-max-bytes") == {
        "maxclients": "7",
        "hash-max-listpack-entries": "1",
        "hll-sparse-max-bytes": "1000",
    }
    client.ask("hset h a 1 b 2")
    assert client.ask("object encoding h") == b"hashtable"
    for replica in cluster.replicas.values():
        assert replica.machine.settings()["hash_max_listpack_entries"] == 1


def test_a_threshold_cannot_be_changed_inside_a_transaction(client: Client) -> None:
    client.ask("multi")
    client.ask("config set hash-max-listpack-entries 1 maxclients 7")
    [reply] = client.ask("exec")
    assert isinstance(reply, Error)
    assert get(client, "maxclients", "hash-max-listpack-entries") == {
        "maxclients": "10000",
        "hash-max-listpack-entries": "512",
    }


def test_all_or_nothing(client: Client) -> None:
    reason = "argument must be between 0 and 2147483647 inclusive"
    assert client.ask("config set maxclients 7 timeout -1") == failed("timeout", reason)
    assert client.ask("config set maxclients 7 foo 1").text.endswith("CONFIG SET - 'foo'")
    assert get(client, "maxclients") == {"maxclients": "10000"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a b", Error("ERR Unknown option or number of arguments for CONFIG SET - 'a'")),
        ("maxclients 1 x", Error("ERR syntax error")),
        ("maxclients 1 MAXCLIENTS 2", failed("maxclients", "duplicate parameter")),
        ("maxclients x", failed("maxclients", "argument couldn't be parsed into an integer")),
        ("maxclients 1_0", failed("maxclients", "argument couldn't be parsed into an integer")),
        ("maxclients 0", failed("maxclients", "argument must be between 1 and 4294967295 inclusive")),
        ("client-query-buffer-limit x", failed("client-query-buffer-limit", "argument must be a memory value")),
        ("client-dirty-reads maybe", failed("client-dirty-reads", "argument must be 'yes' or 'no'")),
        (
            "client-routing x",
            failed("client-routing", "argument(s) must be one of the following: forward, redirect"),
        ),
        ("databases 16", failed("databases", "can't set immutable config")),
        ("client-port 7001", failed("client-port", "can't set immutable config")),
        ("appendonly no", failed("appendonly", "can't set immutable config")),
        (
            "raft-no-leader-wait-ms 6000",
            failed(
                "raft-no-leader-wait-ms",
                "raft.no_leader_wait_ms must be at most raft.request_timeout_ms"
                " (raft.no_leader_wait_ms is 6000, raft.request_timeout_ms is 5000)",
            ),
        ),
    ],
)
def test_refusals(client: Client, line: str, error: Error) -> None:
    assert client.ask(f"config set {line}") == error


def test_a_constant_may_be_set_to_what_it_is(client: Client) -> None:
    assert client.call(b"CONFIG", b"SET", b"save", b"", b"appendonly", b"yes") == OK


@pytest.mark.parametrize("name", [name for name, each in NAMES.items() if each.is_changeable])
def test_whatever_can_change_takes_its_own_value(client: Client, name: str) -> None:
    (value,) = get(client, name).values()
    assert client.call(b"CONFIG", b"SET", name.encode(), value.encode()) == OK
    assert get(client, name) == {name: value}


def test_changeable_settings_exist() -> None:
    assert BY_NAME.keys() >= CHANGEABLE


def test_a_new_password_holds_for_new_connections(client: Client, cluster: Cluster) -> None:
    client.ask("config set requirepass secret")
    stranger = cluster.connect()
    assert stranger.ask("ping") == Error("NOAUTH Authentication required.")
    assert client.pipeline("ping", "config set requirepass other") == [Simple("PONG"), OK]
    assert stranger.ask("auth other") == OK


def test_no_password_lets_everybody_in(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(client_requirepass="secret")
    client, stranger = cluster.connect(), cluster.connect()
    client.ask("auth secret")
    assert client.call(b"CONFIG", b"SET", b"requirepass", b"") == OK
    assert stranger.ask("ping") == Simple("PONG")
    assert stranger.session.parser.authenticated


def test_dirty_reads_and_routing_take_effect(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(voters=3, at=2).connect()
    assert client.pipeline("set a 1", "dirtyget a", "config set client-dirty-reads no") == [OK, b"1", OK]
    assert client.ask("dirtyget a").text.startswith("ERR Dirty reads are disabled")
    assert client.ask("config set client-routing redirect") == OK
    assert client.ask("get a") == Error("MOVED 15495 127.0.0.1:7001")


def test_the_number_of_proposals_takes_effect(client: Client, cluster: Cluster) -> None:
    assert client.ask("config set raft-proposals-inflight-max 3") == OK
    assert cluster.server.replica._proposer.settings.proposals_inflight_max == 3


def test_timeouts_of_requests_take_effect(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3, at=2)
    client = cluster.connect()
    assert client.ask("config set raft-no-leader-wait-ms 100") == OK
    cluster.cut_off = {1, 3}
    cluster.replicas[2].node.campaign()
    client.send([b"GET", b"a"])
    cluster.advance(90)
    assert client.is_silent
    cluster.advance(30)
    assert client.receive().text.startswith("CLUSTERDOWN")


def test_the_log_level_takes_effect(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    log = logs.open_log(Log(format="json"), 1)
    log.debug("first")
    client.ask("config set loglevel debug")
    log.debug("second")
    client.ask("config set log-level error")
    log.warning("third")
    log.error("fourth")
    structlog.reset_defaults()
    events = capsys.readouterr().err
    assert [word for word in ("first", "second", "third", "fourth") if word in events] == ["second", "fourth"]
    assert get(client, "loglevel") == {"loglevel": "warning"}


def test_resetstat_sets_the_counters_to_zero(client: Client) -> None:
    client.pipeline("ping", "ping")
    assert client.ask("config resetstat") == OK
    assert b"total_commands_processed:1\r\n" in client.ask("info stats")


def test_rewrite_is_refused(client: Client) -> None:
    assert client.ask("config rewrite") == Error("ERR The server is running without a config file")


@pytest.mark.parametrize(("text", "size"), [("5", 5), ("1k", 1000), ("1Kb", 1024), ("2MB", 2 << 20), ("3gb", 3 << 30)])
def test_memory_sizes(text: str, size: int) -> None:
    assert memory_size(text, 0) == size


@pytest.mark.parametrize("text", ["x", "-1", "1kk", "1.5gb", "1 k"])
def test_what_is_no_memory_size(text: str) -> None:
    with pytest.raises(BadValue):
        memory_size(text, 0)
