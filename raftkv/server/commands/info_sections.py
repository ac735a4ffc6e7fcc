"""The sections of INFO, each a function from the server to its fields, with Redis's names where the thing exists here.

Fields of things that do not exist (scripts, eviction, an append-only file beside the log) are left out, apart from a
few that monitoring tools insist on.
"""

from __future__ import annotations

import importlib.metadata
import os
import resource
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from raftkv.server.commands.rows import REDIS_VERSION
from raftkv.server.commands.view import forty_digits, host_and_port, is_cluster, leader_address, leads, mode, peers
from raftkv.server.memory import PAGE_BYTES, resident_bytes

if TYPE_CHECKING:
    from raftkv.server.server import Server

Fields = Mapping[str, object]

_SECONDS_PER_DAY: Final = 86_400
_UNITS: Final = "KMGTP"


@cache
def raftkv_version() -> str:
    try:
        return importlib.metadata.version("raftkv")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a source tree that is not installed


def _server(server: Server) -> Fields:
    system = os.uname()
    uptime_s = (server.now_ms() - server.started_ms) // 1000
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": mode(server),
        "raftkv_version": raftkv_version(),
        "os": f"{system.sysname} {system.release} {system.machine}",
        "arch_bits": 64 if sys.maxsize > 2**32 else 32,
        "multiplexing_api": "epoll",
        "python_version": sys.version.split()[0],
        "process_id": os.getpid(),
        "run_id": forty_digits(f"{server.cluster_id} {server.settings.node.id} {os.getpid()} {server.started_ms}"),
        "tcp_port": server.settings.client.port,
        "server_time_usec": server.wall_ms() * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // _SECONDS_PER_DAY,
        "executable": sys.executable,
        "config_file": "",
    }


def _clients(server: Server) -> Fields:
    return {
        "connected_clients": len(server.sessions),
        "cluster_connections": 0,
        "maxclients": server.settings.client.clients_max,
        "client_recent_max_output_buffer": max((each.out_bytes for each in server.sessions.values()), default=0),
        "blocked_clients": len(server.parked),
        "tracking_clients": 0,
    }


def _memory(server: Server) -> Fields:
    """`used_memory` is an estimate, see memory.py."""
    used_bytes, in_ram_bytes = server.memory.used_bytes(), resident_bytes()
    peak_bytes = max(in_ram_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    system_bytes = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES
    limit_bytes = server.settings.redis.memory_bytes_max
    return {
        "used_memory": used_bytes,
        "used_memory_human": human(used_bytes),
        "used_memory_rss": in_ram_bytes,
        "used_memory_rss_human": human(in_ram_bytes),
        "used_memory_peak": peak_bytes,
        "used_memory_peak_human": human(peak_bytes),
        "used_memory_peak_perc": f"{100 * used_bytes / peak_bytes:.2f}%",
        "total_system_memory": system_bytes,
        "total_system_memory_human": human(system_bytes),
        "maxmemory": limit_bytes,
        "maxmemory_human": human(limit_bytes),
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": f"{in_ram_bytes / used_bytes:.2f}",
        "mem_allocator": "python",
    }


def human(size_bytes: int) -> str:
    """1.50M and the like, as Redis writes sizes for people."""
    if size_bytes < 1024:
        return f"{size_bytes}B"
    power = min((size_bytes.bit_length() - 1) // 10, len(_UNITS))
    return f"{size_bytes / 1024**power:.2f}{_UNITS[power - 1]}"


def _persistence(server: Server) -> Fields:
    """The log is what Redis calls the append-only file: always on, and it has not failed, or nobody would answer."""
    log, taking = server.replica.node.log, server.replica.snapshots.taking
    return {
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": int(taking.under_way),
        "rdb_last_bgsave_status": "err" if taking.last_failed else "ok",
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_last_bgrewrite_status": "ok",
        "aof_last_write_status": "ok",
        "log_fsync": server.settings.storage.fsync,
        "log_entries_unsynced": log.last_index - log.synced,
        "scrub_last_time": (server.scrub.ended_ms or 0) // 1000,
        "scrub_last_bytes": server.scrub.read_bytes,
        "scrub_last_status": "err" if server.scrub.damage else "ok",
    }


def _stats(server: Server) -> Fields:
    stats = server.stats
    subscribed = [each for session in server.watch.subscribers.values() if (each := session.subscriptions)]
    return {
        "total_connections_received": stats.connections,
        "total_commands_processed": stats.commands,
        "rejected_connections": stats.rejected_connections,
        "commands_not_done": stats.commands_not_done,
        "commands_outcome_unknown": stats.commands_unknown,
        "client_query_buffer_limit_disconnections": stats.query_buffer_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.output_buffer_limit_disconnections,
        "evicted_keys": 0,
        "pubsub_channels": len({name for each in subscribed for name in each.channels}),
        "pubsub_patterns": len({name for each in subscribed for name in each.patterns}),
    }


def _replication(server: Server) -> Fields:
    log = server.replica.node.log
    common = {
        "master_failover_state": "no-failover",
        "master_replid": forty_digits(server.cluster_id),
        "master_repl_offset": log.commit,
    }
    if not leads(server):
        host, port = host_and_port(leader_address(server))
        followed = {
            "role": "slave",
            "master_host": host,
            "master_port": port,
            "master_link_status": "up" if host else "down",
            "slave_repl_offset": server.replica.applied,
            "slave_read_only": 0,
            "connected_slaves": 0,
        }
        return followed | common
    replicas = [peer for peer in peers(server) if peer.is_connected]
    lines = {}
    for number, peer in enumerate(replicas):
        host, port = peer.client_host_and_port
        lag_s = (peer.silence_ms or 0) // 1000
        lines[f"slave{number}"] = f"ip={host},port={port},state=online,offset={peer.match or 0},lag={lag_s}"
    return {"role": "master", "connected_slaves": len(replicas), **lines, **common}


def _cpu(server: Server) -> Fields:  # noqa: ARG001
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "used_cpu_sys": f"{own.ru_stime:.6f}",
        "used_cpu_user": f"{own.ru_utime:.6f}",
        "used_cpu_sys_children": f"{children.ru_stime:.6f}",
        "used_cpu_user_children": f"{children.ru_utime:.6f}",
    }


def _nothing(server: Server) -> Fields:  # noqa: ARG001
    return {}


def _cluster(server: Server) -> Fields:
    return {"cluster_enabled": int(is_cluster(server))}


def _raft(server: Server) -> Fields:
    node, log = server.replica.node, server.replica.node.log
    return {
        "raft_id": node.id,
        "raft_role": node.role.value,
        "raft_term": node.term,
        "raft_leader_id": "" if node.leader_id is None else node.leader_id,
        "raft_leader_address": leader_address(server) or "",
        "raft_commit": log.commit,
        "raft_applied": server.replica.applied,
        "raft_last": log.last_index,
        "raft_synced": log.synced,
        "raft_voters": ",".join(map(str, sorted(node.voters))),
        "raft_quorum": node.quorum,
        "raft_cluster_id": server.cluster_id,
        "raft_proposals_waiting": server.replica.proposals_waiting,
        "raft_forwards_waiting": server.replica.forwards_waiting,
        **_verified(server),
        "raft_follower_reads": server.replica.follower_reads.answered,
    }


def _verified(server: Server) -> Fields:
    """What RAFT.VERIFY has found while this member led. Who differed once is named until it is found equal."""
    last, alarms = server.replica.verification.last, server.replica.verification.alarms
    if last is None:
        return {}
    return {
        "raft_verified_index": last.index,
        "raft_verified_time": last.time_ms // 1000,
        "raft_state_differs": ",".join(map(str, sorted(alarms))) or "no",
        "raft_state_differs_index": max(alarms.values(), default=0),
    }


def _keyspace(server: Server) -> Fields:
    return server.replica.machine.info().get("Keyspace", {})


SECTIONS: Final[Mapping[str, Callable[[Server], Fields]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _nothing,
    "errorstats": _nothing,
    "cluster": _cluster,
    "raft": _raft,
    "keyspace": _keyspace,
}
