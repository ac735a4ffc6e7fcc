"""A member that waits to be told its cluster: what it answers, what RAFT.CLUSTER INIT and JOIN do and refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

import raftkv
from raftkv.cluster import founding
from raftkv.errors import NoLeader
from raftkv.server import joining, waiting
from raftkv.server.commands import ROWS
from raftkv.server.neighbours import local_members
from raftkv.server.waiting import needs_no_data
from raftkv.storage.files import Files
from tests.server.member import Cluster
from tests.support.redis_server import encode_command

Open = Callable[..., Any]
Connect = Callable[[raftkv.EmbeddedServer], Awaitable["Asker"]]


class Asker:
    """One connection that talks RESP2 to a member of this process, and shows replies as they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def send(self, line: str) -> None:
        await self._stream.send_all(encode_command(line.encode().split()))

    async def receive(self) -> str:
        """What has come; replies of these tests are short."""
        return (await self._stream.receive_some(65536)).decode()

    async def __call__(self, line: str) -> str:
        await self.send(line)
        return await self.receive()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, that is certain at once."""
    monkeypatch.setattr(waiting, "JOIN_S_MAX", 1.0)
    monkeypatch.setattr(joining, "ANSWER_S_MAX", 1.0)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def connect(server: raftkv.EmbeddedServer) -> Asker:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            return Asker(await stack.enter_async_context(stream))

        yield connect


@pytest.fixture
def open_member(tmp_path: Path) -> Open:
    def open_member(number: int, peers: dict[int, str], **settings: Any) -> Any:
        named = {name.replace("_", ".", 1): value for name, value in settings.items()}
        port = int(peers[number].partition(":")[2])
        return raftkv.open_server(
            data=tmp_path / f"data{number}",
            id=number,
            settings={"storage.fsync": "off", "peer.port": port, "cluster.wait": True} | named,
        )

    return open_member


async def test_what_a_waiting_member_answers(open_member: Open, connect: Connect) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            ask = await connect(server)
            assert await ask("PING") == "+PONG\r\n"
            assert (await ask("RAFT.CLUSTER HELP")).startswith("*")
            assert "raft_role:follower" in await ask("INFO raft")
            for line in (
                "GET a",
                "SET a 1",
                "RAFT.NODE REMOVE 1",
                "RAFT.SNAPSHOT NOW",
                "WAIT 0 0",
                "RAFT.ONCE 1 1 GET a",
            ):
                refused = await ask(line)
                assert refused.startswith("-CLUSTERDOWN This member belongs to no cluster yet"), line
                assert "RAFT.CLUSTER INIT" in refused
            assert (await ask("GET")).startswith("-ERR wrong number of arguments")
            assert (await ask("NOSUCH")).startswith("-ERR unknown command")
            assert (await ask("CLIENT NOSUCH")).startswith("-ERR unknown subcommand")
            assert (server.role, server.leader(), server.members) == ("follower", None, {})


def test_all_that_needs_no_data_is_answered_by_a_waiting_member(make_cluster: Callable[..., Cluster]) -> None:
    """None of it may want a leader for ever, or anything else that is not there."""
    cluster = make_cluster(cluster_id="")
    asks_others = {"raft.cluster|init", "raft.cluster|join"}
    closes = {"client|kill", "client|reply"}
    for row in ROWS:
        for each in row.subcommands or (row,):
            if needs_no_data(each) and each.name not in asks_others | closes:
                client = cluster.connect()
                words = each.name.encode().split(b"|")
                client.send(words + [b"1"] * (abs(each.arity) - len(words)))
                cluster.advance(4000, step_ms=1000)
                assert not client.is_silent, each.name


async def test_init_founds_a_cluster_of_one(open_member: Open, connect: Connect, tmp_path: Path) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            ask, other = await connect(server), await connect(server)
            assert await other("SELECT 3") == "+OK\r\n"
            ok, cluster_id = (await ask("RAFT.CLUSTER INIT")).split()
            assert ok == "+OK"
            assert await other("SET a 1") == "+OK\r\n", "connections outlive the waiting"
            assert await ask("GET a") == "$-1\r\n"
            assert await other("GET a") == "$1\r\n1\r\n", "with all that was chosen on them"
            assert await ask("RAFT.CLUSTER INIT") == f"-ERR this member already belongs to cluster {cluster_id}\r\n"
            assert server.inspect()["cluster_id"] == cluster_id
        async with open_member(1, peers) as server:
            await server.await_leader()
            assert server.inspect()["cluster_id"] == cluster_id, "from now on it does not wait"
            assert await (await connect(server))("GET a") == "$-1\r\n"
    began = founding.load(Files(), str(tmp_path / "data1"))
    assert began == founding.Founding(cluster_id, {1: peers[1]})


async def test_what_is_sent_behind_init_is_done_after_it(open_member: Open, connect: Connect) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            ask = await connect(server)
            await ask.send("RAFT.CLUSTER INIT")
            await ask.send("SET a 1")
            replies = ""
            while replies.count("\r\n") < 2:
                replies += await ask.receive()
            assert [line[:3] for line in replies.splitlines()] == ["+OK", "+OK"]


async def test_of_two_inits_one_founds(open_member: Open, connect: Connect) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            first, second = await connect(server), await connect(server)
            await first.send("RAFT.CLUSTER INIT")
            await second.send("RAFT.CLUSTER INIT")
            replies = [await first.receive(), await second.receive()]
            assert sorted(reply[:4] for reply in replies) in (["+OK ", "-ERR"], ["+OK ", "-TRY"])


async def test_join_and_its_wrong_uses(open_member: Open, connect: Connect) -> None:
    with local_members(3) as peers:
        async with AsyncExitStack() as stack:
            one, two, three = [await stack.enter_async_context(open_member(number, peers)) for number in (1, 2, 3)]
            ask, second, third = [await connect(server) for server in (one, two, three)]
            assert "host:port is wanted" in await second("RAFT.CLUSTER JOIN nowhere")
            assert "wrong number of arguments" in await second("RAFT.CLUSTER JOIN")
            waits_too = await second(f"RAFT.CLUSTER JOIN 127.0.0.1:{three.port}")
            assert "waits itself for RAFT.CLUSTER INIT" in waits_too
            cluster_id = (await ask("RAFT.CLUSTER INIT")).split()[1]
            join = f"RAFT.CLUSTER JOIN 127.0.0.1:{one.port}"
            assert await second(join) == "+OK\r\n"
            assert (await second("GET a")) == "$-1\r\n", "it serves"
            assert one.inspect()["voters"] == [1, 2]
            assert await second(join) == "+OK\r\n", "again"
            assert await ask(f"RAFT.CLUSTER JOIN 127.0.0.1:{two.port} 127.0.0.1:{one.port}") == "+OK\r\n"
            own_id = (await third("RAFT.CLUSTER INIT")).split()[1]
            both = await third(join)
            assert both == (f"-ERR this member belongs to cluster {own_id}, those at the addresses to {cluster_id}\r\n")
            assert "none of these members answers" in await third("RAFT.CLUSTER JOIN 127.0.0.1:1")


async def test_a_number_that_votes_already_is_not_given_away(open_member: Open, connect: Connect) -> None:
    """Two servers that were both started with the default number."""
    with local_members(2) as peers:
        async with open_member(1, peers) as one, open_member(1, {1: peers[2]}, node_data_dir="other") as other:
            await (await connect(one))("RAFT.CLUSTER INIT")
            refused = await (await connect(other))(f"RAFT.CLUSTER JOIN 127.0.0.1:{one.port}")
            assert "member 1 votes in cluster" in refused
            assert (await (await connect(other))("GET a")).startswith("-CLUSTERDOWN"), "it waits on"


async def test_the_password_is_needed_and_given(open_member: Open, connect: Connect) -> None:
    with local_members(2) as peers:
        secret = {"client_requirepass": "secret"}
        async with open_member(1, peers, **secret) as one, open_member(2, peers, **secret) as two:
            first, second = await connect(one), await connect(two)
            assert (await first("RAFT.CLUSTER INIT")).startswith("-NOAUTH")
            assert await first("AUTH secret") == "+OK\r\n"
            assert (await first("RAFT.CLUSTER INIT")).startswith("+OK ")
            assert await second("AUTH secret") == "+OK\r\n"
            assert await second(f"RAFT.CLUSTER JOIN 127.0.0.1:{one.port}") == "+OK\r\n"
            assert (await (await connect(two))("GET a")).startswith("-NOAUTH")


async def test_a_directory_that_cannot_be_written_is_said_and_waiting_goes_on(
    open_member: Open, connect: Connect, tmp_path: Path
) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            (tmp_path / "data1").write_text("in the way")
            ask = await connect(server)
            assert (await ask("RAFT.CLUSTER INIT")).startswith("-ERR ")
            (tmp_path / "data1").unlink()
            assert (await ask("RAFT.CLUSTER INIT")).startswith("+OK ")


async def test_calls_from_the_same_process_find_no_leader(open_member: Open) -> None:
    with local_members(1) as peers:
        async with open_member(1, peers) as server:
            with pytest.raises(NoLeader, match="belongs to no cluster yet"):
                await server.write("SET", "a", "1")
