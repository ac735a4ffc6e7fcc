"""A real redis-server to compare with, started once for all tests that ask for it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no clock: a busy machine is not a failure.
steady = settings(derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.too_slow])

Exchange = Callable[[bytes], bytes]


@pytest.fixture(scope="session")
def redis_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A function that sends bytes on a fresh connection, closes its own half and returns all that came back.

    The server listens on a Unix socket in its own folder, so no port has to be guessed.
    """
    path = tmp_path_factory.mktemp("redis") / "s"
    server = subprocess.Popen(
        f"redis-server --port 0 --unixsocket {path} --dir {path.parent} --enable-debug-command yes".split(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept connections" in line:
            break

    def exchange(data: bytes) -> bytes:
        received = b""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                received += piece
        return received

    yield exchange
    server.terminate()
    server.stdout.close()
    server.wait()
