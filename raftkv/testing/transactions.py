"""Simulated clients that count by transactions, and what must hold for them.

Two keys have always the same number. A client watches one of them, reads both, and sets both to the next number; now
and then one adds to both without watching. Each step may go through another member. Two rules:

all or nothing      whoever reads both keys at once finds them equal.
linearizability     a transaction that was carried out is told to the checker as an INCR that returned its number, one
                    of unknown outcome as an INCR of unknown outcome, one that was refused not at all. So two that
                    set the same number, one having missed the other's change, have no place in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from raftkv.machines.interface import Kind
from raftkv.machines.redis.transactions import Watched, exec_command, watch_command
from raftkv.testing.clients import Clients
from raftkv.testing.failure import RuleBroken
from raftkv.testing.history import Operation, Outcome
from raftkv.testing.member import Member
from raftkv.testing.models import TOO_LARGE
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule

PAIR = (b"n1", b"n2")


class TransactionClients:
    """All of them. `told()` is what they saw, as the checker understands it."""

    def __init__(self, schedule: Schedule, scenario: Scenario, members: Mapping[int, Member], clients: Clients) -> None:
        self.schedule = schedule
        self.scenario = scenario
        self.members = members
        self.clients = clients
        self.random = Random(f"transactions/{scenario.seed}")
        self.carried_out = 0
        self.refused = 0
        self._operations: list[Operation] = []

    def start(self) -> None:
        if self.scenario.machine == "redis":
            for _ in range(self.scenario.transaction_clients):
                _TransactionClient(self).begin()

    def told(self) -> list[Operation]:
        for operation in self._operations:
            operation.outcome = operation.outcome or Outcome.UNKNOWN
        return self._operations

    def note_call(self) -> Operation:
        """A transaction is sent."""
        operation = Operation(len(self._operations), Kind.WRITE, [[b"INCR", PAIR[0]]], self.schedule.now_us)
        self._operations.append(operation)
        return operation

    def note_answer(self, operation: Operation, attempt: Operation, number: Callable[[object], object]) -> None:
        """`number` makes the number that was set out of the replies to the commands."""
        operation.returned_us = self.schedule.now_us
        operation.outcome = attempt.outcome
        if attempt.outcome is Outcome.OK:
            [replies] = attempt.replies
            if replies is None:
                operation.outcome = Outcome.NOT_DONE
                self.refused += 1
            elif replies == TOO_LARGE:
                operation.outcome = Outcome.UNKNOWN
            else:
                operation.replies = [number(replies)]
                self.carried_out += 1


class _TransactionClient:
    def __init__(self, all_: TransactionClients) -> None:
        self._all = all_

    def begin(self, redirected_to: int | None = None) -> None:
        if self._all.random.random() < 0.25:
            self._add_blindly(redirected_to)
        else:
            key = self._all.random.choice(PAIR)
            self._ask(Kind.WRITE, watch_command([key]), lambda told: self._on_watched(key, told), redirected_to)

    def _on_watched(self, key: bytes, attempt: Operation) -> None:
        stamp = attempt.replies[0] if attempt.outcome is Outcome.OK else None
        if isinstance(stamp, int):
            both = exec_command([[b"GET", each] for each in PAIR], {}, [])
            self._ask(Kind.READ, both, lambda told: self._on_read((0, key, stamp), told), None)
        else:
            self._later(attempt)

    def _on_read(self, watched: Watched, attempt: Operation) -> None:
        found = attempt.replies[0] if attempt.outcome is Outcome.OK else None
        if not isinstance(found, list):
            return self._later(attempt)
        if found[0] != found[1]:
            raise RuleBroken("all or nothing", f"one transaction read {found}")
        number = int(found[0] or b"0") + 1
        lines = [[b"SET", key, b"%d" % number] for key in PAIR]
        return self._send(exec_command(lines, {}, [watched]), lambda _: number, None)

    def _add_blindly(self, redirected_to: int | None) -> None:
        lines = [[b"INCR", key] for key in PAIR]
        self._send(exec_command(lines, {}, []), _same_number, redirected_to)

    def _send(self, argv: list[bytes], number: Callable[[object], object], redirected_to: int | None) -> None:
        operation = self._all.note_call()

        def then(attempt: Operation) -> None:
            self._all.note_answer(operation, attempt, number)
            self._later(attempt)

        self._ask(Kind.WRITE, argv, then, redirected_to)

    # ---- asking

    def _ask(self, kind: Kind, argv: list[bytes], then: Callable[[Operation], None], redirected_to: int | None) -> None:
        if self._all.clients.working:
            members = self._all.members
            member = members[redirected_to or self._all.random.choice(sorted(members))]
            self._all.clients.ask(member, kind, [argv], then)

    def _later(self, attempt: Operation) -> None:
        think_us = self._all.random.randint(*self._all.scenario.think_us)
        self._all.schedule.after(think_us, self.begin, attempt.redirected_to)


def _same_number(replies: object) -> object:
    if not isinstance(replies, list) or replies[0] != replies[1]:
        raise RuleBroken("all or nothing", f"one transaction answered {replies}")
    return replies[0]
