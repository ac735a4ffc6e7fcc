"""The ledger: what raftkv itself replicates beside the machine. Like the machine, it changes only by committed entries.

Its commands (names RAFT.*) travel in the same batches as the machine's, so they are ordered with them, and routing,
forwarding and replies come by themselves. A batch that has any (`Batch.system`) is *walked*::

    SET a 1 | GET a | RAFT.ONCE 7 1 INCR c | SET b 2
    \\_____________/   \\__________________/   \\_____/
    machine, as one    ledger; it hands       machine
    sub-batch          INCR c to the machine

Clients may send what `commands` has. Other handlers (`RAFT.VERSION` and the like) are internal: only a leader writes
these; from a client they are unknown commands.

Rules of the house: deterministic (the log alone decides; time is the entry's), every argv is answered, and all of the
state is in `snapshot` and in `digest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from raftkv.errors import MachineTooOld
from raftkv.machines.interface import Command, Context, Kind, StateMachine
from raftkv.machines.replies import OK, Error, Reply, unknown_command

Handler = Callable[[Context, int, list[bytes]], Reply]
"""(context of the entry, position of the command in it, argv) -> reply"""

SET_VERSION: Final = b"RAFT.VERSION"


class _State(msgspec.Struct, array_like=True):
    """All of the ledger, as a snapshot has it."""

    version: int


class Ledger:
    """`machine` is the one beside it: plain commands of a walked batch go there."""

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.commands: Mapping[bytes, Command] = {}
        """What clients may send: argv[0], in lower and in upper case -> row. All are of kind WRITE."""

        self.version = 1
        """All members' machines are at least of this version; commands of newer ones are refused."""

        self._handlers: dict[bytes, Handler] = {SET_VERSION.lower(): self._set_version}

    # ---- the leader, before the log

    def is_system(self, argv: list[bytes]) -> bool:
        return bool(argv) and argv[0].lower() in self._handlers

    def refusal(self, kind: Kind, argv: list[bytes]) -> Error | None:  # noqa: ARG002
        """Why a client's command for the ledger may not go into the log; None: it may."""
        row = self.commands.get(argv[0].lower())
        return unknown_command(argv) if row is None else None

    # ---- every member, in log order

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        """Carry out a committed batch that has commands for the ledger."""
        handlers = self._handlers
        replies: list[Reply] = []
        first = 0
        for position, argv in enumerate(commands):
            handler = handlers.get(argv[0].lower()) if argv else None
            if handler is not None:
                if first < position:
                    replies += self.machine.handle_write(context.part(first, position), commands[first:position])
                first = position + 1
                replies.append(handler(context, position, argv))
        # Also when nothing is left for it: an entry carries time to the machine.
        replies += self.machine.handle_write(context.part(first, len(commands)), commands[first:])
        return replies

    def _set_version(self, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG002
        version = int(argv[1]) if len(argv) == 2 and argv[1].isdigit() else 0
        self._require_version(version)
        self.version = max(self.version, version)
        return OK

    def _require_version(self, version: int) -> None:
        if version > self.machine.version:
            raise MachineTooOld(self.machine.name, self.machine.version, version)

    # ---- the whole

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(_State(self.version))

    def restore(self, snapshot: bytes) -> None:
        """Raises MachineTooOld when this member's machine is."""
        state = msgspec.msgpack.decode(snapshot, type=_State)
        self._require_version(state.version)
        self.version = state.version

    def digest(self) -> bytes:
        """Equal on all members at the same index."""
        return hashlib.sha256(self.snapshot()).digest()
