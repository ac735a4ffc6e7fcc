"""Addresses for several members on one machine, known before any of them is started."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def local_members(count: int) -> Iterator[dict[int, str]]:
    """Peer addresses on the loopback interface for members 1 to `count`, for `open_server(members=...)`.

    The ports are kept for the duration: bound but not listening, so that only members, which ask for an address that
    is to be used again, get them, and the system gives them to nobody else.
    """
    with contextlib.ExitStack() as stack:
        members = {}
        for number in range(1, count + 1):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            members[number] = f"127.0.0.1:{sock.getsockname()[1]}"
        yield members
