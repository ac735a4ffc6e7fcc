"""``raftkv member`` and ``raftkv transfer`` against members that do it, refuse, are late, move, or go away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from raftkv.cli import member_asking, resp
from raftkv.cli.main import app
from raftkv.cli.member import progress
from raftkv.cli.member_asking import carry_out
from raftkv.cli.resp import Refused
from raftkv.cli.status import Status
from raftkv.errors import NotDone, OutcomeUnknown
from tests.cli.fake_member import GONE, HELLO, in_turn, member, peer, status

LEADS = status(1, leader=1)
TRY_AGAIN = Exception("TRYAGAIN The leader changed")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_asking, "RETRY_S", 0.001)
    monkeypatch.setattr(member_asking, "PATIENCE_S", 2)
    monkeypatch.setattr(resp, "LOOK_S", 0.001)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "command", "said"),
    [
        (["member", "add", "4", ":8004"], "RAFT.NODE ADD 4 127.0.0.1:8004", "member 4 is a voter"),
        (["member", "add", "4", "h:8", "--learner"], "RAFT.NODE ADD 4 h:8 LEARNER", "member 4 is a learner at h:8"),
        (["member", "remove", "2"], "RAFT.NODE REMOVE 2", "member 2 is no member any more"),
        (["member", "promote", "4"], "RAFT.NODE PROMOTE 4", "member 4 is a voter"),
        (["member", "demote", "3"], "RAFT.NODE DEMOTE 3", "member 3 is a learner"),
        (["transfer", "2"], "RAFT.TRANSFER_LEADER 2", "member 2 leads"),
        (["transfer"], "RAFT.TRANSFER_LEADER", "member 1 leads"),
    ],
)
def test_what_is_asked_and_said(arguments: list[str], command: str, said: str) -> None:
    seen: list[list[str]] = []
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, command.split()[0]: "OK"}, seen) as address:
        result = run(*arguments, "--at", address)
    assert result.exit_code == 0, result.output
    assert command.split() in seen
    assert said in result.output


def test_the_password_is_given() -> None:
    seen: list[list[str]] = []
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": "OK"}, seen) as address:
        assert run("member", "remove", "2", "--at", address, "--password", "secret").exit_code == 0
    assert seen[0] == ["HELLO", "3", "AUTH", "default", "secret"]


@pytest.mark.parametrize(
    "arguments",
    [["member", "add", "0", ":8001"], ["member", "add", "4", "nowhere"], ["transfer", "--at", "7001"]],
)
def test_what_cannot_be_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def ask(at: str, tell: Callable[[Status], None] = lambda _status: None) -> object:
    return carry_out(["RAFT.NODE", "REMOVE", "2"], at, "", tell)


def test_an_answer_that_says_to_try_again_is_obeyed() -> None:
    down = Exception("CLUSTERDOWN no leader")
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": in_turn(TRY_AGAIN, down, "OK")}) as address:
        assert ask(address) == "OK"


def test_a_refusal_is_told_at_once() -> None:
    refusal = Exception("ERR there is no member 2")
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": refusal}) as address,
        pytest.raises(Refused, match="ERR there is no member 2"),
    ):
        ask(address)


def test_when_the_member_asked_goes_away_another_one_is_asked() -> None:
    """As when it is the one that is removed."""
    with member({"HELLO": HELLO, "RAFT.STATUS": status(3, leader=3), "RAFT.NODE": "OK"}) as other:
        peers = [peer(3, connected=True, heard_ms=1, client_address=other)]
        going = {"HELLO": HELLO, "RAFT.STATUS": status(1, leader=1, peers=peers), "RAFT.NODE": GONE}
        with member(going) as address:
            assert ask(address) == "OK"


def test_one_that_redirects_is_followed() -> None:
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": "OK"}) as leader:
        moved = Exception(f"MOVED 0 {leader}")
        with member({"HELLO": HELLO, "RAFT.STATUS": status(2, leader=1), "RAFT.NODE": moved}) as address:
            assert ask(address) == "OK"


def test_patience_ends_and_says_that_it_may_have_been_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_asking, "PATIENCE_S", 0)
    with (
        member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": TRY_AGAIN}) as address,
        pytest.raises(OutcomeUnknown, match=r"TRYAGAIN.*harmless"),
    ):
        ask(address)


def test_to_wait_for_a_leader_that_never_comes_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt takes a while, since the member waits for a leader before it refuses: that is no progress."""
    monkeypatch.setattr(member_asking, "PATIENCE_S", 0)
    looked = threading.Event()

    def refuse_late(_command: list[str]) -> object:
        looked.wait(10)
        return Exception("CLUSTERDOWN no leader")

    lost = {"HELLO": HELLO, "RAFT.STATUS": status(1, leader=None), "RAFT.NODE": refuse_late}
    with member(lost) as address, pytest.raises(OutcomeUnknown, match="CLUSTERDOWN"):
        ask(address, lambda _status: looked.set())


def test_where_nobody_is_nothing_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_asking, "PATIENCE_S", 0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(NotDone, match="nothing was done: 127"):
            ask(f"127.0.0.1:{probe.getsockname()[1]}")


def test_while_it_takes_time_the_leaders_view_is_told() -> None:
    """The member that was asked answers only when the leader has been looked at."""
    looked = threading.Event()
    told: list[Status] = []

    def after_a_look(_command: list[str]) -> object:
        return "OK" if looked.wait(10) else GONE

    def look(_command: list[str]) -> object:
        return status(1, leader=1, peers=[peer(4, connected=True, heard_ms=1)])

    def tell(view: Status) -> None:
        told.append(view)
        looked.set()

    with member({"HELLO": HELLO, "RAFT.STATUS": look}) as leader:
        own = status(2, leader=1, leader_address=leader)
        with member({"HELLO": HELLO, "RAFT.STATUS": own, "RAFT.NODE": after_a_look}) as address:
            assert ask(address, tell) == "OK"
    assert told[0]["id"] == 1
    assert progress(told[0], 4) == "member 4 has 30 of 42 entries"


def test_a_member_that_hangs_is_noticed_by_looking() -> None:
    """The connection stays, and nothing comes: the status is asked for over another one, which fails."""
    ends = threading.Event()

    def hang(_command: list[str]) -> object:
        ends.wait(10)
        return GONE

    with member({"HELLO": HELLO, "RAFT.STATUS": status(3, leader=3), "RAFT.NODE": "OK"}) as other:
        first = status(1, leader=1, peers=[peer(3, connected=True, heard_ms=1, client_address=other)])
        with member({"HELLO": HELLO, "RAFT.STATUS": in_turn(first, GONE), "RAFT.NODE": hang}) as address:
            assert ask(address) == "OK"
            ends.set()


def test_what_the_spinner_says() -> None:
    away = status(1, leader=1, peers=[peer(4, connected=False, heard_ms=None)])
    assert progress(away, 4) == "member 4 is not connected to the leader: does it run, at 127.0.0.1:8004?"
    assert progress(status(2, leader=1), 4) == "waiting for member 1, the leader"
    assert progress(status(2, leader=None), None) == "waiting for a leader"


def node(number: int, role: str, **more: object) -> dict[str, object]:
    row = {"id": number, "role": role, "peer_address": f"127.0.0.1:800{number}", "client_address": None}
    return {**row, "leads": 0, "connected": 1, "match": None, **more}


def test_the_list_is_the_leaders() -> None:
    rows = [node(1, "voter", leads=1, match=42), node(4, "learner", connected=0, match=7), node(2, "none")]
    with member({"HELLO": HELLO, "RAFT.NODE": rows}) as leader:
        own = status(3, leader=1, leader_address=leader)
        with member({"HELLO": HELLO, "RAFT.STATUS": own}) as address:
            result = run("member", "list", "--at", address)
    lines = [line.split() for line in result.output.splitlines() if line.strip()]
    assert lines[0] == ["id", "role", "leads", "peer", "address", "client", "address", "connected", "match"]
    assert lines[2:] == [
        ["1", "voter", "leads", "127.0.0.1:8001", "-", "yes", "42"],
        ["4", "learner", "127.0.0.1:8004", "-", "no", "7"],
    ]


def test_without_a_leader_the_list_is_that_of_the_member_asked() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = status(3, leader=1, leader_address=f"127.0.0.1:{probe.getsockname()[1]}")
        with member({"HELLO": HELLO, "RAFT.STATUS": gone, "RAFT.NODE": [node(3, "voter")]}) as address:
            result = run("member", "list", "--at", address)
    assert result.exit_code == 0
    assert "127.0.0.1:8003" in result.output


def verdict(*members: tuple[int, str, str]) -> dict[str, object]:
    rows = [{"id": number, "digest": digest, "verdict": word} for number, digest, word in members]
    return {"index": 120, "time_ms": 1, "equal": int("differs" not in str(rows)), "members": rows}


def test_states_are_compared_and_a_difference_is_exit_code_1() -> None:
    sound = verdict((1, "ab" * 32, "equal"), (2, "ab" * 32, "equal"), (3, "", "busy"))
    bad = verdict((1, "ab" * 32, "equal"), (2, "ab" * 32, "equal"), (3, "cd" * 32, "differs"))
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.VERIFY": in_turn(sound, TRY_AGAIN, bad)}) as address:
        first, second = run("member", "verify", "--at", address), run("member", "verify", "--at", address)
    assert (first.exit_code, second.exit_code) == (0, 1)
    lines = [line.split() for line in first.output.splitlines() if line.strip()]
    assert lines[0] == ["id", "verdict", "digest"]
    assert lines[2:5] == [["1", "equal", "ab" * 8], ["2", "equal", "ab" * 8], ["3", "busy", "-"]]
    assert "the states of 2 of 3 members were compared at entry 120" in first.output
    assert ["3", "differs", "cd" * 8] in [line.split() for line in second.output.splitlines()]
    assert "the states at entry 120 differ" in second.output


def test_that_a_new_member_never_came_is_told_with_what_is_certain() -> None:
    told = Exception("TIMEOUT Member 9 is a learner, but was not heard for 30 s; RAFT.NODE REMOVE 9 takes it back")
    with member({"HELLO": HELLO, "RAFT.STATUS": LEADS, "RAFT.NODE": told}) as address:
        result = run("member", "add", "9", "nosuch:1", "--at", address)
    assert result.exit_code == 1
    assert isinstance(result.exception, Refused)
    assert "RAFT.NODE REMOVE 9 takes it back" in str(result.exception)
