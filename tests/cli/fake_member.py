"""A thread that speaks just enough RESP3 to be asked by ``raftkv status`` and the other commands that ask members."""

from __future__ import annotations

import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import hiredis

GONE = object()
HELLO: dict[str, object] = {"server": "redis", "proto": 3}


def encode(value: object) -> bytes:
    """RESP3 of plain values; an exception is an error line."""
    match value:
        case Exception():
            return b"-%s\r\n" % str(value).encode()
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case None:
            return b"_\r\n"
        case int():
            return b":%d\r\n" % value
        case dict():
            return b"%%%d\r\n" % len(value) + b"".join(encode(k) + encode(v) for k, v in value.items())
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(encode, value))
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


@contextmanager
def member(replies: Mapping[str, object], seen: list[list[str]] | None = None) -> Iterator[str]:
    """A member at the address given back, answering each command name with what stands in `replies`, or what that
    returns for the command; a name that is missing, or a GONE, closes the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            reader = hiredis.Reader(encoding="utf-8", notEnoughData=...)
            while data := self.request.recv(4096):
                reader.feed(data)
                while (command := reader.gets()) is not ...:
                    if seen is not None:
                        seen.append(command)
                    reply = replies.get(command[0], GONE)
                    if callable(reply):
                        reply = reply(command)
                    if reply is GONE:
                        return
                    self.request.sendall(encode(reply))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        block_on_close = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def in_turn(*replies: object) -> Callable[[list[str]], object]:
    """A reply for `member`: these, one after the other, and then the last one again and again."""
    left = deque(replies)

    def reply(_command: list[str]) -> object:
        return left.popleft() if len(left) > 1 else left[0]

    return reply


def status(
    number: int, *, leader: int | None, term: int = 3, peers: Sequence[object] = (), **more: object
) -> dict[str, object]:
    """What RAFT.STATUS says, as member `number`; `more` replaces or adds fields."""
    return {
        "id": number,
        "role": "leader" if number == leader else "follower",
        "term": term,
        "leader": leader,
        "commit": 41,
        "applied": 40,
        "last": 42,
        "synced": 42,
        "first": 1,
        "cluster_id": "raftkv",
        "uptime_ms": 3_723_000,
        "peers": list(peers),
        **more,
    }


def peer(number: int, *, connected: bool, heard_ms: int | None, client_address: str | None = None) -> dict[str, object]:
    return {
        "id": number,
        "address": f"127.0.0.1:800{number}",
        "client_address": client_address,
        "match": 30,
        "next": 43,
        "lag": 12,
        "connected": connected,
        "last_heard_ms": heard_ms,
    }
