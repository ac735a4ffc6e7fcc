"""What an invariant is, and the facts that several of them share.

An invariant watches: it is told of every disk write, message and step, and raises `RuleBroken` at the first event that
breaks it. Each has a file of its own, and says where the paper ("In Search of an Understandable Consensus Algorithm",
extended version) states it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind
from raftkv.raft.quorum import majority
from raftkv.replica import ReplicaSettings
from raftkv.storage.interface import Write
from raftkv.testing.failure import RuleBroken
from raftkv.wire.peer import PeerMessage

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class Facts:
    """What the whole cluster has shown so far. No member knows this much.

    members    all of them, by id
    committed  entries known to be committed; the first has index 1
    leaders    term -> the member that led it
    """

    def __init__(self, founders: Membership, settings: ReplicaSettings) -> None:
        self.settings = settings
        self.founders = founders
        self.memberships = [founders]
        """All that ever stood in a log."""
        self.members: Mapping[int, Member] = {}
        self.committed: list[Entry] = []
        self.leaders: dict[int, int] = {}

    def history(self, index: int) -> list[Entry]:
        """The committed entries up to `index`: what a snapshot at `index` stands for."""
        return self.committed[:index]

    def is_quorum(self, ids: set[int]) -> bool:
        """Whether these make a quorum by any membership that there was. (Which one counted for whom at that moment is
        for the core's own tests.)"""
        least = self.settings.raft.min_majority
        return any(
            all(
                len(ids.intersection(half)) >= majority(len(half), least)
                for half in (membership.voters, membership.outgoing)
                if half
            )
            for membership in self.memberships
        )


class Invariant:
    """Override what is needed; what is not overridden costs nothing."""

    name: ClassVar[str]

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def on_start(self, member: Member) -> None:
        """A process has started, from what was durable."""

    def on_write(self, member: Member, write: Write) -> None:
        """`write` goes to the disk; `member.log` is still without it."""

    def on_durable(self, member: Member, write: Write) -> None:
        """`write` is on the disk."""

    def on_send(self, member: Member, peer: int, message: PeerMessage) -> None:
        """`message` leaves for `peer`."""

    def after_step(self, member: Member) -> None:
        """All inputs at hand have been handled, and what they led to is done."""

    def require(self, condition: bool, what: str) -> None:
        if not condition:
            raise RuleBroken(self.name, what)


class Watchers:
    """Tells every invariant that wants to know."""

    def __init__(self, facts: Facts, kinds: tuple[type[Invariant], ...]) -> None:
        self.facts = facts
        self._all = [kind(facts) for kind in kinds]
        self._on_start = [i for i in self._all if type(i).on_start is not Invariant.on_start]
        self._on_write = [i for i in self._all if type(i).on_write is not Invariant.on_write]
        self._on_durable = [i for i in self._all if type(i).on_durable is not Invariant.on_durable]
        self._on_send = [i for i in self._all if type(i).on_send is not Invariant.on_send]
        self._after_step = [i for i in self._all if type(i).after_step is not Invariant.after_step]

    def on_start(self, member: Member) -> None:
        for invariant in self._on_start:
            invariant.on_start(member)

    def on_write(self, member: Member, write: Write) -> None:
        for entry in write.entries:
            if entry.kind == EntryKind.MEMBERSHIP:
                membership = decode_membership(entry.data)
                if membership not in self.facts.memberships:
                    self.facts.memberships.append(membership)
        for invariant in self._on_write:
            invariant.on_write(member, write)

    def on_durable(self, member: Member, write: Write) -> None:
        for invariant in self._on_durable:
            invariant.on_durable(member, write)

    def on_send(self, member: Member, peer: int, message: PeerMessage) -> None:
        for invariant in self._on_send:
            invariant.on_send(member, peer, message)

    def after_step(self, member: Member) -> None:
        for invariant in self._after_step:
            invariant.after_step(member)
