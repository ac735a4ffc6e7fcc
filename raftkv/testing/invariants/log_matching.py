"""Log matching (paper, figure 3 and section 5.3): if two logs hold an entry of the same index and term, they are equal
up to it. And leader append-only (figure 3): a leader never overwrites or deletes entries of its own log.

Checked as the paper proves it, by induction: wherever an entry (index, term) is written, its content is the same, and
so is the term of the entry before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from raftkv.raft.messages import Entry
from raftkv.raft.roles import Role
from raftkv.storage.interface import Write
from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class LogMatching(Invariant):
    name = "log matching"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._known: dict[tuple[int, int], tuple[int, int, int]] = {}

    def on_write(self, member: Member, write: Write) -> None:
        assert member.replica is not None
        if not write.entries:
            return
        first = write.entries[0].index
        self.require(1 <= first <= len(member.log) + 1, f"{member.id} writes {first} behind {len(member.log)}")
        node = member.replica.node
        if node.role is Role.LEADER and node.term_start < first:
            self.require(first == len(member.log) + 1, f"leader {member.id} overwrites its entry {first}")
        previous_term = member.log[first - 2].term if first > 1 else 0
        for entry in write.entries:
            self._compare(member.id, entry, previous_term)
            previous_term = entry.term

    def _compare(self, member_id: int, entry: Entry, previous_term: int) -> None:
        self.require(entry.term >= previous_term, f"{member_id}: term falls to {entry.term} at {entry.index}")
        found = (previous_term, entry.kind, crc32(entry.data))
        known = self._known.setdefault((entry.index, entry.term), found)
        self.require(known == found, f"{member_id}: entry {entry.index} of term {entry.term} is {found}, was {known}")
