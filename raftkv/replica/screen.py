"""The leader's look at commands before they go into the log. What it refuses is certainly not done.

An entry cannot be refused any more once it is committed, and costs every member its place in the log. So what can be
known to be wrong is answered before: a malformed command for the ledger, a command that some member's machine
is too old for. Such a command alone is refused; the rest of its pipeline goes on::

    admit(works)         sets `Work.refusals`, and answers works of which nothing is left
    join_admitted        like `join`, without the refused commands
    answer_admitted      like `answer`, with the refusals put back between the replies

All this is off (`is_on`) as long as there is nothing that it could refuse, and then costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftkv.machines.interface import Kind
from raftkv.machines.replies import Error, Reply, unknown_command
from raftkv.replica.work import Work

Check = Callable[[Kind, list[bytes]], Error | None]
"""(kind of its work, argv) -> why the command may not be carried out now; None: it may."""


class Screen:
    """`is_system` tells names that mean something to the ledger, `system_check` judges its commands. `checks` are asked
    about the machine's commands; whoever adds one calls for `is_on`."""

    def __init__(self, is_system: Callable[[list[bytes]], bool], system_check: Check) -> None:
        self.has_system = False
        """A work for the ledger has come in since the start."""

        self.checks: list[Check] = []
        self._is_system = is_system
        self._system_check = system_check

    @property
    def is_on(self) -> bool:
        return self.has_system or bool(self.checks)

    def admit(self, works: list[Work]) -> list[Work]:
        """Those works of which something may be done."""
        admitted = []
        for work in works:
            work.refusals = self._refusals(work)
            if work.refusals and len(work.refusals) == len(work.commands):
                answer_admitted([work], [])
            else:
                admitted.append(work)
        return admitted

    def _refusals(self, work: Work) -> dict[int, Error] | None:
        found = {}
        for position, argv in enumerate(work.commands):
            refusal = self._refusal(work, argv)
            if refusal is not None:
                found[position] = refusal
        return found or None

    def _refusal(self, work: Work, argv: list[bytes]) -> Error | None:
        if self._is_system(argv):
            # Works are joined: without the flag, it must not become the ledger's by its neighbour's.
            return self._system_check(work.kind, argv) if work.system else unknown_command(argv)
        for check in self.checks:
            refusal = check(work.kind, argv)
            if refusal is not None:
                return refusal
        return None


def join_admitted(works: Sequence[Work]) -> tuple[list[list[bytes]], dict[int, int]]:
    """All admitted commands of `works` in order, and their scopes under the new positions."""
    commands: list[list[bytes]] = []
    scopes: dict[int, int] = {}
    for work in works:
        refusals = work.refusals or {}
        for position, argv in enumerate(work.commands):
            if position not in refusals:
                if position in work.scopes:
                    scopes[len(commands)] = work.scopes[position]
                commands.append(argv)
    return commands, scopes


def answer_admitted(works: Sequence[Work], replies: list[Reply]) -> None:
    """Give each sink its part of `replies`, which answer `join_admitted(works)`, and its refusals."""
    remaining = iter(replies)
    for work in works:
        refusals = work.refusals or {}
        merged: list[Reply] = [
            refusals[position] if position in refusals else next(remaining) for position in range(len(work.commands))
        ]
        work.sink.on_replies(merged, 0, len(merged))
