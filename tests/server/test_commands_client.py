"""CLIENT."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftkv.machines.replies import OK, Error, Simple, Verbatim
from tests.server.member import Client, Cluster

NO_SUCH_CLIENT = Error("ERR No such client")


def fields(line: bytes) -> dict[str, str]:
    """One line of CLIENT LIST."""
    assert line.endswith(b"\n")
    return dict(part.split("=", 1) for part in line.decode().strip().split(" "))


def test_info_describes_this_connection(client: Client, cluster: Cluster) -> None:
    client.pipeline("client setname me", "client setinfo lib-name redis-py", "client setinfo LIB-VER 5.0", "select 2")
    cluster.advance(3000)
    shown = fields(client.ask("client info"))
    assert shown["id"] == str(client.session.id)
    assert (shown["addr"], shown["laddr"]) == (client.session.address, "127.0.0.1:7001")
    assert (shown["name"], shown["lib-name"], shown["lib-ver"]) == ("me", "redis-py", "5.0")
    assert (shown["age"], shown["idle"], shown["db"], shown["resp"]) == ("3", "0", "2", "2")
    assert (shown["cmd"], shown["user"], shown["flags"]) == ("client|info", "default", "N")


def test_info_is_verbatim_in_resp3(cluster: Cluster) -> None:
    reply = cluster.connect(resp3=True).ask("client info")
    assert isinstance(reply, Verbatim)
    assert fields(reply.text)["resp"] == "3"


def test_list_shows_all_or_some(client: Client, cluster: Cluster) -> None:
    others = [cluster.connect(), cluster.connect()]
    others[0].ask("get a")
    ids = [client.session.id, *(other.session.id for other in others)]

    def listed(line: str) -> list[int]:
        return [int(fields(each)["id"]) for each in client.ask(line).splitlines(keepends=True)]

    assert listed("client list") == ids
    assert listed("client list type normal") == ids
    assert listed("client list type pubsub") == []
    assert listed(f"client list id {ids[2]} 999 {ids[0]}") == [ids[2], ids[0]]
    assert b"cmd=get " in client.ask("client list")
    assert b"cmd=NULL " in client.ask("client list")


def test_a_client_that_waits_is_shown_as_blocked(client: Client, cluster: Cluster) -> None:
    cluster.connect().send([b"WAIT", b"1", b"0"])
    assert [fields(each)["flags"] for each in client.ask("client list").splitlines(keepends=True)] == ["N", "b"]


def test_names(client: Client) -> None:
    assert client.ask("client getname") is None
    assert client.pipeline("client setname me", "client getname") == [OK, b"me"]
    assert client.call(b"CLIENT", b"SETNAME", b"") == OK
    assert client.ask("client getname") is None
    refused = Error("ERR Client names cannot contain spaces, newlines or special characters.")
    for name in (b"a b", b"a\n", b"\x7f", "ä".encode()):
        assert client.call(b"CLIENT", b"SETNAME", name) == refused


def test_setinfo_refuses(client: Client) -> None:
    assert client.ask("client setinfo lib-foo x") == Error("ERR Unrecognized option 'lib-foo'")
    text = "ERR lib-name cannot contain spaces, newlines or special characters."
    assert client.call(b"CLIENT", b"SETINFO", b"lib-name", b"a b") == Error(text)


def test_reply_off_is_silent_until_on(client: Client) -> None:
    client.send(
        [b"CLIENT", b"REPLY", b"OFF"], [b"PING"], [b"SET", b"a", b"1"], [b"foo"], [b"CLIENT", b"REPLY", b"SKIP"]
    )
    assert client.is_silent
    client.send([b"CLIENT", b"REPLY", b"ON"], [b"GET", b"a"])
    assert [client.receive(), client.receive()] == [OK, b"1"]


@pytest.mark.parametrize("skipped", [b"PING", b"GET", b"foo"])
def test_reply_skip_hides_one_reply(client: Client, skipped: bytes) -> None:
    client.send([b"CLIENT", b"REPLY", b"SKIP"], [skipped, b"a"], [b"ECHO", b"shown"])
    assert client.receive() == b"shown"
    assert client.is_silent


def test_kill_by_address_closes_that_client(client: Client, cluster: Cluster) -> None:
    other = cluster.connect()
    assert client.ask(f"client kill {other.session.address}") == OK
    assert other.is_closed
    assert client.ask(f"client kill {other.session.address}") == NO_SUCH_CLIENT


def test_kill_spares_the_one_who_asks_unless_told_otherwise(client: Client, cluster: Cluster) -> None:
    others = [cluster.connect(), cluster.connect()]
    assert client.ask("client kill type normal") == 2
    assert all(other.is_closed for other in others)
    assert client.ask("client kill type normal skipme no") == 1
    assert client.is_closed


def test_kill_takes_what_fits_every_filter(client: Client, cluster: Cluster) -> None:
    others = [cluster.connect(), cluster.connect()]
    first = others[0].session
    wrong_pair = f"client kill id {first.id} addr {others[1].session.address}"
    assert client.pipeline(wrong_pair, "client kill laddr 10.0.0.9:1", "client kill type master") == [0, 0, 0]
    assert client.ask(f"client kill user default laddr 127.0.0.1:7001 id {first.id}") == 1
    assert [other.session.closed for other in others] == [True, False]


def test_kill_of_a_client_whose_write_is_under_way(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(voters=3)
    client, other = cluster.connect(), cluster.connect()
    cluster.cut_off = {2, 3}
    other.send([b"SET", b"a", b"1"])
    assert client.ask(f"client kill id {other.session.id}") == 1
    cluster.cut_off = set()
    cluster.advance(200)
    assert client.ask("get a") == b"1"


def test_who_has_not_logged_in_is_no_user(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(client_requirepass="secret")
    client, stranger = cluster.connect(), cluster.connect()
    client.ask("auth secret")
    assert client.ask("client kill user default skipme no") == 1
    assert (client.session.closed, stranger.session.closed) == (True, False)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("kill id 0", "ERR client-id should be greater than 0"),
        ("kill id x", "ERR client-id should be greater than 0"),
        ("kill type foo", "ERR Unknown client type 'foo'"),
        ("kill user foo", "ERR No such user 'foo'"),
        ("kill id 5 addr", "ERR syntax error"),
        ("kill skipme maybe", "ERR syntax error"),
        ("kill foo bar", "ERR syntax error"),
        ("list type foo", "ERR Unknown client type 'foo'"),
        ("list id x", "ERR Invalid client ID"),
        ("list foo", "ERR syntax error"),
        ("reply maybe", "ERR syntax error"),
        ("no-evict maybe", "ERR syntax error"),
        ("foo", "ERR unknown subcommand 'foo'. Try CLIENT HELP."),
        ("kill", "ERR wrong number of arguments for 'client|kill' command"),
        ("id x", "ERR wrong number of arguments for 'client|id' command"),
    ],
)
def test_errors(client: Client, line: str, text: str) -> None:
    assert client.ask(f"client {line}") == Error(text)


def test_what_is_not_in_use_says_so(client: Client) -> None:
    assert client.pipeline("client no-evict on", "client no-touch off", "client getredir") == [OK, OK, -1]
    assert client.ask("client trackinginfo") == [b"flags", [b"off"], b"redirect", -1, b"prefixes", []]


def test_help_names_every_subcommand(client: Client) -> None:
    text = "\n".join(line.text for line in client.ask("client help") if isinstance(line, Simple))
    names = (name for name in client.ask("command list") if name.startswith(b"client|"))
    for name in names:
        assert name.decode().partition("|")[2].upper() in text
