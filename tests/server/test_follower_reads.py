"""`follower_reads = "local"`: a member that does not lead answers linearizable reads itself, and never an old value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftkv.machines.replies import OK, Error
from raftkv.raft.messages import RaftMessage
from raftkv.wire.peer import Forward, ForwardReply
from tests.server.member import Client, Cluster

NO_LEADER = "CLUSTERDOWN No leader is known; the command was not carried out, try again later"


@pytest.fixture
def three(make_cluster: Callable[..., Cluster]) -> Cluster:
    """The first leads, the second is asked."""
    return make_cluster(voters=3, at=2, client_follower_reads="local")


@pytest.fixture
def client(three: Cluster) -> Client:
    return three.connect()


def forwarded(three: Cluster) -> list[Forward]:
    """What the second member asks the leader from now on."""
    return three.noted(1, Forward)


def test_reads_are_answered_here_and_only_the_index_is_asked_for(three: Cluster, client: Client) -> None:
    assert client.ask("SET a 1") == OK
    seen = forwarded(three)
    assert client.pipeline("GET a", "STRLEN a") == [b"1", 1]
    assert [message.commands for message in seen] == [[]]
    assert three.replicas[2].follower_reads.answered == 1


def test_many_clients_wait_for_one_question(three: Cluster) -> None:
    clients = [three.connect() for _ in range(10)]
    for each in clients:
        each.post([b"GET", b"a"])
    seen = forwarded(three)
    three.run()
    assert [each.receive() for each in clients] == [None] * 10
    assert len(seen) == 1


def test_writes_and_what_comes_with_them_go_to_the_leader(three: Cluster, client: Client) -> None:
    seen = forwarded(three)
    assert client.pipeline("INCR a", "GET a") == [1, b"1"]
    assert [len(message.commands) for message in seen] == [2]


def test_no_read_is_answered_before_this_member_has_what_was_written(three: Cluster, client: Client) -> None:
    leader = three.connect()
    leader.session.server = three.server  # all clients talk to the second member; writes go to the first
    behind = three.replicas[2].node.on_message
    held: list[tuple[int, RaftMessage]] = []
    client.ask("SET a old")
    three.replicas[2].node.on_message = lambda sender, message: held.append((sender, message))  # type: ignore[method-assign]
    assert leader.ask("SET a new") == OK
    client.send([b"GET", b"a"])
    assert client.is_silent
    three.replicas[2].node.on_message = behind  # type: ignore[method-assign]
    for sender, message in held:
        three.replicas[2].on_message(sender, message)
    three.advance(100)
    assert client.receive() == b"new"


def test_without_a_leader_it_is_said_in_time(three: Cluster, client: Client) -> None:
    three.cut_off = {1, 3}
    client.send([b"GET", b"a"])
    for replica in (three.replicas[2],):
        for peer in (1, 3):
            replica.on_link_down(peer)
    three.advance(10_000, step_ms=50)
    assert client.receive() == Error(NO_LEADER)


def test_who_becomes_leader_answers_what_was_waiting(three: Cluster, client: Client) -> None:
    client.ask("SET a 1")
    three.cut_off = {1}
    client.send([b"GET", b"a"])
    three.replicas[2].on_link_down(1)
    three.replicas[2].trigger_election()
    three.run()
    assert three.replicas[2].node.leader_id == 2
    three.advance(100)
    assert client.receive() == b"1"


def test_a_leader_that_stands_still_holds_up_no_read_once_there_is_another(three: Cluster, client: Client) -> None:
    """Its link stays, so nothing breaks; it is only silent (SIGSTOP, a stopped virtual machine)."""
    client.ask("SET a 1")
    three.cut_off = {1}
    other = three.connect()
    client.send([b"GET", b"a"])
    other.send([b"GET", b"a"])
    three.replicas[3].trigger_election()
    three.advance(100)
    assert three.replicas[2].node.leader_id == 3
    assert client.receive() == other.receive() == b"1"


def test_an_answer_of_the_former_leader_that_comes_late_counts_for_nothing(three: Cluster, client: Client) -> None:
    client.ask("SET a 1")
    [question] = late_questions(three, client)
    three.cut_off = {1}
    three.replicas[3].trigger_election()
    three.advance(100)
    assert client.receive() == b"1"
    behind = three.replicas[2].applied
    client.send([b"GET", b"a"])
    three.replicas[2].on_message(1, ForwardReply(question.request_id, [b"%d" % (behind + 1000)]))
    three.advance(100)
    assert client.receive() == b"1"


def late_questions(three: Cluster, client: Client) -> list[Forward]:
    """What the leader is asked for a read, and does not answer."""
    seen: list[Forward] = []
    on_message = three.replicas[1].on_message
    three.replicas[1].on_message = lambda sender, message: seen.append(message)  # type: ignore[method-assign,assignment,arg-type]
    client.send([b"GET", b"a"])
    three.replicas[1].on_message = on_message  # type: ignore[method-assign]
    return [message for message in seen if isinstance(message, Forward)]


def test_an_overdue_key_is_gone(three: Cluster, client: Client) -> None:
    client.pipeline("SET a 1", "PEXPIRE a 100")
    three.advance(101)
    assert client.ask("GET a") is None


@pytest.mark.parametrize("readonly", [True, False])
def test_where_clients_are_redirected_only_readonly_ones_are_answered(
    make_cluster: Callable[..., Cluster], readonly: bool
) -> None:
    three = make_cluster(voters=3, at=2, client_follower_reads="local", client_routing="redirect")
    client, seen = three.connect(), forwarded(three)
    if readonly:
        assert client.ask("READONLY") == OK
        assert client.ask("GET a") is None
    else:
        assert client.ask("GET a") == Error("MOVED 15495 127.0.0.1:7001")
    assert [message.commands for message in seen] == ([[]] if readonly else [])


def test_it_can_be_changed_while_running(three: Cluster, client: Client) -> None:
    assert client.ask("CONFIG SET client-follower-reads forward") == OK
    seen = forwarded(three)
    assert client.ask("GET a") is None
    assert [message.commands for message in seen] == [[[b"GET", b"a"]]]


def test_the_count_is_shown(client: Client) -> None:
    client.ask("GET a")
    shown: Any = client.ask("INFO raft")
    assert b"raft_follower_reads:1\r\n" in shown
