"""PySyncObj: three members of ``pysyncobj_member.py``, log in memory, nothing synced to disk.

Two peers: with the library's own default settings, and with the fastest of its documented ones (see that file).
"""

from __future__ import annotations

import importlib.util
import sys

from benchmarks.loadgen import Workload
from benchmarks.peers.base import MEMBERS, Peer, Unavailable
from benchmarks.processes import free_ports
from benchmarks.resp import ask

MEMBER = "benchmarks.peers.pysyncobj_member"


class PySyncObj(Peer):
    name = "pysyncobj"
    about = "3 members, default settings, NO fsync (log in memory); GET goes through the log to be linearizable"
    with_failover = True
    with_footprint = False
    durable = False
    options: tuple[str, ...] = ()

    @classmethod
    def check_available(cls) -> None:
        if importlib.util.find_spec("pysyncobj") is None:
            raise Unavailable("the Python package pysyncobj is not installed")

    def start(self) -> None:
        ports = free_ports(2 * MEMBERS)
        self.ports, peer_ports = ports[:MEMBERS], ports[MEMBERS:]
        argv = [sys.executable, "-m", MEMBER]
        argv += ["--ports", _joined(self.ports), "--peer-ports", _joined(peer_ports)]
        for at in range(MEMBERS):
            self.add_process(f"member{at}", [*argv, "--index", str(at), *self.options])
        self.wait_whole()

    def workload(self, kind: str) -> Workload | None:
        words = {"set": "SET __key__ xxx", "get": "GET __key__", "dirtyget": "DIRTYGET __key__"}
        return Workload(words[kind]) if kind in words else None

    def rows(self) -> dict[str, int]:
        return {self.name: self.ports[self.wait_for_leader()]}

    def leader(self) -> int | None:
        """By the leader's own word, since a follower may still name a dead one."""
        for at, port in enumerate(self.ports):
            if self.processes[at].alive and ask(port, "LEADER") == b"%d" % port:
                return at
        return None

    def try_write(self, member: int, timeout_s: float) -> bool:
        return bool(ask(self.ports[member], "SET", "benchmark:probe", "x", timeout_s=timeout_s) == b"OK")

    def has_key(self, key: str) -> bool:
        return any(isinstance(ask(port, "GET", key, timeout_s=0.5), bytes) for port in self.ports)


class PySyncObjTuned(PySyncObj):
    name = "pysyncobj-tuned"
    # The election settings are the same, and so would be the figure.
    with_failover = False
    about = "the same with its fastest settings: batches every ms, no log compaction; NO fsync"
    options = ("--tuned",)


def _joined(ports: list[int]) -> str:
    return ",".join(map(str, ports))
