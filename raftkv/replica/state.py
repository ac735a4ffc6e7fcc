"""The replicated state: machine, ledger, members and time, as of the entry applied last.

It changes in two ways only, and by either it is the same on every member: entries are applied one after the other, or
a snapshot replaces all of it. What follows from that on this member alone (replies, effects, what may go into the
log now) is for whoever applies.
"""

from __future__ import annotations

from raftkv.machines.interface import Batch, Context, Effect, StateMachine
from raftkv.machines.replies import Reply
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind
from raftkv.replica.ledger import Ledger
from raftkv.replica.log_time import LogTime
from raftkv.replica.snapshots import restore
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotStore

Effects = list[tuple[int, Effect]]
"""(position of the command that wants it, effect)"""


class ReplicatedState:
    def __init__(self, machine: StateMachine, ledger: Ledger, members: Membership, time: LogTime) -> None:
        """`members`: those that the cluster began with."""
        self.applied = 0
        """Index of the entry applied last."""

        self.membership = members
        """As of `applied`. The core's own (`node.membership`) may be ahead."""

        self.machine = machine
        self.ledger = ledger
        self.time = time

    def apply(self, entry: Entry, batch: Batch, wants_replies: bool) -> tuple[list[Reply], Effects]:
        """Carry out the commands of `batch`, which is what `entry` holds. Raises MachineTooOld, and what the machine
        raises."""
        self.applied = entry.index
        self.time.on_applied(batch.time_ms)
        context = Context(
            index=entry.index,
            term=entry.term,
            time_ms=batch.time_ms,
            seed=batch.seed,
            members=self.membership.voters,
            scopes=batch.scopes,
            wants_replies=wants_replies,
        )
        carry_out = self.ledger.handle_write if batch.system else self.machine.handle_write
        replies = carry_out(context, batch.commands)
        return replies, context.effects

    def apply_without_commands(self, entry: Entry) -> Effects:
        """A new leader's first entry, or a change of the members: the machine hears who they are, as ExRaft's does."""
        self.applied = entry.index
        self.time.on_state_changed()
        if entry.kind == EntryKind.MEMBERSHIP:
            self.membership = decode_membership(entry.data)
        context = Context(
            index=entry.index,
            term=entry.term,
            time_ms=self.time.applied_ms,
            seed=entry.index,
            members=self.membership.voters,
            wants_replies=False,
        )
        self.machine.handle_system_write("config", list(self.membership.voters), context)
        return context.effects

    def restore(self, store: SnapshotStore, info: SnapshotInfo) -> None:
        """Replace all of it by the snapshot's. Raises StorageCorrupt, with the state then good for nothing."""
        restore(store, info, self.ledger, self.machine)
        self.applied = info.meta.index
        self.membership = decode_membership(info.meta.membership)
        self.time.on_applied(info.meta.time_ms)

    def meta(self, term: int, cluster_id: str) -> SnapshotMeta:
        """What a snapshot of the present state says of itself. `term`: of the entry applied last."""
        return SnapshotMeta(
            index=self.applied,
            term=term,
            time_ms=self.time.applied_ms,
            membership=self.membership.encode(),
            machine=self.machine.name,
            machine_version=self.machine.version,
            cluster_id=cluster_id,
        )
