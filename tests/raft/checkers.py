"""What must hold after every step, whatever was lost, repeated, reordered or forgotten (paper, figure 3).

A `Checkers` watches a `Cluster` from outside and remembers what no member can: everything ever led, voted,
written and committed. It sees every step, so each check looks only at what the step changed. A violation is a
`Violation`, an `AssertionError` that begins with the property's name.
"""

from __future__ import annotations

from typing import NamedTuple

from raftkv.raft.membership import MEMBERSHIP
from raftkv.raft.messages import Entry, RaftMessage, SnapshotReply, VoteReply, VoteRequest
from raftkv.raft.node import Node, Output
from raftkv.raft.roles import Role
from tests.raft.harness import Cluster, Member, Observer


class Violation(AssertionError):
    def __init__(self, what: str, details: str) -> None:
        super().__init__(f"{what}: {details}")
        self.what = what


class _Read(NamedTuple):
    number: int
    term: int
    index: int
    ready: bool
    committed_before: int


class Checkers(Observer):
    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self.leader_of: dict[int, int] = {}
        self.vote_of: dict[tuple[int, int], int] = {}
        self.made: dict[tuple[int, int], tuple[Entry, int]] = {}
        self.committed: list[Entry] = []
        self.committed_in: list[int] = []
        """In which term each of them was."""

        self.checked_commit: dict[int, int] = {}
        self.checked_membership: dict[int, tuple[int, int, int]] = {}
        self.reads: dict[int, list[_Read]] = {}
        self.reads_confirmed = 0
        self.snapshots_installed = 0

    def watch(self, cluster: Cluster) -> None:
        self.cluster = cluster

    # ---- what the cluster reports

    def on_restart(self, member: Member) -> None:
        self.checked_commit[member.id] = 0
        self.checked_membership.pop(member.id, None)
        if member.node.log.commit:
            self._check_commit(member.node)
        self.reads[member.id] = []

    def on_sent(self, sender: int, receiver: int, message: RaftMessage) -> None:
        """One vote in one term (5.2), for ever: what has left cannot be taken back by a crash."""
        if isinstance(message, VoteReply) and message.granted and not message.pre:
            self._voted(sender, message.term, receiver)
        elif isinstance(message, VoteRequest) and not message.pre:
            self._voted(sender, message.term, sender)

    def on_delivered(self, sender: int, receiver: int, message: RaftMessage) -> None:
        self.snapshots_installed += isinstance(message, SnapshotReply) and message.installed

    def _voted(self, voter: int, term: int, candidate: int) -> None:
        before = self.vote_of.setdefault((voter, term), candidate)
        if before != candidate:
            raise Violation("one vote in a term", f"member {voter} voted for {before} and {candidate} in term {term}")

    def on_output(self, member: Member, output: Output) -> None:
        """Log matching: index and term name one entry, with one entry before it (then all before are equal, 5.3)."""
        log = member.node.log
        for entry in output.entries:
            if entry.index <= log.base_index:
                raise Violation("written behind the base", f"member {member.id} writes {entry.index} again")
            made = (entry, log.term(entry.index - 1))
            if self.made.setdefault((entry.index, entry.term), made) != made:
                raise Violation("log matching", f"two entries {entry.index}/{entry.term}")

    def after_step(self, member: Member) -> None:
        node = member.node
        self._check_positions(member)
        self._check_membership(node)
        if node.role is Role.LEADER:
            self._check_election(node)
        if node.log.commit > self.checked_commit[member.id]:
            self._check_commit(node)
            if node.role is Role.LEADER and node.log.term(node.log.commit) != node.term:
                raise Violation(
                    "only the own term is counted", f"leader {node.id} of {node.term} commits an older term"
                )
        if self.reads[member.id]:
            self._check_reads(node)

    # ---- one property each

    def _check_positions(self, member: Member) -> None:
        """What the node believes to be durable is: the disk holds that entry, not one that was cut."""
        log = member.node.log
        log.check()
        if log.synced >= log.first_index and not member.disk.has(log.synced, log.term(log.synced)):
            raise Violation("synced is durable", f"member {member.id} believes in {log.synced}, which the disk has not")

    def _check_membership(self, node: Node) -> None:
        """The newest membership in the log counts, committed or not (section 6), also after a suffix was cut."""
        log = node.log
        seen = (log.base_index, log.last_index, log.last_term)
        if self.checked_membership.get(node.id) == seen:
            return
        self.checked_membership[node.id] = seen
        for index in range(log.last_index, log.base_index, -1):
            entry = self.made[index, log.term(index)][0] if (index, log.term(index)) in self.made else None
            if entry is not None and entry.kind == MEMBERSHIP:
                if (index, entry.data) != (node.membership_index, node.membership.encode()):
                    raise Violation("the newest membership counts", f"member {node.id} does not go by {index}")
                return
        if node.membership_index > log.base_index:
            raise Violation("the newest membership counts", f"member {node.id} goes by {node.membership_index}")

    def _check_election(self, node: Node) -> None:
        """Election safety (5.2), and leader completeness (5.4) when the leader is new."""
        known = self.leader_of.get(node.term)
        if known is None:
            self.leader_of[node.term] = node.id
            before = node.memberships.before_newest or node.membership
            if node.id not in {*node.voters, *before.voters, *before.outgoing}:
                raise Violation("only voters lead", f"member {node.id} leads term {node.term}")
            for entry, term in zip(self.committed, self.committed_in, strict=True):
                if term < node.term:  # votes for an older term may arrive only now
                    self._check_leader_has(node, entry)
        elif known != node.id:
            raise Violation("election safety", f"term {node.term} has leaders {known} and {node.id}")

    def _check_leader_has(self, leader: Node, entry: Entry) -> None:
        if not leader.log.has(entry.index, entry.term):
            where = f"leader {leader.id} of term {leader.term} lacks committed {entry.index}/{entry.term}"
            raise Violation("leader completeness", where)

    def _check_commit(self, node: Node) -> None:
        """State machine safety: one entry at each committed place, for all members and times (5.4.3)."""
        first, last = self.checked_commit[node.id] + 1, node.log.commit
        self.checked_commit[node.id] = last
        base = node.log.base_index
        if first <= base:
            if base > len(self.committed) or self.committed[base - 1].term != node.log.base_term:
                raise Violation(
                    "state machine safety", f"member {node.id} has a snapshot at {base} that nobody else has"
                )
            first = base + 1
        while first <= last:
            for entry in node.log.slice(first, last, 1000, 1 << 30):
                if entry.index <= len(self.committed):
                    known = self.committed[entry.index - 1]
                    if known != entry:
                        terms = f"{known.term} and {entry.term}"
                        raise Violation("state machine safety", f"two committed entries {entry.index} of terms {terms}")
                else:
                    self._newly_committed(node, entry)
                first = entry.index + 1

    def _newly_committed(self, node: Node, entry: Entry) -> None:
        """More than half have it on disk, and whoever leads a later term has it."""
        assert self.cluster is not None
        self.committed.append(entry)
        self.committed_in.append(node.term)
        members = self.cluster.members
        for half in filter(None, (node.membership.voters, node.membership.outgoing)):
            holding = sum(members[voter].disk.has(entry.index, entry.term) for voter in half)
            if 2 * holding <= len(half):
                raise Violation(
                    "committed is durable", f"{entry.index}/{entry.term} is on {holding} of {len(half)} disks"
                )
        for leader in self.cluster.up():
            if leader.role is Role.LEADER and leader.term > node.term:
                self._check_leader_has(leader, entry)

    # ---- reads

    def begin_read(self, node_id: int) -> None:
        """Begin a read as the replica does: note the commit index if the leader is ready, else when it gets so."""
        assert self.cluster is not None
        node = self.cluster[node_id]
        ready, index, term, committed = node.leads_and_is_ready, node.log.commit, node.term, len(self.committed)
        number = self.cluster.begin_read_round(node_id)
        self.reads[node_id].append(_Read(number, term, index, ready, committed))

    def _check_reads(self, node: Node) -> None:
        """A confirmed round sees everything committed by anybody before it began (section 8)."""
        waiting: list[_Read] = []
        for read in self.reads[node.id]:
            if node.role is not Role.LEADER or node.term != read.term:
                continue  # the leader was deposed; the replica fails such a read
            if node.confirmed_round < read.number or not node.leads_and_is_ready:
                waiting.append(read)
                continue
            self.reads_confirmed += 1
            index = read.index if read.ready else node.log.commit
            if index < read.committed_before:
                raise Violation(
                    "no stale read", f"member {node.id} reads {index}, {read.committed_before} is committed"
                )
        self.reads[node.id] = waiting
