"""Backups of a cluster under load, restored elsewhere; and a survivor that becomes the cluster. Real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.cluster import Client, Cluster, Member, free_ports, wait_until
from tests.integration.workload import Load

pytestmark = pytest.mark.processes

KEYS = 3000
FAR_MS = 10_000_000
"""A time to live that does not end while the test runs."""


def raftkv(*words: object, ok: bool = True) -> str:
    """The output of a command; its error output when it is to fail."""
    command = [sys.executable, "-m", "raftkv", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout if ok else done.stderr


def fill(client: Client) -> None:
    """Text, numbers, bits, large and empty values, in two databases; every third key has a time to live."""
    for number in range(KEYS):
        if number == KEYS // 2:
            client.send("SELECT", 3)
        key = f"key:{number}"
        match number % 6:
            case 0:
                client.send("SET", key, f"value {number}", "PX", FAR_MS + number * 1000)
            case 1:
                client.send("INCRBY", key, number)
            case 2:
                client.send("INCRBYFLOAT", key, f"{number}.25")
            case 3:
                client.send("SET", key, bytes(range(256)) * (1 + number % 40), "PX", FAR_MS + number * 1000)
            case 4:
                client.send("SETRANGE", key, number % 50, "end")
            case _:
                client.send("SET", key, "")
    for _ in range(KEYS + 1):
        client.receive()
    client("SELECT", 0)


Content = dict[tuple[int, bytes], tuple[bytes, int]]
"""(database, key) -> value, and the Unix time (ms) at which it ends."""


class BackedUp(NamedTuple):
    """A backup; what was there, and what the writers (by their keys) had acknowledged, before it began."""

    file: Path
    content: Content
    acknowledged: dict[str, list[int]]


def content(client: Client) -> Content:
    """Of the keys that `fill` made."""
    found: Content = {}
    for database in (0, 3):
        client("SELECT", database)
        cursor = b"0"
        while True:
            cursor, keys = client("SCAN", cursor, "MATCH", "key:*", "COUNT", 500)
            for key in keys:
                client.send("GET", key)
                client.send("PEXPIRETIME", key)
            found |= {(database, key): (client.receive(), client.receive()) for key in keys}
            if cursor == b"0":
                break
    client("SELECT", 0)
    return found


def assert_same(client: Client, expected: Content) -> None:
    found = content(client)
    different = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    assert different == []


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    """From a follower, while others write."""
    directory = tmp_path_factory.mktemp("backed_up")
    file = directory / "b.raftkv"
    with Cluster(directory) as cluster:
        leader = cluster.wait_leader()
        follower = next(member for member in cluster if member is not leader)
        with leader.client() as client:
            fill(client)
            expected = content(client)
        assert len(expected) == KEYS
        with Load(list(cluster), count=4) as load:
            wait_until("writes flow", lambda: load.acknowledged > 100)
            before = {writer.key: list(writer.acknowledged) for writer in load.writers}
            told = raftkv("backup", f":{follower.port}", file)
            acknowledged = load.acknowledged
            wait_until("writes go on", lambda: load.acknowledged > acknowledged)
    assert "backup is sound" in told
    assert raftkv("backup", "--verify", file) == told
    return BackedUp(file, expected, before)


@contextmanager
def serving(*members: Member) -> Iterator[None]:
    with ExitStack() as stack:
        for member in members:
            member.start()
            stack.callback(member.kill)
        yield


def alone(directory: Path, member_id: int = 1, *argv: str) -> Member:
    port, peer_port = free_ports(2)
    return Member(member_id, port, peer_port, directory, list(argv))


def leads(member: Member) -> bool:
    status = member.status()
    return status is not None and status["role"] == "leader"


def test_restored_as_a_lone_cluster_that_others_join(tmp_path: Path, backed_up: BackedUp) -> None:
    """Everything that was acknowledged before the backup began is there, with its time to live."""
    file, expected, acknowledged = backed_up
    first = alone(tmp_path / "first")
    told = raftkv("restore", file, "--id", 1, "--data", first.data, "--peer-port", first.peer_port)
    assert "raftkv serve --id 1" in told
    second = alone(tmp_path / "second", 2, "--join", f"127.0.0.1:{first.port}")
    with serving(first):
        wait_until("it leads", lambda: leads(first))
        with first.client() as client:
            assert_same(client, expected)
            for key, tokens in acknowledged.items():
                value = client("GET", key).decode()
                assert [token for token in tokens if f"{key}={token};" not in value] == []
            client("SET", "after", "restore")
        with serving(second):
            added = raftkv("member", "add", 2, f"127.0.0.1:{second.peer_port}", "--at", f":{first.port}")
            assert "member 2 is a voter" in added
            with second.client() as client:
                assert client("GET", "after") == b"restore"
                assert_same(client, expected)


def test_restored_as_three_members(tmp_path: Path, backed_up: BackedUp) -> None:
    file, expected, _ = backed_up
    cluster = Cluster(tmp_path)
    table = ",".join(f"{member.id}=127.0.0.1:{member.peer_port}" for member in cluster)
    for member in cluster:
        raftkv("restore", file, "--id", member.id, "--data", member.data, "--members", table)
    with cluster:
        leader = cluster.wait_leader()
        with leader.client() as client:
            assert_same(client, expected)
            client("SET", "after", "restore")
        cluster.wait_equal()
        leader.kill()
        rest = [member for member in cluster if member is not leader]
        with cluster.wait_leader(rest).client() as client:
            assert client("GET", "after") == b"restore"
            assert_same(client, expected)


def test_a_member_of_the_old_cluster_is_no_member_of_the_new(tmp_path: Path, backed_up: BackedUp) -> None:
    """The same number, started with a restored directory and the old cluster's list, stops."""
    member = alone(tmp_path / "one", 1, "--members", "1=127.0.0.1:9,2=127.0.0.1:10", "--peer-advertise", "127.0.0.1:9")
    raftkv("restore", backed_up.file, "--id", 1, "--data", member.data, "--peer-port", member.peer_port)
    with serving(member):
        assert member.wait_exit() == 3
    assert "belongs to cluster" in member.log_text()


@pytest.mark.parametrize("damage", ["a flipped byte", "an end that is missing"])
def test_a_damaged_backup_is_refused(tmp_path: Path, backed_up: BackedUp, damage: str) -> None:
    whole = bytearray(backed_up.file.read_bytes())
    if damage == "a flipped byte":
        whole[len(whole) // 2] ^= 0x10
    else:
        del whole[-100:]
    file = tmp_path / "damaged"
    file.write_bytes(whole)
    assert "do not use this file" in raftkv("backup", "--verify", file, ok=False)
    assert "do not use this file" in raftkv("restore", file, "--data", tmp_path / "new", ok=False)
    assert not (tmp_path / "new").exists()


def test_a_survivor_becomes_the_cluster_and_grows_again(tmp_path: Path) -> None:
    """Two of three are gone for good. What the third has stays, with its members' numbers never used again."""
    with Cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()
        with leader.client() as client:
            fill(client)
            expected = content(client)
        cluster.wait_equal()
        survivor = next(member for member in cluster if member is not leader)
        for member in cluster:
            member.kill()
        table = ",".join(f"{member.id}=127.0.0.1:{member.peer_port}" for member in cluster)
        words = ["recover", survivor.data, "--members", f"{survivor.id}=127.0.0.1:{survivor.peer_port}"]
        assert "--yes" in raftkv(*words, "--founders", table, ok=False)
        told = raftkv(*words, "--founders", table, "--yes")
        [record] = survivor.data.glob("RECOVERED-*.txt")
        assert record.read_text() in told
        new = [alone(tmp_path / f"new{number}", number, "--join", f"127.0.0.1:{survivor.port}") for number in (4, 5)]
        with serving(survivor, *new):
            wait_until("it leads", lambda: leads(survivor))
            for member in new:
                raftkv("member", "add", member.id, f"127.0.0.1:{member.peer_port}", "--at", f":{survivor.port}")
            gone = next(member.id for member in cluster if member is not survivor)
            refusal = raftkv("member", "add", gone, "127.0.0.1:9", "--at", f":{survivor.port}", ok=False)
            assert "never used again" in refusal
            assert "leads" in raftkv("transfer", 4, "--at", f":{new[1].port}")
            raftkv("member", "remove", survivor.id, "--at", f":{survivor.port}")
            wait_until("the new ones go on", lambda: any(leads(member) for member in new))
            with new[1].client() as client:
                assert_same(client, expected)
