"""The client library against real members: leaders killed under load, and nothing lost or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import raftkv
from raftkv.errors import NotDone, OutcomeUnknown
from tests.integration.cluster import Cluster, Member, wait_until

pytestmark = pytest.mark.processes

TASKS, KILLS = 8, 3


async def run(function: object, *arguments: object) -> object:
    return await trio.to_thread.run_sync(function, *arguments)  # type: ignore[arg-type]


class Load:
    """Tasks that count as fast as they can, each on a counter of its own, and note what they were told."""

    def __init__(self, client: raftkv.Client) -> None:
        self.client = client
        self.working = True
        self.told = dict.fromkeys(range(TASKS), 0)
        self.unknown = dict.fromkeys(range(TASKS), 0)

    async def count(self, number: int) -> None:
        while self.working:
            try:
                await self.client.call("INCR", f"counter:{number}")
            except OutcomeUnknown:
                self.unknown[number] += 1
            except NotDone:
                continue
            else:
                self.told[number] += 1

    async def grow(self, by: int) -> None:
        """Until so many more are acknowledged."""
        goal = sum(self.told.values()) + by
        with trio.fail_after(30):
            while sum(self.told.values()) < goal:
                await trio.sleep(0.005)


async def kill_leaders_under_load(cluster: Cluster, load: Load) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(load.count, number)
        await load.grow(200)
        for _ in range(KILLS):
            leader = await run(cluster.wait_leader)
            assert isinstance(leader, Member)
            leader.kill()
            await load.grow(200)
            leader.start()
            await run(wait_until, "it is back", leader.status)
        load.working = False


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_counters_when_leaders_are_killed(tmp_path: Path, exactly_once: bool) -> None:
    with Cluster(tmp_path) as cluster:
        await run(cluster.wait_leader)
        addresses = [f"127.0.0.1:{member.port}" for member in cluster]
        async with raftkv.connect(addresses, exactly_once=exactly_once, retry_for_ms=30_000) as client:
            load = Load(client)
            await kill_leaders_under_load(cluster, load)
            for number in range(TASKS):
                value = int(await client.call("GET", f"counter:{number}"))
                assert load.told[number] <= value <= load.told[number] + load.unknown[number]
                if exactly_once:
                    assert load.unknown[number] == 0


def test_a_program_without_trio(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()
        with raftkv.connect_sync([f"127.0.0.1:{member.port}" for member in cluster], exactly_once=True) as client:
            assert client.call("INCR", "a") == 1
            leader.kill()
            assert client.call("INCR", "a") == 2
            assert client.call_many([("SET", "b", "x"), ("GET", "b"), ("GET", "a")]) == [b"OK", b"x", b"2"]
