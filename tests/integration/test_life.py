"""The life of a cluster, by real processes: it grows and shrinks under load, is replaced member by member, cuts its
log, and hands leadership on. Throughout, clients write, and what they were told is true afterwards.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Member, ReplyError, free_ports, wait_until
from tests.integration.workload import Load

SMALL = ["--snapshot-log-entries-max", "200", "--storage-segment-bytes", "1048576"]


def joined(cluster: Cluster, number: int, *argv: str) -> Member:
    """A new process that is let in by the others."""
    port, peer_port = free_ports(2)
    by = ",".join(f"127.0.0.1:{member.port}" for member in cluster if is_up(member))
    directory = next(iter(cluster)).directory.parent / f"member{number}"
    member = Member(number, port, peer_port, directory, ["--join", by, *SMALL, *argv])
    member.start()
    cluster.members[number] = member
    wait_until(f"{number} is a voter", lambda: number in (member.status() or {}).get("voters", []))
    return member


def is_up(member: Member) -> bool:
    return member.process is not None and member.process.poll() is None


def present(cluster: Cluster) -> list[Member]:
    return [member for member in cluster if is_up(member)]


def leader(cluster: Cluster) -> Member:
    return cluster.wait_leader(present(cluster))


def ask(cluster: Cluster, *argv: object) -> object:
    """Ask any member, again while nobody leads: these commands may be repeated."""

    def answer() -> object:
        with contextlib.suppress(OSError, ReplyError), leader(cluster).client(timeout_s=30) as client:
            return client(*argv)
        return None

    return wait_until(f"{argv} is done", answer, timeout_s=60)


def removed(cluster: Cluster, member: Member) -> None:
    assert ask(cluster, "RAFT.NODE", "REMOVE", member.id) == b"OK"
    assert member.wait_exit() == 3
    assert f"member {member.id} was removed" in member.log_text()
    kept = list(member.directory.glob("data.removed-*"))
    assert len(kept) == 1, "what it had is kept aside"
    assert not member.data.exists()


def tell_gap(what: str, load: Load, since: float) -> None:
    """Seen with `pytest -s`."""
    until = time.monotonic()
    print(
        f"\n{what}: {until - since:.1f} s, longest time without an acknowledged write {load.gap_s(since, until):.3f} s"
    )


def follow(load: Load, cluster: Cluster) -> None:
    """Let the clients know who is there now."""
    for writer in load.writers:
        writer._members = present(cluster)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 1, *SMALL) as cluster:
        cluster.wait_leader()
        yield cluster


def test_one_grows_to_five_shrinks_to_three_and_every_member_is_replaced(lone: Cluster) -> None:
    with Load(list(lone), 3) as load:
        wait_until("writes flow", lambda: load.acknowledged > 50)
        since = time.monotonic()
        for number in (2, 3, 4, 5):
            joined(lone, number)
            follow(load, lone)
        tell_gap("grown from 1 to 5", load, since)
        since = time.monotonic()
        for _ in range(2):
            gone = leader(lone)
            removed(lone, gone)
            del lone.members[gone.id]
            follow(load, lone)
        assert len(present(lone)) == 3
        tell_gap("shrunk to 3 by removing the leader twice", load, since)
        since = time.monotonic()
        for old, new in zip(sorted(lone.members), (6, 7, 8), strict=True):
            joined(lone, new)
            removed(lone, lone.members[old])
            del lone.members[old]
            follow(load, lone)
        tell_gap("every member replaced", load, since)
        lone.wait_equal()
        assert sorted(present(lone)[0].status()["voters"]) == [6, 7, 8]  # type: ignore[index]
    assert load.acknowledged > 100
    with leader(lone).client() as client:
        load.verify(client)


def test_all_are_restarted_one_after_the_other(tmp_path: Path) -> None:
    """Twice round; the leader hands over each time it is its turn."""
    with Cluster(tmp_path, 3) as cluster:
        cluster.wait_leader()
        with Load(list(cluster), 3) as load:
            wait_until("writes flow", lambda: load.acknowledged > 50)
            since = time.monotonic()
            for member in [*cluster, *cluster]:
                assert member.terminate() == 0
                member.start()
                wait_until("it is back", lambda member=member: (member.status() or {}).get("leader"))
                before = load.acknowledged
                wait_until("writes flow", lambda before=before: load.acknowledged > before + 50)
            tell_gap("all restarted, twice", load, since)
        cluster.wait_equal()
        for member in cluster:
            with member.client() as client:
                load.verify(client)


def test_a_member_that_was_away_catches_up_by_snapshot_and_so_does_one_that_starts_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *SMALL, "--storage-log-cache-bytes-max", "65536") as cluster:
        first = cluster.wait_leader()
        away = next(member for member in cluster if member is not first)
        away.kill()
        with first.client() as client:
            for number in range(600):
                client("SET", f"key:{number % 50}", "x" * 500)
        wait_until("the log was cut", lambda: first.status()["first"] > 300)  # type: ignore[index]
        away.start()
        cluster.wait_equal()
        assert away.status()["snapshot"] is not None  # type: ignore[index]
        assert away.status()["first"] > 300, "it has no older entries"  # type: ignore[index]
        for member in cluster:
            member.kill()
        for member in cluster:
            member.start()
        cluster.wait_leader()
        cluster.wait_equal()
        with away.client() as client:
            assert client("DIRTYGET", "key:7") == b"x" * 500
            assert client("DBSIZE") == 50
            assert isinstance(client("LASTSAVE"), int)


def test_sigterm_hands_over_first(tmp_path: Path) -> None:
    """No election timeout passes: with one of half an hour nobody would lead for as long otherwise."""
    slow = ["--raft-election-timeout-ms-min", "1800000", "--raft-election-timeout-ms-max", "1800001"]
    with Cluster(tmp_path, 3, *slow) as cluster:
        first = cluster.members[1]
        wait_until("the others are there", lambda: first.log_text().count("peer_connected") == 2)
        with first.client() as client:
            client("RAFT.TRIGGER_ELECTION")
        old = wait_until("it leads", cluster.find_leader)
        with old.client() as client:
            client("SET", "a", "1")
        assert old.terminate() == 0
        new = cluster.wait_leader([member for member in cluster if member is not old])
        with new.client() as client:
            assert client("GET", "a") == b"1"


def test_transfer_goes_where_it_is_told(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        for target in (1, 2, 3, 1):
            assert ask(cluster, "RAFT.TRANSFER_LEADER", target) == b"OK"
            assert leader(cluster).id == target
        with cluster.members[2].client() as client, pytest.raises(ReplyError, match="cannot go to member 9"):
            client("RAFT.TRANSFER_LEADER", 9)


def test_learners_demotion_and_promotion(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.wait_leader()
        port, peer_port = free_ports(2)
        learner = Member(4, port, peer_port, tmp_path / "member4", ["--join", f"127.0.0.1:{cluster.members[1].port}"])
        learner.start("--cluster-learner", "yes")
        cluster.members[4] = learner
        wait_until("it learns", lambda: (learner.status() or {}).get("learners") == [4])
        assert ask(cluster, "SET", "a", "1") == b"OK"
        with learner.client() as client:
            wait_until("it has it", lambda: client("DIRTYGET", "a") == b"1")
        assert ask(cluster, "RAFT.NODE", "PROMOTE", 4) == b"OK"
        assert ask(cluster, "RAFT.NODE", "PROMOTE", 4) == b"OK", "again"
        wait_until("it votes", lambda: (learner.status() or {}).get("voters") == [1, 2, 3, 4])
        assert ask(cluster, "RAFT.NODE", "DEMOTE", 4) == b"OK"
        wait_until("it votes no more", lambda: (learner.status() or {}).get("learners") == [4])
