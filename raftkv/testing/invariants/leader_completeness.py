"""Leader completeness (paper, figure 3 and section 5.4): what is committed in a term is in the logs of the leaders of
all later terms.

Checked from both sides: a leader when it is elected must have all that is known to be committed, and an entry that
becomes known as committed must be in the logs of those that lead later terms already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.roles import Role
from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class LeaderCompleteness(Invariant):
    name = "leader completeness"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._checked: dict[tuple[int, int], int] = {}
        """(term, leader) -> up to which index its log has been compared."""

    def after_step(self, member: Member) -> None:  # noqa: ARG002
        for leader in self.facts.members.values():
            if leader.replica is not None and leader.replica.node.role is Role.LEADER:
                self._compare(leader, leader.replica.node.term)

    def _compare(self, leader: Member, term: int) -> None:
        committed = self.facts.committed
        start = self._checked.get((term, leader.id), 0)
        for entry in committed[start:]:
            if entry.term > term:
                return  # a deposed leader that does not know it yet
            has = entry.index <= len(leader.log) and leader.log[entry.index - 1].term == entry.term
            self.require(
                has, f"{leader.id} leads term {term} without committed entry {entry.index} of term {entry.term}"
            )
            self._checked[term, leader.id] = entry.index
