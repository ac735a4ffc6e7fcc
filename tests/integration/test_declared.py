"""A declared machine as a cluster of real processes: hints of redis-cli, redis-py, a killed leader, a wrong log."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.cluster import Cluster, Member, wait_until

pytestmark = pytest.mark.processes

MACHINE = ("--machine", "examples.bank:Bank")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("bank"), 3, *MACHINE) as cluster:
        cluster.wait_leader()
        yield cluster


def ask(member: Member, *words: object) -> object:
    client = redis.Redis(port=member.port, decode_responses=True)
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def cli(member: Member, *words: str) -> str:
    done = subprocess.run(
        ["redis-cli", "-p", str(member.port), *words], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def test_any_member_serves_it_to_redis_clients(bank: Cluster) -> None:
    first, second, third = bank
    assert cli(first, "deposit", "alice", "100") == "100"
    assert ask(second, "DEPOSIT", "bob", 1) == 1
    assert ask(third, "TRANSFER", "alice", "bob", 30) == "OK"
    assert [ask(member, "BALANCE", "bob") for member in bank] == [31, 31, 31]
    with pytest.raises(redis.ResponseError, match="NOACCOUNT there is no nobody"):
        ask(first, "TRANSFER", "alice", "nobody", 1)
    assert ask(first, "TOTAL") == 101
    with pytest.raises(redis.ResponseError, match="wrong number of arguments for 'transfer' command"):
        ask(second, "TRANSFER", "alice")
    with pytest.raises(redis.ResponseError, match="unknown command 'GET'"):
        ask(second, "GET", "alice")


def test_the_command_table_is_the_class(bank: Cluster) -> None:
    member = bank.members[1]
    docs = cli(member, "command", "docs", "transfer")
    assert "Move money between two accounts" in docs
    assert "amount" in docs
    info = ask(member, "COMMAND", "INFO", "transfer")
    assert isinstance(info, dict)
    assert info["transfer"]["arity"] == 4
    assert cli(member, "command", "getkeys", "transfer", "a", "b", "1").startswith(
        "ERR The command has no key arguments"
    )


def test_a_killed_leader_loses_nothing(bank: Cluster) -> None:
    leader = bank.wait_leader()
    others = [member for member in bank if member is not leader]
    ask(others[0], "DEPOSIT", "carol", 7)
    leader.kill()
    bank.wait_leader(others)
    assert ask(others[1], "DEPOSIT", "carol", 1) == 8
    leader.start()
    wait_until("it is back", leader.status)
    bank.wait_equal()
    assert ask(leader, "BALANCE", "carol") == 8


def test_its_log_is_refused_under_another_machine(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *MACHINE) as cluster:
        cluster.wait_leader()
        member = cluster.members[1]
        member.kill()
        member.start("--machine", "examples.counter:Counter")
        assert member.process is not None
        assert member.process.wait(timeout=20) == 3
        assert "belongs to machine 'bank', the settings say 'counter'" in member.log.read_text()
