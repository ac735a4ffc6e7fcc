"""The two listening sockets of a member, kept from one life of it to the next.

A life that fails is followed by another (`supervisor.py`). Clients and members that knock in between wait in the
kernel's queue instead of being refused, and nobody else can take the port: each life accepts on duplicates.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, NoReturn

import trio

from raftkv.errors import ConfigError
from raftkv.settings import Settings, join_address

BACKLOG = 4096
ACCEPTS_AT_ONCE_MAX = 1000
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
OUT_OF_RESOURCES_WAIT_S = 0.1
"""Trying again at once would be all that the member does: the socket stays readable."""

CLIENT_KEEPALIVE_IDLE_S = 300
"""The kernel asks clients that have been silent for so long whether they are still there."""


class Ports:
    def __init__(self, clients: list[trio.SocketListener], peers: list[trio.SocketListener]) -> None:
        self._clients = clients
        self._peers = peers

    @classmethod
    async def listen(cls, settings: Settings) -> Ports:
        """Bind both ports. Raises ConfigError when one cannot be had."""
        clients = await _listen(settings.client.host, settings.client.port, "client.port")
        try:
            return cls(clients, await _listen(settings.peer.host, settings.peer.port, "peer.port"))
        except BaseException:
            _close(clients)
            raise

    @property
    def client_port(self) -> int:
        return _number(self._clients)

    @property
    def peer_port(self) -> int:
        return _number(self._peers)

    def clients(self) -> list[socket.socket]:
        """For `accept_clients`; without trio's wrapping."""
        return [socket.socket(fileno=listener.socket.dup().detach()) for listener in self._clients]

    def peers(self) -> list[trio.SocketListener]:
        return [trio.SocketListener(listener.socket.dup()) for listener in self._peers]

    def close_clients(self) -> None:
        """Refuse new clients from now on (once the life's own listeners are closed, too)."""
        _close(self._clients)

    def close(self) -> None:
        _close(self._clients)
        _close(self._peers)


async def _listen(host: str, port: int, key: str) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError("settings", key, f"{host}:{port}", f"cannot listen there: {error.strerror}") from error


def _number(listeners: list[trio.SocketListener]) -> int:
    return int(listeners[0].socket.getsockname()[1])


def _close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()


async def accept_clients(
    listening: list[socket.socket],
    add: Callable[[socket.socket, str, str], None],
    accepting: trio.CancelScope,
    log: Any,
) -> None:
    """Hand each new connection to `add` with its two addresses, until `accepting` is cancelled; closes `listening`."""
    try:
        with accepting:
            async with trio.open_nursery() as nursery:
                for sock in listening:
                    nursery.start_soon(_accept_from, sock, add, log)
    finally:
        for sock in listening:
            sock.close()


async def _accept_from(listening: socket.socket, add: Callable[[socket.socket, str, str], None], log: Any) -> NoReturn:
    """Everybody who waits is let in at once: a busy hub gives trio a turn only every 10 ms, and with one client for
    each turn the fiftieth would wait for half a second."""
    listening.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(listening)
        for _ in range(ACCEPTS_AT_ONCE_MAX):
            try:
                connection, _address = listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    log.warning("cannot_accept", reason=error.strerror)
                    await trio.sleep(OUT_OF_RESOURCES_WAIT_S)
                    break
                continue  # whoever it was is gone again
            _admit(connection, add)


def _admit(connection: socket.socket, add: Callable[[socket.socket, str, str], None]) -> None:
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client whose machine lost power never says goodbye.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, CLIENT_KEEPALIVE_IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, CLIENT_KEEPALIVE_IDLE_S // 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        address, local = connection.getpeername()[:2], connection.getsockname()[:2]
    except OSError:
        connection.close()  # gone before we came to it
        return
    add(connection, join_address(*address), join_address(*local))
