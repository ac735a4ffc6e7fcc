"""Simulated clients. Each has one piece of work outstanding at any member, whoever leads, and thinks in between.

Written values are unique tokens, so a reply tells which writes it has seen. APPEND is the sharpest tool: a value that
was appended to shows every write in order, lost ones and double ones too. Keys: ``a*`` are appended to, ``c*`` are
counters, ``r*`` registers, ``t*`` get a time to live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from raftkv.machines.interface import Kind
from raftkv.testing.failure import RuleBroken
from raftkv.testing.history import Operation, Outcome, RecordingSink
from raftkv.testing.member import Member
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule
from raftkv.testing.trace import Trace

Commands = list[list[bytes]]


class Clients:
    """All clients of a run, and everything they saw (`operations`)."""

    def __init__(
        self, schedule: Schedule, random: Random, scenario: Scenario, members: Mapping[int, Member], trace: Trace
    ) -> None:
        self.operations: list[Operation] = []
        self.outstanding = 0
        """Pieces of work that have no answer and whose member lives."""
        self.working = True
        self._schedule = schedule
        self._random = random
        self._scenario = scenario
        self._members = members
        self._trace = trace
        self._tokens = 0
        self._draw = self._draw_register if scenario.machine == "register" else self._draw_redis

    def start(self) -> None:
        for _ in range(self._scenario.clients):
            self._think(None)

    def _think(self, last: Operation | None) -> None:
        redirected_to = None if last is None else last.redirected_to
        self._schedule.after(self._random.randint(*self._scenario.think_us), self._act, redirected_to)

    def _act(self, member_id: int | None) -> None:
        if self.working:
            kind, commands = self._draw()
            member = self._members[member_id or self._random.choice(sorted(self._members))]
            scope = 0 if self._scenario.machine == "register" else self._random.choice((0, 0, 0, 1))
            self.ask(member, kind, commands, self._think, scope)

    # ---- one piece of work

    def ask(
        self, member: Member, kind: Kind, commands: Commands, then: Callable[[Operation], None], scope: int = 0
    ) -> Operation:
        """Hand `commands` to `member`; `then` is called once, when the client goes on, with or without an answer."""
        operation = Operation(len(self.operations), kind, commands, self._schedule.now_us, scope)
        self.operations.append(operation)
        conversation = _Conversation(self, self._schedule, operation, member, then)
        self._trace.note("ask", operation.number, member.id, kind.name, scope, commands)
        if not member.is_up:
            conversation.end(Outcome.NOT_DONE, [])  # the connection was refused
            return operation
        conversation.begin(RecordingSink(operation, self._random.random() < 0.5, conversation.on_answer))
        self._schedule.after(self._scenario.patience_ms * 1000, conversation.on_patience_ended)
        return operation

    def note(self, *what: object) -> None:
        self._trace.note(*what)

    # ---- what to ask for

    def token(self) -> bytes:
        self._tokens += 1
        return b"<%d>" % self._tokens

    def _draw_register(self) -> tuple[Kind, Commands]:
        if self._random.random() < 0.5:
            return Kind.READ, [[b"GET"]]
        return Kind.WRITE, [[b"SET", self.token()]]

    def _draw_redis(self) -> tuple[Kind, Commands]:
        """Mostly one command, sometimes a pipeline; reads in a pipeline with writes go through the log."""
        random = self._random
        count = random.choice((1, 1, 1, 2, 4))
        if random.random() < 0.4:
            return Kind.READ, [[random.choice((b"GET", b"GET", b"STRLEN")), self._key()] for _ in range(count)]
        return Kind.WRITE, [self.draw_write(), *(self._draw_any() for _ in range(count - 1))]

    def _draw_any(self) -> list[bytes]:
        return [b"GET", self._key()] if self._random.random() < 0.3 else self.draw_write()

    def draw_write(self) -> list[bytes]:
        """A write of the Redis machine."""
        key = self._key()
        if key.startswith(b"c"):
            return [b"INCR", key] if self._random.random() < 0.97 else [b"DEL", key]
        if key.startswith(b"a"):
            return [b"APPEND", key, self.token()]
        if key.startswith(b"t"):
            return self._draw_expiring(key)
        name = self._random.choice((b"SET", b"SET", b"GETSET", b"SETNX", b"DEL"))
        return [name, key] if name == b"DEL" else [name, key, self.token()]

    def _draw_expiring(self, key: bytes) -> list[bytes]:
        if self._random.random() < 0.3:
            return [b"APPEND", key, self.token()]
        return [b"SET", key, self.token(), b"PX", b"%d" % self._random.choice((1, 30, 200))]

    def _key(self) -> bytes:
        keys = (b"a1", b"a2", b"c1", b"r1", b"r2")
        return self._random.choice((*keys, b"t1", b"t2") if self._scenario.expiring else keys)


class _Conversation:
    """A client and the member it talks to, from a question to its end."""

    def __init__(
        self,
        clients: Clients,
        schedule: Schedule,
        operation: Operation,
        member: Member,
        then: Callable[[Operation], None],
    ) -> None:
        self._clients = clients
        self._schedule = schedule
        self._operation = operation
        self._member = member
        self._then = then
        self._open = False
        self._ended = False

    def begin(self, sink: RecordingSink) -> None:
        self._open = True
        self._clients.outstanding += 1
        self._member.opened[self._operation.number] = self.on_process_died
        self._member.submit(self._operation.kind, self._operation.commands, self._operation.scope, sink)

    def on_answer(self, outcome: Outcome, replies: list[object]) -> None:
        if not self._open:
            raise RuleBroken("no answer from the dead", f"operation {self._operation.number} is answered")
        self._close()
        del self._member.opened[self._operation.number]
        self.end(outcome, replies)

    def on_process_died(self) -> None:
        self._close()
        self.end(Outcome.UNKNOWN, [])

    def on_patience_ended(self) -> None:
        self.end(Outcome.UNKNOWN, [])

    def _close(self) -> None:
        self._open = False
        self._clients.outstanding -= 1

    def end(self, outcome: Outcome, replies: list[object]) -> None:
        """What comes after the client has turned away, it does not hear."""
        if self._ended:
            return
        self._ended = True
        self._operation.outcome = outcome
        self._operation.returned_us = self._schedule.now_us
        self._operation.replies = replies
        self._clients.note("told", self._operation.number, outcome.name, replies)
        self._then(self._operation)
