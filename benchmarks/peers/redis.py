"""redis-server with ``appendfsync always``: alone, and as a primary with two replicas where WAIT 1 follows the
writes.

The second is the nearest thing that Redis offers to a replicated durable write: acknowledged when the primary
and one replica have it on disk (a replica sends its offset after the sync of its own file). WAIT goes out in
the same packet as the SET before it, or as the last command of a pipeline: one WAIT covers all writes of its
connection before it, so this is the best that a client can do.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.loadgen import Workload
from benchmarks.peers.base import MEMBERS, Peer
from benchmarks.processes import free_ports, wait_until
from benchmarks.resp import RespClient, ask

# No snapshots and no rewrites of the log in the background: they would fall on some rounds and not on others.
OPTIONS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "auto-aof-rewrite-percentage": "0",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
}


def redis_argv(port: int, directory: Path, primary_port: int | None) -> list[str]:
    options = {**OPTIONS, "port": str(port), "dir": str(directory)}
    argv = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
    return argv if primary_port is None else [*argv, "--replicaof", f"127.0.0.1 {primary_port}"]


class Redis(Peer):
    name = "redis"
    about = "one redis-server, appendfsync always"
    with_redis_benchmark = True
    needs = "redis-server"
    member_count = 1

    def start(self) -> None:
        self.ports = free_ports(self.member_count)
        for at, port in enumerate(self.ports):
            primary = self.ports[0] if at else None
            self.add_process(f"redis{at}", redis_argv(port, self.member_directory(f"redis{at}"), primary))
        wait_until(lambda: self.try_write(0, 2.0), self.processes, "redis acknowledges a write")

    def workload(self, kind: str) -> Workload | None:
        return {"set": Workload("SET __key__ xxx"), "get": Workload("GET __key__")}.get(kind)

    def rows(self) -> dict[str, int]:
        return {self.name: self.ports[0]}

    def leader(self) -> int | None:
        return 0

    def try_write(self, member: int, timeout_s: float) -> bool:
        return bool(ask(self.ports[member], "SET", "benchmark:probe", "x", timeout_s=timeout_s) == b"OK")

    def has_key(self, key: str) -> bool:
        return isinstance(ask(self.ports[0], "GET", key, timeout_s=0.5), bytes)


class RedisWait(Redis):
    name = "redis-wait"
    about = "redis primary + 2 replicas, all appendfsync always; each write (pipeline) is followed by WAIT 1 0"
    with_redis_benchmark = False
    member_count = MEMBERS

    def start(self) -> None:
        super().start()
        wait_until(self._replicas_follow, self.processes, "both replicas follow")

    def workload(self, kind: str) -> Workload | None:
        return Workload("SET __key__ xxx", suffix="WAIT 1 0") if kind == "set" else super().workload(kind)

    def _replicas_follow(self) -> bool:
        """Both have acknowledged a write made just now (on one connection: WAIT speaks of its own writes)."""
        try:
            with RespClient(self.ports[0]) as client:
                client.command("SET", "benchmark:probe", "x")
                return bool(client.command("WAIT", MEMBERS - 1, 500) == MEMBERS - 1)
        except OSError:
            return False
