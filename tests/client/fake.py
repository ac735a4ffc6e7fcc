"""A cluster of members that say what a test has written down, on loopback, in the test's own trio run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
import trio

from raftkv.machines.replies import Error, Reply, Simple
from raftkv.wire.resp_encode import encode

CLOSE = object()
"""As an answer: close the connection without one."""
SILENCE = object()
"""As an answer: none, and the connection stays."""

Answer = Callable[[list[bytes]], Any]
COMMANDS: Reply = [
    [b"get", 2, [Simple("readonly"), Simple("fast")]],
    [b"set", -3, [Simple("write")]],
    [b"incr", 2, [Simple("write")]],
]


class FakeMember:
    """`answer(argv)` is asked for everything but what a client says when it connects."""

    def __init__(self, cluster: FakeCluster, listener: trio.SocketListener) -> None:
        self.cluster = cluster
        self.listener = listener
        self.port = listener.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.asked: list[list[bytes]] = []
        self.answer: Answer = lambda argv: b"OK"
        self.connections = 0
        self.listening = trio.CancelScope()
        self.password = b""

    async def listen(self) -> None:
        with self.listening:
            await trio.serve_listeners(self.serve, [self.listener])
        await self.listener.aclose()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        reader = hiredis.Reader()
        async with stream:
            while data := await self._received(stream):
                reader.feed(data)
                while (argv := reader.gets()) is not False:
                    reply = self._reply(argv)
                    if reply is CLOSE:
                        return
                    if isinstance(reply, bytes) and reply.startswith(b"raw:"):
                        await stream.send_all(reply[4:])
                    elif reply is not SILENCE:
                        await stream.send_all(encode(reply, True))

    async def _received(self, stream: trio.SocketStream) -> bytes:
        try:
            return bytes(await stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _reply(self, argv: list[bytes]) -> Any:
        match argv[0]:
            case b"HELLO":
                if self.password and argv[-1] != self.password:
                    return Error("WRONGPASS invalid username-password pair or user is disabled.")
                return {b"proto": 3}
            case b"COMMAND":
                return COMMANDS
            case b"RAFT.STATUS":
                return self.cluster.status(self)
        self.asked.append(argv)
        return self.answer(argv)


class FakeCluster:
    def __init__(self) -> None:
        self.members: list[FakeMember] = []
        self.leader: FakeMember | None = None

    @property
    def addresses(self) -> list[str]:
        return [member.address for member in self.members]

    def status(self, member: FakeMember) -> Reply:
        leader = self.leader.address.encode() if self.leader else None
        peers: list[Reply] = [{b"client_address": m.address.encode()} for m in self.members if m is not member]
        return {b"peers": peers, b"leader_address": leader}

    async def start(self, nursery: trio.Nursery, count: int = 1) -> None:
        for _ in range(count):
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            member = FakeMember(self, listener)
            self.members.append(member)
            nursery.start_soon(member.listen)
        self.leader = self.members[0]


def in_turn(*answers: Any) -> Answer:
    """The answers one after another; the last one for ever."""
    left = list(answers)
    return lambda argv: left.pop(0) if len(left) > 1 else left[0]
