"""Settings: every way to be wrong is named; later sources win; the relations hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from raftkv.config import BY_NAME, SETTINGS, Setting, Settings, changed, join_address, load, split_address
from raftkv.errors import ConfigError

THREE = "1=a:8001,2=b:8001,3=c:8001"
ROOT = Path(__file__).parent.parent


def refused(
    path: Path | None = None, env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, env or {}, flags or {})
    return caught.value


def write(directory: Path, text: str) -> Path:
    path = directory / "test.toml"
    path.write_text(text)
    return path


# ---- what is there without being asked ----


def test_defaults_are_a_lone_member() -> None:
    settings = load(None, {}, {})
    assert settings.cluster.members == {1: "127.0.0.1:8001"}
    assert settings.client.port == 7001
    assert settings.raft.proposals_inflight_max == 1


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_default_is_allowed_and_described(setting: Setting) -> None:
    text = setting.text(setting.default)
    loaded = load(None, {}, {setting.dashed: text, **({"peer-port": "0"} if setting.name == "node.id" else {})})
    assert setting.get(loaded) == (setting.default or setting.get(Settings()) or setting.get(loaded))
    assert setting.doc
    assert setting.expects


def test_spellings_are_unique() -> None:
    for spelling in ("name", "dashed", "variable"):
        assert len({getattr(setting, spelling) for setting in SETTINGS}) == len(SETTINGS)
    aliases = [setting.alias for setting in SETTINGS if setting.alias]
    assert sorted(aliases) == ["data", "id", "join", "machine", "members", "port", "rebuild", "wait"]
    assert not {setting.dashed for setting in SETTINGS} & set(aliases)


def test_limits_carry_their_unit_in_the_name() -> None:
    for setting in SETTINGS:
        if setting.unit in ("bytes", "milliseconds"):
            assert {"bytes": "bytes", "milliseconds": "ms"}[setting.unit] in setting.key.split("_"), setting.name


# ---- sources ----


def test_later_sources_win(tmp_path: Path) -> None:
    path = write(tmp_path, "[client]\nport = 7100\nclients_max = 5\n[log]\nlevel = 'debug'\n")
    env = {"RAFTKV_CLIENT_PORT": "7200", "RAFTKV_LOG_LEVEL": "warning", "HOME": "/", "PATH": "x"}
    settings = load(path, env, {"port": "7300"})
    assert (settings.client.port, settings.client.clients_max, settings.log.level) == (7300, 5, "warning")


@pytest.mark.parametrize("flag", ["client-port", "client.port", "port"])
def test_a_flag_may_be_dashed_dotted_or_short(flag: str) -> None:
    assert load(None, {}, {flag: "7300"}).client.port == 7300


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("TRUE", True), ("1", True), ("off", False), ("no", False)])
def test_words_for_yes_and_no(text: str, value: bool) -> None:
    assert load(None, {}, {"client-dirty-reads": text}).client.dirty_reads is value


def test_tables_from_file_and_text_agree(tmp_path: Path) -> None:
    path = write(tmp_path, '[node]\nid = 2\n[cluster.members]\n1 = "a:8001"\n"2" = "b:8001"\n3 = "c:8001"\n')
    from_file, from_text = load(path, {}, {}), load(None, {}, {"members": THREE, "id": "2"})
    assert from_file.cluster.members == from_text.cluster.members == {1: "a:8001", 2: "b:8001", 3: "c:8001"}


def test_machine_options_keep_the_types_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[machine]\nclass = "my.thing:Machine"\noptions = { size = 3, name = "x", fast = true }\n')
    machine = load(path, {}, {}).machine
    assert (machine.class_, machine.options) == ("my.thing:Machine", {"size": 3, "name": "x", "fast": True})


@pytest.mark.parametrize(
    "name",
    ["RAFTKV_PORT", "RAFTKV_PORT_7001_TCP_ADDR", "RAFTKV_SERVICE_HOST", "RAFTKV_CLIENT_SERVICE_PORT", "RAFTKV_CONFIG"],
)
def test_variables_of_an_orchestrator_are_not_ours(name: str) -> None:
    assert load(None, {name: "tcp://10.0.0.1:7001"}, {}) == Settings(cluster=load(None, {}, {}).cluster)


# ---- every way to be wrong ----

WRONG_FILES = {
    "not TOML": ("[client\nport=1", "file", "is not TOML"),
    "unknown section": ("[cleint]\nport = 1", "cleint", "no such section; did you mean client?"),
    "key outside a section": ("client = 3", "client", "is a section"),
    "unknown key": ("[client]\nprot = 1", "client.prot", "no such setting; did you mean client.port?"),
    "text for a number": ('[client]\nport = "7001"', "client.port", "must be a whole number from 0 to 65535"),
    "fraction for a number": ("[client]\nport = 7001.5", "client.port", "must be a whole number"),
    "truth for a number": ("[client]\nport = true", "client.port", "must be a whole number"),
    "number for a truth": ("[client]\ndirty_reads = 1", "client.dirty_reads", "must be yes or no"),
    "number for text": ("[client]\nhost = 1", "client.host", "must be some text"),
    "empty text": ('[node]\ndata_dir = ""', "node.data_dir", "must be some text"),
    "out of range": ("[node]\nid = 0", "node.id", "must be a whole number from 1 to 2147483647"),
    "not one of the words": ('[storage]\nfsync = "no"', "storage.fsync", "must be always or off"),
    "bad name": ('[cluster]\nname = "a b"', "cluster.name", "1 to 64"),
    "list for a table": ("[cluster]\nmembers = ['a:1']", "cluster.members", "must be a table of id = host:port"),
    "member without number": ("[cluster]\nmembers = { a = 'a:1' }", "cluster.members", "must be a table"),
    "bad class": ('[machine]\nclass = "etcd"', "machine.class", "package.module:Class"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_file(tmp_path: Path, case: str) -> None:
    text, key, reason = WRONG_FILES[case]
    path = write(tmp_path, text)
    error = refused(path)
    assert (error.source, error.key) == (str(path), key)
    assert reason in error.reason
    assert all(part in str(error) for part in (str(path), key, error.reason))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nowhere.toml").reason
    assert "Is a directory" in refused(tmp_path).reason
    (tmp_path / "latin.toml").write_bytes(b'[node]\ndata_dir = "\xe4"')
    assert "is not TOML" in refused(tmp_path / "latin.toml").reason


def test_wrong_variable() -> None:
    error = refused(env={"RAFTKV_CLIENT_PORT": "many"})
    assert (error.source, error.key, error.value) == ("variable RAFTKV_CLIENT_PORT", "client.port", "many")
    assert "did you mean RAFTKV_CLIENT_PORT?" in refused(env={"RAFTKV_CLEINT_PORT": "1"}).reason


def test_wrong_flag() -> None:
    assert refused(flags={"port": "many"}).source == "flag --port"
    assert "did you mean client-port?" in refused(flags={"cleint-port": "1"}).reason
    assert refused(flags={"client-dirty-reads": "maybe"}).reason == "must be yes or no"


def test_a_secret_is_never_shown() -> None:
    flags = {"client-requirepass": "hunter2"}
    assert "hunter2" not in repr(load(None, {}, flags))
    path_error = refused(env={}, flags=flags | {"port": "x"})
    assert "hunter2" not in str(path_error)


@pytest.mark.parametrize("text", ["1=a:1,1=b:1", "1", "1=a:1,b", "x=a:1", "0=a:1"])
def test_wrong_member_tables(text: str) -> None:
    assert refused(flags={"members": text}).key == "cluster.members"


# ---- relations: each names the setting that somebody has set ----

RELATIONS = [
    ({"raft-heartbeat-interval-ms": "134"}, "raft.heartbeat_interval_ms", "three heartbeat intervals"),
    ({"raft-election-timeout-ms-min": "100"}, "raft.election_timeout_ms_min", "three heartbeat intervals"),
    ({"raft-election-timeout-ms-min": "800"}, "raft.election_timeout_ms_min", "must be below"),
    ({"raft-election-timeout-ms-max": "400"}, "raft.election_timeout_ms_max", "must be below"),
    ({"raft-no-leader-wait-ms": "6000"}, "raft.no_leader_wait_ms", "at most raft.request_timeout_ms"),
    ({"peer-reconnect-ms-min": "600"}, "peer.reconnect_ms_min", "at most peer.reconnect_ms_max"),
    ({"peer-reconnect-ms-max": "10"}, "peer.reconnect_ms_max", "at most"),
    ({"session-ttl-ms-max": "1000"}, "session.ttl_ms_max", "session.ttl_ms must be at most"),
    ({"effects-retry-ms-max": "10"}, "effects.retry_ms_max", "effects.retry_ms_min must be at most"),
    ({"members": THREE, "id": "4"}, "node.id", "member 4 is not in cluster.members ([1, 2, 3])"),
    ({"members": THREE, "peer-port": "8002"}, "peer.port", "the others dial member 1 at a:8001"),
    ({"members": "1=a:8001,2=a:8001"}, "cluster.members", "two members have the same address"),
    ({"members": "1=a:8001,2=b"}, "cluster.members", "member 2: 'b' is not host:port"),
    ({"members": "1=a:8001,2=b:99999"}, "cluster.members", "is not a port from 1 to 65535"),
    ({"members": THREE, "cluster-min-majority": "4"}, "cluster.min_majority", "number of members (3)"),
    ({"peer-port": "7001"}, "peer.port", "must differ"),
    ({"port": "8001"}, "client.port", "must differ"),
    ({"port": "8001", "client-host": "0.0.0.0"}, "client.port", "must differ"),
    ({"client-advertise": "nowhere"}, "client.advertise", "is not host:port"),
    ({"peer-advertise": "::1:8001"}, "peer.advertise", "needs brackets"),
    ({"client-routing": "redirect", "client-host": "::"}, "client.routing", "set client.advertise"),
    (
        {"raft-append-bytes-max": str(1 << 27), "raft-inflight-bytes-max": str(1 << 28)},
        "raft.append_bytes_max",
        "frame",
    ),
    ({"peer-frame-bytes-max": str(1 << 27)}, "peer.frame_bytes_max", "at most peer.queue_bytes_max"),
    ({"raft-inflight-bytes-max": "1024"}, "raft.inflight_bytes_max", "at most raft.inflight_bytes_max"),
    ({"client-query-buffer-bytes-max": "65536"}, "client.query_buffer_bytes_max", "client.turn_bytes must be at most"),
]


@pytest.mark.parametrize(
    ("flags", "key", "reason"), RELATIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_broken_relation(flags: dict[str, str], key: str, reason: str) -> None:
    error = refused(flags=flags)
    assert error.key == key
    assert error.source.startswith("flag --")
    assert reason in error.reason


def test_relations_that_hold_at_their_edge() -> None:
    load(None, {}, {"raft-heartbeat-interval-ms": "133"})
    load(None, {}, {"members": THREE, "cluster-min-majority": "3"})
    load(None, {}, {"members": THREE, "peer-port": "9000", "peer-advertise": "a:8001"})
    load(None, {}, {"port": "8001", "client-host": "10.0.0.1", "peer-host": "10.0.0.2"})
    load(None, {}, {"port": "0", "peer-port": "0"})


def test_the_example_members_form_one_cluster() -> None:
    loaded = [load(ROOT / "conf" / f"node{number}.toml", {}, {}) for number in (1, 2, 3)]
    assert [settings.node.id for settings in loaded] == [1, 2, 3]
    assert [settings.client.port for settings in loaded] == [7001, 7002, 7003]
    assert len({settings.node.data_dir for settings in loaded}) == 3
    for settings in loaded:
        assert settings.cluster == loaded[0].cluster
        assert settings.peer.address == settings.cluster.members[settings.node.id]


# ---- at run time ----


def test_changed_checks_like_load() -> None:
    before = load(None, {}, {})
    after = changed(before, "client-clients-max", "7")
    assert (before.client.clients_max, after.client.clients_max) == (10_000, 7)
    for name, text in (("client-clients-max", "0"), ("raft-heartbeat-interval-ms", "500"), ("nothing", "1")):
        with pytest.raises(ConfigError) as caught:
            changed(before, name, text)
        assert caught.value.source == "CONFIG SET"


def test_text_of_values() -> None:
    settings = load(None, {}, {"members": THREE})
    shown = {name: setting.text(setting.get(settings)) for name, setting in BY_NAME.items()}
    assert (shown["client.dirty_reads"], shown["cluster.members"], shown["client.port"]) == ("yes", THREE, "7001")


@pytest.mark.parametrize("text", ["a:1", "127.0.0.1:65535", "[::1]:8001"])
def test_addresses_survive_a_round_trip(text: str) -> None:
    assert join_address(*split_address(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:x", "::1:1", "a:\u0661"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        split_address(text)
