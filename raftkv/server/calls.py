"""Calls from tasks of the same process: they go the way of a client's commands, without a socket.

A call is a sink like a session: it is submitted to the replica, the bell wakes the hub, and one turn takes everything
that tasks and sockets have brought by then into one log entry. Replies come as values, the same ones wherever the
machine answered: those of this member are encoded and read back like those that come from the leader.

A task that is cancelled while it waits leaves its call behind. A write may then still be carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import hiredis
import trio

from raftkv.errors import (
    CommandError,
    DirtyReadDisabled,
    NoLeader,
    NotDone,
    NotLeader,
    OutcomeUnknown,
    RaftkvError,
    ServerStopped,
    command_error,
)
from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.replies import Error, Reply, unknown_command, wrong_arity
from raftkv.replica.work import NO_LEADER
from raftkv.server.bell import Bell
from raftkv.server.refusals import TOO_LARGE
from raftkv.server.server import Server
from raftkv.server.staleness import max_lag_ms
from raftkv.wire.resp_decode import NOTHING_YET
from raftkv.wire.resp_encode import encode

Value = None | bytes | int | float | bool | list[Any] | dict[Any, Any]
"""What a command answers: a RESP3 reply as Python sees it. Status lines such as OK are bytes, sets are lists."""

Outcome = list[Value | RaftkvError]

_METHODS: Final = {Kind.WRITE: "write", Kind.READ: "read", Kind.DIRTY: "read_dirty"}


class Call:
    """What one caller waits for (replica.work.Sink)."""

    resp3 = True
    remote = False
    readonly = False

    __slots__ = ("_count", "done", "kind", "outcome")

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self.done = trio.Event()
        self.outcome: Outcome = []
        self._count = count

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        self.on_encoded([encode(reply, True) for reply in replies[start:stop]])

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self._settle(decode(replies))

    def on_redirect(self, leader_id: int) -> None:
        self.fail(NotLeader(leader_id))

    def on_not_done(self, error: Error) -> None:
        self.fail((NoLeader if error is NO_LEADER else NotDone)(error.text))

    def on_unknown(self, error: Error) -> None:
        self.fail(OutcomeUnknown(error.text))

    def fail(self, error: RaftkvError) -> None:
        self._settle([error] * self._count)

    def _settle(self, outcome: Outcome) -> None:
        if not self.done.is_set():
            self.outcome = outcome
            self.done.set()


class Calls:
    """The way into one life of a member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bell = Bell(server.hub, self._on_rung)
        self._waiting: set[Call] = set()
        self._pings: list[trio.Event] = []

    @property
    def waiting(self) -> int:
        """How many calls are under way whose callers still wait."""
        return len(self._waiting)

    async def carry_out(self, kind: Kind, commands: list[list[bytes]]) -> Outcome:
        """One value or error for each of `commands`. A list that is too long for one turn goes in parts, one after the
        other; when one of them fails as a whole, the rest is not sent."""
        outcome: Outcome = []
        for part in self._parts(commands):
            outcome += await self._carry_out(kind, part)
            last = outcome[-1]
            if isinstance(last, NotDone | OutcomeUnknown) and len(outcome) < len(commands):
                rest = NotDone(f"not sent, because commands before it failed: {last}")
                return outcome + [rest] * (len(commands) - len(outcome))
        return outcome

    def _parts(self, commands: list[list[bytes]]) -> Iterator[list[list[bytes]]]:
        settings = self._server.settings
        part: list[list[bytes]] = []
        part_bytes = 0
        for argv in commands:
            size_bytes = sum(map(len, argv))
            if part and (
                len(part) == settings.client.turn_commands_max
                or part_bytes + size_bytes > settings.raft.append_bytes_max
            ):
                yield part
                part, part_bytes = [], 0
            part.append(argv)
            part_bytes += size_bytes
        if part:
            yield part

    async def _carry_out(self, kind: Kind, commands: list[list[bytes]]) -> Outcome:
        call = Call(kind, len(commands))
        size_bytes = sum(map(len, map(b"".join, commands)))
        self._server.stats.commands += len(commands)
        replica = self._server.replica
        system = any(map(replica.ledger.is_system, commands))
        replica.submit(kind, commands, NO_SCOPES, size_bytes, call, system)
        self._bell.ring()
        self._waiting.add(call)
        try:
            await call.done.wait()
        finally:
            self._waiting.discard(call)
        return call.outcome

    def read_dirty(self, argv: list[bytes]) -> Value | RaftkvError:
        """Answer from this member's memory. With MAXLAG, at once too: NotDone where nothing is known to be new enough.
        The leader is being asked then, and the next call finds its word."""
        server = self._server
        if not server.settings.client.dirty_reads:
            raise DirtyReadDisabled("dirty reads are disabled on this member (client.dirty_reads)")
        row = server.lookup(argv[0])
        lag_ms = max_lag_ms(row, argv) if row is not None else None
        if lag_ms is not None:
            server.staleness.want()
            self._bell.ring()
            if not server.staleness.is_within(lag_ms):
                return NotDone(server.staleness.refusal(lag_ms).text)
        server.stats.commands += 1
        [reply] = server.replica.read_dirty([argv], NO_SCOPES, server.wall_ms())
        return decode([encode(reply, True)])[0]

    def kind_of(self, argv: list[bytes]) -> Kind:
        """How the machine's command `argv` travels. Raises CommandError for none, or one that is malformed."""
        row = self._server.lookup(argv[0]) if argv else None
        if row is None:
            raise CommandError(unknown_command(argv).text)
        if row.kind is Kind.LOCAL:
            raise CommandError(f"ERR '{row.name}' is a connection's own command: it has no meaning here")
        if not row.takes(len(argv)):
            raise CommandError(wrong_arity(row.name).text)
        if sum(map(len, argv)) > self._server.command_bytes_max:
            raise CommandError(TOO_LARGE.text)
        return row.kind

    def check(self, argv: list[bytes], *allowed: Kind) -> None:
        """Raises CommandError when the command is not of a kind for the method that was called."""
        kind = self.kind_of(argv)
        if kind not in allowed:
            name = argv[0].decode(errors="replace")
            raise CommandError(f"ERR '{name}' is not for {_METHODS[allowed[0]]}(): call {_METHODS[kind]}()")

    async def ping(self) -> None:
        """Wait until the hub has come round once."""
        pinged = trio.Event()
        self._pings.append(pinged)
        self._bell.ring()
        await pinged.wait()

    def wake(self) -> None:
        """Have the hub take a turn."""
        self._bell.ring()

    def _on_rung(self) -> None:
        pings, self._pings = self._pings, []
        for pinged in pings:
            pinged.set()

    def close(self) -> None:
        """Nobody will answer any more."""
        for call in self._waiting:
            if call.kind is Kind.WRITE:
                call.fail(
                    OutcomeUnknown("the member stopped while the command was under way; read before trying again")
                )
            else:
                call.fail(ServerStopped("the member stopped before it could answer"))
        self._on_rung()
        self._bell.close()


def decode(replies: Sequence[bytes]) -> Outcome:
    """The values of complete, encoded replies; error replies become CommandErrors in their place."""
    reader = hiredis.Reader(replyError=command_error, notEnoughData=NOTHING_YET)
    reader.feed(b"".join(replies))
    return [reader.gets() for _ in replies]
