"""ExRaft's own test scenarios, with real members in one trio run: loopback TCP, real logs, no timing to hope for.

Where ExRaft let the caller time out, there is an answer at once here. Changing the members is not there yet: what the
third scenario says of it today is tested, the rest comes with it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import raftkv
from raftkv import EmbeddedServer
from raftkv.errors import CommandError, LastServer, NotLeader, ServerStopped
from tests.support.machines import Recorder, Watched, Words

SLOW_ELECTIONS = {"raft.election_timeout_ms_min": 600_000, "raft.election_timeout_ms_max": 1_200_000}
"""Nobody stands for election by itself while the test runs."""

SMALL_LOGS = {"storage.segment_bytes": 65536}
PATIENCE_S = 20


@contextlib.asynccontextmanager
async def three_members(
    directory: Path, make: Callable[[], raftkv.StateMachine] = Words, **settings: Any
) -> AsyncIterator[dict[int, EmbeddedServer]]:
    named = SMALL_LOGS | {name.replace("__", "."): value for name, value in settings.items()}
    with raftkv.local_members(3) as members:
        async with contextlib.AsyncExitStack() as stack:
            servers = {}
            for number in members:
                opening = raftkv.open_server(
                    make, data=directory / f"member{number}", id=number, members=members, settings=named
                )
                servers[number] = await stack.enter_async_context(opening)
            yield servers


async def wait_until(what: str, probe: Callable[[], bool]) -> None:
    with trio.move_on_after(PATIENCE_S):
        while not probe():
            await trio.sleep(0.005)
        return
    raise AssertionError(f"waited {PATIENCE_S} s in vain until {what}")


async def connected(servers: dict[int, EmbeddedServer]) -> None:
    def all_are() -> bool:
        return all(peer["connected"] for server in servers.values() for peer in server.inspect()["peers"])

    await wait_until("all members are connected", all_are)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "raftkv")


async def test_single_server(tmp_path: Path) -> None:
    recorder = Recorder()
    calls = recorder.calls
    async with raftkv.open_server(partial(Watched, recorder), data=tmp_path, settings=SMALL_LOGS) as server:
        assert await server.await_leader() == server.id
        assert calls["init"] == 1
        await wait_until("the machine has heard of it", lambda: len(recorder.roles) == 3)
        assert recorder.roles == ["follower", "candidate", "leader"]  # ExRaft begins as leader when it is alone
        term = server.inspect()["term"]
        await server.trigger_election()
        assert await server.await_leader() == server.id
        assert server.inspect()["term"] == term + 1
        await wait_until("the machine has heard of it", lambda: recorder.roles[3:] == ["candidate", "leader"])

        assert await server.read("TAKE", "key") is None
        assert await server.read_dirty("DIRTYTAKE", "key") is None
        assert calls["read"] == 2
        last = server.inspect()["last"]
        with trio.fail_after(PATIENCE_S), pytest.raises(CommandError, match="does not take"):
            await server.write("WRONG")
        assert (calls["is_command"], calls["write"], server.inspect()["last"]) == (1, 0, last)
        assert await server.write("PUT", "key", "value") == b"OK"
        assert (calls["write"], calls["effect"]) == (1, 1)
        assert await server.read("TAKE", "key") == b"value"

        await server.stop("the end")
        assert recorder.reasons == ["the end"]
        with pytest.raises(ServerStopped):
            await server.read("TAKE", "key")
    assert calls["made"] == 1


async def test_static_config(tmp_path: Path) -> None:
    async with three_members(tmp_path, Watched, client__routing="redirect", **_underscored(SLOW_ELECTIONS)) as servers:
        await connected(servers)
        assert [server.leader() for server in servers.values()] == [None, None, None]
        first, second, third = servers.values()
        await first.trigger_election()
        for server in servers.values():
            assert await server.await_leader() == 1
        assert [server.role for server in servers.values()] == ["leader", "follower", "follower"]

        for follower in (second, third):
            for call in (
                follower.write("PUT", "key", "value"),
                follower.read("TAKE", "key"),
                follower.add_server(4, "127.0.0.1:8004"),
                follower.remove_server(1),
            ):
                with pytest.raises(NotLeader) as raised:
                    await call
                assert raised.value.leader_id == 1
        with pytest.raises(CommandError, match="does not take"):
            await first.write("WRONG")

        assert await first.write("PUT", "key", "value") == b"OK"
        await wait_until("a follower has it", lambda: second.inspect()["applied"] == first.inspect()["applied"])
        assert await second.read_dirty("TAKE", "key") == b"value"

        await first.stop()
        await second.trigger_election()
        await wait_until("the second leads", lambda: second.role == "leader")
        assert await third.await_leader() in (1, 2)
        assert await second.read("TAKE", "key") == b"value"
        assert await second.write("PUT", "key", "newer") == b"OK"
        await wait_until("the third has it", lambda: third.inspect()["applied"] == second.inspect()["applied"])
        assert await third.read_dirty("TAKE", "key") == b"newer"


def _underscored(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace(".", "__"): value for name, value in settings.items()}


async def test_dynamic_config(tmp_path: Path) -> None:
    async with raftkv.open_server(Words, data=tmp_path, settings=SMALL_LOGS) as server:
        await server.write("PUT", "key", "value")  # now its own term has a committed entry
        await server.add_server(server.id, server.members[server.id])
        await server.remove_server(9)
        with pytest.raises(LastServer):
            await server.remove_server(server.id)
        with trio.move_on_after(0.1):
            await server.add_server(2, "127.0.0.1:2")  # nobody is there: it stays a learner, and harms nobody
        assert list(server.members) == [server.id, 2]
        await server.remove_server(2)
        assert list(server.members) == [server.id]


async def test_an_election_can_be_triggered_on_a_leader_and_on_a_follower(tmp_path: Path) -> None:
    async with three_members(tmp_path, **_underscored(SLOW_ELECTIONS)) as servers:
        await connected(servers)
        await servers[1].trigger_election()
        assert await servers[3].await_leader() == 1
        term = servers[1].inspect()["term"]

        await servers[1].trigger_election()
        await wait_until("somebody leads again", lambda: any(s.role == "leader" for s in servers.values()))
        assert max(server.inspect()["term"] for server in servers.values()) == term + 1

        # Without its newest entry the follower could not win.
        await wait_until(
            "the follower has all", lambda: servers[2].inspect()["last"] == servers[1].inspect()["last"] == 2
        )
        await servers[2].trigger_election()
        await wait_until("the follower leads", lambda: servers[2].role == "leader")


async def test_any_member_takes_commands_and_survives_its_leader(tmp_path: Path) -> None:
    """The same calls on a follower: they are carried to whoever leads, also after a change."""
    async with three_members(tmp_path, _redis) as servers:
        leader_id = await servers[1].await_leader()
        follower = servers[leader_id % 3 + 1]
        assert await follower.write("INCR", "n") == 1
        assert await follower.write_many([["INCR", "n"], ["GET", "n"]]) == [2, b"2"]
        with pytest.raises(CommandError, match="not an integer"):
            await follower.write("INCRBY", "n", "x")
        assert await follower.read("MGET", "n", "none") == [b"2", None]

        await servers[leader_id].stop()
        await wait_until("there is another leader", lambda: follower.leader() not in (None, leader_id))
        assert await follower.write("INCR", "n") == 3
        others = [server for number, server in servers.items() if number != leader_id]
        assert [await server.read("GET", "n") for server in others] == [b"3", b"3"]


def _redis() -> raftkv.StateMachine:
    from raftkv.machines.redis.machine import RedisMachine

    return RedisMachine()


async def test_a_member_comes_back_with_its_log(tmp_path: Path) -> None:
    """Stopped in the middle, and opened again while the others go on."""
    with raftkv.local_members(3) as members:

        def opening(number: int) -> Any:
            return raftkv.open_server(
                Words, data=tmp_path / f"member{number}", id=number, members=members, settings=SMALL_LOGS
            )

        async with opening(1) as first, opening(2):
            async with opening(3) as third:
                await first.write("PUT", "a", 1)
                await wait_until("the third has it", lambda: third.inspect()["applied"] == first.inspect()["applied"])
            await first.write("PUT", "a", 2)
            async with opening(3) as third:
                await third.await_leader()
                assert await third.read("TAKE", "a") == b"2"
