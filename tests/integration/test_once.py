"""Exactly once with real processes: repeated on another member after kill -9, and after a restart of all."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.cluster import Cluster, wait_until

pytestmark = pytest.mark.processes


def ask(port: int, protocol: int, *words: object) -> object:
    client = redis.Redis(port=port, protocol=protocol)
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def test_a_command_is_applied_once_across_kills_and_restarts(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()
        other = next(member for member in cluster if member is not leader)
        session = ask(other.port, 3, "RAFT.SESSION", "OPEN", "TTL", 3_600_000)
        ask(leader.port, 2, "SET", "text", "x")
        once = ("RAFT.ONCE", session)
        assert ask(leader.port, 2, *once, 1, "INCR", "c") == 1
        assert ask(leader.port, 2, *once, 2, "INCRBYFLOAT", "f", "1.5") == b"1.5"
        with pytest.raises(redis.ResponseError, match="not an integer"):
            ask(leader.port, 2, *once, 3, "INCR", "text")
        leader.kill()
        cluster.wait_leader([member for member in cluster if member is not leader])
        repeated(other.port, session)
        leader.start()
        wait_until("it is back", leader.status)
        for member in cluster:
            member.kill()
        for member in cluster:
            member.start()
        cluster.wait_leader()
        for member in cluster:
            repeated(member.port, session)
        assert ask(other.port, 2, *once, 4, "INCR", "c") == 2
        assert ask(other.port, 2, "RAFT.SESSION", "CLOSE", session) == b"OK"
        with pytest.raises(redis.ResponseError, match="NOSESSION"):
            ask(leader.port, 3, *once, 1, "INCR", "c")


def repeated(port: int, session: object) -> None:
    """All three again, in both protocols: the first replies, and nothing is done."""
    for protocol in (2, 3):
        assert ask(port, protocol, "RAFT.ONCE", session, 1, "INCR", "c") == 1
        assert ask(port, protocol, "RAFT.ONCE", session, 2, "INCRBYFLOAT", "f", "1.5") == b"1.5"
        with pytest.raises(redis.ResponseError, match="not an integer"):
            ask(port, protocol, "RAFT.ONCE", session, 3, "INCR", "text")
        assert ask(port, protocol, "GET", "c") == b"1"
