"""PING, ECHO, SELECT, QUIT, TIME, and who one is: AUTH, HELLO, RESET."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftkv.machines.replies import OK, Error, Simple, unknown_command, wrong_arity
from tests.server.member import Client, Cluster

WRONG_PASSWORD = Error("WRONGPASS invalid username-password pair or user is disabled.")
NOAUTH = Error("NOAUTH Authentication required.")


@pytest.fixture
def locked(make_cluster: Callable[..., Cluster]) -> Client:
    """A client that has not logged in where a password is set."""
    return make_cluster(client_requirepass="secret").connect()


def test_ping_and_echo_answer_what_they_were_given(client: Client) -> None:
    assert client.pipeline("ping", "PING x", "echo y") == [Simple("PONG"), b"x", b"y"]
    assert client.ask("ping a b") == Error("ERR wrong number of arguments for 'ping' command")


def test_names_are_found_however_they_are_spelled(client: Client) -> None:
    assert client.pipeline("pInG", "cLiEnT iD", "Raft.Status x")[:2] == [Simple("PONG"), client.session.id]


def test_quit_answers_and_closes_and_runs_nothing_behind_it(client: Client, cluster: Cluster) -> None:
    client.send([b"QUIT"], [b"SET", b"a", b"1"])
    assert client.receive() == OK
    assert client.is_closed
    assert cluster.connect().ask("get a") is None


def test_quit_closes_even_when_nothing_is_answered(client: Client) -> None:
    client.send([b"CLIENT", b"REPLY", b"OFF"], [b"QUIT"])
    assert client.is_closed


def test_select_holds_for_what_comes_after_it_in_the_pipeline(client: Client) -> None:
    replies = client.pipeline("set a 0", "select 3", "set a 3", "get a", "select 0", "get a")
    assert replies == [OK, OK, OK, b"3", OK, b"0"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("16", "ERR DB index is out of range"),
        ("-1", "ERR DB index is out of range"),
        ("x", "ERR value is not an integer or out of range"),
        ("01", "ERR value is not an integer or out of range"),
        ("99999999999", "ERR value is out of range, value must between -2147483648 and 2147483647"),
    ],
)
def test_select_refuses(client: Client, word: str, text: str) -> None:
    assert client.ask(f"select {word}") == Error(text)


def test_a_machine_without_databases_has_one(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(machine_class="register").connect()
    assert client.pipeline("select 0", "select 1") == [OK, Error("ERR DB index is out of range")]


def test_the_number_of_databases_is_a_setting(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(redis_databases="2").connect()
    assert client.pipeline("select 1", "select 2") == [OK, Error("ERR DB index is out of range")]


def test_time_is_unix_seconds_and_microseconds(client: Client) -> None:
    seconds, microseconds = client.ask("time")
    assert int(seconds) > 1_600_000_000
    assert 0 <= int(microseconds) < 1_000_000


def test_nothing_but_login_before_login(locked: Client) -> None:
    for line in ("ping", "get a", "client id", "config get *", "raft.status"):
        assert locked.ask(line) == NOAUTH
    # As Redis does: what is no command at all is said to be none, to anybody.
    assert locked.ask("nonsense") == unknown_command([b"nonsense"])
    assert locked.ask("get") == wrong_arity("get")


@pytest.mark.parametrize("line", ["auth secret", "auth default secret", "hello 2 auth default secret"])
def test_login(locked: Client, line: str) -> None:
    assert not isinstance(locked.ask(line), Error)
    assert locked.ask("ping") == Simple("PONG")
    assert locked.session.parser.authenticated


@pytest.mark.parametrize(
    "line", ["auth wrong", "auth other secret", "auth default secret2", "auth default wrong", "hello 3 auth default x"]
)
def test_a_wrong_login_changes_nothing(locked: Client, line: str) -> None:
    assert locked.ask(line) == WRONG_PASSWORD
    assert locked.ask("ping") == NOAUTH
    assert not locked.session.parser.authenticated


def test_a_wrong_login_does_not_log_out(locked: Client) -> None:
    assert locked.pipeline("auth secret", "auth wrong", "ping") == [OK, WRONG_PASSWORD, Simple("PONG")]


def test_auth_where_no_password_is_set(client: Client) -> None:
    text = "AUTH <password> called without any password configured for the default user."
    assert client.ask("auth x") == Error(f"ERR {text} Are you sure your configuration is correct?")
    assert client.pipeline("auth default x", "auth other x", "auth a b c") == [
        OK,
        WRONG_PASSWORD,
        Error("ERR syntax error"),
    ]


def test_hello_chooses_the_protocol_and_tells_about_the_server(client: Client) -> None:
    greeting = client.ask("hello 3 setname me")
    assert greeting == {
        b"server": b"redis",
        b"version": b"7.0.15",
        b"proto": 3,
        b"id": client.session.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }
    assert client.ask("client getname") == b"me"
    assert client.ask("hello 2")[:6] == [b"server", b"redis", b"version", b"7.0.15", b"proto", 2]


def test_hello_on_a_follower_says_replica(make_cluster: Callable[..., Cluster]) -> None:
    client = make_cluster(voters=3, at=2).connect()
    assert client.ask("hello 3")[b"role"] == b"replica"


def test_hello_needs_a_login(locked: Client) -> None:
    assert locked.ask("hello 3").text.startswith("NOAUTH HELLO must be called with the client already authenticated")
    assert not locked.session.resp3
    assert locked.ask("hello 3 auth default secret")[b"proto"] == 3


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("hello 4", "NOPROTO unsupported protocol version"),
        ("hello x", "ERR Protocol version is not an integer or out of range"),
        ("hello 3 foo", "ERR Syntax error in HELLO option 'foo'"),
        ("hello 3 auth a", "ERR Syntax error in HELLO option 'auth'"),
        ("hello 3 setname", "ERR Syntax error in HELLO option 'setname'"),
    ],
)
def test_hello_refuses_and_changes_nothing(client: Client, line: str, text: str) -> None:
    assert client.ask(line) == Error(text)
    assert not client.session.resp3


def test_reset_is_a_new_connection(locked: Client) -> None:
    locked.pipeline("auth secret", "client setname me", "select 5")
    locked.ask("hello 3")
    assert locked.pipeline("reset", "ping") == [Simple("RESET"), NOAUTH]
    assert locked.ask("auth secret") == OK
    assert (locked.session.db, locked.session.name, locked.session.resp3) == (0, b"", False)


def test_reset_answers_again_and_stays_logged_in_without_a_password(client: Client) -> None:
    client.send([b"CLIENT", b"REPLY", b"OFF"], [b"PING"], [b"RESET"], [b"PING"])
    assert [client.receive(), client.receive()] == [Simple("RESET"), Simple("PONG")]
