"""Reads by lease on a whole cluster: what clients and operators see of them (`raft/reads.py` has the rules)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftkv.machines.replies import OK, Error
from raftkv.raft.messages import Heartbeat
from raftkv.raft.roles import Role
from tests.server.member import Client, Cluster


@pytest.fixture
def make_three(make_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    """The first leads, and has a lease."""

    def make(at: int = 1) -> Cluster:
        cluster = make_cluster(voters=3, at=at, raft_lease_drift_percent_max="10")
        cluster.advance(400)  # who has just started does not vote
        cluster.replicas[1].node.campaign()
        cluster.advance(100)
        assert cluster.replicas[1].node.holds_lease
        return cluster

    return make


@pytest.fixture
def three(make_three: Callable[..., Cluster]) -> Cluster:
    return make_three()


@pytest.fixture
def client(three: Cluster) -> Client:
    return three.connect()


def test_a_read_by_lease_asks_nobody(three: Cluster, client: Client) -> None:
    assert client.ask("SET a 1") == OK
    seen = [three.noted(number, Heartbeat) for number in (2, 3)]
    assert client.ask("GET a") == b"1"
    assert seen == [[], []]


def test_without_its_lease_it_asks_and_answers_nothing_while_cut_off(three: Cluster, client: Client) -> None:
    client.ask("SET a 1")
    three.cut_off = {1}
    assert client.ask("GET a") == b"1", "by lease"
    three.advance(400)
    assert three.replicas[1].node.role is Role.LEADER
    client.send([b"GET", b"a"])
    assert client.is_silent


def test_an_operator_is_told_when_a_lease_forbids_an_election(make_three: Callable[..., Cluster]) -> None:
    client = make_three(at=2).connect()
    reply = client.ask("RAFT.TRIGGER_ELECTION")
    assert isinstance(reply, Error)
    assert reply.text.startswith("TRYAGAIN no election: this member has promised member 1 not to stand for a moment")
    assert client.ask("SET a 1") == OK, "it follows as before"
