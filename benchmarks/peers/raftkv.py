"""raftkv: three members with their default settings (fsync on), the leader and a follower as separate targets."""

from __future__ import annotations

import sys

from benchmarks.loadgen import Workload
from benchmarks.peers.base import MEMBERS, Peer
from benchmarks.processes import free_ports
from benchmarks.resp import as_mapping, ask

WORKLOADS = {
    "set": Workload("SET __key__ xxx"),
    "get": Workload("GET __key__"),
    "dirtyget": Workload("DIRTYGET __key__"),
}


class Raftkv(Peer):
    name = "raftkv"
    about = "3 members, fsync on, default settings; GET is linearizable (quorum confirmed)"
    with_redis_benchmark = True
    with_failover = True

    def start(self) -> None:
        self.ports = free_ports(2 * MEMBERS)
        peer_ports = self.ports[MEMBERS:]
        self.ports = self.ports[:MEMBERS]
        members = ",".join(f"{at + 1}=127.0.0.1:{port}" for at, port in enumerate(peer_ports))
        for at, (port, peer_port) in enumerate(zip(self.ports, peer_ports, strict=True)):
            data = self.directory / f"member{at + 1}"
            argv = [sys.executable, "-m", "raftkv", "serve", "--id", str(at + 1), "--port", str(port)]
            argv += ["--peer-port", str(peer_port), "--data", str(data), "--members", members]
            self.add_process(f"member{at + 1}", argv)
        self.wait_whole()

    def workload(self, kind: str) -> Workload | None:
        return WORKLOADS.get(kind)

    def rows(self) -> dict[str, int]:
        leader = self.wait_for_leader()
        follower = (leader + 1) % MEMBERS
        return {self.name: self.ports[leader], f"{self.name} follower": self.ports[follower]}

    def leader(self) -> int | None:
        for at, port in enumerate(self.ports):
            role = as_mapping(ask(port, "RAFT.STATUS")).get(b"role") if self.processes[at].alive else None
            if role in (b"leader", "leader"):
                return at
        return None

    def try_write(self, member: int, timeout_s: float) -> bool:
        return bool(ask(self.ports[member], "SET", "benchmark:probe", "x", timeout_s=timeout_s) == b"OK")

    def has_key(self, key: str) -> bool:
        return any(isinstance(ask(port, "GET", key, timeout_s=0.5), bytes) for port in self.ports)
