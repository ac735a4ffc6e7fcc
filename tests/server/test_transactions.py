"""MULTI, EXEC, DISCARD, WATCH, UNWATCH of real sessions: stories of one to three clients beside a real redis-server,
drawn sequences of two clients beside it, and what becomes of a transaction when something is lost on the way.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.machines.interface import Kind
from raftkv.machines.redis import transactions, watches
from raftkv.machines.replies import NULL_ARRAY, OK, Error, NullArray, Simple
from raftkv.replica.forwarding import REPLY_TOO_LARGE
from raftkv.replica.work import OUTCOME_UNKNOWN
from raftkv.server.redirects import ADDRESS_UNKNOWN
from raftkv.server.refusals import MUST_NOT_WAIT
from raftkv.server.transaction import NOT_ALLOWED, TOO_MANY
from tests.machines.differential import DATABASES, KEYS, sequences
from tests.machines.side_by_side import QUEUED, Sides, shown_alike
from tests.server.member import Client, Cluster
from tests.server.test_session import Desk, replies, send
from tests.support.redis_server import RespConnection, start_redis_server

MakeCluster = Callable[..., Cluster]
OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")
ABORTED = Error("EXECABORT Transaction discarded because of previous errors.")


def aborted(reason: str) -> Error:
    return Error(f"EXECABORT Transaction discarded because of: {reason}")


# ---- beside a real server

STORIES = {
    "all is queued and done": "A multi|A set a 1|A incr a|A get a|B get a|A exec|B get a",
    "nothing queued": "A multi|A exec|A exec",
    "discarded": "A multi|A set a 1|A discard|A discard|A get a|A exec",
    "errors within": "A set a x|A multi|A incr a|A set b 1|A exec|A multi|A incr a|A get a|A exec|A get b",
    "an unknown command": "A multi|A nosuch b c|A set a 1|A exec|A get a|A exec",
    "a wrong number of arguments": "A multi|A get|A set a 1|A exec|A multi|A set a 1|A exec",
    "wrong words to the transaction's own": "A multi|A multi x|A exec|A multi|A discard x|A exec",
    "watch without a key": "A watch|A multi|A watch|A exec",
    "exec with a word": "A multi|A set a 1|A exec x|A exec|A get a|A exec x",
    "unwatch with a word": "A unwatch x|A multi|A unwatch x|A exec",
    "nested": "A multi|A multi|A set a 1|A exec",
    "watch inside": "A multi|A watch a|A set a 1|A exec",
    "unwatch inside": "A watch a|A multi|A unwatch|B set a 1|A exec|A watch a|A multi|A unwatch|A exec",
    "a connection's own commands": "A multi|A ping|A echo x|A ping y|A echo|A exec",
    "own ones between others": "A multi|A echo x|A set a 1|A ping|A get a|A exec",
    "select": "A multi|A set a 0|A select 3|A set a 3|A select 99|A get a|A exec|A get a|A select 0|A get a",
    "select alone": "A multi|A select 3|A exec|A set a 3|B select 3|B get a",
    "select in what fails": "A watch a|B set a 1|A multi|A select 3|A exec|A set here 1|B get here",
    "select in what is discarded": "A multi|A select 3|A discard|A set here 1|B get here",
    "names": "A multi|A client setname me|A client getname|A exec|A client getname",
    "names in what fails": "A watch a|B set a 1|A multi|A client setname me|A set a 2|A exec|A client getname",
    "subcommands are looked up at once": "A multi|A client foo|A exec|A multi|A command foo|A exec",
    "arity of subcommands": "A multi|A command count x|A exec|A multi|A config|A exec|A multi|A client kill|A exec",
    "not allowed": "A multi|A save|A exec",
    "bad arguments show at exec": "A multi|A client reply foo|A auth a|A hello 9|A exec",
    "reset": "A watch a|A multi|A set a 1|A reset|A exec|A get a",
    "reset unwatches": "A watch a|A reset|B set a 1|A multi|A exec",
    "cluster words": "A multi|A readonly|A cluster info|A exec",
    "a watched key is changed": "A watch a|B set a 1|A multi|A set a 2|A exec|A get a",
    "a watched key is not changed": "A watch a|B get a|B set b 1|A multi|A set a 2|A exec|A get a",
    "changed by itself": "A watch a|A set a 1|A multi|A set a 2|A exec|A get a",
    "changed after multi": "A watch a|A multi|A set a 2|B set a 1|A exec|A get a",
    "changed to the same": "A set a 1|A watch a|B set a 1|A multi|A exec",
    "changed and changed back": "A set a 1|A watch a|B set a 2|B set a 1|A multi|A exec",
    "created and deleted": "A watch a|B set a 2|B del a|A multi|A exec",
    "deleted though missing": "A watch a|B del a|A multi|A exec",
    "one of several": "A watch a b c|B set b 1|A multi|A exec",
    "several watches": "A watch a|A watch b|B set a 1|A multi|A exec",
    "watched twice": "A watch a|B set a 1|A watch a|A multi|A exec",
    "the same key twice": "A watch a a|B set a 1|A multi|A exec|A watch a a|A multi|A exec",
    "once failed, watched no more": "A watch a|B set a 1|A multi|A exec|A multi|A set a 2|A exec",
    "once done, watched no more": "A watch a|A multi|A exec|B set a 1|A multi|A set a 2|A exec",
    "aborted, watched no more": "A watch a|A multi|A nosuch|A exec|B set a 1|A multi|A set a 2|A exec",
    "discarded, watched no more": "A watch a|A multi|A discard|B set a 1|A multi|A exec",
    "discard without multi keeps the watch": "A watch a|A discard|A exec|B set a 1|A multi|A exec",
    "unwatched": "A watch a|A unwatch|B set a 1|A multi|A exec",
    "unwatched and watched again": "A watch a|B set a 1|A unwatch|A watch a|A multi|A set a 2|A exec",
    "two watch, both fail": "A watch a|B watch a|C set a 1|A multi|A exec|B multi|B exec",
    "two watch, the first wins": "A watch a|B watch a|A multi|A incr a|A exec|B multi|B incr a|B exec|C get a",
    "another's transaction": "A watch a|B multi|B set a 1|B exec|A multi|A exec",
    "another's transaction that fails": "A watch a|B watch b|C set b 1|B multi|B set a 1|B exec|A multi|A exec",
    "another database": "A watch a|B select 1|B set a 1|A multi|A exec",
    "watched in two databases": "A watch a|A select 1|A watch a|B set a 1|A multi|A exec",
    "watched there, done here": "A select 1|A watch a|A select 0|B select 1|B set a 1|A multi|A exec",
    "flushall": "A set a 1|A watch a|B flushall|A multi|A exec|A watch a|B flushall|A multi|A exec",
    "flushdb of another": "A set a 1|A watch a|B select 1|B set a 1|B flushdb|A multi|A exec",
    "swapdb": "A set a 1|A watch a|B swapdb 0 1|A multi|A exec|A watch a|B swapdb 0 1|A multi|A exec",
    "swapdb of nothing": "A watch a|B swapdb 0 1|A multi|A exec|A watch a|B swapdb 1 2|A multi|A exec",
    "swapdb with itself": "A set a 1|A watch a|B swapdb 0 0|A multi|A exec",
    "swapdb within": "A set a 1|A multi|A get a|A swapdb 0 1|A get a|A select 1|A get a|A exec",
    "move": "A set a 1|A watch a|B move a 1|A multi|A exec",
    "move to": "A select 1|A watch a|B set a 1|B move a 1|A multi|A exec",
    "reads only": "A set a 1|A watch a|A multi|A get a|A strlen a|A exec|A watch a|B set a 2|A multi|A get a|A exec",
    "a deadline": "A set a 1|A watch a|B expire a 100|A multi|A exec|A watch a|B persist a|A multi|A exec",
    "touch is no change": "A set a 1|A watch a|B touch a|B exists a|B type a|A multi|A exec",
    "writing what is there is no change": "A set a 1|A watch a|B bitfield a set u8 0 49|B setbit a 0 0|A multi|A exec",
    "refused is no change": "A set a x|A watch a|B incr a|B setnx a 1|B set a 1 nx|A multi|A exec",
    "the table": "A multi|A command getkeys watch a b|A exec|A command getkeys multi|A command getkeys watch a b",
}


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server("--databases", "16") as port:
        yield port


def told(line: str) -> list[bytes]:
    return [word.encode() for word in shlex.split(line)]


@pytest.mark.redis
@pytest.mark.parametrize("through", ["leader", "follower"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_stories(redis_port: int, protocol: int, through: str) -> None:
    wrong = []
    for name, story in STORIES.items():
        cluster = Cluster(voters=3, at=1 if through == "leader" else 2)
        ours = {who: cluster.connect(protocol == 3) for who in "ABC"}
        theirs = {who: RespConnection(redis_port, protocol=protocol) for who in "ABC"}
        theirs["A"].call(b"FLUSHALL")
        for step in story.split("|"):
            who, _, line = step.partition(" ")
            got, expected = ours[who].call(*told(line)), theirs[who].call(*told(line))
            if got != expected:
                wrong.append((name, step, got, expected))
        for connection in theirs.values():
            connection.close()
        cluster.close()
    assert wrong == []


@pytest.mark.redis
def test_a_key_that_expires_meanwhile(redis_port: int, cluster: Cluster) -> None:
    """Gone between WATCH and EXEC: it fails. Gone before WATCH, though perhaps not removed yet: it does not."""

    def ask(ours: Client, theirs: RespConnection, *lines: str) -> list[Any]:
        both = [(ours.call(*told(line)), theirs.call(*told(line))) for line in lines]
        assert [one for one, _ in both] == [other for _, other in both]
        return [one for one, _ in both]

    def let_expire() -> None:
        cluster.advance(10)
        while theirs.call(b"EXISTS", b"witness"):
            pass

    with RespConnection(redis_port) as theirs:
        ours = cluster.connect()
        theirs.call(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0")
        ask(ours, theirs, "set a 1 px 5", "watch a", "set witness 1 px 6")
        let_expire()
        assert ask(ours, theirs, "multi", "ping", "exec")[-1] == NULL_ARRAY
        ask(ours, theirs, "set a 1 px 5", "set witness 1 px 6")
        let_expire()
        assert ask(ours, theirs, "watch a", "get a", "multi", "ping", "exec")[-1] == [Simple("PONG")]
        ask(ours, theirs, "set a 1 px 5", "watch a", "set witness 1 px 6")
        let_expire()
        assert ask(ours, theirs, "multi", "get a", "exec")[-1] == NULL_ARRAY
        theirs.call(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1")


ACTIONS = st.sampled_from(
    [["WATCH", "a"], ["WATCH", "key:1"], ["WATCH", "b", "c"], ["UNWATCH"]]
    + [["MULTI"]] * 4
    + [["EXEC"]] * 5
    + [["DISCARD"], ["SELECT", "0"], ["SELECT", "1"], ["SWAPDB", "0", "1"], ["NOSUCH"], ["PING"]]
).map(lambda line: [word.encode() for word in line])


CHOICES = st.lists(st.tuples(st.integers(0, 1), st.booleans(), ACTIONS), min_size=40, max_size=90)


@pytest.mark.redis
@settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(lines=sequences, choices=CHOICES)
def test_drawn_sequences_of_two_clients(redis_port: int, lines: Any, choices: Any) -> None:
    """Commands of all families, alone and in transactions; each EXEC's replies are judged one by one."""
    with Sides(redis_port) as sides:
        clients = [sides.pair(), sides.pair()]
        rest = iter(lines)
        for who, is_action, action in choices:
            argv = action if is_action else next(rest, (0, action))[1]
            for words in shown_alike(argv):
                clients[who].call(*words)
        sides.compare_what_is_left()


# ---- one piece of work


def unpacked(argv: list[bytes]) -> transactions.Transaction:
    assert argv[0] == b"EXEC"
    return transactions._decode(argv[1])


class Packed(Desk):
    """Keeps the words as they are."""

    def _submit(
        self, kind: Any, commands: Any, scopes: Any, size_bytes: Any, sink: Any, system: Any = False, clients: Any = 1
    ) -> None:
        super()._submit(kind, [[b"x"]], scopes, size_bytes, sink, system, clients)
        self.argv = commands[0]


@pytest.fixture
def desk(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Packed:
    return Packed(cluster, monkeypatch)


def test_nothing_goes_out_before_exec_and_then_all_at_once(desk: Packed, client: Client) -> None:
    send(client, "multi", "set a 1", "select 2", "get b", "ping")
    assert replies(client, 5) == [OK, *[QUEUED] * 4]
    assert desk.submitted == []
    send(client, "exec")
    work = desk.take()
    assert (work.kind, work.scopes) == (Kind.WRITE, {})
    found = unpacked(desk.argv)
    assert (found.commands, found.scopes, found.watched) == ([[b"set", b"a", b"1"], [b"get", b"b"]], {1: 2}, [])
    assert client.session.db == 0
    work.answer([OK, b"there"])
    assert replies(client, 1) == [[OK, OK, b"there", Simple("PONG")]]
    assert client.session.db == 2


def test_a_whole_transaction_in_one_pipeline(desk: Packed, client: Client) -> None:
    send(client, "multi", "set a 1", "exec", "ping", "multi", "get a", "exec")
    desk.take().answer([OK])
    client._cluster.run()
    work = desk.take()
    assert work.kind is Kind.READ
    work.answer([b"1"])
    assert replies(client, 7) == [OK, QUEUED, [OK], Simple("PONG"), OK, QUEUED, [b"1"]]


def test_it_is_one_step(desk: Packed, client: Client) -> None:
    """As far as nothing else comes before it in the pipeline: its replies leave together."""
    send(client, "multi", "set a 1", "exec")
    assert client.is_silent
    desk.take().answer([OK])
    assert replies(client, 3) == [OK, QUEUED, [OK]]


def test_exec_and_watch_wait_for_the_commands_before_them(desk: Packed, client: Client) -> None:
    send(client, "set a 1", "multi", "set a 2", "exec", "set a 3", "watch a", "get a")
    work = desk.take()
    assert desk.argv == [b"set", b"a", b"1"]
    work.answer(OK)
    client._cluster.run()
    assert unpacked(desk.argv).commands == [[b"set", b"a", b"2"]]
    desk.take().answer([OK])
    client._cluster.run()
    assert desk.argv == [b"set", b"a", b"3"]
    desk.take().answer(OK)
    client._cluster.run()
    assert desk.argv == [b"WATCH", b"a"]
    desk.take().answer(17)
    client._cluster.run()
    desk.take().answer(b"3")
    assert replies(client, 7) == [OK, OK, QUEUED, [OK], OK, OK, b"3"]
    assert client.session.watched == {(0, b"a"): 17}


def test_a_watched_key_is_asked_for_even_when_nothing_is_queued(desk: Packed, client: Client) -> None:
    send(client, "select 1", "watch a b a")
    assert desk.argv == [b"WATCH", b"a", b"b"]
    work = desk.take()
    assert work.scopes == {0: 1}
    work.answer(5)
    send(client, "watch b", "multi", "ping", "exec")
    work = desk.take()
    assert work.kind is Kind.READ
    assert unpacked(desk.argv).watched == [(1, b"a", 5), (1, b"b", 5)]
    work.answer(NullArray())
    assert replies(client, 6) == [OK, OK, OK, OK, QUEUED, NULL_ARRAY]


@pytest.mark.parametrize("resp3", [False, True])
def test_replies_that_the_leader_has_encoded(cluster: Cluster, desk: Packed, resp3: bool) -> None:
    client = cluster.connect(resp3)
    encoded = b"*4\r\n+OK\r\n$-1\r\n*2\r\n$4\r\na\r\nb\r\n%1\r\n+k\r\n,1.5\r\n-ERR x\r\n"
    lines = ["multi", "set a 1", "echo 1", "get a", "time x", "echo 2", "mget a", "get b", "echo 3", "exec"]
    send(client, *(line for line in lines if line != "time x"))
    desk.take().sink.on_encoded([encoded])
    assert not client.session.busy
    assert replies(client, 9)[-1] == [OK, b"1", None, b"2", [b"a\r\nb", {Simple("k"): 1.5}], Error("ERR x"), b"3"]
    send(client, "multi", "set a 1", "exec")
    desk.take().sink.on_encoded([b"*1\r\n+OK\r\n"])
    assert replies(client, 3)[-1] == [OK]
    for nothing in (b"*-1\r\n", b"_\r\n"):
        send(client, "multi", "set a 1", "echo x", "select 3", "exec")
        desk.take().sink.on_encoded([nothing])
        assert replies(client, 5)[-1] == (None if nothing == b"_\r\n" else NULL_ARRAY)
    assert client.session.db == 0
    send(client, "watch a")
    desk.take().sink.on_encoded([b":12\r\n"])
    assert replies(client, 1) == [OK]
    assert client.session.watched == {(0, b"a"): 12}
    send(client, "multi", "select 3", "get a", "exec")
    desk.take().sink.on_encoded([b"-" + REPLY_TOO_LARGE.text.encode() + b"\r\n"])
    assert replies(client, 4)[-1] == REPLY_TOO_LARGE
    assert client.session.db == 3  # it was carried out


# ---- what is lost on the way


@pytest.mark.parametrize("call", ["on_not_done", "on_unknown"])
def test_certain_and_uncertain_failures(desk: Packed, client: Client, cluster: Cluster, call: str) -> None:
    send(client, "multi", "select 3", "set a 1", "client setname x", "exec")
    getattr(desk.take().sink, call)(Error("UNKNOWN why"))
    assert replies(client, 5)[-1] == Error("UNKNOWN why")
    assert (client.session.db, client.session.name, client.session.transaction) == (0, b"", None)
    assert cluster.server.stats.commands_not_done + cluster.server.stats.commands_unknown == 1
    send(client, "exec")
    assert replies(client, 1) == [Error("ERR EXEC without MULTI")]


def test_a_watch_that_nobody_knows_of_is_none(desk: Packed, client: Client) -> None:
    send(client, "watch a")
    desk.take().sink.on_unknown(OUTCOME_UNKNOWN)
    [reply] = replies(client, 1)
    assert reply.text.startswith("TRYAGAIN")
    send(client, "watch a")
    desk.take().sink.on_not_done(Error("CLUSTERDOWN x"))
    send(client, "multi", "set a 1", "exec")
    assert unpacked(desk.argv).watched == []
    desk.take().answer([OK])
    assert replies(client, 4) == [Error("CLUSTERDOWN x"), OK, QUEUED, [OK]]


def test_the_client_goes_away_meanwhile(desk: Packed, client: Client, cluster: Cluster) -> None:
    send(client, "multi", "set a 1", "config set timeout 77", "exec")
    client.session.close("test")
    desk.take().answer([OK])
    cluster.run()
    assert cluster.server.settings.client.idle_timeout_ms == 0
    other = cluster.connect()
    send(other, "watch a")
    other.session.close("test")
    desk.take().answer(1)
    assert cluster.server.sessions == {}


def test_a_lost_connection_before_exec_has_done_nothing(cluster: Cluster, client: Client) -> None:
    assert client.pipeline("WATCH a", "MULTI", "SET a 1") == [OK, OK, QUEUED]
    last = cluster.replicas[1].node.log.last_index
    client.session.close("test")
    assert cluster.connect().ask("get a") is None
    assert cluster.replicas[1].node.log.last_index == last


def test_the_leader_changes_between_watch_and_exec(make_cluster: MakeCluster) -> None:
    """The versions are in the log, so the new leader judges as the old one would have."""
    three = make_cluster(voters=3, at=3)
    one, two, other = three.connect(), three.connect(), three.connect()
    assert one.pipeline("SET a 1", "WATCH a", "MULTI", "INCR a") == [OK, OK, OK, QUEUED]
    assert two.pipeline("WATCH b a", "MULTI", "SET b 1") == [OK, OK, QUEUED]
    three.replicas[2].trigger_election()
    three.advance(300)
    assert three.replicas[2].node.leads_and_is_ready
    assert one.ask("EXEC") == [2]
    assert two.ask("EXEC") == NULL_ARRAY
    assert other.pipeline("MGET a b") == [[b"2", None]]
    hashes = {replica.machine.state_hash() for replica in three.replicas.values()}
    assert len(hashes) == 1


def test_without_a_leader_exec_waits_and_then_was_not_done(make_cluster: MakeCluster) -> None:
    three = make_cluster(voters=3, at=3)
    client = three.connect()
    assert client.pipeline("MULTI", "SET a 1") == [OK, QUEUED]
    three.cut_off |= {1, 2}
    three.advance(2000)
    client.send([b"EXEC"])
    assert client.is_silent
    three.advance(4000)
    assert client.receive().text.startswith(("CLUSTERDOWN", "UNKNOWN"))
    assert client.ask("EXEC") == Error("ERR EXEC without MULTI")


# ---- refused


def test_raftkvs_own_commands_and_messages_are_not_allowed(client: Client) -> None:
    for line in ("RAFT.NODE LIST", "RAFT.SESSION OPEN", "RAFT.ONCE 1 1 SET a 1", "RAFT.STATUS", "SUBSCRIBE +x"):
        assert client.pipeline("MULTI", line, "SET a 1", "EXEC", "GET a") == [OK, NOT_ALLOWED, QUEUED, ABORTED, None]


def test_nothing_waits_inside(cluster: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.pipeline("MULTI", "SET a 1", "WAIT 5 0", "EXEC")[-1] == [OK, 0]
    monkeypatch.setattr(cluster.server, "reachable_leader", lambda: None)
    assert client.pipeline("MULTI", "SENTINEL MASTERS", "SET a 1", "EXEC")[-1] == [MUST_NOT_WAIT, OK]
    assert cluster.server.parked == set()


def test_the_internal_commands_are_not_for_clients(cluster: Cluster, client: Client) -> None:
    packed = transactions.exec_command([[b"SET", b"a", b"1"]], {}, [])
    assert client.call(*packed) == aborted("wrong number of arguments for 'exec' command")
    session = client.ask("RAFT.SESSION OPEN")
    once = client.call(b"RAFT.ONCE", b"%d" % session, b"1", *packed)
    assert once.text.startswith("ERR unknown command 'EXEC'")
    assert client.ask("GET a") is None
    assert b"EXEC" not in cluster.server.replica.machine.commands


def test_too_many_commands(make_cluster: MakeCluster) -> None:
    client = make_cluster(client_transaction_commands_max="3").connect()
    lines = ["MULTI", *["INCR a"] * 4, "EXEC", "GET a"]
    assert client.pipeline(*lines) == [OK, QUEUED, QUEUED, QUEUED, TOO_MANY, ABORTED, None]
    assert client.pipeline("MULTI", *["INCR a"] * 3, "EXEC")[-1] == [1, 2, 3]


def test_too_many_bytes(make_cluster: MakeCluster) -> None:
    client = make_cluster(peer_frame_bytes_max="200000", raft_append_bytes_max="65536").connect()
    value = b"x" * 50_000
    assert client.ask("MULTI") == OK
    assert [client.call(b"SET", b"a", value) for _ in range(2)] == [QUEUED, QUEUED]
    assert client.call(b"SET", b"a", value).text.startswith("ERR the transaction is too large")
    assert client.session.transaction is not None
    assert client.pipeline("EXEC", "GET a", "SET b 1") == [ABORTED, None, OK]
    assert client.ask("MULTI") == OK
    assert [client.call(b"SET", b"a", value) for _ in range(2)] == [QUEUED, QUEUED]
    assert client.pipeline("EXEC", "STRLEN a") == [[OK, OK], 50_000]
    client.send([b"MULTI"], [b"SET", b"a", value], [b"SET", b"a", value], [b"EXEC"])
    assert [client.receive() for _ in range(4)] == [OK, QUEUED, QUEUED, [OK, OK]]
    assert client.call(b"SET", b"b", value) == OK  # what was received before is not counted again
    assert client.call(b"WATCH", b"x" * 60_000) == client.call(b"WATCH", b"y" * 60_000) == OK
    assert [client.ask("MULTI"), client.call(b"SET", b"a", value)] == [OK, QUEUED]
    assert client.ask("EXEC").text.startswith("EXECABORT Transaction discarded because of: the command is too large")
    assert client.pipeline("MULTI", "EXEC") == [OK, []]


def test_watching_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from raftkv.server.commands import transactions as rows

    monkeypatch.setattr(rows, "WATCHED_KEYS_MAX", 3)
    assert client.pipeline("WATCH a b", "WATCH b c", "WATCH d")[:2] == [OK, OK]
    assert len(client.session.watched) == 3
    monkeypatch.setattr(rows, "WATCHED_BYTES_MAX", 5)
    assert client.pipeline("UNWATCH", "WATCH 12345", "WATCH 6")[:2] == [OK, OK]
    assert len(client.session.watched) == 1
    assert watches.WATCHED_KEYS_MAX > 1000


def test_no_memory(make_cluster: MakeCluster) -> None:
    """Where it is known while queueing nothing is queued, and where the leader alone knows, EXEC is refused: as a
    whole, if any part may grow."""
    three = make_cluster(voters=3, at=2)
    client = three.connect()
    three.replicas[1].screen.memory_is_full = True
    assert client.pipeline("MULTI", "DEL a", "SET a 1", "EXEC")[-1] == aborted(OOM.text)
    assert client.pipeline("MULTI", "DEL a", "EXEC")[-1] == [0]
    three.replicas[2].screen.memory_is_full = True
    assert client.pipeline("MULTI", "GET a", "EXEC") == [OK, OOM, ABORTED]
    assert client.pipeline("MULTI", "EXEC", "MULTI", "DISCARD") == [OK, [], OK, OK]


def test_authentication(make_cluster: MakeCluster) -> None:
    client = make_cluster(client_requirepass="x").connect()
    no = "NOAUTH Authentication required."
    assert client.pipeline("MULTI", "EXEC", "WATCH a") == [Error(no), aborted(no), Error(no)]
    assert client.pipeline("AUTH x", "MULTI", "SET a 1", "RESET")[2:] == [QUEUED, Simple("RESET")]
    assert client.ask("GET a") == Error(no)


def test_hidden_replies(client: Client) -> None:
    client.send(*([b"CLIENT", b"REPLY", b"OFF"], [b"MULTI"], [b"SET", b"a", b"1"], [b"EXEC"]))
    assert client.is_silent
    assert client.pipeline("CLIENT REPLY ON", "GET a") == [OK, b"1"]
    client.send([b"CLIENT", b"REPLY", b"SKIP"], [b"MULTI"], [b"INCR", b"a"], [b"EXEC"])
    assert [client.receive(), client.receive()] == [QUEUED, [2]]


def test_a_machine_without_transactions(make_cluster: MakeCluster) -> None:
    client = make_cluster(machine="register").connect()
    assert client.ask("MULTI").text.startswith("ERR unknown command 'MULTI'")
    assert client.ask("COMMAND INFO watch exec") == [None, None]


# ---- routing, and what is shown


def test_where_clients_are_redirected(make_cluster: MakeCluster) -> None:
    """As a node of Redis Cluster: a key of another node is refused while it is queued."""
    three = make_cluster(voters=3, at=2, client_routing="redirect")
    client = three.connect()
    moved = Error("MOVED 15495 127.0.0.1:7001")
    assert client.ask("WATCH a") == moved
    assert client.pipeline("MULTI", "SET a 1", "PING", "EXEC") == [OK, moved, QUEUED, ABORTED]
    assert client.pipeline("MULTI", "GET a", "EXEC") == [OK, moved, ABORTED]
    assert client.pipeline("MULTI", "PING", "EXEC") == [OK, QUEUED, [Simple("PONG")]]
    assert client.pipeline("MULTI", "DBSIZE", "EXEC") == [OK, QUEUED, Error("MOVED 0 127.0.0.1:7001")]
    assert client.ask("EXEC") == Error("ERR EXEC without MULTI")
    assert client.pipeline("READONLY", "MULTI", "GET a", "EXEC") == [OK, OK, QUEUED, [None]]
    assert client.pipeline("MULTI", "GET a", "SET a 1", "EXEC") == [OK, QUEUED, moved, ABORTED]
    assert client.pipeline("MULTI", "GET a") == [OK, QUEUED]
    assert client.ask("READWRITE") == QUEUED
    assert client.ask("EXEC") == [None, OK]


def test_the_leader_is_lost_between_queueing_and_exec_where_clients_are_redirected(make_cluster: MakeCluster) -> None:
    three = make_cluster(voters=3, at=1, client_routing="redirect")
    client = three.connect()
    assert client.pipeline("MULTI", "SET foo 1") == [OK, QUEUED]
    three.replicas[2].trigger_election()
    three.advance(300)
    assert client.ask("EXEC") == Error("MOVED 12182 127.0.0.1:7002")
    three.server.links.client_addresses.clear()
    assert client.pipeline("MULTI", "SET foo 1", "EXEC") == [OK, ADDRESS_UNKNOWN, ABORTED]


def test_how_it_is_shown(cluster: Cluster, client: Client) -> None:
    other = cluster.connect()

    def fields() -> tuple[bytes, bytes]:
        [line] = [line for line in other.ask("CLIENT LIST").splitlines() if b"id=%d " % client.session.id in line]
        shown = dict(part.split(b"=", 1) for part in line.split())
        return shown[b"flags"], shown[b"multi"]

    assert fields() == (b"N", b"-1")
    client.ask("MULTI")
    assert fields() == (b"x", b"0")
    client.ask("SET a 1")
    assert fields() == (b"x", b"1")
    client.ask("NOSUCH")
    client.ask("SET a 2")
    assert fields() == (b"x", b"1")  # what will not be carried out is not kept
    client.ask("DISCARD")
    assert fields() == (b"N", b"-1")


def test_the_short_way_is_taken_again_afterwards(client: Client) -> None:
    """What a client without a pipeline sends goes the short way (`Session.on_event`); never while it queues."""
    client.ask("SET a 1")
    assert client.session.plain
    client.ask("MULTI")
    assert not client.session.plain
    assert client.ask("SET a 2") == QUEUED
    assert client.ask("EXEC") == [OK]
    assert client.session.plain
    client.ask("WATCH a")
    assert client.session.plain
    assert client.ask("GET a") == b"2"


def test_keys_drawn_are_among_those_watched() -> None:
    assert {b"a", b"b", b"c", b"key:1"} <= set(KEYS)
    assert DATABASES >= 2
