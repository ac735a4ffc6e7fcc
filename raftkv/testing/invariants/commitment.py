"""What it means to be committed (paper, section 5.3 and 5.4.2): a quorum has the entry on disk, it never changes, and
no member's commit index goes back while it lives.

This is also where the shared list of committed entries grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class Commitment(Invariant):
    name = "commitment"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._commit: dict[int, int] = {}

    def on_start(self, member: Member) -> None:
        # From the first entry on: what it took for committed in its former life is compared once more.
        self._commit[member.id] = 0

    def after_step(self, member: Member) -> None:
        assert member.replica is not None
        before, commit = self._commit[member.id], member.replica.node.log.commit
        self.require(commit >= before, f"{member.id}: commit went back from {before} to {commit}")
        self._commit[member.id] = commit
        for index in range(before + 1, commit + 1):
            self._compare(member, index)

    def _compare(self, member: Member, index: int) -> None:
        committed, entry = self.facts.committed, member.log[index - 1]
        if index <= len(committed):
            self.require(
                committed[index - 1] == entry,
                f"{member.id} commits {index} of term {entry.term}, term {committed[index - 1].term} was committed",
            )
            return
        holders = {other.id for other in self.facts.members.values() if other.disk.has(index, entry.term)}
        self.require(
            self.facts.is_quorum(holders),
            f"{member.id} commits {index} of term {entry.term}, which only the disks of {sorted(holders)} have",
        )
        committed.append(entry)
