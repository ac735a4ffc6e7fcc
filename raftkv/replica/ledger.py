"""The ledger: what raftkv itself replicates beside the machine. Like the machine, it changes only by committed entries.

Its commands (names RAFT.*) travel in the same batches as the machine's, so they are ordered with them, and routing,
forwarding and replies come by themselves. A batch that has any (`Batch.system`) is *walked*::

    SET a 1 | GET a | RAFT.ONCE 7 1 INCR c | SET b 2
    \\_____________/   \\__________________/   \\_____/
    machine, as one    ledger; it hands       machine
    sub-batch          INCR c to the machine

Clients may send what `commands` has (`system_commands.py`). The other handlers are internal: only a leader writes
these, as one of its duties; from a client they are unknown commands.

    RAFT.VERSION n        all members' machines are at least of version n
    RAFT.LIMITS n ...     the leader's settings for sessions; in the log, so that members whose settings differ do not
    RAFT.MARK             the state behind this entry is to be compared among members (`verifying.py`)
    RAFT.EFFECTS id ...   these durable effects have been carried out: they leave the outbox (`effects.py`)
    (an empty batch)      time has passed: expired sessions go

Rules of the house: deterministic (the log alone decides; time is the entry's), every argv is answered, and all of the
state is in `snapshot` and in `digest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

import msgspec

from raftkv.errors import MachineTooOld
from raftkv.machines.digests import part_hash
from raftkv.machines.interface import Command, Context, Effect, Kind, StateMachine
from raftkv.machines.replies import OK, Error, Reply, unknown_command
from raftkv.replica.outbox import Outbox
from raftkv.replica.sessions import NEW, Limits, Session, Sessions
from raftkv.replica.system_commands import SYSTEM_COMMANDS, inner_of, once_refusal, session_refusal

Handler = Callable[[Context, int, list[bytes]], Reply]
"""(context of the entry, position of the command in it, argv) -> reply"""

SET_VERSION: Final = b"RAFT.VERSION"
SET_LIMITS: Final = b"RAFT.LIMITS"
EFFECTS_DONE: Final = b"RAFT.EFFECTS"
MARK: Final = b"RAFT.MARK"
SWEEP_DELAY_MS: Final = 1000
"""An expired session is refused at once. Its memory goes so much later, with others' in one entry."""


class _Head(msgspec.Struct, array_like=True):
    """What the first slice of a snapshot holds."""

    version: int
    limits: Limits
    last_session_id: int
    sessions: int
    """How many there are in the slices that follow; those of the outbox come behind."""


OUTBOX_SLICE: Final = 500
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_head: Final = msgspec.msgpack.Decoder(_Head).decode
_decode_sessions: Final = msgspec.msgpack.Decoder(list[tuple[int, Session]]).decode
_decode_outbox: Final = msgspec.msgpack.Decoder(list[tuple[str, Effect]]).decode


class Ledger:
    """`machine` is the one beside it: plain commands of a walked batch go there."""

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.commands: Mapping[bytes, Command] = SYSTEM_COMMANDS
        """What clients may send: argv[0], in lower and in upper case -> row. All are of kind WRITE."""

        self.version = 1
        """All members' machines are at least of this version; commands of newer ones are refused."""

        self.sessions = Sessions()
        self.outbox = Outbox()
        self._handlers: dict[bytes, Handler] = {
            row.name.encode(): partial(row.handler, self) for row in SYSTEM_COMMANDS.values()
        }
        self._handlers[SET_VERSION.lower()] = self._set_version
        self._handlers[SET_LIMITS.lower()] = self._set_limits
        self._handlers[EFFECTS_DONE.lower()] = self._effects_done
        self._handlers[MARK.lower()] = self._mark
        self.is_marked = False
        """An entry with a mark was carried out; whoever looks takes it away. No part of the state."""

    # ---- the leader, before the log

    def is_system(self, argv: list[bytes]) -> bool:
        return bool(argv) and argv[0].lower() in self._handlers

    def only_reads(self, argv: list[bytes]) -> bool:
        """Whether it is a command of the machine that changes nothing, though it may stand among writes."""
        row = self.machine.commands.get(argv[0].lower()) if argv else None
        return row is not None and row.kind is not Kind.WRITE

    def may_grow(self, argv: list[bytes]) -> bool:
        """Whether it is a command of the machine that may take up more memory."""
        row = self.machine.commands.get(argv[0].lower()) if argv else None
        return row is not None and "denyoom" in row.flags

    def refusal(self, argv: list[bytes]) -> Error | None:
        """Why a client's command for the ledger may not go into the log; None: it may."""
        match argv[0].lower():
            case b"raft.once":
                return once_refusal(argv, self.machine.commands)
            case b"raft.session":
                return session_refusal(argv)
        return unknown_command(argv)

    def inner(self, argv: list[bytes]) -> list[bytes] | None:
        """The machine's command in a sound command for the ledger, if it has one."""
        return inner_of(argv) if argv[0].lower() == b"raft.once" else None

    def is_new(self, argv: list[bytes]) -> bool:
        """Whether a sound RAFT.ONCE has not been applied, as far as the present state tells."""
        session = self.sessions.table.get(int(argv[1]))
        return session is not None and session.find(int(argv[2])) is NEW

    def duties(
        self, limits: Limits, version: int, wall_ms: int, effects_done: Sequence[str] = ()
    ) -> list[list[bytes]] | None:
        """What a leader with these settings, who knows that all members are of machine version `version` and that
        `effects_done` have been carried out, has to put into the log now. An empty list: an entry without commands.
        None: nothing."""
        commands = []
        if effects_done:
            commands.append([EFFECTS_DONE, *map(str.encode, effects_done)])
        if version > self.version:
            commands.append([SET_VERSION, b"%d" % version])
        if limits != self.sessions.limits:
            commands.append([SET_LIMITS, *(b"%d" % value for value in msgspec.structs.astuple(limits))])
        if commands or self.sessions.has_expired(wall_ms - SWEEP_DELAY_MS):
            return commands
        return None

    # ---- every member, in log order

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        """Carry out a committed batch that has commands for the ledger. Raises MachineTooOld."""
        self.sessions.expire(context.time_ms)
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
        version = int(argv[1])
        self._require_version(version)
        self.version = max(self.version, version)
        return OK

    def _require_version(self, version: int) -> None:
        if version > self.machine.version:
            raise MachineTooOld(self.machine.name, self.machine.version, version)

    def _set_limits(self, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG002
        self.sessions.limits = Limits(*map(int, argv[1:]))
        return OK

    def _effects_done(self, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG002
        self.outbox.remove([effect_id.decode() for effect_id in argv[1:]])
        return OK

    def _mark(self, context: Context, position: int, argv: list[bytes]) -> Reply:  # noqa: ARG002
        self.is_marked = True
        return OK

    # ---- the whole

    def snapshot(self) -> Iterator[bytes]:
        """As `StateMachine.snapshot`: slices that together are the state at the first `next`."""
        with closing(self._parts()) as parts:
            yield _encode(next(parts)[0])
            yield from map(_encode, parts)

    def digests(self) -> Iterator[int]:
        """As `StateMachine.digests`: numbers to be summed, of the state at the first `next`."""
        with closing(self._parts()) as parts:
            for items in parts:
                yield sum(part_hash(_encode(item)) for item in items)

    def _parts(self) -> Generator[Sequence[Any], None, None]:
        """The state at the first `next`: the head, then sessions, then what waits in the outbox, some at a time."""
        walk = self.sessions.walk()
        try:
            outbox = list(self.outbox.waiting.items())
            yield [self._head()]
            yield from walk.slices()
            for at in range(0, len(outbox), OUTBOX_SLICE):
                yield outbox[at : at + OUTBOX_SLICE]
        finally:
            walk.close()

    def _head(self) -> _Head:
        sessions = self.sessions
        return _Head(self.version, sessions.limits, sessions.last_id, len(sessions.table))

    def restore(self, slices: Iterator[bytes]) -> None:
        """Raises MachineTooOld when this member's machine is."""
        head = _decode_head(next(slices))
        self._require_version(head.version)
        self.version = head.version
        table: dict[int, Session] = {}
        while len(table) < head.sessions:
            table.update(_decode_sessions(next(slices)))
        self.sessions.restore(head.limits, head.last_session_id, table)
        self.outbox.restore({effect_id: effect for part in slices for effect_id, effect in _decode_outbox(part)})

    def digest(self) -> bytes:
        """Equal on all members at the same index."""
        digest = hashlib.sha256(_encode(self._head()))
        for item in (*self.sessions.table.items(), *self.outbox.waiting.items()):
            digest.update(_encode(item))
        return digest.digest()
