"""RAFT.SESSION and RAFT.ONCE as clients see them: on the leader and through a follower, in RESP2 and RESP3."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from raftkv.machines.interface import Kind
from raftkv.machines.replies import OK, Error, Simple
from raftkv.raft.membership import Membership
from raftkv.replica import Replica
from raftkv.server.loading import make_machine
from raftkv.server.member import replica_settings
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from tests.server.member import Client, Cluster

MakeCluster = Callable[..., Cluster]


@pytest.fixture(params=[1, 2], ids=["leader", "follower"])
def through(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Cluster:
    return make_cluster(voters=3, at=request.param)


def open_session(client: Client) -> int:
    session = client.ask("RAFT.SESSION OPEN")
    assert isinstance(session, int)
    return session


def test_a_pipeline_mixes_plain_commands_and_once(through: Cluster) -> None:
    client = through.connect()
    session = open_session(client)
    assert client.pipeline(
        "SET a 1", f"RAFT.ONCE {session} 1 INCR a", f"RAFT.ONCE {session} 1 INCR a", "GET a", "INCR a", "PING", "NOSUCH"
    )[:6] == [OK, 2, 2, b"2", 3, Simple("PONG")]
    assert [client.ask(f"raft.once {session} {seq} APPEND b x") for seq in (2, 3, 2)] == [1, 2, 1]


def test_replies_are_values_encoded_for_who_asks(through: Cluster) -> None:
    old, new = through.connect(), through.connect(resp3=True)
    session = open_session(old)
    line = f"RAFT.ONCE {session} 1 SET a 1 GET"
    assert old.ask(line) is None
    new.send(line.encode().split())
    assert new.receive() is None
    old.ask("SET a x")
    info = new.ask(f"RAFT.SESSION INFO {session}")
    assert info[b"newest"] == 1
    assert old.ask(f"RAFT.SESSION INFO {session}")[:2] == [b"ttl_ms", 60_000]


def test_the_selected_database_is_that_of_the_inner_command(through: Cluster) -> None:
    client = through.connect()
    session = open_session(client)
    assert client.pipeline("SELECT 3", f"RAFT.ONCE {session} 1 SET a 3", "GET a", "SELECT 0", "GET a") == [
        OK,
        OK,
        b"3",
        OK,
        None,
    ]


def test_refusals_concern_their_command_alone_and_are_not_logged(through: Cluster) -> None:
    client = through.connect()
    session = open_session(client)
    before = through.replicas[1].node.log.last_index
    replies = client.pipeline(
        "SET a 1", f"RAFT.ONCE {session} 1 GET a", "INCR a", f"RAFT.ONCE {session} 1 INCR", "GET a"
    )
    assert replies[0::2] == [OK, 2, b"2"]
    assert "does not write" in replies[1].text
    assert replies[3] == Error("ERR wrong number of arguments for 'incr' command")
    assert through.replicas[1].node.log.last_index == before + 1
    assert isinstance(client.ask("RAFT.ONCE x 1 INCR a"), Error)
    assert through.replicas[1].node.log.last_index == before + 1
    assert client.ask(f"RAFT.ONCE {session} 1 INCR a") == 3, "no number was used up"


def test_client_reply_off_hides_them(through: Cluster) -> None:
    client = through.connect()
    session = open_session(client)
    client.send([b"CLIENT", b"REPLY", b"SKIP"], f"RAFT.ONCE {session} 1 INCR a".encode().split(), [b"GET", b"a"])
    assert client.receive() == b"1"
    assert client.is_silent


def test_internal_commands_and_forged_ones_are_unknown(cluster: Cluster, client: Client) -> None:
    assert client.ask("RAFT.VERSION 9").text.startswith("ERR unknown command")
    assert client.ask("RAFT.LIMITS 1 1 1 1 1").text.startswith("ERR unknown command")
    heard: list[object] = []

    class Sink:
        resp3 = remote = readonly = False

        def on_replies(self, replies: list[object], start: int, stop: int) -> None:
            heard.extend(replies[start:stop])

    replica = cluster.replicas[1]
    for system in (True, False):
        commands = [[b"RAFT.VERSION", b"9"], [b"SET", b"a", b"1"], [b"raft.session", b"open"], []]
        replica.submit(Kind.WRITE, commands, {}, 10, Sink(), system)  # type: ignore[arg-type]
    replica.submit(Kind.WRITE, [[b"RAFT.SESSION", b"OPEN"]], {}, 10, Sink(), True)  # type: ignore[arg-type]
    cluster.run()
    unknown = [isinstance(reply, Error) and reply.text.startswith("ERR unknown command") for reply in heard]
    assert unknown == [True, False, False, True, True, False, True, True, False]
    assert replica.ledger.version == 1


def test_they_are_in_the_command_table(client: Client) -> None:
    [once, session] = client.ask("COMMAND INFO raft.once raft.session")
    assert (once[:2], session[:2]) == ([b"raft.once", -4], [b"raft.session", -2])
    docs = client.ask("COMMAND DOCS raft.session")
    assert b"raft.session|open" in docs[1][docs[1].index(b"subcommands") + 1]
    assert client.ask("RAFT.ONCE 1 2") == Error("ERR wrong number of arguments for 'raft.once' command")


def test_the_leaders_limits_become_everybodys(make_cluster: MakeCluster) -> None:
    three = make_cluster(voters=3, session_sessions_max="2", session_replies_max="7")
    three.advance(100)
    assert {replica.ledger.sessions.limits.replies_max for replica in three.replicas.values()} == {7}
    client = three.connect()
    open_session(client)
    open_session(client)
    assert client.ask("RAFT.SESSION OPEN").text.startswith("SESSIONSFULL 2 ")


def test_expired_sessions_leave_an_idle_cluster(make_cluster: MakeCluster) -> None:
    three = make_cluster(voters=3)
    client = three.connect(resp3=True)
    client.ask("RAFT.SESSION OPEN TTL 200")
    assert client.ask("RAFT.STATUS")[b"sessions"] == 1
    three.advance(1500)
    last = three.replicas[1].node.log.last_index
    assert [len(replica.ledger.sessions.table) for replica in three.replicas.values()] == [0, 0, 0]
    three.advance(1500)
    assert three.replicas[1].node.log.last_index == last, "and then nothing is written any more"


def test_the_table_is_there_again_after_a_replay_of_the_log(cluster: Cluster, client: Client) -> None:
    session = open_session(client)
    client.ask(f"RAFT.ONCE {session} 1 INCR a")
    old = cluster.replicas[1]
    store = MemoryLogStore()
    settings = cluster.server.settings
    replayed = Replica(
        1,
        Membership.founding(settings.cluster.members),
        machine=make_machine(settings),
        store=store,
        snapshots=MemorySnapshotStore(),
        settings=replica_settings(settings),
        random=Random(1),
        now_ms=0,
    )
    for entry in old.node.log.slice(1, old.applied, 1000, 1 << 20):
        replayed._apply(entry)
    assert replayed.ledger.digest() == old.ledger.digest()
    assert replayed.machine.state_hash() == old.machine.state_hash()
