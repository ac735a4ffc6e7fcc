"""A blocking RESP client for control and probing (never for load): one connection, hiredis for parsing."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Any, Self

import hiredis


class RespClient:
    """Commands to one server on the loopback address.

    A server's error is returned, a lost connection raised (OSError).
    """

    def __init__(self, port: int, timeout_s: float = 2.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._reader = hiredis.Reader()

    def command(self, *words: str | bytes | int) -> Any:
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask(port: int, *words: str | bytes | int, timeout_s: float = 2.0) -> Any:
    """One command on a connection of its own; None when the server cannot be reached or does not answer in time."""
    with contextlib.suppress(OSError), RespClient(port, timeout_s) as client:
        return client.command(*words)
    return None


def as_mapping(reply: Any) -> dict[bytes, Any]:
    """A RESP2 flat array (or a RESP3 map) as a dictionary; empty when the reply is neither."""
    if isinstance(reply, dict):
        return reply
    if isinstance(reply, list):
        return dict(zip(reply[::2], reply[1::2], strict=False))
    return {}
