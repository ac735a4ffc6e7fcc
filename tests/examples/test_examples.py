"""The examples do what they say. Each is run as a lone member inside of this process, with a real log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import raftkv
from examples.bank import Bank
from examples.counter import Counter
from examples.jobs import Jobs
from examples.locks import Locks
from raftkv.errors import CommandError
from tests.integration.cluster import wait_until


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[Any], Any]:
    def opened(machine: Any) -> Any:
        settings = {"storage.fsync": "off", "storage.segment_bytes": 65536}
        return raftkv.open_server(machine, data=tmp_path / "data", settings=settings)

    return opened


async def test_counter(opened: Callable[[Any], Any]) -> None:
    async with opened(Counter) as server:
        assert await server.write("INCR", "visits") == 1
        assert await server.write("INCR", "visits", 5) == 6
        assert await server.read("GET", "nobody") == 0
    async with opened(Counter) as server:
        assert await server.read("GET", "visits") == 6, "it is there after a restart"


async def test_bank(opened: Callable[[Any], Any]) -> None:
    async with opened(Bank) as server:
        await server.write("DEPOSIT", "alice", 100)
        with pytest.raises(CommandError, match="NOACCOUNT there is no bob"):
            await server.write("TRANSFER", "alice", "bob", 30)
        assert await server.read("BALANCE", "alice") == 100, "the withdrawal was undone"
        await server.write("DEPOSIT", "bob", 1)
        assert await server.write("TRANSFER", "alice", "bob", 30) == b"OK"
        with pytest.raises(CommandError, match="NOFUNDS alice has less than 71"):
            await server.write("TRANSFER", "alice", "bob", 71)
        with pytest.raises(CommandError, match="must be positive"):
            await server.write("TRANSFER", "alice", "bob", -1)
        assert await server.read("TOTAL") == 101
        assert await server.read("BALANCE", "carol") is None


async def test_locks(opened: Callable[[Any], Any]) -> None:
    async with opened(Locks) as server:
        assert await server.write("LOCK.ACQUIRE", "printer", "alice", "TTL_MS", 60_000) == 1
        with pytest.raises(CommandError, match="HELD by alice"):
            await server.write("LOCK.ACQUIRE", "printer", "bob", "TTL_MS", 60_000)
        assert await server.read("LOCK.HOLDER", "printer") == [b"alice", 1]
        await server.write("LOCK.RELEASE", "printer", 1)
        with pytest.raises(CommandError, match="LOST"):
            await server.write("LOCK.RENEW", "printer", 1, "TTL_MS", 60_000)
        assert await server.write("LOCK.ACQUIRE", "printer", "bob", "TTL_MS", 1) == 2
        with trio.fail_after(10):
            while await server.read("LOCK.HOLDER", "printer") is not None:
                await trio.sleep(0.001)
        assert await server.write("LOCK.ACQUIRE", "printer", "alice", "TTL_MS", 60_000) == 3


async def test_jobs(opened: Callable[[Any], Any], tmp_path: Path) -> None:
    finished = tmp_path / "finished.txt"
    async with opened(lambda: Jobs(outbox=str(finished))) as server:
        assert await server.write("JOB.ADD", "resize") == 1
        assert await server.write("JOB.TAKE", "worker") == [1, b"resize"]
        assert await server.write("JOB.TAKE", "other") is None
        with pytest.raises(CommandError, match="job 1 is not other's"):
            await server.write("JOB.DONE", 1, "other")
        assert await server.read("JOB.COUNT") == {b"waiting": 0, b"taken": 1}
        await server.write("JOB.DONE", 1, "worker")
        await trio.to_thread.run_sync(wait_until, "the line is written", lambda: finished.exists())
        with trio.fail_after(10):
            while not finished.read_text().endswith("job 1 is done: resize\n"):
                await trio.sleep(0.001)
