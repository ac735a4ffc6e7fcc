"""State machine safety (paper, figure 3 and section 5.4.3): if a member has applied an entry at an index, no other ever
applies a different one there. Seen from outside: members at the same applied index are in the same state, and know
the same members. Only what is committed is applied, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class StateMachineSafety(Invariant):
    name = "state machine safety"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._applied: dict[int, int] = {}
        self._hashes: dict[int, bytes] = {}

    def on_start(self, member: Member) -> None:
        self._applied[member.id] = 0

    def after_step(self, member: Member) -> None:
        replica = member.replica
        assert replica is not None
        before, applied = self._applied[member.id], replica.applied
        if applied == before:
            return
        self.require(applied > before, f"{member.id}: applied went back from {before} to {applied}")
        self.require(applied <= replica.node.log.commit, f"{member.id} applied {applied}, which is not committed")
        self._applied[member.id] = applied
        state = replica.machine.state_hash() + replica.ledger.digest() + replica.state.membership.encode()
        first = self._hashes.setdefault(applied, state)
        self.require(first == state, f"{member.id} has another state at {applied} than others had")
