"""Reads at members that do not lead, by real processes: what was acknowledged is seen at once, wherever one asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.cluster import Client, Cluster, Member, free_ports, wait_until
from tests.integration.workload import Load

pytestmark = pytest.mark.processes


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Cluster]:
    """Three voters and a learner."""
    with Cluster(tmp_path, 3) as cluster:
        cluster.wait_leader()
        port, peer_port = free_ports(2)
        learner = Member(4, port, peer_port, tmp_path / "member4", ["--join", f"127.0.0.1:{cluster.members[1].port}"])
        cluster.members[4] = learner
        learner.start("--cluster-learner", "yes")
        wait_until("it learns", lambda: (learner.status() or {}).get("learners") == [4])
        yield cluster


def answered_here(member: Member) -> int:
    with redis.Redis(port=member.port) as client:
        return int(client.info("raft")["raft_follower_reads"])


def test_every_acknowledged_write_is_seen_at_once_through_every_member(four: Cluster) -> None:
    leader = four.wait_leader()
    clients = {member.id: redis.Redis(port=member.port) for member in four}
    before = {member.id: answered_here(member) for member in four}
    with Load(list(four)) as load:
        for number in range(200):
            writer = list(clients)[number % 4]
            assert clients[writer].set("counter", number)
            seen = {member: client.get("counter") for member, client in clients.items()}
            assert seen == dict.fromkeys(clients, b"%d" % number), f"written through {writer}"
    with leader.client() as client:
        load.verify(client)
    for member in four:
        here = answered_here(member) - before[member.id]
        assert here == 0 if member is leader else here >= 200
    for each in clients.values():
        each.close()


def test_a_leader_that_stands_still_holds_up_readers_no_longer_than_an_election(tmp_path: Path) -> None:
    """Its link stays open. With patience without end, a read that waited for its answer would never come back."""
    patient = ["--raft-request-timeout-ms", "600000", "--raft-no-leader-wait-ms", "600000"]
    with Cluster(tmp_path, 3, *patient) as cluster:
        leader = cluster.wait_leader()
        others = [member for member in cluster if member is not leader]
        with leader.client() as client:
            client("SET", "a", "1")
        readers = [Reader(member) for member in others]
        for reader in readers:
            wait_until("it reads", lambda reader=reader: reader.answers > 10)
        leader.pause()
        wait_until("another leads", lambda: cluster.find_leader(others), timeout_s=30)
        for reader in readers:
            answers = reader.answers
            wait_until("it reads again", lambda reader=reader, answers=answers: reader.answers > answers + 10, 5)
        leader.resume()
        for reader in readers:
            reader.stop()
            assert reader.wrong is None
            print(f"\nlongest pause of a reader at a follower: {reader.longest_s:.2f} s")


class Reader(threading.Thread):
    """Reads "a" without pause."""

    def __init__(self, member: Member) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self.longest_s = 0.0
        self.wrong: object = None
        self._member = member
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        with Client(self._member.port, timeout_s=60) as client:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    value = client("GET", "a")
                except Exception as error:
                    value = error
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                if value != b"1":
                    self.wrong = value
                    return
                self.answers += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=60)
