"""Checks by the present state: one command is refused, the rest goes on, and a repeat still gets its first reply."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.machines.interface import Kind
from raftkv.machines.replies import OK, Error
from tests.server.member import Client, Cluster

NOT_NOW = Error("ERR not now")


def no_del(kind: Kind, argv: list[bytes]) -> Error | None:
    return NOT_NOW if argv and argv[0] == b"DEL" else None


@pytest.fixture(params=[1, 2], ids=["leader", "follower"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three members; clients talk to the leader, or to another."""
    cluster = Cluster(voters=3, at=request.param)
    yield cluster
    cluster.close()


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return cluster.connect()


def test_a_refused_command_is_answered_in_its_place(cluster: Cluster, client: Client) -> None:
    cluster.replicas[1].screen.checks.append(no_del)
    assert client.pipeline("SELECT 1", "SET a 1", "DEL a", "INCR a", "DEL a", "GET a") == [
        OK,
        OK,
        NOT_NOW,
        2,
        NOT_NOW,
        b"2",
    ]
    last = cluster.replicas[1].node.log.last_index
    assert client.ask("DEL a") == NOT_NOW
    assert cluster.replicas[1].node.log.last_index == last


def test_a_repeat_is_not_judged_by_the_state_that_it_has_made(cluster: Cluster, client: Client) -> None:
    session = client.ask("RAFT.SESSION OPEN")
    client.ask("SET a 1")
    assert client.ask(f"RAFT.ONCE {session} 1 DEL a") == 1
    cluster.replicas[1].screen.checks.append(no_del)
    assert client.ask(f"RAFT.ONCE {session} 1 DEL a") == 1
    assert client.ask(f"RAFT.ONCE {session} 2 DEL a") == NOT_NOW


def test_after_a_change_of_leader(cluster: Cluster, client: Client) -> None:
    for replica in cluster.replicas.values():
        replica.screen.checks.append(no_del)
    assert client.pipeline("SET a 1", "DEL a") == [OK, NOT_NOW]
    cluster.advance(1000)
    cluster.replicas[2].node.campaign()
    cluster.advance(1000)
    assert client.pipeline("GET a", "DEL a") == [b"1", NOT_NOW]
