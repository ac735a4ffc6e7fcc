"""Fixtures: one cluster of real processes for all tests of a file, since starting three takes over a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster import Cluster, Member, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members with default settings, of whom one leads; all answer. Whoever kills one starts it again."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.wait_leader()
        wait_until("all answer", lambda: all(member.status() for member in cluster))
        yield cluster


@pytest.fixture(scope="module")
def redirecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """As `cluster`, but members that do not lead send clients to the leader, as in Redis Cluster."""
    with Cluster(tmp_path_factory.mktemp("redirecting"), 3, "--client-routing", "redirect") as cluster:
        cluster.wait_leader()
        wait_until("all answer", lambda: all(member.status() for member in cluster))
        yield cluster


@pytest.fixture
def leader(cluster: Cluster) -> Member:
    return cluster.wait_leader()


@pytest.fixture
def follower(cluster: Cluster, leader: Member) -> Member:
    return next(member for member in cluster if member is not leader)


@pytest.fixture(params=["leader", "follower"])
def member(request: pytest.FixtureRequest) -> Member:
    """The test runs twice: against the member that leads, and against one that does not."""
    asked: Member = request.getfixturevalue(request.param)
    return asked
