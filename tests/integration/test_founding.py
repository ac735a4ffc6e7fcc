"""A cluster put together by hand, as with RedisRaft: servers that belong to none are started, and redis-cli says
which of them founds one and which join it. Real processes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Member, ReplyError, free_ports, wait_until
from tests.integration.test_start import ports, serve
from tests.integration.workload import Load

pytestmark = pytest.mark.processes


@contextmanager
def waiting(directory: Path, count: int) -> Iterator[Cluster]:
    """Servers that wait to be told their cluster."""
    cluster = Cluster(directory, 0)
    for number in range(1, count + 1):
        port, peer_port = free_ports(2)
        cluster.members[number] = Member(number, port, peer_port, directory / f"member{number}", ["--wait", "yes"])
    with cluster:
        for member in cluster:
            wait_until(f"{member.id} answers", member.status)
        yield cluster


def redis_cli(member: Member, *words: str) -> str:
    command = ["redis-cli", "-p", str(member.port), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def found(cluster: Cluster) -> str:
    """The first founds a cluster, the others join it; its id."""
    first, *others = cluster
    ok, cluster_id = redis_cli(first, "RAFT.CLUSTER", "INIT").split()
    assert ok == "OK"
    for number, other in enumerate(others):
        known = [f"127.0.0.1:{member.port}" for member in [first, *others][: number + 1]]
        assert redis_cli(other, "RAFT.CLUSTER", "JOIN", *reversed(known)) == "OK", "answered when it is done"
        assert other.id in (other.status() or {})["voters"]
    return cluster_id


def test_three_servers_become_a_cluster_that_keeps_what_it_acknowledges(tmp_path: Path) -> None:
    with waiting(tmp_path, 3) as cluster:
        first = cluster.members[1]
        assert redis_cli(first, "PING") == "PONG"
        assert redis_cli(first, "SET", "a", "1").startswith("CLUSTERDOWN This member belongs to no cluster yet")
        cluster_id = found(cluster)
        cluster.wait_leader()
        with Load(list(cluster)) as load:
            wait_until("they write", lambda: load.acknowledged > 100)
            killed = cluster.wait_leader()
            killed.kill()
            cluster.wait_leader([member for member in cluster if member is not killed])
            before = load.acknowledged
            wait_until("they go on", lambda: load.acknowledged > before + 100)
        killed.start()
        cluster.wait_equal()
        with cluster.wait_leader().client() as client:
            load.verify(client)
        for member in cluster:
            assert member.terminate() == 0
        for member in cluster:
            member.start()  # with --wait, as before
        cluster.wait_leader()
        cluster.wait_equal()
        assert {(member.status() or {})["cluster_id"] for member in cluster} == {cluster_id}
        with cluster.wait_leader().client() as client:
            load.verify(client)
        assert redis_cli(first, "RAFT.CLUSTER", "INIT") == f"ERR this member already belongs to cluster {cluster_id}"
        assert redis_cli(first, "RAFT.CLUSTER", "JOIN", f"127.0.0.1:{cluster.members[2].port}") == "OK"


def test_the_founder_of_a_grown_cluster_that_lost_its_data_has_no_vote_until_it_has_it_again(tmp_path: Path) -> None:
    """By the founding it would be a majority by itself."""
    with waiting(tmp_path, 3) as cluster:
        found(cluster)
        first, second, third = cluster
        with cluster.wait_leader().client() as client:
            assert client("SET", "a", "1") == b"OK"
        cluster.wait_equal()
        first.kill()
        shutil.rmtree(first.data)
        cluster.wait_leader([second, third])
        others = ",".join(f"127.0.0.1:{member.port}" for member in (second, third))
        first.start("--wait", "no", "--join", others, "--rebuild", "yes")
        wait_until("it votes again", lambda: sorted((first.status() or {}).get("voters", [])) == [1, 2, 3])
        assert first.log_text().count("role=leader") == 1, "only when it had founded the cluster"
        with first.client() as client:
            assert client("GET", "a") == b"1"


def test_a_member_that_is_killed_once_it_has_founded_a_cluster_knows_it(tmp_path: Path) -> None:
    with waiting(tmp_path, 1) as cluster:
        [member] = cluster
        cluster_id = found(cluster)
        member.kill()
        (member.data / "IDENTITY").unlink()
        for segment in member.data.glob("*.wal"):
            segment.unlink()  # as if it had been killed right after the file CLUSTER was written
        member.start()
        cluster.wait_leader()
        assert (member.status() or {})["cluster_id"] == cluster_id


def test_a_server_that_waits_stops_when_it_is_told_to(tmp_path: Path) -> None:
    with waiting(tmp_path, 1) as cluster:
        [member] = cluster
        with member.client() as client, pytest.raises(ReplyError, match="none of these members"):
            client("RAFT.CLUSTER", "JOIN", "127.0.0.1:1")
        assert member.terminate() == 0
        assert not member.data.exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--join", "127.0.0.1:7001"], "cluster.wait = 'yes': a member joins by cluster.join, or waits"),
        (["--members", "1=127.0.0.1:8001,2=127.0.0.1:8002"], "cluster.wait = 'yes': a member that waits"),
    ],
)
def test_it_is_not_told_twice(tmp_path: Path, argv: list[str], said: str) -> None:
    mine = ports(tmp_path)
    if "--members" in argv:
        mine[mine.index("--peer-port") + 1] = "8001"
    code, output = serve(*mine, "--wait", "yes", *argv)
    assert code == 2, output
    assert f"flag --wait: {said}" in output
