"""Letting clients in: all who wait at once, and not in a frenzy when the process has no descriptor left."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import trio

from raftkv.server.ports import accept_clients


class Door(socket.socket):
    """A listening socket that first has to fail so often as `failures` says."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            number = self.failures.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        door.failures = []
        door.bind(("127.0.0.1", 0))
        door.listen(100)
        yield door


def knock(door: Door, count: int) -> list[socket.socket]:
    return [socket.create_connection(door.getsockname()) for _ in range(count)]


async def let_in(door: Door, clients: int) -> list[str]:
    """The addresses of those let in, when nothing more happens; the accepting has ended then."""
    admitted: list[str] = []

    def add(connection: socket.socket, address: str, local: str) -> None:
        assert local == "{}:{}".format(*door.getsockname())
        connection.close()
        admitted.append(address)

    accepting = trio.CancelScope()
    knocking = knock(door, clients)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_clients, [door], add, accepting, structlog.get_logger())
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0)
        immediately = list(admitted)
        await trio.sleep(1)
        accepting.cancel()
    assert sorted(admitted) == sorted("{}:{}".format(*client.getsockname()) for client in knocking)
    for client in knocking:
        client.close()
    return immediately


async def test_all_who_wait_come_in_at_once(door: Door, autojump_clock: trio.testing.MockClock) -> None:
    assert len(await let_in(door, 50)) == 50
    assert door.fileno() == -1, "nobody else is let in afterwards"


async def test_one_who_is_gone_again_keeps_nobody_out(door: Door, autojump_clock: trio.testing.MockClock) -> None:
    door.failures = [errno.ECONNABORTED]
    assert len(await let_in(door, 2)) == 2


async def test_without_descriptors_it_waits_a_moment(door: Door, autojump_clock: trio.testing.MockClock) -> None:
    door.failures = [errno.EMFILE, errno.EMFILE]
    assert await let_in(door, 2) == []
    assert door.failures == []
