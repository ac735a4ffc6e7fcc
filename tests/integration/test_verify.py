"""RAFT.VERIFY with real members: equal under load, and the alarm when one of them has another state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raftkv.cli.main import app
from tests.integration.cluster import Client, Cluster, Member, wait_until
from tests.integration.workload import Load

pytestmark = pytest.mark.processes


def verify(member: Member) -> dict[str, Any]:
    with member.client(timeout_s=60) as client:
        flat = client("RAFT.VERIFY")
    top = dict(zip(flat[::2], flat[1::2], strict=True))
    members = [dict(zip(each[::2], each[1::2], strict=True)) for each in top[b"members"]]
    return {
        "index": top[b"index"],
        "equal": top[b"equal"],
        "verdicts": {each[b"id"]: each[b"verdict"].decode() for each in members},
    }


def wait_verdicts(member: Member, words: set[str]) -> dict[str, Any]:
    """A member that is not connected yet gives no answer, and who asks during a comparison gets that one's result."""

    def found() -> dict[str, Any] | None:
        last = verify(member)
        return last if set(last["verdicts"].values()) == words else None

    return wait_until(f"the verdicts are {words}", found)


def fill(client: Client, keys: int) -> None:
    for start in range(0, keys, 1000):
        client("MSET", *[word for number in range(start, start + 1000) for word in (f"key:{number}", "x" * 20)])


def test_members_are_equal_under_load(cluster: Cluster, leader: Member) -> None:
    follower = next(member for member in cluster if member is not leader)
    with leader.client() as client:
        fill(client, 20_000)
    with Load(list(cluster)) as load:
        wait_until("writes flow", lambda: load.acknowledged > 100)
        for asked in (leader, follower, leader):
            found = verify(asked)
            assert (found["equal"], set(found["verdicts"].values())) == (1, {"equal"})
        before = load.acknowledged
        wait_until("writes still flow", lambda: load.acknowledged > before + 100)


def test_a_member_with_another_state_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--machine", "tests.support.diverging:Diverging", "--raft-verify-interval-s", "1")
    cluster = Cluster(tmp_path, 3, *options)
    try:
        for number, member in cluster.members.items():
            if number == 3:
                monkeypatch.setenv("TEST_DIVERGES", "1")
            member.start(*options[:2])
        leader = cluster.wait_leader()
        with leader.client() as client:
            client("SET", "sound", "1")
            assert wait_verdicts(leader, {"equal"})["equal"] == 1
            client("SET", "poisoned", "1")
            found = wait_verdicts(leader, {"equal", "differs"})
            assert found["equal"] == 0
            wrong = sorted(number for number, verdict in found["verdicts"].items() if verdict == "differs")
            assert wrong == ([3] if leader is not cluster.members[3] else [1, 2])
            named = ",".join(map(str, wrong))
            assert f"raft_state_differs:{named}\r\n" in client("INFO", "raft").decode()
        asked = CliRunner().invoke(app, ["member", "verify", "--at", f"127.0.0.1:{cluster.members[1].port}"])
        assert (asked.exit_code, asked.output.count("differs")) == (1, len(wrong)), asked.output
        text = wait_until("it is logged by itself", lambda: leader.log_text().count("state_differs") > 1)
        assert text
    finally:
        cluster.__exit__()
