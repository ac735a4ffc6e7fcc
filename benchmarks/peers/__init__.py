"""The systems under test, by the names that ``--peers`` takes."""

from __future__ import annotations

from benchmarks.peers.base import Peer, Unavailable
from benchmarks.peers.etcd import Etcd
from benchmarks.peers.pysyncobj import PySyncObj, PySyncObjTuned
from benchmarks.peers.raftkv import Raftkv
from benchmarks.peers.redis import Redis, RedisWait

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Raftkv, Redis, RedisWait, Etcd, PySyncObj, PySyncObjTuned)}

__all__ = ["PEERS", "Peer", "Unavailable"]
