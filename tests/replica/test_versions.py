"""Commands of a newer machine: refused until every member has it, then used, and who is too old by then stops."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from raftkv.errors import MachineTooOld
from raftkv.machines.interface import Command, Kind
from raftkv.machines.register import RegisterMachine
from raftkv.machines.replies import OK, Error, Reply
from raftkv.raft.membership import Membership
from raftkv.replica import Replica, ReplicaSettings
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from tests.server.member import Client, Cluster


class Newer(RegisterMachine):
    """A register whose second version brought CLEAR and SIZE."""

    version = 2

    def __init__(self) -> None:
        super().__init__()
        for name, kind, handler in (("clear", Kind.WRITE, _clear), ("size", Kind.READ, _size)):
            row = Command(name=name, arity=1, kind=kind, handler=handler, version=2)
            self.commands[name.encode()] = self.commands[name.upper().encode()] = row


def _clear(machine: Newer, argv: list[bytes]) -> Reply:
    machine.value = None
    return OK


def _size(machine: Newer, argv: list[bytes]) -> Reply:
    return len(machine.value or b"")


@pytest.fixture
def three() -> Iterator[Cluster]:
    """The leader has the newer machine; what the others have it learns from their handshakes."""
    cluster = Cluster(voters=3, machine_class=f"{__name__}:Newer")
    yield cluster
    cluster.close()


def say(three: Cluster, peer: int, version: int) -> None:
    three.replicas[1].on_link_up(peer, version)
    three.advance(50)


def refused(client: Client, line: str) -> str:
    reply = client.ask(line)
    assert isinstance(reply, Error), reply
    return reply.text


def test_a_newer_command_is_refused_alone_until_every_member_has_it(three: Cluster) -> None:
    client = three.connect()
    say(three, 2, 2)
    wanted = "ERR 'clear' needs version 2 of the machine 'register' on every member, and member 3 has version 1"
    assert refused(client, "CLEAR").startswith(wanted)
    assert "'size' needs version 2" in refused(client, "size")
    replies = client.pipeline("SET abc", "CLEAR", "GET")
    assert (replies[0], replies[2]) == (OK, b"abc")
    assert replies[1].text.startswith(wanted)
    session = client.ask("RAFT.SESSION OPEN")
    assert "'clear' needs version 2" in refused(client, f"RAFT.ONCE {session} 1 CLEAR")
    say(three, 3, 2)
    assert client.ask("SIZE") == 3
    assert client.ask(f"RAFT.ONCE {session} 1 CLEAR") == OK
    assert client.ask("GET") is None
    assert {replica.ledger.version for replica in three.replicas.values()} == {2}


def test_a_member_that_answers_reads_itself_refuses_the_same() -> None:
    three = Cluster(voters=3, at=2, machine_class=f"{__name__}:Newer", client_follower_reads="local")
    client = three.connect()
    assert client.ask("SET abc") == OK
    assert "'size' needs version 2 of the machine 'register'" in refused(client, "SIZE")
    assert client.ask("GET") == b"abc"
    assert three.replicas[2].follower_reads.answered == 2
    for peer in (2, 3):
        say(three, peer, 2)
    assert client.ask("SIZE") == 3
    three.close()


def test_a_member_that_was_never_heard_is_not_known_to_have_it(three: Cluster) -> None:
    client = three.connect()
    say(three, 2, 2)
    del three.replicas[1].versions.known[3]
    assert "member 3 has not been heard since this leader started" in refused(client, "CLEAR")


def test_the_check_is_off_when_there_is_nothing_to_refuse(three: Cluster) -> None:
    screen = three.replicas[1].screen
    assert screen.is_on
    say(three, 2, 2)
    say(three, 3, 2)
    assert not screen.is_on


def test_the_status_shows_it(three: Cluster) -> None:
    client = three.connect(resp3=True)
    say(three, 2, 2)
    status = client.ask("RAFT.STATUS")
    assert (status[b"machine_version"], status[b"machine_version_effective"]) == (2, 1)
    assert [peer[b"machine_version"] for peer in status[b"peers"]] == [2, 1]


def test_a_member_with_older_software_stops_and_says_what_to_do(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(three, 2, 2)
    monkeypatch.setattr(three.replicas[3].machine, "version", 1, raising=False)
    with pytest.raises(MachineTooOld, match="start this member with the newer software"):
        say(three, 3, 2)


def test_a_learner_is_known_from_the_start() -> None:
    """A member that starts with one in its snapshot counted voters alone, until the members changed again: a learner
    with the older machine would have met a command that it does not have, and stopped."""
    replica = Replica(
        1,
        Membership((1,), learners=(2,)),
        machine=Newer(),
        store=MemoryLogStore(),
        snapshots=MemorySnapshotStore(),
        settings=ReplicaSettings(),
        random=Random(1),
        now_ms=0,
    )
    assert replica.versions.lowest == 1, "what is not known of it is the oldest"
    replica.on_link_up(2, 2)
    assert replica.versions.lowest == 2
