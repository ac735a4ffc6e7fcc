"""etcd: three members with their default settings, driven with etcd's own client protocol (gRPC) on the leader.

Probing and control go through its JSON gateway, load never does. With ``-P 16`` each of the 50 connections
has 16 calls open at once, as 16 tasks of one client would.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

from benchmarks.loadgen import Workload
from benchmarks.peers.base import MEMBERS, Peer
from benchmarks.processes import free_ports

# Larger than the default 2 GB, which a long fill could reach; nothing else is changed but the log's verbosity.
QUOTA_BYTES = 8 << 30


class Etcd(Peer):
    name = "etcd"
    about = "3 members, default settings (fsync on), load by gRPC on the leader; GET is linearizable"
    with_failover = True
    needs = "etcd"

    def start(self) -> None:
        ports = free_ports(2 * MEMBERS)
        self.ports, peer_ports = ports[:MEMBERS], ports[MEMBERS:]
        cluster = ",".join(f"m{at}=http://127.0.0.1:{port}" for at, port in enumerate(peer_ports))
        for at, (port, peer_port) in enumerate(zip(self.ports, peer_ports, strict=True)):
            client_url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
            options = {
                "name": f"m{at}",
                "data-dir": str(self.directory / f"m{at}"),
                "listen-client-urls": client_url,
                "advertise-client-urls": client_url,
                "listen-peer-urls": peer_url,
                "initial-advertise-peer-urls": peer_url,
                "initial-cluster": cluster,
                "quota-backend-bytes": str(QUOTA_BYTES),
                "logger": "zap",
                "log-level": "error",
            }
            self.add_process(f"m{at}", ["etcd", *(f"--{name}={value}" for name, value in options.items())])
        self.wait_whole()

    def workload(self, kind: str) -> Workload | None:
        return {"set": Workload(grpc_method="Put"), "get": Workload(grpc_method="Range")}.get(kind)

    def rows(self) -> dict[str, int]:
        return {self.name: self.ports[self.wait_for_leader()]}

    def leader(self) -> int | None:
        for at, port in enumerate(self.ports):
            status = self._call(port, "maintenance/status", {}, 2.0) if self.processes[at].alive else None
            if status and status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return at
        return None

    def try_write(self, member: int, timeout_s: float) -> bool:
        body = {"key": _base64("benchmark:probe"), "value": _base64("x")}
        answer = self._call(self.ports[member], "kv/put", body, timeout_s)
        return answer is not None and "revision" in answer.get("header", {})

    def has_key(self, key: str) -> bool:
        answers = (self._call(port, "kv/range", {"key": _base64(key)}, 0.5) for port in self.ports)
        return any(answer is not None and answer.get("kvs") for answer in answers)

    def _call(self, port: int, method: str, body: dict[str, str], timeout_s: float) -> dict[str, Any] | None:
        """The answer of one JSON call; None for an error, a dead member or no answer in time."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        try:
            connection.request("POST", f"/v3/{method}", json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return answer if response.status == 200 and isinstance(answer, dict) else None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
