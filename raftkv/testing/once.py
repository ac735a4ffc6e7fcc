"""Simulated clients that use exactly-once sessions, and what must hold for them.

Such a client sends one to three numbered writes in a pipeline, and sends them again, through any member, until each is
answered; sometimes once more after that. Two rules:

exactly once        all replies to a number are equal, whoever gave them and when. Apart from those that tell nothing:
                    that the reply is not kept, that it fits into no frame, that the session is gone.
linearizability     all attempts together are told to the checker as one operation, from the first call to the first
                    reply. A write that was applied twice, or once more later, has no place in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from raftkv.machines.interface import Kind
from raftkv.testing.clients import Clients
from raftkv.testing.failure import RuleBroken
from raftkv.testing.history import Operation, Outcome
from raftkv.testing.member import Member
from raftkv.testing.models import TOO_LARGE
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule

RETRY_US = (1000, 30_000)


class SessionClients:
    """All of them. `told()` is what they saw, one operation for each number."""

    def __init__(self, schedule: Schedule, scenario: Scenario, members: Mapping[int, Member], clients: Clients) -> None:
        self.schedule = schedule
        self.scenario = scenario
        self.members = members
        self.clients = clients
        self.random = Random(f"once/{scenario.seed}")
        self.operations: list[Operation] = []

    def start(self) -> None:
        if self.scenario.machine == "redis":
            for _ in range(self.scenario.session_clients):
                _SessionClient(self).open()

    def told(self) -> list[Operation]:
        """Those that were never answered are of unknown outcome."""
        for operation in self.operations:
            operation.outcome = operation.outcome or Outcome.UNKNOWN
        return self.operations

    def any_member(self, redirected_to: int | None) -> Member:
        return self.members[redirected_to or self.random.choice(sorted(self.members))]


class _SessionClient:
    def __init__(self, all_: SessionClients) -> None:
        self._all = all_
        self._session = 0
        self._seq = 0
        self._pipeline: list[tuple[int, Operation]] = []
        """(number, the operation that it stands for) of what is under way"""

    # ---- the session

    def open(self, redirected_to: int | None = None) -> None:
        ttl = b"%d" % self._all.scenario.session_ttl_ms
        self._ask([[b"RAFT.SESSION", b"OPEN", b"TTL", ttl]], self._on_opened, redirected_to)

    def _on_opened(self, attempt: Operation) -> None:
        if attempt.outcome is Outcome.OK and isinstance(attempt.replies[0], int):
            self._session, self._seq = attempt.replies[0], 0
            self._draw()
        else:
            self._later(RETRY_US, lambda: self.open(attempt.redirected_to))

    # ---- its commands

    def _draw(self) -> None:
        if not self._all.clients.working:
            return
        now_us = self._all.schedule.now_us
        self._pipeline = []
        for _ in range(self._all.random.choice((1, 1, 2, 3))):
            self._seq += self._all.random.choice((1, 1, 1, 5))
            commands = [self._all.clients.draw_write()]
            operation = Operation(len(self._all.operations), Kind.WRITE, commands, now_us)
            self._all.operations.append(operation)
            self._pipeline.append((self._seq, operation))
        self._send(None)

    def _send(self, redirected_to: int | None) -> None:
        prefix = [b"RAFT.ONCE", b"%d" % self._session]
        commands = [[*prefix, b"%d" % seq, *operation.commands[0]] for seq, operation in self._pipeline]
        self._ask(commands, self._on_answer, redirected_to)

    def _on_answer(self, attempt: Operation) -> None:
        if attempt.outcome is not Outcome.OK:
            self._later(RETRY_US, lambda: self._send(attempt.redirected_to))
            return
        for (seq, operation), reply in zip(self._pipeline, attempt.replies, strict=True):
            self._take(seq, operation, reply)
        if any(_says(reply, "NOSESSION") for reply in attempt.replies):
            self._later(RETRY_US, self.open)
        elif self._all.random.random() < 0.3:
            self._later(self._all.scenario.think_us, lambda: self._send(None))
        else:
            self._later(self._all.scenario.think_us, self._draw)

    def _take(self, seq: int, operation: Operation, reply: object) -> None:
        if reply == TOO_LARGE or _says(reply, "REPLYGONE") or _says(reply, "NOSESSION"):
            return
        if operation.outcome is None:
            operation.outcome, operation.replies = Outcome.OK, [reply]
            operation.returned_us = self._all.schedule.now_us
        elif operation.replies != [reply]:
            what = f"session {self._session}, number {seq}: {operation.replies} before, {reply!r} now"
            raise RuleBroken("exactly once", what)

    # ---- asking

    def _ask(self, commands: list[list[bytes]], then: Callable[[Operation], None], redirected_to: int | None) -> None:
        if self._all.clients.working:
            member = self._all.any_member(redirected_to)
            self._all.clients.ask(member, Kind.WRITE, commands, then)

    def _later(self, between_us: tuple[int, int], what: Callable[[], None]) -> None:
        self._all.schedule.after(self._all.random.randint(*between_us), what)


def _says(reply: object, code: str) -> bool:
    return isinstance(reply, tuple) and str(reply[1]).startswith(code)
