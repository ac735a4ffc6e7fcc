"""A real redis-server for comparison, and the plainest client that shows replies exactly as they were sent.

`start_redis_server()` starts one on a free port, without persistence, and stops it in the end. `RespConnection`
parses by itself instead of through a client library, because libraries blur what a comparison must see: a
status line and a bulk string, a null and a null array, a map and a flat array.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

from raftkv.machines.replies import Error, NullArray, Pairs, Push, SetReply, Simple, SpelledDouble, Verbatim

_START_TRIES = 5
_READY = b"Ready to accept connections"


@contextlib.contextmanager
def start_redis_server(*options: str) -> Iterator[int]:
    """Yields the port. `options`: further command-line options, e.g. "--databases", "4"."""
    with tempfile.TemporaryDirectory() as directory:
        process, port = _start(directory, options)
        try:
            yield port
        finally:
            process.kill()
            process.communicate()


def _start(directory: str, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], int]:
    # Between finding a free port and listening on it another process may take it: then the next try has another.
    for _ in range(_START_TRIES):
        port = free_port()
        fixed = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory]
        process = subprocess.Popen(
            ["redis-server", *fixed, "--enable-debug-command", "yes", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        if any(_READY in line for line in process.stdout):
            return process, port
        process.communicate()
    raise RuntimeError("redis-server does not start")


@contextlib.contextmanager
def start_redis_sentinel(master_port: int, name: str = "mymaster") -> Iterator[int]:
    """A sentinel of one, which watches the redis-server on `master_port`. Yields the sentinel's port."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "sentinel.conf"
        port = free_port()
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {master_port} 1\n")
        process = subprocess.Popen(["redis-server", config, "--sentinel"], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert any(b"+monitor" in line for line in process.stdout)
            yield port
        finally:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A port of this host that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RespConnection:
    """One blocking connection. Replies are the values of raftkv.machines.replies."""

    def __init__(self, port: int, host: str = "127.0.0.1", protocol: int = 2, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._file: BinaryIO = self._socket.makefile("rb")
        if protocol != 2:
            self.call(b"HELLO", b"%d" % protocol)

    def call(self, *argv: bytes) -> Any:
        return self.pipeline([list(argv)])[0]

    def pipeline(self, commands: list[list[bytes]]) -> list[Any]:
        self.send(*commands)
        return [self.receive() for _ in commands]

    def send(self, *commands: list[bytes]) -> None:
        self._socket.sendall(b"".join(map(encode_command, commands)))

    def receive(self) -> Any:
        return read_reply(self._file)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def encode_command(argv: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)


def read_reply(file: BinaryIO) -> Any:
    """One reply of RESP2 or RESP3. Raises EOFError where the connection ends."""
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError("connection closed")
    mark, rest = line[:1], line[1:-2]
    if mark in _SCALARS:
        return _SCALARS[mark](rest)
    length = int(rest)
    if length < 0:
        return None if mark == b"$" else NullArray()
    if mark in b"$=!":
        body = file.read(length + 2)[:-2]
        return _BODIES[mark](body)
    if mark == b"%":
        return {read_reply(file): read_reply(file) for _ in range(length)}
    items = [read_reply(file) for _ in range(length)]
    return _AGGREGATES[mark](items)


_SCALARS: dict[bytes, Any] = {
    b"+": lambda text: Simple(text.decode()),
    b"-": lambda text: Error(text.decode(errors="replace")),
    b":": int,
    b",": float,
    b"#": lambda text: text == b"t",
    b"_": lambda _: None,
    b"(": int,
}
_BODIES: dict[bytes, Any] = {
    b"$": bytes,
    b"=": lambda body: Verbatim(body[4:], body[:3].decode()),
    b"!": lambda body: Error(body.decode(errors="replace")),
}
_AGGREGATES: dict[bytes, Any] = {b"*": list, b"~": SetReply, b">": Push}


def as_resp3(reply: Any) -> Any:
    """What a RESP3 client sees of a reply value."""
    if isinstance(reply, Pairs):
        return [[as_resp3(left), as_resp3(right)] for left, right in reply.items]
    if isinstance(reply, SetReply):
        return SetReply([as_resp3(item) for item in reply.items])
    if isinstance(reply, list):
        return [as_resp3(item) for item in reply]
    if isinstance(reply, dict):
        return {key: as_resp3(value) for key, value in reply.items()}
    if isinstance(reply, SpelledDouble):
        return float(reply.text)
    return None if isinstance(reply, NullArray) else reply


def as_resp2(reply: Any) -> Any:
    """What a RESP2 client sees of a reply value: maps, sets and pushes are flat arrays, doubles are strings."""
    if isinstance(reply, dict):
        return [as_resp2(item) for pair in reply.items() for item in pair]
    if isinstance(reply, SetReply | Push):
        return [as_resp2(item) for item in reply.items]
    if isinstance(reply, Pairs):
        return [as_resp2(item) for pair in reply.items for item in pair]
    if isinstance(reply, list):
        return [as_resp2(item) for item in reply]
    if isinstance(reply, bool):
        return int(reply)
    if isinstance(reply, Verbatim | SpelledDouble):
        return reply.text
    if isinstance(reply, Error):
        return Error(reply.text.encode("utf-8", "surrogateescape").decode(errors="replace"))  # as RespConnection does
    return b"%.17g" % reply if isinstance(reply, float) else reply
