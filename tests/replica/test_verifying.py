"""RAFT.VERIFY among three members without sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from raftkv.machines.redis import snapshot
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import OK
from raftkv.replica import Replica
from raftkv.replica.verifying import PARTS_PER_TICK
from raftkv.storage.interface import Write
from raftkv.storage.memory import MemoryLogStore
from raftkv.wire.peer import StateDigest
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


def test_writes_go_on_while_states_are_digested(
    three: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "DIGEST_MEMBERS_MAX", 1)
    client.pipeline(*(f"SET key:{number} 1" for number in range(50)))
    other = three.connect()
    client._socket.sendall(b"*1\r\n$11\r\nRAFT.VERIFY\r\n")
    seen = 0
    for number in range(50):
        three.now_ms += 10
        for replica in three.replicas.values():
            replica.on_tick(three.now_ms)
        other._socket.sendall(f"*3\r\n$3\r\nSET\r\n$6\r\nkey:{number:02}\r\n$1\r\n2\r\n".encode())
        three.hub._pass(0.0)
        for member, replica in three.replicas.items():
            three._turn(member, replica)
            seen += replica.digesting.under_way
        three.hub.send_all()
    assert seen > 50, "it took many turns"
    three.advance(300)
    assert verdicts(three, client) == {1: "equal", 2: "equal", 3: "equal"}


def test_a_digest_takes_a_part_of_the_members_time_only(
    three: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "DIGEST_MEMBERS_MAX", 1)
    client.pipeline(*(f"SET key:{number} 1" for number in range(100)))
    began_ms = three.now_ms
    begin(three, client)
    three.advance(50)
    hurried = three.replicas[2]
    hurried.snapshots.request(hurried.applied)
    three.advance(10)
    assert [replica.digesting.under_way for replica in three.replicas.values()] == [True, False, True]
    assert hurried.snapshots.taking.under_way, "it has waited for the end, which came at once"
    while client.is_silent:
        three.advance(10)
    assert three.now_ms - began_ms >= 100 / PARTS_PER_TICK * 10


def test_who_differed_is_named_until_it_is_found_equal(three: Cluster, client: Client) -> None:
    """That it is away, or busy, when it is looked at again says nothing."""

    def named() -> str:
        lines = client.ask("INFO raft").text.decode().splitlines()
        return next(line for line in lines if line.startswith("raft_state_differs:"))

    client.ask("SET a 1")
    database = three.replicas[3].machine.space.databases[0]
    database.put(b"a", b"2")
    begin(three, client)
    assert verdicts(three, client)[3] == "differs"
    assert named() == "raft_state_differs:3"

    three.replicas[3].snapshots.request(three.replicas[3].applied)
    three.replicas[3].apply(three.now_ms)
    begin(three, client)
    assert verdicts(three, client)[3] == "busy"
    assert named() == "raft_state_differs:3"

    database.put(b"a", b"1")
    for replica in three.replicas.values():
        replica.snapshots.taking.abandon()
    begin(three, client)
    assert verdicts(three, client)[3] == "equal"
    assert named() == "raft_state_differs:no"
    assert 0 <= three.now_ms - client.ask("RAFT.STATUS")[b"verified"][b"time_ms"] <= 50


def test_a_connected_member_that_says_nothing_is_not_waited_for_without_end() -> None:
    cluster = Cluster(voters=3, raft_verify_patience_s="2")
    client = cluster.connect(resp3=True)
    cluster.cut_off = {3}
    begin(cluster, client)
    cluster.advance(1900)
    assert client.is_silent
    cluster.advance(100)
    assert verdicts(cluster, client) == {1: "equal", 2: "equal", 3: "no answer"}
    cluster.close()


def test_a_machine_that_raises_stops_nobody(three: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RedisMachine) -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    monkeypatch.setattr(RedisMachine, "digests", broken)
    begin(three, client)
    assert verdicts(three, client) == {1: "busy", 2: "busy", 3: "busy"}
    assert client.ask("SET a 1") == OK


def test_a_mark_that_was_here_before_the_start_is_not_digested(three: Cluster, client: Client) -> None:
    begin(three, client)
    verdicts(three, client)
    old, stored = three.replicas[2], three.stores[2]
    entries = stored.read(1, old.applied, 1 << 20)
    again = Replica(
        2,
        old.state.membership,
        machine=RedisMachine(),
        store=MemoryLogStore([Write(stored._hard_state, entries)]),
        snapshots=old.snapshots.store,
        settings=old.settings,
        random=Random(1),
        now_ms=three.now_ms,
    )
    three.replicas[2] = again
    for peer in (1, 3):
        three.replicas[peer].on_link_down(2)
        three.replicas[peer].on_link_up(2)
        again.on_link_up(peer)
    three.advance(200)
    assert (again.node.term, again.applied) == (old.node.term, three.replicas[1].applied)
    assert not again.digesting.under_way
    assert not hasattr(again.digesting, "_parts"), "it never began"


def test_a_state_that_is_replaced_is_digested_no_further(three: Cluster) -> None:
    replica = three.replicas[3]
    assert replica.digesting.begin(1, 7) is None
    assert replica.digesting.abandon() == StateDigest(1, 7, b"")
    assert replica.digesting.abandon() is None
    assert not replica.ledger.sessions._walks
    assert all(database.kept is None for database in replica.machine.space.databases), "nothing is kept for it"


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
