"""`raftkv serve` with a machine that fails: it begins again in the same process, and gives up in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, wait_until

pytestmark = pytest.mark.processes
BOOMS = ("--machine-class", "tests.support.machines:AlwaysBooms", "--supervision-backoff-ms", "0")


def test_a_member_that_fails_again_and_again_ends_with_exit_code_3(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *BOOMS, "--supervision-restarts-max", "2") as cluster:
        member = cluster.wait_leader()
        with member.client() as client:
            client("PUT", "a", "1")
            with pytest.raises(ConnectionError):
                client("BOOM")
        assert member.wait_exit() == 3
    text = member.log_text()
    assert text.count("member_restarts") == 2
    assert "at entry 3: ZeroDivisionError" in text
    assert "2 restarts within 60000 ms did not help" in text


def test_the_others_go_on_while_one_begins_again(tmp_path: Path) -> None:
    """Three members, one of which has a machine that fails at an entry the others carry out."""
    machine = ("--machine-class", "tests.support.machines:Words", "--supervision-backoff-ms", "0")
    with Cluster(tmp_path, 3, *machine) as cluster:
        leader = cluster.wait_leader()
        follower = next(member for member in cluster if member is not leader)
        follower.terminate()
        follower.start("--machine-class", "tests.support.machines:AlwaysBooms")
        wait_until("it is back", follower.status)
        with leader.client() as client:
            assert client("BOOM") == b"OK"
            assert client("PUT", "a", "1") == b"OK"
        assert follower.wait_exit() == 3
        follower.start()  # with the mended machine
        cluster.wait_equal()
        assert "member_restarts" in follower.log_text()
        with follower.client() as client:
            assert client("DIRTYTAKE", "a") == b"1"


def test_never_leaves_it_to_the_init_system(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *BOOMS, "--supervision-restart", "never") as cluster:
        member = cluster.wait_leader()
        with member.client() as client, pytest.raises(ConnectionError):
            client("BOOM")
        assert member.wait_exit() == 3
    assert "member_restarts" not in member.log_text()
