"""RAFT.VERIFY among three members without sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.server.member import Client, Cluster


@pytest.fixture
def three() -> Any:
    cluster = Cluster(voters=3)
    yield cluster
    cluster.close()


@pytest.fixture
def client(three: Cluster) -> Client:
    return three.connect(resp3=True)


def begin(three: Cluster, client: Client) -> None:
    client._socket.sendall(b"*1\r\n$11\r\nRAFT.VERIFY\r\n")
    three.run()


def verdicts(three: Cluster, client: Client) -> dict[int, str]:
    three.advance(50)
    reply = client.receive()
    found = {each[b"id"]: each[b"verdict"].decode() for each in reply[b"members"]}
    assert reply[b"equal"] == int("differs" not in found.values())
    return found


def test_equal_members(three: Cluster, client: Client) -> None:
    client.pipeline("SET a 1", "SET b 2", "PEXPIRE b 100000", "SELECT 3", "SET a 1", "RAFT.SESSION OPEN")
    begin(three, client)
    assert verdicts(three, client) == {1: "equal", 2: "equal", 3: "equal"}


@pytest.mark.parametrize(
    "change",
    [
        lambda replica: replica.machine.space.databases[0].put(b"a", b"2"),
        lambda replica: replica.machine.space.databases[0].expire_at(b"a", 9_999_999_999_999),
        lambda replica: replica.machine.space.databases[0].swap_with(replica.machine.space.databases[1]),
        lambda replica: replica.machine.space.databases[5].put(b"a", b"1"),
        lambda replica: replica.ledger.sessions.open(0, None),
    ],
    ids=["value", "deadline", "database", "more", "session"],
)
def test_the_least_difference_is_seen(three: Cluster, client: Client, change: Callable[[Any], None]) -> None:
    client.ask("SET a 1")
    change(three.replicas[3])
    begin(three, client)
    assert verdicts(three, client) == {1: "equal", 2: "equal", 3: "differs"}
    three.advance(100)


def test_a_member_that_is_away_gives_no_answer(three: Cluster, client: Client) -> None:
    three.replicas[1].on_link_down(2)
    three.cut_off = {2}
    begin(three, client)
    assert verdicts(three, client) == {1: "equal", 2: "no answer", 3: "equal"}


def test_a_link_that_breaks_meanwhile(three: Cluster, client: Client) -> None:
    three.cut_off = {3}
    begin(three, client)
    three.advance(100)
    assert client.is_silent
    three.replicas[1].on_link_down(3)
    assert verdicts(three, client) == {1: "equal", 2: "equal", 3: "no answer"}


def test_a_member_that_takes_a_snapshot_is_busy(three: Cluster, client: Client) -> None:
    client.ask("SET a 1")
    replica = three.replicas[2]
    replica.snapshots.request(replica.applied)
    replica.apply(three.now_ms)
    assert replica.snapshots.taking.under_way
    begin(three, client)
    assert verdicts(three, client) == {1: "equal", 2: "busy", 3: "equal"}


def test_two_who_ask_get_the_same_answer(three: Cluster, client: Client) -> None:
    begin(three, client)
    other = three.connect(resp3=True)
    begin(three, other)
    assert set(verdicts(three, client).values()) == set(verdicts(three, other).values()) == {"equal"}


def test_it_goes_by_itself_when_enabled() -> None:
    cluster = Cluster(voters=3, raft_verify_interval_s="1")
    heard: list[Any] = []
    cluster.replicas[1].verification.tell = heard.append
    cluster.advance(3500)
    assert [verdict.differing for verdict in heard] == [[], [], []]
    cluster.close()
