"""The two listening sockets of a member, kept from one life of it to the next.

A life that fails is followed by another (`supervisor.py`). Clients and members that knock in between wait in the
kernel's queue instead of being refused, and nobody else can take the port: each life accepts on duplicates.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import trio

from raftkv.errors import ConfigError
from raftkv.settings import Settings

BACKLOG = 4096
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

    def clients(self) -> list[trio.SocketListener]:
        return _duplicates(self._clients)

    def peers(self) -> list[trio.SocketListener]:
        return _duplicates(self._peers)

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


def _duplicates(listeners: list[trio.SocketListener]) -> list[trio.SocketListener]:
    return [trio.SocketListener(listener.socket.dup()) for listener in listeners]


def _close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()


async def accept_clients(
    listeners: list[trio.SocketListener], add: Callable[[socket.socket, str, str], None], accepting: trio.CancelScope
) -> None:
    """Hand each new connection to `add` with its two addresses, until `accepting` is cancelled."""

    async def accept(stream: trio.SocketStream) -> None:
        raw = socket.socket(fileno=stream.socket.detach())
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client whose machine lost power never says goodbye.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, CLIENT_KEEPALIVE_IDLE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, CLIENT_KEEPALIVE_IDLE_S // 10)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            address, local = _text(raw.getpeername()), _text(raw.getsockname())
        except OSError:
            raw.close()  # gone before we came to it
            return
        add(raw, address, local)

    with accepting:
        await trio.serve_listeners(accept, listeners)


def _text(name: Any) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
