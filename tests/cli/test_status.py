"""``raftkv status`` against members that are there, absent, silent, protected or talking nonsense."""

from __future__ import annotations

import socket

from typer.testing import CliRunner

from raftkv.cli.main import app
from tests.cli.fake_member import HELLO, member, peer, status


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["status", *arguments])
    return result.exit_code, result.output


def row(output: str, start: str) -> list[str]:
    """The cells of the first line that starts with `start`."""
    return next(line.split() for line in output.splitlines() if line.strip().startswith(start))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_whole_cluster() -> None:
    peers = [peer(2, connected=True, heard_ms=7), peer(3, connected=False, heard_ms=None)]
    leader = {"HELLO": HELLO, "RAFT.STATUS": status(1, leader=1, peers=peers)}
    follower = {"HELLO": HELLO, "RAFT.STATUS": status(2, leader=1)}
    with member(leader) as first, member(follower) as second:
        code, output = run(first, second)
    assert code == 0
    assert row(output, first) == [first, "1", "leader", "3", "1", "41", "40", "42", "42", "1h02m"]
    assert row(output, second)[2] == "follower"
    assert "as leader 1 sees them" in output
    assert row(output, "2 ") == ["2", "127.0.0.1:8002", "30", "43", "12", "yes", "7", "ms", "ago"]
    assert row(output, "3 ")[-2:] == ["no", "never"]


def test_members_that_were_not_named_are_found() -> None:
    with member({"HELLO": HELLO, "RAFT.STATUS": status(2, leader=1)}) as second:
        known = peer(2, connected=True, heard_ms=7, client_address=second)
        leader = {"HELLO": HELLO, "RAFT.STATUS": status(1, leader=1, peers=[known])}
        with member(leader) as first:
            code, output = run(first)
    assert code == 0
    assert row(output, second)[:3] == [second, "2", "follower"]


def test_an_absent_member_is_shown_and_the_others_still_count() -> None:
    absent = f"127.0.0.1:{free_port()}"
    with member({"HELLO": HELLO, "RAFT.STATUS": status(2, leader=1)}) as present:
        code, output = run(absent, present)
    assert code == 0  # a follower that knows its leader is enough
    assert f"{absent}" in output
    assert "unreachable: Connection refused" in output


def test_no_leader_is_exit_code_1() -> None:
    with member({"HELLO": HELLO, "RAFT.STATUS": status(2, leader=None)}) as address:
        code, output = run(address)
    assert code == 1
    assert row(output, address)[4] == "-"


def test_nobody_there_is_exit_code_1() -> None:
    code, output = run(f":{free_port()}")
    assert code == 1
    assert "unreachable" in output


def test_of_two_who_claim_to_lead_the_newer_term_is_shown() -> None:
    old = status(1, leader=1, term=3, peers=[peer(2, connected=True, heard_ms=1)])
    new = status(2, leader=2, term=4, peers=[peer(1, connected=True, heard_ms=1)])
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": old}) as first,
        member({"HELLO": HELLO, "RAFT.STATUS": new}) as second,
    ):
        _, output = run(first, second)
    assert "as leader 2 sees them" in output


def test_the_password_is_sent_and_a_refusal_shown() -> None:
    seen: list[list[str]] = []
    with member({"HELLO": Exception("WRONGPASS no"), "RAFT.STATUS": 1}, seen) as address:
        code, output = run(address, "--password", "secret")
    assert code == 1
    assert seen[0] == ["HELLO", "3", "AUTH", "default", "secret"]
    assert "error: WRONGPASS no" in output
    assert "secret" not in output


def test_a_silent_member_costs_its_timeout_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, output = run(f":{silent.getsockname()[1]}", "--timeout-ms", "50")
    assert code == 1
    assert "unreachable: timed out" in output


def test_other_servers_are_told_apart() -> None:
    with member({"HELLO": HELLO, "RAFT.STATUS": "what?"}) as strange, member({"HELLO": HELLO}) as closing:
        code, output = run(strange, closing)
    assert code == 1
    assert "error: RAFT.STATUS answered str, not a map" in output
    assert "unreachable: closed the connection" in output


def test_a_bad_address_is_exit_code_2() -> None:
    code, output = run("nowhere")
    assert code == 2
    assert "is not host:port" in output
