"""A lone member and its log in memory: enough to see what is asked of a machine, and when.

member = Alone(machine)           leads, with its first entry applied
member.write(b"SET", b"a")        -> the reply; None while it is held back
member.restart(other_machine)     the process ends, log and snapshots stay
member.do_job()                   the oldest work with snapshot files is carried out; until then it waits
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from random import Random

from raftkv.machines.interface import NO_SCOPES, Kind, StateMachine
from raftkv.machines.replies import Error, Reply
from raftkv.raft.membership import Membership
from raftkv.replica import Replica, ReplicaSettings
from raftkv.replica.jobs import Job
from raftkv.storage.interface import Write
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore


class Catch:
    """A sink that keeps what it is told."""

    resp3 = True
    remote = False
    readonly = False

    def __init__(self) -> None:
        self.replies: list[Reply] | None = None

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        assert self.replies is None, "answered twice"
        self.replies = replies[start:stop]

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        raise AssertionError("nothing is forwarded here")

    def on_redirect(self, leader_id: int) -> None:
        raise AssertionError("nobody else leads")

    def on_not_done(self, error: Error) -> None:
        self.replies = [error]

    def on_unknown(self, error: Error) -> None:
        self.replies = [error]


class Together(Catch):
    """Of a work of several clients."""

    def __init__(self, clients: int) -> None:
        super().__init__()
        self.sinks = [Catch() for _ in range(clients)]

    def each(self) -> Iterator[Catch]:
        return iter(self.sinks)


class Alone:
    def __init__(self, machine: StateMachine, *, leads: bool = True, **settings: object) -> None:
        self.now_ms = 1000
        self._writes: list[Write] = []
        self.store = MemoryLogStore()
        self.snapshots = MemorySnapshotStore()
        self.jobs: deque[Job] = deque()
        self.settings = ReplicaSettings(**settings)  # type: ignore[arg-type]
        self.reported: list[tuple[str, Exception]] = []
        self.replica = self._replica(machine)
        if leads:
            self.advance(10)
            assert self.replica.node.leads_and_is_ready

    def _replica(self, machine: StateMachine) -> Replica:
        return Replica(
            1,
            Membership((1,)),
            machine=machine,
            store=self.store,
            snapshots=self.snapshots,
            settings=self.settings,
            random=Random(1),
            now_ms=self.now_ms,
            report=lambda what, error: self.reported.append((what, error)),
        )

    def restart(self, machine: StateMachine, *, leads: bool = True) -> None:
        self.store = MemoryLogStore(self._writes)
        self.jobs.clear()
        self.replica = self._replica(machine)
        if leads:
            self.advance(10)

    def advance(self, ms: int) -> None:
        self.now_ms += ms
        self.replica.on_tick(self.now_ms)
        self.run()

    def run(self) -> None:
        replica = self.replica
        while replica.needs_turn:
            turn = replica.turn(self.now_ms)
            self.jobs += turn.jobs
            if turn.write is not None:
                self._writes.append(turn.write)
                self.store.append([turn.write])
                replica.on_synced(turn.sequence)
            replica.apply(self.now_ms)

    def do_job(self) -> str:
        """Returns what it was."""
        job = self.jobs.popleft()
        self.replica.on_job_done(job, *job.carry_out())
        self.run()
        return job.what

    def do_jobs(self) -> list[str]:
        """All that wait, and what they lead to."""
        done = []
        while self.jobs:
            done.append(self.do_job())
        return done

    def send(self, kind: Kind, *commands: list[bytes]) -> Catch:
        sink = Catch()
        self.replica.submit(kind, list(commands), NO_SCOPES, 1, sink)
        self.replica.on_quiet()
        self.run()
        return sink

    def write(self, *argv: bytes) -> Reply:
        replies = self.send(Kind.WRITE, list(argv)).replies
        return None if replies is None else replies[0]

    def read(self, *argv: bytes) -> Reply:
        replies = self.send(Kind.READ, list(argv)).replies
        return None if replies is None else replies[0]
