"""Real members for tests: processes of the installed package on free loopback ports, with a grip on each.

`Cluster` starts them, kills, pauses and restarts them, and knows who leads. `Partitions` puts a proxy in front of each
peer port, so that links between chosen members can be cut without being root: the proxy reads the dialler's id from
its first frame and drops or passes bytes by (dialler, listener).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import hiredis

from raftkv.wire.peer import FrameParser, Hello

T = TypeVar("T")
START_TIMEOUT_S = 20.0


def wait_until(what: str, probe: Callable[[], T | None], timeout_s: float = START_TIMEOUT_S) -> T:
    """Ask `probe` until it gives something true; the only place in these tests that waits by looking again."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain until {what}")
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class ReplyError(Exception):
    """An error reply."""


class Client:
    """The least that talks RESP: one socket, one command at a time, errors raised."""

    def __init__(self, port: int, timeout_s: float = 15.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader(replyError=ReplyError)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *argv: object) -> None:
        words: tuple[Any, ...] = tuple(str(a) if isinstance(a, int) else a for a in argv)
        self.sock.sendall(hiredis.pack_command(words))

    def receive(self) -> Any:
        while True:
            reply = self.reader.gets()
            if reply is not False:
                if isinstance(reply, ReplyError):
                    raise reply
                return reply
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("closed by the server")
            self.reader.feed(data)

    def __call__(self, *argv: object) -> Any:
        self.send(*argv)
        return self.receive()

    def status(self) -> dict[str, Any]:
        flat = self("RAFT.STATUS")
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {name.decode(): value.decode() if isinstance(value, bytes) else value for name, value in pairs}


class Member:
    def __init__(self, member_id: int, port: int, peer_port: int, directory: Path, argv: list[str]) -> None:
        self.id = member_id
        self.port = port
        self.peer_port = peer_port
        self.directory = directory
        self.log = directory / "log.txt"
        self.data = directory / "data"
        self._argv = [
            *(sys.executable, "-m", "raftkv", "serve", "--id", str(member_id), "--port", str(port)),
            *("--peer-port", str(peer_port), "--data", str(self.data), "--log-format", "plain", *argv),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # Settings of whoever runs the tests are not for the members.
            env = {name: value for name, value in os.environ.items() if not name.startswith("RAFTKV_")}
            argv = [*self._argv, *more]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env, start_new_session=True)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """As a power cut for this process: no goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Ask it to stop; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=15)

    def wait_exit(self, timeout_s: float = 15) -> int:
        assert self.process is not None
        return self.process.wait(timeout=timeout_s)

    def client(self, timeout_s: float = 15.0) -> Client:
        return Client(self.port, timeout_s)

    def status(self) -> dict[str, Any] | None:
        """RAFT.STATUS; None when it does not answer."""
        try:
            with self.client(timeout_s=2.0) as client:
                return client.status()
        except (OSError, ReplyError):
            return None

    def has_begun(self) -> bool:
        """Whether clients reach it, or it has ended again."""
        with contextlib.suppress(OSError), self.client():
            return True
        return self.process is None or self.process.poll() is not None

    def log_text(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class Cluster:
    """`count` members in `directory`. `partitions`: give their peer ports proxies that can cut links."""

    def __init__(self, directory: Path, count: int = 3, *argv: str, partitions: bool = False) -> None:
        ports = free_ports(3 * count)
        clients, peers, proxies = ports[:count], ports[count : 2 * count], ports[2 * count :]
        seen = proxies if partitions else peers
        ids = range(1, count + 1)
        table = ",".join(f"{i}=127.0.0.1:{port}" for i, port in zip(ids, seen, strict=True))
        self.members: dict[int, Member] = {}
        for i, port, peer_port, seen_port in zip(ids, clients, peers, seen, strict=True):
            more = ["--members", table, *argv]
            if partitions:
                more += ["--peer-advertise", f"127.0.0.1:{seen_port}"]
            self.members[i] = Member(i, port, peer_port, directory / f"member{i}", more)
        self.partitions = (
            Partitions(dict(zip(ids, zip(proxies, peers, strict=True), strict=True))) if partitions else None
        )

    def __enter__(self) -> Self:
        """A majority can elect a leader before the last one has begun, and tests talk to any of them."""
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            for member in self:
                member.start()
            for member in self:
                wait_until(f"member {member.id} begins", member.has_begun)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members.values():
            if member.process is not None and member.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    member.resume()
                member.kill()
        if self.partitions is not None:
            self.partitions.close()

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def find_leader(self, among: list[Member] | None = None) -> Member | None:
        """Who leads and is followed by a majority of `among` (default: all), right now."""
        asked = among or list(self.members.values())
        views = [status for member in asked if (status := member.status()) is not None]
        leaders = [view for view in views if view["role"] == "leader"]
        if not leaders:
            return None
        newest = max(leaders, key=lambda view: view["term"])
        followers = [view for view in views if view["leader"] == newest["id"] and view["term"] == newest["term"]]
        return self.members[newest["id"]] if len(followers) > len(asked) // 2 else None

    def wait_leader(self, among: list[Member] | None = None) -> Member:
        return wait_until("there is a leader", lambda: self.find_leader(among))

    def wait_equal(self) -> None:
        """Until all members have applied the same index."""

        def equal() -> bool:
            views = [member.status() for member in self]
            return None not in views and len({view["applied"] for view in views if view}) == 1

        wait_until("all members have applied the same", equal)


class Partitions:
    """Proxies: `ports` maps member id to (port the others dial, port it really listens on)."""

    def __init__(self, ports: dict[int, tuple[int, int]]) -> None:
        self._ports = ports
        self._cut: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._flows: list[tuple[int, int, socket.socket, socket.socket]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._listen, args=(i,), daemon=True) for i in ports]
        for thread in self._threads:
            thread.start()

    def split(self, *groups: list[int]) -> None:
        """Only members of one group still reach each other; links between groups are closed and stay so."""
        side = {member: number for number, group in enumerate(groups) for member in group}
        with self._lock:
            self._cut = {(a, b) for a in side for b in side if side[a] != side[b]}
            for dialler, listener, *sockets in self._flows:
                if (dialler, listener) in self._cut:
                    for sock in sockets:
                        with contextlib.suppress(OSError):
                            sock.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        with self._lock:
            self._cut = set()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _listen(self, member_id: int) -> None:
        proxy_port, _ = self._ports[member_id]
        with socket.create_server(("127.0.0.1", proxy_port)) as server:
            server.settimeout(0.05)
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    incoming, _ = server.accept()
                    threading.Thread(target=self._serve, args=(member_id, incoming), daemon=True).start()

    def _serve(self, listener: int, incoming: socket.socket) -> None:
        with incoming, contextlib.suppress(OSError):
            parser = FrameParser()
            first = b""
            greeting: list[Any] = []
            while not greeting:
                data = incoming.recv(65536)
                if not data:
                    return
                first += data
                greeting = list(parser.feed(data))
            assert isinstance(greeting[0], Hello)
            dialler = greeting[0].member_id
            with self._lock:
                if (dialler, listener) in self._cut:
                    return
                outgoing = socket.create_connection(("127.0.0.1", self._ports[listener][1]))
                self._flows.append((dialler, listener, incoming, outgoing))
            with outgoing:
                outgoing.sendall(first)
                self._pump(incoming, outgoing)

    def _pump(self, left: socket.socket, right: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(left, selectors.EVENT_READ, right)
            selector.register(right, selectors.EVENT_READ, left)
            while not self._stop.is_set():
                for key, _ in selector.select(timeout=0.1):
                    data = key.fileobj.recv(262144)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
