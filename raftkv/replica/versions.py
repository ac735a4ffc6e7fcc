"""Which version of the machine each member has, so that a command is used only when all have it.

Members are upgraded one after the other. A write of a newer kind, committed while some member still runs the old
software, would be an unknown command there, and that member's state would differ for ever. So the cluster has an
*effective version* (`Ledger.version`, by a committed entry): the lowest that all members have had. Commands of a
newer one are refused by the leader. It rises by itself when the leader has heard from every member, and never falls: a
member that comes back with older software stops (`MachineTooOld`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from raftkv.machines.interface import Kind, StateMachine
from raftkv.machines.replies import Error
from raftkv.replica.ledger import Ledger


class Versions:
    def __init__(
        self, own_id: int, members: Callable[[], Iterable[int]], machine: StateMachine, ledger: Ledger
    ) -> None:
        """`members`: voters and learners, as of what is applied."""
        self.known = {own_id: machine.version}
        """Member -> what it said in its newest handshake."""

        self._members = members
        self._machine = machine
        self._ledger = ledger
        self._newest = max((row.version for row in machine.commands.values()), default=1)

    @property
    def lowest(self) -> int:
        """What all members support, as far as is known."""
        return min(self.known.get(member, 1) for member in self._members())

    @property
    def has_too_new(self) -> bool:
        """Whether there is any command to be refused."""
        return self._newest > self._ledger.version

    def refusal(self, kind: Kind, argv: list[bytes]) -> Error | None:  # noqa: ARG002
        row = self._machine.commands.get(argv[0].lower()) if argv else None
        if row is None or row.version <= self._ledger.version:
            return None
        return Error(
            f"ERR '{row.name}' needs version {row.version} of the machine {self._machine.name!r} on every member, and"
            f" {self._who_lacks(row.version)}; it was not carried out"
        )

    def _who_lacks(self, version: int) -> str:
        for member in sorted(self._members()):
            known = self.known.get(member)
            if known is None:
                return f"member {member} has not been heard since this leader started"
            if known < version:
                return f"member {member} has version {known}"
        return "that is about to be agreed on, try again"
