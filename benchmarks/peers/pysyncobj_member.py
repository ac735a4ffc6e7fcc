"""One PySyncObj member with a small RESP front, so that the same generator can drive it as drives the others.

How it works: PySyncObj's ``autoTick`` is off and this file runs its ticks, with the clients' sockets
registered in the library's own poller: one thread, no hand-over between threads, hiredis for parsing. The log
is in memory (the library's default) and nothing is ever synced to a disk.

Without ``--tuned`` the library runs with its own default settings, where a batch of commands leaves every 100 ms. With
it the settings are the fastest found among the documented ones: a batch every millisecond, and no log compaction (which
by default pauses for hundreds of milliseconds every 5,000 entries).

Commands: SET (replicated), GET (replicated as well: the library has no read index, so a read through the log
is its only linearizable one), DIRTYGET (the local dictionary), PING, LEADER (the leader's client port, or
nil).
"""

from __future__ import annotations

import argparse
import socket
from collections import deque
from typing import Any

import hiredis
from pysyncobj import SyncObj, SyncObjConf, replicated  # type: ignore[import-untyped]
from pysyncobj.poller import POLL_EVENT_TYPE  # type: ignore[import-untyped]

TUNED_SETTINGS: dict[str, Any] = {
    "appendEntriesPeriod": 0.001,
    "logCompactionMinEntries": 10**9,
    "logCompactionMinTime": 10**6,
}

# Longest wait for a socket event while nothing is under way, and while commands wait for their commit (seconds).
IDLE_WAIT_S = 0.02
BUSY_WAIT_S = 0.001

NIL = b"$-1\r\n"


class Store(SyncObj):  # type: ignore[misc]
    """The replicated dictionary."""

    def __init__(self, own: str, others: list[str], settings: dict[str, Any]) -> None:
        # A shorter retry than the default 5 s, so that the members find each other soon after the start.
        conf = SyncObjConf(autoTick=False, connectionRetryTime=0.5, commandsWaitLeader=False, **settings)
        super().__init__(own, others, conf)
        self.values: dict[bytes, bytes] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: bytes, value: bytes) -> bytes:
        self.values[key] = value
        return b"+OK\r\n"

    @replicated  # type: ignore[untyped-decorator]
    def read(self, key: bytes) -> bytes:
        return bulk(self.values.get(key))


def bulk(value: bytes | None) -> bytes:
    """A RESP2 bulk string, nil for None."""
    return NIL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


class Client:
    """One client connection: replies leave in the order of the requests, whenever each becomes known."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = hiredis.Reader()
        self.replies: deque[list[bytes | None]] = deque()
        self.unsent = bytearray()

    def place(self, reply: bytes | None = None) -> list[bytes | None]:
        """A place in the order; the reply is put into it when it is known."""
        cell = [reply]
        self.replies.append(cell)
        return cell

    def send_ready(self) -> None:
        while self.replies and (reply := self.replies[0][0]) is not None:
            self.unsent += reply
            self.replies.popleft()
        if self.unsent:
            try:
                del self.unsent[: self.socket.send(self.unsent)]
            except BlockingIOError:
                pass
            except OSError:
                self.unsent.clear()


class Front:
    """The client port, inside the library's poller."""

    def __init__(self, store: Store, port: int, client_ports: dict[str, int]) -> None:
        self.store = store
        self.client_ports = client_ports
        self.clients: dict[int, Client] = {}
        self.touched: set[Client] = set()
        self.waiting = 0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        store._poller.subscribe(self.listener.fileno(), self.on_accept, POLL_EVENT_TYPE.READ)

    def on_accept(self, _descriptor: int, _events: int) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients[sock.fileno()] = Client(sock)
            mask = POLL_EVENT_TYPE.READ | POLL_EVENT_TYPE.ERROR
            self.store._poller.subscribe(sock.fileno(), self.on_readable, mask)

    def on_readable(self, descriptor: int, _events: int) -> None:
        client = self.clients[descriptor]
        try:
            data = client.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.store._poller.unsubscribe(descriptor)
            del self.clients[descriptor]
            client.socket.close()
            return
        client.reader.feed(data)
        while (request := client.reader.gets()) is not False:
            self.on_request(client, request)
        self.touched.add(client)

    def on_request(self, client: Client, request: list[bytes]) -> None:
        name = request[0].upper()
        if name in (b"SET", b"GET"):
            self.replicate(client, name, request)
        elif name == b"DIRTYGET":
            client.place(bulk(self.store.values.get(request[1])))
        elif name == b"PING":
            client.place(b"+PONG\r\n")
        elif name == b"LEADER":
            leader = self.store._getLeader()
            port = self.client_ports.get(leader.id) if leader is not None else None
            client.place(bulk(b"%d" % port) if port else NIL)
        else:
            client.place(b"-ERR unknown command\r\n")

    def replicate(self, client: Client, name: bytes, request: list[bytes]) -> None:
        cell = client.place()
        self.waiting += 1

        def on_result(reply: bytes | None, _failure: Any) -> None:
            self.waiting -= 1
            cell[0] = reply if reply is not None else b"-CLUSTERDOWN no leader\r\n"
            self.touched.add(client)

        if name == b"SET":
            self.store.put(request[1], request[2], callback=on_result)
        else:
            self.store.read(request[1], callback=on_result)

    def after_tick(self) -> None:
        """Runs between the library's work and its wait for sockets: send what is due."""
        for client in self.touched:
            client.send_ready()
        self.touched = {client for client in self.touched if client.unsent}

    def run(self) -> None:
        self.store.addOnTickCallback(self.after_tick)
        while True:
            self.store.doTick(BUSY_WAIT_S if self.waiting or self.touched else IDLE_WAIT_S)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--ports", required=True, help="client ports of all members, comma separated")
    parser.add_argument("--peer-ports", required=True, help="peer ports of all members, comma separated")
    parser.add_argument("--tuned", action="store_true", help="settings in the library's favour")
    arguments = parser.parse_args()
    ports = [int(port) for port in arguments.ports.split(",")]
    addresses = [f"127.0.0.1:{port}" for port in arguments.peer_ports.split(",")]
    own = addresses[arguments.index]
    settings = TUNED_SETTINGS if arguments.tuned else {}
    store = Store(own, [each for each in addresses if each != own], settings)
    client_ports = dict(zip(addresses, ports, strict=True))
    Front(store, ports[arguments.index], client_ports).run()


if __name__ == "__main__":
    main()
