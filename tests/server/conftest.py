"""Fixtures for the server's tests: clusters in one thread (see member.py), closed when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.member import Client, Cluster


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    made: list[Cluster] = []

    def make(**arguments: Any) -> Cluster:
        made.append(Cluster(**arguments))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """One member, which leads."""
    return make_cluster()


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return cluster.connect()
