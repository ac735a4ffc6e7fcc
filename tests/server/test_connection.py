"""Connections of the hub over socket pairs: partial sends, edge-triggered reading, ends; and the hub's own passes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest
import trio

from raftkv.server.connection import EVENTS, Connection
from raftkv.server.hub import Hub


class Collecting(Connection):
    """Reads a few bytes per call, as often as the kernel tells it to."""

    def __init__(self, hub: Hub, sock: socket.socket) -> None:
        super().__init__(hub, sock)
        self.received = b""
        self.reasons: list[str] = []

    def on_readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self.sock.recv(10):
                self.received += data
            self.close("closed by the other end")

    def on_closed(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def pair(hub: Hub) -> Iterator[tuple[Collecting, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = Collecting(hub, theirs)
    hub.add(connection.fd, connection, EVENTS)
    yield connection, ours
    connection.close("test is over")
    ours.close()


def passes(hub: Hub) -> None:
    while hub._pass(0.0):
        pass


def test_what_the_socket_does_not_take_is_kept_and_sent_later(hub: Hub, pair: tuple[Collecting, socket.socket]) -> None:
    connection, other = pair
    data = b"".join(os.urandom(1000) * 50 for _ in range(20))
    for start in range(0, len(data), 100_000):
        connection.send(data[start : start + 100_000])
    assert 0 < connection.out_bytes < len(data)
    received = b""
    while len(received) < len(data):
        received += other.recv(50_000)
        kept = connection.out_bytes
        passes(hub)
        assert connection.out_bytes <= kept
    assert received == data
    assert connection.out_bytes == 0


def test_closed_when_all_is_sent(hub: Hub, pair: tuple[Collecting, socket.socket]) -> None:
    connection, other = pair
    connection.close_when_sent = True
    connection.send(b"x" * 200_000)
    assert not connection.closed
    received = 0
    while data := other.recv(65536):
        received += len(data)
        passes(hub)
    assert received == 200_000
    assert connection.reasons == ["closed after reply"]


def test_closed_at_once_when_all_fits(pair: tuple[Collecting, socket.socket]) -> None:
    connection, other = pair
    connection.close_when_sent = True
    connection.send(b"bye")
    assert other.recv(10) == b"bye"
    assert other.recv(10) == b""
    assert connection.reasons == ["closed after reply"]


def test_each_arrival_is_told(hub: Hub, pair: tuple[Collecting, socket.socket]) -> None:
    connection, other = pair
    for piece in (b"a", b"b" * 25, b"c"):
        other.sendall(piece)
        passes(hub)
    assert connection.received == b"a" + b"b" * 25 + b"c"


@pytest.mark.parametrize("data", [b"", b"last words"])
def test_the_other_end_closes(hub: Hub, pair: tuple[Collecting, socket.socket], data: bytes) -> None:
    connection, other = pair
    other.sendall(data)
    other.close()
    passes(hub)
    assert connection.ending
    assert connection.received == data
    assert len(connection.reasons) == 1


def test_sending_to_nobody_closes(hub: Hub, pair: tuple[Collecting, socket.socket]) -> None:
    connection, other = pair
    connection.send(b"x" * 200_000)
    other.close()
    connection.flush()
    assert connection.closed
    assert connection.out_bytes == 0
    connection.send(b"more")
    connection.close("again")
    assert len(connection.reasons) == 1
    passes(hub)


def test_a_handler_closed_in_the_same_pass_is_left_alone(hub: Hub) -> None:
    """Both have something to read; whichever comes first closes the other."""

    class Closing(Connection):
        other: Connection

        def on_readable(self) -> None:
            self.sock.recv(10)
            self.other.close("by its neighbour")

    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(2):
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            theirs.setblocking(False)
            connection = Closing(hub, theirs)
            hub.add(connection.fd, connection, EVENTS)
            made.append(connection)
            ours.sendall(b"x")
        made[0].other, made[1].other = made[1], made[0]
        passes(hub)
        assert [connection.closed for connection in made].count(True) == 1
        for connection in made:
            connection.close("test is over")


def test_who_has_more_to_do_goes_on_in_the_next_pass(hub: Hub) -> None:
    class Again:
        def __init__(self) -> None:
            self.calls = 0

        def go_on(self) -> None:
            self.calls += 1
            if self.calls < 3:
                hub.call_soon(self)

    again = Again()
    hub.call_soon(again)
    for expected in (1, 2, 3):
        assert hub._pass(0.0)
        assert again.calls == expected
    assert not hub._pass(0.0)


async def test_run_serves_events_and_turns_until_cancelled(hub: Hub) -> None:
    """A turn follows each pass with events, and one that has more to do is repeated without any."""
    left = [5]
    done = trio.Event()
    bell = os.eventfd(0, os.EFD_NONBLOCK)

    class Bell:
        rung = False

        def on_event(self, events: int) -> None:
            os.eventfd_read(bell)
            self.rung = True

    handler = Bell()

    def turn(quiet: bool) -> bool:
        if not handler.rung:
            return False
        left[0] -= 1
        if left[0] == 0:
            done.set()
        return left[0] > 0

    hub.add(bell, handler, select.EPOLLIN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run, turn, lambda: 0)
        os.eventfd_write(bell, 1)
        with trio.fail_after(10):
            await done.wait()
        nursery.cancel_scope.cancel()
    hub.remove(bell)
    os.close(bell)
