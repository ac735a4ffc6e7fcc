"""One member as a process: puts the parts together, serves until told to stop, and says with its exit code why.

    0  stopped as asked (SIGTERM, SIGINT)
    2  a setting is wrong
    3  had to stop: the disk failed, the log is damaged, or an invariant is broken

On SIGTERM: no new clients, answer what is under way as far as it can be, finish the disk's queue, leave.
"""

from __future__ import annotations

import gc
import importlib
import resource
import signal
import socket
import sys
from typing import Any

import trio

from raftkv.cluster.identity import cluster_id
from raftkv.errors import ConfigError, Fatal
from raftkv.machines.interface import StateMachine
from raftkv.raft.settings import RaftSettings
from raftkv.replica import Replica, ReplicaSettings
from raftkv.replica.sessions import Limits
from raftkv.server import driver as clock
from raftkv.server.commands import LOCAL_COMMANDS
from raftkv.server.disk import DiskThread
from raftkv.server.driver import TICK_INTERVAL_MS, Driver
from raftkv.server.hub import Hub
from raftkv.server.links import Links
from raftkv.server.logs import open_log
from raftkv.server.peers import Identity, Peers
from raftkv.server.server import Server
from raftkv.settings import Settings
from raftkv.storage.wal import Wal

STOP_GRACE_MS = 3000
CLIENT_KEEPALIVE_IDLE_S = 300
"""The kernel asks clients that have been silent for so long whether they are still there."""

SWITCH_INTERVAL_S = 0.0005
"""How long the hub may keep the interpreter lock from the disk thread that came back from a sync. CPython's 5 ms
would be several times the sync itself."""


def run(settings: Settings) -> int:
    """Serve one member until it is told to stop. Returns the process's exit code."""
    log = open_log(settings.log, settings.node.id)
    try:
        trio.run(_serve, settings, log, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        return _exit_code(_first(group), log)
    except (ConfigError, Fatal, OSError) as error:
        return _exit_code(error, log)
    log.info("stopped", reason="as asked")
    return 0


def _exit_code(error: BaseException, log: Any) -> int:
    if isinstance(error, ConfigError):
        log.error("wrong_setting", reason=str(error))
        return 2
    if isinstance(error, (Fatal, OSError)):
        log.critical("stopped", family=type(error).__name__, reason=str(error))
    else:
        log.critical("stopped", family="bug", reason=repr(error), exc_info=error)
    return 3


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(settings: Settings, log: Any) -> None:
    _tune_process()
    machine = make_machine(settings)
    client_listeners = await _listen(settings.client.host, settings.client.port, "client.port")
    peer_listeners = await _listen(settings.peer.host, settings.peer.port, "peer.port")
    identity = Identity(
        cluster_id=cluster_id(settings.cluster.name, settings.cluster.members),
        member_id=settings.node.id,
        instance=clock.new_instance(),
        members=settings.cluster.members,
        client_address=settings.client.address,
        machine_version=machine.version,
    )
    if settings.storage.fsync == "off":
        log.warning("fsync_off", reason="acknowledged writes can be lost when the machine loses power")
    store = Wal.open(
        settings.node.data_dir,
        cluster_id=identity.cluster_id,
        member_id=identity.member_id,
        machine=machine.name,
        fsync=settings.storage.fsync == "always",
        segment_bytes=settings.storage.segment_bytes,
        on_event=lambda event, fields: (log.info if event == "wal_segment" else log.warning)(event, **fields),
    )
    try:
        await _serve_from(settings, log, machine, store, identity, client_listeners, peer_listeners)
    finally:
        store.close()


async def _serve_from(
    settings: Settings,
    log: Any,
    machine: StateMachine,
    store: Wal,
    identity: Identity,
    client_listeners: list[trio.SocketListener],
    peer_listeners: list[trio.SocketListener],
) -> None:
    random = clock.new_random()
    replica = Replica(
        identity.member_id,
        identity.members,
        machine=machine,
        store=store,
        settings=replica_settings(settings),
        random=random,
        now_ms=clock.now_ms(),
    )
    hub = Hub()
    driver = Driver(replica)
    links = Links(
        hub,
        read_clock=driver.read_clock,
        on_up=replica.on_link_up,
        on_down=replica.on_link_down,
        on_message=replica.on_message,
        frame_bytes_max=settings.peer.frame_bytes_max,
        queue_bytes_max=settings.peer.queue_bytes_max,
        log=log,
    )
    server = Server(
        settings,
        hub=hub,
        replica=replica,
        links=links,
        cluster_id=identity.cluster_id,
        local_commands=LOCAL_COMMANDS,
        log=log,
    )
    driver.links = links
    driver.disk = DiskThread(store, hub, replica.on_synced)
    peers = Peers(settings, identity, links, random, log)
    log.info(
        "serving",
        clients=settings.client.address,
        peers=settings.peer.address,
        data_dir=settings.node.data_dir,
        cluster_id=identity.cluster_id,
        log_last_index=replica.node.log.last_index,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run, driver.turn, clock.now_ms)
            nursery.start_soon(_tick, driver, server)
            nursery.start_soon(peers.run, peer_listeners)
            accepting = trio.CancelScope()
            nursery.start_soon(_accept_clients, server, client_listeners, accepting)
            nursery.start_soon(_watch_role, replica, log)
            await _wait_for_signal(log)
            server.stopping = True
            accepting.cancel()
            with trio.move_on_after(STOP_GRACE_MS / 1000):
                while any(session.busy for session in server.sessions.values()):  # noqa: ASYNC110 (bounded)
                    await trio.sleep(TICK_INTERVAL_MS / 1000)
            nursery.cancel_scope.cancel()
    finally:
        driver.disk.stop()
        hub.send_all()
        for session in list(server.sessions.values()):
            session.close("stopping")
        links.close()
        hub.close()


def _tune_process() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # What lives as long as the process need not be walked by every collection; the data itself holds no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def make_machine(settings: Settings) -> StateMachine:
    """The state machine that `machine.class` names. Raises ConfigError."""
    name = settings.machine.class_
    if name == "redis":
        from raftkv.machines.redis.machine import RedisMachine

        return RedisMachine(databases=settings.redis.databases)
    if name == "register":
        from raftkv.machines.register import RegisterMachine

        return RegisterMachine()
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)(**settings.machine.options)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError("settings", "machine.class", name, f"cannot be made: {error}") from error
    if not isinstance(made, StateMachine):
        raise ConfigError("settings", "machine.class", name, "is not a raftkv.machines.interface.StateMachine")
    return made


def replica_settings(settings: Settings) -> ReplicaSettings:
    raft = settings.raft
    return ReplicaSettings(
        raft=RaftSettings(
            election_timeout_ms_min=raft.election_timeout_ms_min,
            election_timeout_ms_max=raft.election_timeout_ms_max,
            heartbeat_interval_ms=raft.heartbeat_interval_ms,
            min_majority=settings.cluster.min_majority,
            append_entries_max=raft.append_entries_max,
            append_bytes_max=raft.append_bytes_max,
            inflight_appends_max=raft.inflight_appends_max,
            inflight_bytes_max=raft.inflight_bytes_max,
            log_cache_bytes_max=settings.storage.log_cache_bytes_max,
        ),
        sessions=Limits(
            sessions_max=settings.session.sessions_max,
            ttl_ms=settings.session.ttl_ms,
            ttl_ms_max=settings.session.ttl_ms_max,
            replies_max=settings.session.replies_max,
            reply_bytes_max=settings.session.reply_bytes_max,
        ),
        forwards=settings.client.routing == "forward",
        proposals_inflight_max=raft.proposals_inflight_max,
        entry_bytes_max=raft.append_bytes_max,
        frame_bytes_max=settings.peer.frame_bytes_max,
        no_leader_wait_ms=raft.no_leader_wait_ms,
        request_timeout_ms=raft.request_timeout_ms,
    )


async def _listen(host: str, port: int, key: str) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=4096)
    except OSError as error:
        raise ConfigError("settings", key, f"{host}:{port}", f"cannot listen there: {error.strerror}") from error


async def _accept_clients(server: Server, listeners: list[trio.SocketListener], accepting: trio.CancelScope) -> None:
    async def accept(stream: trio.SocketStream) -> None:
        raw = socket.socket(fileno=stream.socket.detach())
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client whose machine lost power never says goodbye.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, CLIENT_KEEPALIVE_IDLE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, CLIENT_KEEPALIVE_IDLE_S // 10)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            address, local = _text(raw.getpeername()), _text(raw.getsockname())
        except OSError:
            raw.close()  # gone before we came to it
            return
        server.add_session(raw, address, local)

    with accepting:
        await trio.serve_listeners(accept, listeners)
    for listener in listeners:
        await listener.aclose()


def _text(name: Any) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


async def _tick(driver: Driver, server: Server) -> None:
    while True:
        await trio.sleep(TICK_INTERVAL_MS / 1000)
        while driver.turn():
            await trio.lowlevel.checkpoint()  # entries are left to be applied, as after a restart
        server.on_tick()
        server.hub.send_all()


async def _watch_role(replica: Replica, log: Any) -> None:
    """Log changes of role, term and leader: the lines one greps first after an incident."""
    known = None
    while True:
        node = replica.node
        state = (node.role, node.term, node.leader_id)
        if state != known:
            known = state
            log.info("role", role=node.role.value, term=node.term, leader=node.leader_id, commit=node.log.commit)
        await trio.sleep(TICK_INTERVAL_MS / 1000)


async def _wait_for_signal(log: Any) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            return
