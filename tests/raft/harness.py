"""A small deterministic network of consensus nodes: every delivery, loss, tick and disk sync is a call.

Nothing moves by itself. A `Cluster` owns, for each ordered pair of members, a queue of messages under way, and for
each member a `Disk` that has what is durable and what was only handed over. After every input to a node its output
is taken at once: messages go to the queues, writes to the disk, promises wait until their write is durable. Disks
finish at once unless `disk_is_slow` says that they finish when told (`sync`).

Snapshots are the least that consensus sees of them: a disk keeps index, term and membership of its newest one, a leader
sends that in one chunk to who wants it (and again each heartbeat interval), and whoever gets it has it durably at once.

A crash loses the node and everything that was not durable; a test may let a prefix of the pending writes survive,
as a real disk does. A restart builds `Log` and `Node` from the disk alone, as the log store's recovery would.

Time is per member: `tick` moves one member's clock and nobody else's.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import permutations
from random import Random
from typing import NamedTuple

from raftkv.raft.log import Log
from raftkv.raft.membership import MEMBERSHIP, Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind, HardState, RaftMessage, SnapshotChunk, SnapshotReply
from raftkv.raft.node import Addressed, Node, Output
from raftkv.raft.roles import Role
from raftkv.raft.settings import RaftSettings

STABILIZE_DELIVERIES_MAX = 20_000
"""More deliveries than this without coming to rest is a livelock."""


class Write(NamedTuple):
    sequence: int
    hard_state: HardState | None
    entries: list[Entry]
    base: tuple[int, int] | None = None


class Snapshot(NamedTuple):
    index: int
    term: int
    membership: Membership


class Disk:
    """What survives (`hard_state`, `snapshot`, and `entries` behind `base`) and what was handed over but is not durable
    yet (`pending`). A new disk's snapshot is the membership that it is begun with."""

    def __init__(self, membership: Membership) -> None:
        self.hard_state = HardState()
        self.base = (0, 0)
        self.entries: list[Entry] = []
        self.snapshot = Snapshot(0, 0, membership)
        self.pending: deque[Write] = deque()

    def open(self) -> None:
        """Fit log and snapshot together: without the snapshot's last entry, all of the log is superseded."""
        self._begin_behind(self.snapshot.index, self.snapshot.term)

    def _begin_behind(self, index: int, term: int) -> None:
        kept = self.entries[index - self.base[0] :] if self.has(index, term) else []
        self.base, self.entries = (index, term), kept

    def has(self, index: int, term: int) -> bool:
        """Whether the entry with this term is durable, in the log or below its base."""
        place = index - self.base[0] - 1
        if place < 0:
            return place < -1 or term == self.base[1]
        return place < len(self.entries) and self.entries[place].term == term

    def sync(self, count: int | None = None) -> int:
        """Make the oldest `count` pending writes (None: all) durable; returns the last one's number, 0 if none."""
        sequence = 0
        for _ in range(len(self.pending) if count is None else min(count, len(self.pending))):
            write = self.pending.popleft()
            self._store(write)
            sequence = write.sequence
        return sequence

    def _store(self, write: Write) -> None:
        if write.hard_state is not None:
            assert write.hard_state.term >= self.hard_state.term, "the term on disk went back"
            self.hard_state = write.hard_state
        if write.base is not None:
            assert write.base[0] <= self.snapshot.index, "the log is cut before the snapshot is durable"
            self._begin_behind(*write.base)
        if write.entries:
            place = write.entries[0].index - self.base[0] - 1
            assert 0 <= place <= len(self.entries), f"entry {write.entries[0].index} would leave a gap on disk"
            self.entries[place:] = write.entries

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        found = self.entries[first - self.base[0] - 1 : last - self.base[0]]
        total = 0
        for count, entry in enumerate(found):
            total += len(entry.data)
            if total > bytes_max and count:
                return found[:count]
        return found

    def terms(self) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        return runs

    def memberships(self) -> list[tuple[int, Membership]]:
        return [(e.index, decode_membership(e.data)) for e in self.entries if e.kind == MEMBERSHIP]


class Member:
    """One member's lasting parts, and its `node` while it is up. `waiting` are promises kept back for a sync."""

    def __init__(self, member_id: int, membership: Membership) -> None:
        self.id = member_id
        self.disk = Disk(membership)
        self.sent_snapshot: dict[int, tuple[int, int, int]] = {}
        """Peer -> term, index and time of the snapshot that it was sent last."""

        self.disk_is_slow = False
        self.synced_sequence = 0
        self.waiting: list[tuple[int, list[Addressed]]] = []
        self.running: Node | None = None
        self.lives = 0
        self.now_ms = 0

    @property
    def node(self) -> Node:
        assert self.running is not None, f"member {self.id} is down"
        return self.running


class Observer:
    """Told of everything; the checkers and the script's trace derive from it."""

    def on_output(self, member: Member, output: Output) -> None: ...

    def on_sent(self, sender: int, receiver: int, message: RaftMessage) -> None: ...

    def on_delivered(self, sender: int, receiver: int, message: RaftMessage) -> None: ...

    def after_step(self, member: Member) -> None: ...

    def on_restart(self, member: Member) -> None: ...


class Cluster:
    def __init__(
        self, count: int, *, spares: int = 0, seed: int = 0, observer: Observer | None = None, **settings: int
    ) -> None:
        """`count` voters, and as many `spares` that belong to no cluster yet."""
        self.settings = RaftSettings(**settings)
        self.seed = seed
        self.observer = observer or Observer()
        voters = Membership(tuple(range(1, count + 1)))
        self.members = {
            number: Member(number, voters if number in voters.voters else Membership(()))
            for number in range(1, count + spares + 1)
        }
        self.queues: defaultdict[tuple[int, int], deque[RaftMessage]] = defaultdict(deque)
        for pair in permutations(self.members, 2):
            self.queues[pair] = deque()
        self.severed: set[tuple[int, int]] = set()
        for number in self.members:
            self.restart(number)

    def __getitem__(self, member_id: int) -> Node:
        return self.members[member_id].node

    # ---- life and death

    def crash(self, member_id: int, *, surviving_writes: int = 0) -> None:
        """Lose everything not durable, but for the oldest `surviving_writes` that the disk had finished unheard."""
        member = self.members[member_id]
        member.disk.sync(surviving_writes)
        member.disk.pending.clear()
        member.waiting.clear()
        member.running = None

    def restart(self, member_id: int) -> None:
        member = self.members[member_id]
        if member.running is not None:
            self.crash(member_id)
        disk = member.disk
        disk.open()
        member.sent_snapshot.clear()
        member.lives += 1
        member.synced_sequence = 0
        member.running = Node(
            member_id,
            disk.snapshot.membership,
            later_memberships=disk.memberships(),
            hard_state=disk.hard_state,
            log=Log(
                base=disk.base,
                last_index=disk.base[0] + len(disk.entries),
                terms=disk.terms(),
                commit=disk.hard_state.commit,
                read_stored=disk.read,
            ),
            settings=self.settings,
            random=Random(f"{self.seed}/{member_id}/{member.lives}"),
            now_ms=member.now_ms,
        )
        self.observer.on_restart(member)

    def write_log(self, member_id: int, terms: Iterable[int], *, term: int | None = None) -> None:
        """Give a member a durable log with entries of these terms (data the same for the same place), and restart."""
        disk = self.members[member_id].disk
        self.crash(member_id)
        disk.base = (0, 0)
        disk.entries = [
            Entry(index, of_term, int(EntryKind.COMMANDS), b"%d/%d" % (index, of_term))
            for index, of_term in enumerate(terms, 1)
        ]
        last_term = disk.entries[-1].term if disk.entries else 0
        disk.hard_state = HardState(last_term if term is None else term, 0, 0)
        self.restart(member_id)

    # ---- inputs to one node; each is one turn

    def turn(self, member_id: int, act: Callable[[Node], object]) -> object:
        """Give the node some inputs and carry out its output."""
        member = self.members[member_id]
        result = act(member.node)
        self._carry_out(member)
        self.observer.after_step(member)
        return result

    def tick(self, member_id: int, by_ms: int) -> None:
        member = self.members[member_id]
        member.now_ms += by_ms
        if member.running is not None:
            self.turn(member_id, lambda node: node.on_tick(member.now_ms))

    def campaign(self, member_id: int) -> None:
        self.turn(member_id, lambda node: node.campaign())

    def trigger_election(self, member_id: int) -> None:
        self.turn(member_id, lambda node: node.trigger_election())

    def propose(self, member_id: int, data: bytes) -> int:
        index = self.turn(member_id, lambda node: node.propose(data))
        assert isinstance(index, int)
        return index

    def change(self, member_id: int, target: Membership) -> int:
        index = self.turn(member_id, lambda node: node.propose_membership(target))
        assert isinstance(index, int)
        return index

    def transfer(self, member_id: int, target: int | None = None) -> None:
        self.turn(member_id, lambda node: node.transfer_leadership(target))

    def compact(self, member_id: int, index: int | None = None) -> None:
        """Take a snapshot of everything up to `index` (None: the commit index), and forget the log up to there."""
        member, node = self.members[member_id], self[member_id]
        index = node.log.commit if index is None else index
        member.disk.snapshot = Snapshot(index, node.log.term(index), node.memberships.at(index))
        self.turn(member_id, lambda node: node.compact(index))

    def begin_read_round(self, member_id: int) -> int:
        number = self.turn(member_id, lambda node: node.begin_read_round())
        assert isinstance(number, int)
        return number

    def reset_link(self, member_id: int, peer: int) -> None:
        """A connection between the two broke and is new: what was under way is gone, both ends are told."""
        for sender, receiver in ((member_id, peer), (peer, member_id)):
            self.drop(sender, receiver)
            if self.members[receiver].running is not None:
                self.turn(receiver, lambda node, sender=sender: node.on_link_reset(sender))  # type: ignore[misc]

    def inject(self, sender: int, receiver: int, message: RaftMessage) -> None:
        """Deliver a message that nobody sent."""
        self.observer.on_delivered(sender, receiver, message)
        self.turn(receiver, lambda node: node.on_message(sender, message))

    # ---- the disk

    def slow_disk(self, member_id: int, slow: bool = True) -> None:
        self.members[member_id].disk_is_slow = slow
        if not slow and self.members[member_id].running is not None:
            self.sync(member_id)

    def sync(self, member_id: int, count: int | None = None) -> None:
        """Let the oldest `count` pending writes of a member (None: all) become durable and be reported."""
        member = self.members[member_id]
        sequence = member.disk.sync(count)
        if sequence:
            member.synced_sequence = sequence
            self.turn(member_id, lambda node: node.on_synced(sequence))

    def _carry_out(self, member: Member) -> None:
        while True:
            self._receive_snapshots(member)
            output = member.node.take_output()
            self.observer.on_output(member, output)
            if output.entries or output.hard_state is not None or output.base is not None:
                write = Write(output.sequence, output.hard_state, output.entries, output.base)
                member.disk.pending.append(write)
            if output.after_sync:
                member.waiting.append((output.sequence, output.after_sync))
            self._send(member.id, output.now)
            if member.disk_is_slow or not member.disk.pending:
                break
            member.synced_sequence = member.disk.sync()
            member.node.on_synced(member.synced_sequence)
        while member.waiting and member.waiting[0][0] <= member.synced_sequence:
            self._send(member.id, member.waiting.pop(0)[1])
        for peer in member.node.wanting_snapshot:
            self._send_snapshot(member, peer)

    def _send_snapshot(self, member: Member, peer: int) -> None:
        term, (index, index_term, membership) = member.node.term, member.disk.snapshot
        sent = member.sent_snapshot.get(peer, (0, 0, 0))
        if sent[:2] != (term, index) or member.now_ms - sent[2] >= self.settings.heartbeat_interval_ms:
            member.sent_snapshot[peer] = (term, index, member.now_ms)
            data = membership.encode()
            self._send(member.id, [(peer, SnapshotChunk(term, index, index_term, len(data), 0, data))])

    @staticmethod
    def _receive_snapshots(member: Member) -> None:
        node, inputs = member.node, member.node.snapshot_inputs
        for sender, message in inputs:
            if isinstance(message, SnapshotChunk) and message.index > node.log.commit:
                membership = decode_membership(message.data)
                member.disk.snapshot = Snapshot(message.index, message.last_term, membership)
                node.install_snapshot(message.index, message.last_term, membership)
                if message.term == node.term:
                    node.promise(sender, SnapshotReply(node.term, message.index, message.size_bytes, True))
        inputs.clear()

    # ---- the network

    def _send(self, sender: int, messages: Iterable[Addressed]) -> None:
        for receiver, message in messages:
            self.observer.on_sent(sender, receiver, message)
            if (sender, receiver) not in self.severed:
                self.queues[sender, receiver].append(message)

    def deliver(self, sender: int, receiver: int, count: int | None = None, *, place: int = 0) -> int:
        """Deliver the oldest `count` messages (None: those under way now), or the one at `place`; returns how many."""
        queue = self.queues[sender, receiver]
        count = len(queue) if count is None else min(count, len(queue))
        for _ in range(count):
            message = queue[place]
            del queue[place]
            if self.members[receiver].running is not None:
                self.inject(sender, receiver, message)
        return count

    def deliver_together(self, sender: int, receiver: int) -> None:
        """Deliver all that is under way now as the inputs of one turn, as when they are read from one socket."""
        queue = self.queues[sender, receiver]
        messages = list(queue)
        queue.clear()
        if self.members[receiver].running is None:
            return
        for message in messages:
            self.observer.on_delivered(sender, receiver, message)

        def turn(node: Node) -> None:
            for message in messages:
                node.on_message(sender, message)

        self.turn(receiver, turn)

    def drop(self, sender: int, receiver: int, count: int | None = None) -> None:
        """Lose the oldest `count` messages under way (None: all)."""
        queue = self.queues[sender, receiver]
        for _ in range(len(queue) if count is None else min(count, len(queue))):
            queue.popleft()

    def sever(self, sender: int, receiver: int, *, lose_under_way: bool = True) -> None:
        """From now on nothing sent gets from sender to receiver; what is under way is lost, or can still arrive."""
        self.severed.add((sender, receiver))
        if lose_under_way:
            self.queues[sender, receiver].clear()

    def partition(self, *groups: Iterable[int], lose_under_way: bool = True) -> None:
        """Only members of the same group reach each other; who is in no group is alone."""
        self.severed.clear()
        together = {(a, b) for group in map(list, groups) for a in group for b in group}
        for pair in self.queues:
            if pair not in together:
                self.sever(*pair, lose_under_way=lose_under_way)

    def isolate(self, *member_ids: int) -> None:
        """Each of these members is alone, the others stay together."""
        self.partition([number for number in self.members if number not in member_ids])

    def heal(self) -> None:
        self.severed.clear()

    def stabilize(self) -> None:
        """Deliver, one message of each link in turn, until nothing is under way. Time stands still."""
        deliveries = 0
        while any(self.queues.values()):
            for (sender, receiver), queue in self.queues.items():
                if queue:
                    deliveries += self.deliver(sender, receiver, 1)
            assert deliveries < STABILIZE_DELIVERIES_MAX, "the members do not come to rest"

    def run(self, for_ms: int, *, step_ms: int = 10) -> None:
        """Let time pass for all, delivering everything after each step."""
        for _ in range(0, for_ms, step_ms):
            for number in self.members:
                self.tick(number, step_ms)
            self.stabilize()

    # ---- short cuts that most tests begin with

    def up(self) -> list[Node]:
        return [member.running for member in self.members.values() if member.running is not None]

    def leaders(self) -> list[int]:
        return [node.id for node in self.up() if node.role is Role.LEADER]

    def forget_leaders(self) -> None:
        """Let each member's clock run until it refuses votes for a leader's sake no more."""
        for number in self.members:
            self.tick(number, self.settings.election_timeout_ms_min)

    def elect(self, member_id: int) -> Node:
        """Have this member elected by those it can reach, and its first entry committed.

        The first attempt of a member with an old term only tells it the term, so there are a few.
        """
        for _ in range(3):
            self.campaign(member_id)
            self.stabilize()
        assert self[member_id].role is Role.LEADER, f"member {member_id} was not elected"
        return self[member_id]

    def terms_of(self, member_id: int) -> list[int]:
        """The terms of all entries in a member's log, in order."""
        log = self[member_id].log
        return [log.term(index) for index in range(log.first_index, log.last_index + 1)]

    def data_of(self, member_id: int) -> list[bytes]:
        """The committed commands of a member that its log still has."""
        log = self[member_id].log
        data: list[bytes] = []
        first = log.first_index
        while first <= log.commit:
            entries = log.slice(first, log.commit, 1_000_000, 1 << 30)
            data += [entry.data for entry in entries if entry.kind == EntryKind.COMMANDS]
            first += len(entries)
        return data
