"""`raftkv.open_server`: one member in the caller's own trio program, and the calls of ExRaft on it.

    async with raftkv.open_server("redis", data="data/node1") as server:
        await server.write("SET", "greeting", "hello")
        print(await server.read("GET", "greeting"))

How it works. The context manager opens a nursery; in it the member's lives run one after another (`supervisor.py`). A
member that cannot go on cancels the body, and its error leaves the ``async with``. `raftkv serve` is the same with a
signal for a body (`app.py`). Nothing of the process is touched: signals, limits, the garbage collector and the
configuration of logs are the program's; log lines go to the logger ``raftkv`` of `logging`.

Calls are for tasks of the same trio run; from a worker thread: ``trio.from_thread.run(server.write, b"SET", ...)``.
Time limits are trio's: ``with trio.fail_after(1): ...``. A write that was cancelled may still be carried out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import trio

from raftkv import config
from raftkv.cluster import founding
from raftkv.errors import ConfigError
from raftkv.machines.interface import StateMachine
from raftkv.server import driver as clock
from raftkv.server.handle import EmbeddedServer
from raftkv.server.hub import Hub
from raftkv.server.joining import (
    PATIENCE_S,
    addresses_in,
    ask_to_be_demoted,
    ask_to_join,
    blamed_on_settings,
    peer_address,
)
from raftkv.server.loading import make_machine, ready
from raftkv.server.logs import library_log
from raftkv.server.member import Plan
from raftkv.server.peers import Identity
from raftkv.server.ports import Ports
from raftkv.server.shared_hub import SharedHub
from raftkv.server.supervisor import Supervisor
from raftkv.server.waiting import NOWHERE
from raftkv.settings import Settings, split_address
from raftkv.storage.files import Files

SOURCE = "open_server"

MachineLike = str | StateMachine | Callable[[], StateMachine]


@asynccontextmanager
async def open_server(
    machine: MachineLike = "redis",
    *,
    data: str | os.PathLike[str] | None = None,
    id: int | None = None,  # noqa: A002 (the name of the setting's flag)
    port: int | None = None,
    peer_port: int | None = None,
    members: Mapping[int, str] | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    restart: Literal["on-failure", "never"] | None = None,
) -> AsyncIterator[EmbeddedServer]:
    """Serve one member for as long as the body runs.

    machine: a StateMachine class or another function that makes one; an instance (which cannot be restarted); or
        what `machine.class` takes, such as "redis".
    data: the member's directory, made when it is missing. `id`: its number, 1 unless said otherwise.
    port: for Redis clients; 0, the default: any free one, see `server.port`.
    peer_port: for the other members; by default the port of this member's address in `members`.
    members: peer address of every member, this one included; without it the member is alone. For several members in
        one process, `local_members` finds the addresses.
    settings: further settings by name, as in conf/raftkv.toml: {"raft.heartbeat_interval_ms": 50}; or a Settings
        object, such as `raftkv.config.load` makes. The arguments above win over it.
    restart: supervision.restart, what follows when the machine or raftkv raises an exception.

    The body is entered when the log is read and the ports are open; wait for `server.await_leader()` if a leader is
    needed. Leaving it stops the member; so does an exception, or a cancellation, which skips waiting for clients.

    Raises ConfigError (a setting is wrong, a port is taken) and Fatal: StorageCorrupt, StorageFailed, MemberFailed. A
    member that fails while the body runs cancels the body, and then raises.
    """
    given: dict[str, object] = {
        "node.data_dir": None if data is None else str(Path(data)),
        "node.id": id,
        "client.port": port,
        "peer.port": peer_port,
        "cluster.members": None if members is None else dict(members),
        "supervision.restart": restart,
    }
    make, chosen = _machine(machine, _settings(settings, {name: v for name, v in given.items() if v is not None}))
    log = library_log(chosen.node.id)
    async with run_server(chosen, make, log=log, make_hub=SharedHub) as server:
        yield server


def _settings(given: Settings | Mapping[str, Any] | None, arguments: dict[str, object]) -> Settings:
    if isinstance(given, Settings):
        return config.with_values(arguments, SOURCE, given)
    values = {"client.port": 0, "peer.port": 0} | dict(given or {}) | arguments
    members, own_id = values.get("cluster.members"), values.get("node.id", 1)
    if isinstance(members, dict) and own_id in members and values["peer.port"] == 0:
        try:
            values["peer.port"] = split_address(str(members[own_id]))[1]
        except ValueError as error:
            raise ConfigError(SOURCE, "cluster.members", members, f"member {own_id}: {error}") from error
    return config.with_values(values, SOURCE)


def _machine(machine: MachineLike, settings: Settings) -> tuple[Callable[[], StateMachine], Settings]:
    """What makes the machine of each life, and the settings that go with it."""
    if isinstance(machine, str):
        chosen = config.with_values({"machine.class": machine}, SOURCE, settings)
        return lambda: make_machine(chosen), chosen
    if isinstance(machine, StateMachine):
        # What it holds after a failure is anybody's guess, and a log applied on top of it gives another state.
        settings = config.with_values({"supervision.restart": "never"}, SOURCE, settings)
        instance, named = machine, _named(settings, type(machine))
        return lambda: ready(instance, named), named
    make, named = machine, _named(settings, machine)
    return lambda: ready(_made(make), named), named


def _made(make: Callable[[], StateMachine]) -> StateMachine:
    machine = make()
    if not isinstance(machine, StateMachine):
        raise ConfigError(SOURCE, "machine", make, f"made a {type(machine).__name__}, which is no raftkv.StateMachine")
    return machine


def _named(settings: Settings, machine: object) -> Settings:
    """Shown as machine.class, whether or not it could be loaded by that name."""
    name = f"{getattr(machine, '__module__', '?')}:{getattr(machine, '__qualname__', repr(machine))}"
    return dataclasses.replace(settings, machine=dataclasses.replace(settings.machine, class_=name))


@asynccontextmanager
async def run_server(
    settings: Settings, make: Callable[[], StateMachine], *, log: Any, make_hub: Callable[[], Hub]
) -> AsyncIterator[EmbeddedServer]:
    """Serve a member while the body runs: the one way in which members are started and stopped."""
    if settings.storage.fsync == "off":
        log.warning("fsync_off", reason="acknowledged writes can be lost when the machine loses power")
    ports = await Ports.listen(settings)
    try:
        plan = await _plan(settings, ports, log)
        server = EmbeddedServer(Supervisor(plan, ports, make, make_hub), ports)
        error: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server._run, nursery.cancel_scope)
                await server._supervisor.started.wait()
                try:
                    yield server
                finally:
                    await server.stop(server._supervisor.stop_reason)
        except BaseExceptionGroup as group:
            # The nursery's wrapping: what the body raised should leave as it is.
            error = group.exceptions[0] if len(group.exceptions) == 1 else group
        if server._failure is not None:
            raise server._failure
        if error is not None:
            raise error
    finally:
        ports.close()


async def _begin_anew(settings: Settings, files: Files, log: Any) -> None:
    """A member whose data is damaged: it gives up its vote first, for without its data it does not know whom it has
    voted for, or what it has promised to keep. `joining.ask_to_be_added` gives it back when the data is here again."""
    if not settings.cluster.join:
        raise ConfigError("cluster", "rebuild", True, "needs cluster.join: the client addresses of other members")
    with blamed_on_settings(settings):
        await ask_to_be_demoted(settings, addresses_in(settings.cluster.join), log)
    kept = founding.set_aside(files, settings.node.data_dir, f"rebuilt-{clock.wall_ms()}")
    log.warning("data_set_aside", data_dir=settings.node.data_dir, kept_as=kept)


async def _plan(settings: Settings, ports: Ports, log: Any) -> Plan:
    files = Files()
    if settings.cluster.rebuild:
        await _begin_anew(settings, files, log)
    began = founding.chosen(settings, founding.load(files, settings.node.data_dir))
    if settings.cluster.wait and not founding.has_data(files, settings.node.data_dir):
        began = NOWHERE
    if began is None:
        with blamed_on_settings(settings):
            began = await ask_to_join(settings, addresses_in(settings.cluster.join), PATIENCE_S, log)
    client = dataclasses.replace(settings.client, port=ports.client_port)
    identity = Identity(
        cluster_id="",
        member_id=settings.node.id,
        instance=clock.new_instance(),
        members={},
        peer_address=peer_address(settings),
        client_address=client.address,
    )
    return Plan(dataclasses.replace(settings, client=client), identity, clock.new_random(), log).begun(began)
