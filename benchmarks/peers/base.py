"""What the runner asks of every peer: start fresh, say where the load goes, kill and restart members, stop."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from benchmarks.loadgen import Workload
from benchmarks.processes import ServerProcess, stop_all, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
MEMBERS = 3


class Unavailable(Exception):
    """This peer cannot be measured on this machine; the message says what is missing."""


class Peer(ABC):
    """One system under test, in an empty directory of its own. ``stop`` must follow ``start``, also a failed one."""

    name: str
    about: str
    with_redis_benchmark = False
    with_failover = False
    with_footprint = True
    # Whether a restart keeps the data (else the restart time has no meaning).
    durable = True
    # What must be on PATH.
    needs: str = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[ServerProcess] = []
        self.ports: list[int] = []

    @classmethod
    def check_available(cls) -> None:
        """Raises Unavailable."""
        if cls.needs and shutil.which(cls.needs) is None:
            raise Unavailable(f"{cls.needs} is not on PATH")

    @abstractmethod
    def start(self) -> None:
        """Start all members on free ports; returns when a write is acknowledged. Raises PeerFailed."""

    @abstractmethod
    def workload(self, kind: str) -> Workload | None:
        """One operation of this kind (set, get, dirtyget); None when the peer has no such thing."""

    @abstractmethod
    def rows(self) -> dict[str, int]:
        """Row of the table -> client port that gets its load. The first is the peer's main row (leader, primary)."""

    @abstractmethod
    def leader(self) -> int | None:
        """Index of the member that leads by its own word; None while none does."""

    @abstractmethod
    def try_write(self, member: int, timeout_s: float) -> bool:
        """One write through this member: whether it was acknowledged within the time. Never raises for a dead one."""

    @abstractmethod
    def has_key(self, key: str) -> bool:
        """Whether a read of the key through any member answers with a value now."""

    @property
    def main_row(self) -> str:
        return self.name

    @property
    def main_port(self) -> int:
        return next(iter(self.rows().values()))

    def add_process(self, name: str, argv: list[str]) -> ServerProcess:
        process = ServerProcess(argv, self.directory / f"{name}.log", CHECKOUT)
        self.processes.append(process)
        process.start()
        return process

    def member_directory(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def wait_for_leader(self) -> int:
        """The leader's index, once a write through it is acknowledged too."""
        found: list[int] = []

        def leads() -> bool:
            index = self.leader()
            if index is None or not self.try_write(index, 2.0):
                return False
            found.append(index)
            return True

        wait_until(leads, self.processes, f"{self.name}: a leader that acknowledges a write")
        return found[0]

    def wait_whole(self) -> None:
        """After members were started: every one of them takes part again."""
        self.wait_for_leader()
        for member in range(len(self.processes)):
            self._wait_answers(member)

    def _wait_answers(self, member: int) -> None:
        wait_until(lambda: self.try_write(member, 2.0), self.processes, f"{self.name}: member {member} answers")

    def cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self.processes)

    def stop(self) -> None:
        stop_all(self.processes)
