"""COMMAND: the table of the machine's and the connection's own commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, SetReply, Simple
from raftkv.server.commands import LOCAL_COMMANDS, ROWS
from raftkv.server.commands.table_keys import keys_of
from tests.server.member import Client, Cluster

ALL = [each for row in ROWS for each in (row, *row.subcommands)]


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_a_row_says_everything(row: Command) -> None:
    assert row.kind is Kind.LOCAL
    assert row.name == row.name.lower()
    assert row.arity
    assert row.summary
    assert row.categories
    assert re.fullmatch(r"\d+\.\d+\.\d+", row.since)
    assert len(row.flags) == len(set(row.flags))


def test_every_name_is_found_in_both_spellings() -> None:
    for row in ROWS:
        assert LOCAL_COMMANDS[row.name.encode()] is row
        assert LOCAL_COMMANDS[row.name.upper().encode()] is row


def test_no_local_command_hides_one_of_the_machine(cluster: Cluster) -> None:
    assert not cluster.server.replica.machine.commands.keys() & LOCAL_COMMANDS.keys()


def test_command_tells_each_row_once(client: Client) -> None:
    rows = client.ask("command")
    names = [row[0] for row in rows]
    assert len(names) == len(set(names)) == client.ask("command count")
    assert {b"get", b"client", b"raft.status"} <= set(names)
    assert client.ask("command info") == rows


def test_info_has_the_shape_of_redis(cluster: Cluster) -> None:
    key_spec: dict[bytes, Any] = {
        b"flags": SetReply([Simple("RO"), Simple("access")]),
        b"begin_search": {b"type": b"index", b"spec": {b"index": 1}},
        b"find_keys": {b"type": b"range", b"spec": {b"lastkey": 0, b"keystep": 1, b"limit": 0}},
    }
    categories = SetReply([Simple("@read"), Simple("@string"), Simple("@fast")])
    get = [b"get", 2, SetReply([Simple("readonly"), Simple("fast")]), 1, 1, 1, categories]
    reply = cluster.connect(resp3=True).ask("command info get")
    assert reply == [[*get, SetReply([]), SetReply([key_spec]), SetReply([])]]


def test_info_of_subcommands_and_of_nothing(client: Client) -> None:
    reply = client.ask("command info client|KILL foo client|foo get|a a|b|c")
    assert reply[0][:2] == [b"client|kill", -3]
    assert reply[1:] == [None] * 4


def test_docs(cluster: Cluster) -> None:
    client = cluster.connect(resp3=True)
    docs = client.ask("command docs config|get getset foo")
    assert list(docs) == [b"config|get", b"getset"]
    assert docs[b"getset"][b"doc_flags"] == SetReply([Simple("deprecated")])
    assert docs[b"getset"][b"group"] == b"string"
    parameter = docs[b"config|get"][b"arguments"][0]
    assert parameter[b"flags"] == SetReply([Simple("multiple")])
    assert parameter[b"arguments"] == [{b"name": b"parameter", b"type": b"string"}]
    everything = client.ask("command docs")
    assert len(everything) == client.ask("command count")
    assert b"client|kill" in everything[b"client"][b"subcommands"]


def test_list(client: Client) -> None:
    names = client.ask("command list")
    assert {b"get", b"client", b"client|kill", b"client|help"} <= set(names)
    assert client.ask("command list filterby pattern CLIENT|k*") == [b"client|kill"]
    connection = client.ask("command list filterby aclcat connection")
    assert b"ping" in connection
    assert b"get" not in connection
    assert client.ask("command list filterby module x") == []
    for wrong in ("foo", "filterby", "filterby foo bar"):
        assert client.ask(f"command list {wrong}") == Error("ERR syntax error")


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("get a", [b"a"]),
        ("mset a 1 b 2", [b"a", b"b"]),
        ("mget a b c", [b"a", b"b", b"c"]),
        ("rename a b", [b"a", b"b"]),
        ("client kill a", Error("ERR The command has no key arguments")),
        ("ping a b", Error("ERR The command has no key arguments")),
        ("get a b", Error("ERR Invalid number of arguments specified for command")),
        ("foo a b", Error("ERR Invalid command specified")),
        ("client foo a", Error("ERR Invalid command specified")),
    ],
)
def test_getkeys(client: Client, line: str, keys: Any) -> None:
    assert client.ask(f"command getkeys {line}") == keys


def test_getkeysandflags(client: Client) -> None:
    def flags(line: str) -> list[tuple[bytes, str]]:
        reply = client.ask(f"command getkeysandflags {line}")
        return [(key, " ".join(flag.text for flag in flags)) for key, flags in reply]

    assert flags("copy a b") == [(b"a", "RO access"), (b"b", "OW update")]
    assert flags("set a b") == [(b"a", "OW update")]
    assert flags("set a b get") == [(b"a", "RW access update")]


def _row(begin: dict[str, Any], find: dict[str, Any]) -> Command:
    spec = {"flags": ["RO"], "begin_search": begin, "find_keys": find}
    return Command(name="x", arity=-1, kind=Kind.READ, handler=print, key_specs=(spec,))


_INDEX = {"type": "index", "spec": {"index": 1}}
_KEYNUM = {"type": "keynum", "spec": {"keynumidx": 0, "firstkey": 1, "keystep": 1}}
_ONE = {"type": "range", "spec": {"lastkey": 0, "keystep": 1, "limit": 0}}
_HALF = {"type": "range", "spec": {"lastkey": -1, "keystep": 1, "limit": 2}}
_BEHIND = {"type": "keyword", "spec": {"keyword": "STREAMS", "startfrom": 1}}
_BEHIND_LAST = {"type": "keyword", "spec": {"keyword": "KEYS", "startfrom": -2}}


@pytest.mark.parametrize(
    ("begin", "find", "line", "keys"),
    [
        (_INDEX, _KEYNUM, "x 2 a b rest", "a b"),
        (_INDEX, _KEYNUM, "x 0 rest", ""),
        (_INDEX, _KEYNUM, "x 3 a b", None),
        (_INDEX, _KEYNUM, "x -1 a b", None),
        (_INDEX, _KEYNUM, "x z a b", None),
        (_BEHIND, _HALF, "x count 5 streams a b 1 2", "a b"),
        (_BEHIND, _HALF, "x count 5", ""),
        (_BEHIND_LAST, _ONE, "x keys b keys a", "a"),
        (_INDEX, {"type": "unknown", "spec": {}}, "x a", ""),
    ],
)
def test_every_kind_of_key_spec(begin: Any, find: Any, line: str, keys: str | None) -> None:
    found = keys_of(_row(begin, find), line.encode().split())
    assert found == (None if keys is None else [(key, ["RO"]) for key in keys.encode().split()])


def test_a_machine_without_key_specs(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(machine_class="register").connect()
    assert client.ask("command getkeys set value x") == Error("ERR The command has no key arguments")
    row = Command(name="x", arity=3, kind=Kind.READ, handler=print, keys=(1, -1, 1))
    assert keys_of(row, [b"x", b"a", b"b"]) == [(b"a", []), (b"b", [])]


def test_errors(client: Client) -> None:
    assert client.ask("command foo") == Error("ERR unknown subcommand 'foo'. Try COMMAND HELP.")
    assert client.ask("command count x") == Error("ERR wrong number of arguments for 'command|count' command")
