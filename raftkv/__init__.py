"""raftkv: a durable, linearizable key-value server that any Redis client can talk to, replicated with Raft.

As a program: ``raftkv serve``, ``raftkv dev``. As a library: write a `StateMachine`, and serve it with
``raftkv serve --machine-class package.module:Class``.
"""

from raftkv.machines.interface import Command, Context, Kind, ReadContext, StateMachine

__all__ = ["Command", "Context", "Kind", "ReadContext", "StateMachine"]
