"""A whole cluster in one thread, without trio, files or a clock: real replicas, one of them with the real `Server`,
sessions over socket pairs. Nothing happens but inside a call, so tests need no waiting.

    cluster = Cluster()              one member, which leads
    cluster = Cluster(voters=3)      three, the first leads and is the one that clients talk to
    client = cluster.connect()
    client.call(b"SET", b"a", b"1")
    cluster.advance(100)             milliseconds
"""

from __future__ import annotations

import socket
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar

from raftkv import config
from raftkv.raft.membership import Membership
from raftkv.replica import Replica
from raftkv.server.commands import LOCAL_COMMANDS
from raftkv.server.hub import Hub
from raftkv.server.loading import make_machine
from raftkv.server.member import replica_settings
from raftkv.server.server import Server
from raftkv.server.session import Session
from raftkv.settings import Settings
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from raftkv.wire.peer import PeerMessage
from tests.support.redis_server import encode_command, read_reply

M = TypeVar("M", bound=PeerMessage)

CLUSTER_ID = "00c0ffee00c0ffee"


class Log:
    """Takes the place of a structlog logger and says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **fields: None


class FakeLinks:
    def __init__(self, cluster: Cluster, own_id: int) -> None:
        self._cluster = cluster
        self._own_id = own_id
        self.client_addresses = {peer: f"127.0.0.1:{7000 + peer}" for peer in cluster.replicas if peer != own_id}

    def get(self, peer: int) -> Any:
        return None if peer in self._cluster.cut_off else SimpleNamespace(heard_ms=self._cluster.now_ms)

    def send_all(self, sends: list[tuple[int, PeerMessage]]) -> None:
        self._cluster.deliver(self._own_id, sends)


class Cluster:
    """`at`: the member that clients talk to. Without a `cluster_id` it is one that waits to be told its cluster. Its
    other settings are given as flags: `client_requirepass="x"`."""

    def __init__(self, voters: int = 1, at: int = 1, cluster_id: str = CLUSTER_ID, **flags: str) -> None:
        self.now_ms = 1_000_000
        self.cut_off: set[int] = set()
        """Members that nobody hears, and that hear nobody."""

        self.clients: list[Client] = []
        members = {number: f"127.0.0.1:{8000 + number}" for number in range(1, voters + 1)}
        table = ",".join(f"{number}={address}" for number, address in members.items())
        own = {"id": str(at), "port": str(7000 + at), "peer-port": str(8000 + at), "members": table}
        settings = config.load(None, {}, own | {name.replace("_", "-"): text for name, text in flags.items()})
        self.replicas = {number: self._make_replica(number, settings) for number in members}
        self.stores = {number: MemoryLogStore() for number in members}
        for number, replica in self.replicas.items():
            for peer in members.keys() - {number}:
                replica.on_link_up(peer)
        self.hub = Hub()
        self.server = Server(
            settings,
            hub=self.hub,
            replica=self.replicas[at],
            links=FakeLinks(self, at),  # type: ignore[arg-type]
            cluster_id=cluster_id,
            founders=settings.cluster.members,
            local_commands=LOCAL_COMMANDS,
            log=Log(),
        )
        self.server.now_ms = lambda: self.now_ms
        self.server.started_ms = self.server.watch.since_ms = self.now_ms
        if cluster_id:
            self.replicas[1].node.campaign()
        self.run()

    def _make_replica(self, number: int, settings: Settings) -> Replica:
        return Replica(
            number,
            Membership.founding(settings.cluster.members),
            machine=make_machine(settings),
            store=MemoryLogStore(),
            snapshots=MemorySnapshotStore(),
            settings=replica_settings(settings),
            random=Random(number),
            now_ms=self.now_ms,
        )

    def connect(self, resp3: bool = False) -> Client:
        client = Client(self)
        self.clients.append(client)
        client.session.resp3 = resp3
        return client

    def run(self) -> None:
        """Until nobody has anything to do."""
        busy = True
        while busy:
            self.hub.pass_ms = self.now_ms
            busy = self.hub._pass(0.0)
            for number, replica in self.replicas.items():
                busy = self._turn(number, replica) or busy
            self.hub.send_all()
            if not busy:
                for replica in self.replicas.values():
                    replica.on_quiet()
                busy = self.hub.has_more or any(replica.wants_turn for replica in self.replicas.values())

    def step(self) -> None:
        """One pass of the hub, and what follows from it."""
        self.hub._pass(0.0)
        for number, replica in self.replicas.items():
            self._turn(number, replica)

    def noted(self, receiver: int, kind: type[M]) -> list[M]:
        """The messages of that kind that member `receiver` gets from now on."""
        seen: list[M] = []
        on_message = self.replicas[receiver].on_message

        def note(sender: int, message: PeerMessage) -> None:
            if isinstance(message, kind):
                seen.append(message)
            on_message(sender, message)

        self.replicas[receiver].on_message = note  # type: ignore[method-assign]
        return seen

    def _turn(self, number: int, replica: Replica) -> bool:
        if not replica.needs_turn:
            return False
        turn = replica.turn(self.now_ms)
        if turn.write is not None:
            self.stores[number].append([turn.write])
            replica.on_synced(turn.sequence)
        self.deliver(number, turn.sends)
        before = replica.applied
        more = replica.apply(self.now_ms)
        return bool(turn.write or turn.sends or replica.applied > before or more or replica.wants_turn)

    def deliver(self, sender: int, sends: list[tuple[int, PeerMessage]]) -> None:
        for peer, message in sends:
            if not self.cut_off & {sender, peer}:
                self.replicas[peer].on_message(sender, message)

    def advance(self, ms: int, step_ms: int = 10) -> None:
        """Let time pass in steps of `step_ms`."""
        for _ in range(0, ms, step_ms):
            self.now_ms += step_ms
            for replica in self.replicas.values():
                replica.on_tick(self.now_ms)
            self.server.on_tick()
            self.run()

    def close(self) -> None:
        for session in list(self.server.sessions.values()):
            session.close("test is over")
        for client in self.clients:
            client.close()
        self.hub.close()


class Client:
    """The other end of a session's connection."""

    def __init__(self, cluster: Cluster) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ours.settimeout(10)
        self._socket, self._file = ours, ours.makefile("rb")
        self._cluster = cluster
        address = f"10.0.0.1:{50000 + len(cluster.server.sessions)}"
        cluster.server.add_session(theirs, address, "127.0.0.1:7001")
        self.session: Session = list(cluster.server.sessions.values())[-1]

    def send(self, *commands: list[bytes]) -> None:
        self.post(*commands)
        self._cluster.run()

    def post(self, *commands: list[bytes]) -> None:
        """Send without anybody looking at it yet."""
        self._socket.sendall(b"".join(map(encode_command, commands)))

    def call(self, *words: bytes) -> Any:
        self.send(list(words))
        return self.receive()

    def pipeline(self, *commands: str) -> list[Any]:
        """Commands sent at once, each written as a line; their replies."""
        self.send(*(command.encode().split() for command in commands))
        return [self.receive() for _ in commands]

    def ask(self, line: str) -> Any:
        return self.call(*line.encode().split())

    def receive(self) -> Any:
        self._cluster.hub.send_all()
        return read_reply(self._file)

    def receive_bytes(self, count: int) -> bytes:
        """More than a socket keeps: the member goes on as they are taken."""
        received = bytearray()
        while len(received) < count:
            self._cluster.run()
            taken = self._socket.recv(min(65536, count - len(received)))
            assert taken, "closed"
            received += taken
        return bytes(received)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to be received now."""
        self._cluster.hub.send_all()
        self._socket.setblocking(False)
        try:
            return not self._file.peek(1)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(10)

    @property
    def is_closed(self) -> bool:
        """Whether the member has closed the connection (what it sent before must have been received)."""
        return self.session.closed and self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()
