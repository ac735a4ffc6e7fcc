"""A member goes by a membership that is in its log (paper, section 6: the latest one, committed or not): when the entry
is cut, so is what it said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.messages import EntryKind
from raftkv.testing.invariants.base import Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class MembershipInForce(Invariant):
    name = "membership in force"

    def after_step(self, member: Member) -> None:
        assert member.replica is not None
        node = member.replica.node
        index = node.membership_index
        if index <= node.log.base_index:
            return  # the snapshot's
        self.require(index <= len(member.log), f"{member.id} goes by entry {index}, which was cut from its log")
        entry = member.log[index - 1]
        is_it = entry.kind == EntryKind.MEMBERSHIP and entry.data == node.membership.encode()
        self.require(is_it, f"{member.id} goes by {node.membership}, which is not what entry {index} says")
