"""raftkv: a durable, linearizable key-value server that any Redis client can talk to, replicated with Raft.

As a program: ``raftkv serve``, ``raftkv dev``. As a library: write a `Machine` (or the `StateMachine` beneath), and
serve it with ``raftkv serve --machine package.module:Class``, or inside of a trio program with `open_server`.
"""

from typing import TYPE_CHECKING, Any

from raftkv.machines.declared import Machine
from raftkv.machines.interface import Command, Context, Effect, Kind, ReadContext, StateMachine
from raftkv.machines.marks import dirty, effect, read, write
from raftkv.machines.signatures import DeclarationError, Refusal
from raftkv.machines.state import Map, StateError

if TYPE_CHECKING:
    from raftkv.client.client import Client, connect
    from raftkv.client.sync import SyncClient, connect_sync
    from raftkv.server.embed import open_server
    from raftkv.server.handle import EmbeddedServer
    from raftkv.server.neighbours import local_members

__all__ = [
    "Client",
    "Command",
    "Context",
    "DeclarationError",
    "Effect",
    "EmbeddedServer",
    "Kind",
    "Machine",
    "Map",
    "ReadContext",
    "Refusal",
    "StateError",
    "StateMachine",
    "SyncClient",
    "connect",
    "connect_sync",
    "dirty",
    "effect",
    "local_members",
    "open_server",
    "read",
    "write",
]

_LATE = {
    "Client": "raftkv.client.client",
    "SyncClient": "raftkv.client.sync",
    "connect": "raftkv.client.client",
    "connect_sync": "raftkv.client.sync",
    "EmbeddedServer": "raftkv.server.handle",
    "local_members": "raftkv.server.neighbours",
    "open_server": "raftkv.server.embed",
}
"""Imported when they are asked for: a module that only defines a machine need not wait for the server's imports."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
