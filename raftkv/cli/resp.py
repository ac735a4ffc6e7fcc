"""A blocking RESP client of a few lines, for the commands that ask running members something.

redis-py would do, but is only a tool of the tests; hiredis is there anyway.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import hiredis

from raftkv.errors import NotDone, ProtocolError, YourFault
from raftkv.settings import split_address
from raftkv.wire.resp_decode import NOTHING_YET


class Unreachable(NotDone):
    """Nobody answered there in time."""


class Refused(YourFault):
    """The member answered with an error."""


def ask(address: str, commands: Sequence[Sequence[str]], timeout_s: float) -> list[Any]:
    """Send `commands` to ``host:port`` in one pipeline; their replies. `timeout_s` bounds each wait, not the whole.

    Raises Unreachable, Refused (with the error line), ProtocolError or, for a bad address, YourFault.
    """
    try:
        target = split_address(address)
    except ValueError as error:
        raise YourFault(str(error)) from error
    try:
        with socket.create_connection(target, timeout_s) as connection:
            connection.sendall(b"".join(map(_pack, commands)))
            return _read(connection, len(commands))
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from error


def _pack(command: Sequence[str]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _read(connection: socket.socket, count: int) -> list[Any]:
    reader = hiredis.Reader(
        encoding="utf-8",
        errors="replace",
        protocolError=ProtocolError,
        replyError=Refused,
        notEnoughData=NOTHING_YET,
    )
    replies: list[Any] = []
    while len(replies) < count:
        reply = reader.gets()
        if reply is not NOTHING_YET:
            if isinstance(reply, Refused):
                raise reply
            replies.append(reply)
            continue
        data = connection.recv(65536)
        if not data:
            raise Unreachable("closed the connection")
        reader.feed(data)
    return replies
