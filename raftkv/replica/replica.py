"""One member: consensus, machine and log store behind one call, `turn`. No sockets, no clock, no awaits.

A turn goes straight through, and every stage handles all that has gathered, not one command::

    submit / on_message / on_synced / on_tick     only take note
    turn:   intake  ->  one log entry of all writes | one read round for all reads | one Forward to the leader
            output of the core  ->  a write for the disk, messages for the peers
            committed entries   ->  machine  ->  replies to their sinks
            confirmed reads     ->  machine  ->  replies to their sinks
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random

import msgspec

from raftkv.errors import ProtocolError
from raftkv.machines.interface import Batch, Kind, StateMachine
from raftkv.machines.replies import Error, Reply
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind, RaftMessage, SnapshotReply
from raftkv.raft.roles import Role
from raftkv.replica.admin import Admin
from raftkv.replica.callbacks import Callbacks, Report
from raftkv.replica.effects import EffectDesk
from raftkv.replica.follower_reads import FollowerReads
from raftkv.replica.forwarding import FRAME_SLACK_BYTES, Answer, Forwarder, RemoteSink, Slices
from raftkv.replica.gathering import Gathering
from raftkv.replica.jobs import Job
from raftkv.replica.ledger import MARK, Ledger
from raftkv.replica.log_time import LogTime
from raftkv.replica.proposals import Proposal, Proposals
from raftkv.replica.reader import Reader
from raftkv.replica.recovery import recover_node
from raftkv.replica.rounds import Rounds
from raftkv.replica.screen import Screen
from raftkv.replica.settings import ReplicaSettings
from raftkv.replica.snapshots import Snapshots
from raftkv.replica.state import Effects, ReplicatedState
from raftkv.replica.verifying import Digesting, Verification, is_verify
from raftkv.replica.versions import Versions
from raftkv.replica.work import (
    LEADERSHIP_LOST,
    NO_LEADER,
    NO_QUORUM,
    OUTCOME_UNKNOWN,
    REMOVED,
    Sink,
    Work,
    answer,
    join,
)
from raftkv.storage.interface import LogStore, SnapshotInfo, SnapshotStore, Write
from raftkv.wire.peer import (
    Forward,
    ForwardRefused,
    ForwardReply,
    ForwardUnknown,
    Hello,
    HelloReply,
    PeerMessage,
    StateDigest,
)

_WRITE = Kind.WRITE
_ADMIN = Kind.ADMIN
_encode_batch = msgspec.msgpack.Encoder().encode
_FORWARDED_KINDS = frozenset({Kind.WRITE, Kind.READ, Kind.ADMIN})
_decode_batch = msgspec.msgpack.Decoder(Batch).decode


def _say_nothing(what: str, error: Exception) -> None:
    pass


class Turn(msgspec.Struct, gc=False):
    """What is to be done now. `write` is disk write number `sequence`; answer it with `on_synced(sequence)`. `jobs`:
    see jobs.py; answer each with `on_job_done`."""

    sequence: int
    write: Write | None
    sends: list[tuple[int, PeerMessage]]
    jobs: list[Job]


class Replica:
    def __init__(
        self,
        member_id: int,
        members: Membership,
        *,
        machine: StateMachine,
        store: LogStore,
        snapshots: SnapshotStore,
        settings: ReplicaSettings,
        random: Random,
        now_ms: int,
        cluster_id: str = "",
        report: Report = _say_nothing,
    ) -> None:
        """`members` are those that the cluster began with; snapshot and log know better. `report` hears of the
        exceptions of the machine, and of work with snapshots, that do not stop this member. One of `machine.init`
        leaves as the cause of MemberFailed, and StorageCorrupt where snapshot and log cannot be used."""
        self.settings = settings
        self.machine = machine
        self._callbacks = Callbacks(machine, report)
        self._time = LogTime(machine, report)
        self.ledger = Ledger(machine)
        self.state = ReplicatedState(machine, self.ledger, members, self._time)
        self.screen = Screen(self.ledger, lambda: self.state.applied == self.node.log.last_index)
        if self._callbacks.judges_commands:
            self.screen.checks.append(self._callbacks.is_command)
        self._cluster_id = cluster_id
        self._stored_index = store.recovered.last_index
        self.snapshots = Snapshots(
            snapshots,
            settings.snapshots,
            on_taken=self._on_snapshot_taken,
            on_received=self._on_snapshot_received,
            tell=self._tell_snapshot_progress,
            report=report,
        )
        newest = self.snapshots.newest
        if newest is not None:
            self.state.restore(snapshots, newest)
        self.node = recover_node(member_id, store, newest, self.state, settings.raft, random, now_ms)
        self.effects = EffectDesk(self.ledger.outbox)
        self._callbacks.tell_role(Role.FOLLOWER)
        self._reader = Reader(machine, self.screen, self._time, report)
        self.versions = Versions(member_id, self.state.membership.members, machine, self.ledger)
        self._screen_versions()
        self._duties_due = False
        self._duty_index = 0
        """The newest entry that this leader has proposed by duty."""

        self._random = random
        self._now_ms = now_ms
        self._connected: set[int] = set()
        self._links_made: dict[int, int] = {}
        """Peer -> how many links to it there have been."""

        self._sends: list[tuple[int, PeerMessage]] = []
        self._held: deque[tuple[int, list[tuple[int, RaftMessage]]]] = deque()
        self._synced = 0

        self._writes: deque[Work] = deque()
        self._reads: list[Work] = []
        self._admin_works: list[Work] = []
        self.admin = Admin(settings.joining_patience_ms, self.snapshots.sending.offset_of)
        self._proposals = Proposals()
        self._reply_bytes_max = settings.frame_bytes_max - FRAME_SLACK_BYTES
        self._forwarder = Forwarder(self._reply_bytes_max)
        self._huge_replies = Slices()
        self._known_leader_id: int | None = None
        self.digesting = Digesting(self.ledger, machine, report)
        self.verification = Verification(member_id, settings.verify_interval_ms, settings.verify_patience_ms)
        self._rounds = Rounds()
        self.follower_reads = FollowerReads(lambda: self.state.applied)
        self._write_gathering = Gathering()
        self._read_gathering = Gathering()
        self._stirred = True
        """Something other than work has come in since the last turn: a message, a sync, time, a link."""

    # ---- inputs

    def submit(
        self,
        kind: Kind,
        commands: list[list[bytes]],
        scopes: Mapping[int, int],
        size_bytes: int,
        sink: Sink,
        system: bool = False,
    ) -> None:
        """Take in WRITE or READ commands of one client. Commands of kind READ among writes are allowed, and are then
        ordered with them through the log; `sink` hears once what became of them all. `system`: some are for the
        ledger. A READ without commands asks for the read index: the sink of a member that leads hears `on_replies`
        without replies, and takes `applied` for it; elsewhere `on_encoded` brings the leader's."""
        work = Work(kind, commands, scopes, size_bytes, sink, self._now_ms, system)
        if system:
            self.screen.has_system = True
        if kind is _ADMIN:
            self._stirred = True
            self._admin_works.append(work)
        else:
            (self._writes if kind is _WRITE else self._reads).append(work)

    def read_dirty(self, commands: list[list[bytes]], scopes: Mapping[int, int], wall_ms: int) -> list[Reply]:
        """Answer from this member's present state, which may be behind."""
        return self._reader.read(commands, scopes, wall_ms)

    def on_message(self, sender: int, message: PeerMessage) -> None:
        """Raises ProtocolError when no member of this version sends that: the link is then to be closed."""
        self._stirred = True
        kind = type(message)
        if kind is Forward:
            self._on_forward(sender, message)  # type: ignore[arg-type]
        elif kind is ForwardReply:
            self._forwarder.on_reply(sender, message)  # type: ignore[arg-type]
        elif kind is ForwardRefused:
            self._take_back(self._forwarder.on_refused(sender, message))  # type: ignore[arg-type]
        elif kind is ForwardUnknown:
            self._forwarder.on_unknown(sender, message)  # type: ignore[arg-type]
        elif kind is StateDigest:
            self.verification.on_digest(sender, message)  # type: ignore[arg-type]
        elif kind is Hello or kind is HelloReply:
            raise ProtocolError("a second handshake")
        else:
            self.node.on_message(sender, message)  # type: ignore[arg-type]
            if self.node.snapshot_inputs:
                inputs, self.node.snapshot_inputs = self.node.snapshot_inputs, []
                for each in inputs:
                    self.snapshots.on_message(*each, self._now_ms)

    def _on_forward(self, origin: int, message: Forward) -> None:
        if message.kind not in _FORWARDED_KINDS:
            raise ProtocolError(f"forwarded commands of kind {message.kind}")
        if self.node.role is not Role.LEADER:
            self._sends.append((origin, ForwardRefused(message.request_id, self.node.leader_id)))
            return

        link = self._links_made.get(origin)

        def send(reply: Answer) -> bool:
            # Only on the link that the commands came by: a restarted origin counts its requests from 1 again, and would
            # take this for the answer to another client's command.
            is_same = self._links_made.get(origin) == link and origin in self._connected
            if is_same:
                self._sends.append((origin, reply))
            return is_same

        sink = RemoteSink(
            message.request_id,
            message.resp3,
            self._reply_bytes_max,
            send,
            self._huge_replies,
            lambda: self.state.applied,
        )
        size_bytes = sum(map(len, map(b"".join, message.commands)))
        self.submit(Kind(message.kind), message.commands, message.scopes, size_bytes, sink, message.system)

    def on_link_up(self, peer: int, machine_version: int = 1) -> None:
        """A new connection to `peer`, whose machine is of that version, is ready for use."""
        self._stirred = True
        self.versions.known[peer] = machine_version
        self._connected.add(peer)
        self._links_made[peer] = self._links_made.get(peer, 0) + 1
        self.node.on_link_reset(peer)
        self.snapshots.sending.on_link_up(peer)

    def on_link_down(self, peer: int) -> None:
        self._stirred = True
        self._connected.discard(peer)
        self._sends = [addressed for addressed in self._sends if addressed[0] != peer]
        self._take_back(self._forwarder.on_link_down(peer))
        self.verification.on_gone(peer)
        self.snapshots.sending.on_link_down(peer)

    def on_synced(self, sequence: int) -> None:
        """Disk writes up to number `sequence` are durable: promises that waited for them may leave."""
        self._stirred = True
        self._synced = sequence
        self.node.on_synced(sequence)
        while self._held and self._held[0][0] <= sequence:
            self._sends += self._held.popleft()[1]

    def on_clock(self, now_ms: int) -> None:
        """Inputs from here on arrive at `now_ms`; nothing else happens yet."""
        self._now_ms = now_ms
        self.node.on_clock(now_ms)

    def trigger_election(self) -> None:
        """Stand for election now, whoever leads. Raises LeaseInForce."""
        self._stirred = True
        self.node.trigger_election()

    def on_job_done(self, job: Job, result: object, error: Exception | None = None) -> None:
        """A job of `Turn.jobs` has been carried out, or has met an OSError or StorageCorrupt."""
        self._stirred = True
        if error is None:
            job.then(result)
        else:
            job.failed(error)

    def on_effect_ended(self, effect_id: str, well: bool) -> None:
        """An effect that `effects.take_due` has handed out was carried out, or failed."""
        if self.effects.on_ended(effect_id, well):
            self._stirred = self._duties_due = True

    def on_quiet(self) -> None:
        """Nothing has come in for a moment: what has gathered should go."""
        self._write_gathering.on_quiet()
        self._read_gathering.on_quiet()
        self.follower_reads.on_quiet()

    def on_tick(self, now_ms: int) -> None:
        """Time has passed: elections, heartbeats, and works that have waited too long. `now_ms` never goes back."""
        self._stirred = True
        self._duties_due = True
        self._now_ms = now_ms
        self.on_quiet()
        if self.digesting.under_way:
            self.digesting.on_tick(is_awaited=self.snapshots.is_due(now_ms))
        self.node.on_tick(now_ms)
        timed_out_ms = now_ms - self.settings.request_timeout_ms
        self._proposals.give_up_older_than(timed_out_ms)
        self.admin.give_up_older_than(timed_out_ms)
        self._cut_log()
        self.effects.release_older_than(timed_out_ms)
        self._take_back(self._forwarder.give_up_older_than(timed_out_ms))
        for work in self.follower_reads.give_up_older_than(timed_out_ms):
            work.sink.on_not_done(NO_QUORUM)
        if self.node.role is Role.LEADER:
            # A quorum that still speaks but whose disks hang deposes nobody, and would keep them waiting for ever.
            self._refuse_older_than(timed_out_ms, NO_QUORUM)
        else:
            self._refuse_older_than(now_ms - self.settings.no_leader_wait_ms, NO_LEADER)

    def _refuse_older_than(self, since_ms: int, error: Error) -> None:
        """Give up works that are in no log and not on their way to another member: they are certainly not done."""
        waiting = (*self._writes, *self._reads, *self._admin_works)
        late = [work for work in waiting if work.since_ms < since_ms]
        if late:
            self._writes = deque(work for work in self._writes if work.since_ms >= since_ms)
            self._reads = [work for work in self._reads if work.since_ms >= since_ms]
            self._admin_works = [work for work in self._admin_works if work.since_ms >= since_ms]
        for work in late + self._rounds.give_up_older_than(since_ms):
            work.sink.on_not_done(error)

    # ---- the turn

    def turn(self, wall_ms: int) -> Turn:
        """Do everything that the inputs have made possible. `wall_ms` is Unix time."""
        node = self.node
        self._stirred = False
        if node.entered:
            entered, node.entered = node.entered, []
            for role in entered:
                self._callbacks.tell_role(role)
            if Role.LEADER in entered:
                # What an earlier leadership has proposed may be lost.
                self._duty_index = 0
                self._time.on_elected()
        if node.leader_id != self._known_leader_id:
            self._known_leader_id = node.leader_id
            if node.leader_id is not None:
                self._take_back(self._forwarder.on_leader(node.leader_id))
        self._take_back(self._rounds.settle(node))
        if node.role is Role.LEADER:
            self._reads += self.follower_reads.take_back()
            for work in self._admin_works:
                (self.verification if is_verify(work) else self.admin).take(work)
            self._admin_works.clear()
            if self.state.applied >= node.term_start and node.transferring is None:
                if self._duties_due:
                    self._do_duties(wall_ms)
                    self._verify(wall_ms)
                self._propose(wall_ms)
                self._begin_read_round(wall_ms)
        else:
            self.verification.on_not_leading()
            self._route()
        if self.admin:
            self.admin.settle(node)
        output = node.take_output()
        sends, self._sends = self._sends, []
        sends += output.now
        if node.wanting_snapshot or self.snapshots.sending:
            wanting = [peer for peer in node.wanting_snapshot if peer in self._connected]
            sends += self.snapshots.send(node.term, wanting, self._now_ms)
        if output.after_sync:
            if output.sequence <= self._synced:
                sends += output.after_sync
            else:
                self._held.append((output.sequence, output.after_sync))
        write = None
        if output.entries or output.hard_state is not None or output.base is not None:
            write = Write(output.hard_state, output.entries, output.base)
        return Turn(output.sequence, write, sends, self.snapshots.take_jobs())

    def apply(self, wall_ms: int) -> bool:
        """Carry out what is committed, then answer the reads that are confirmed. Apart from `turn`, so that messages
        and disk writes are under way meanwhile. Returns whether more is left to be applied (`apply_commands_max`)."""
        node = self.node
        budget = self.settings.apply_commands_max
        while self.state.applied < node.log.commit and budget > 0:
            for entry in node.log.slice(self.state.applied + 1, node.log.commit, 256, 1024 * 1024):
                budget -= self._apply(entry)
                if budget <= 0:
                    break
        node.log.trim(self.state.applied)
        leading = node.role is Role.LEADER and self.state.applied >= node.term_start
        if leading is not self.effects.leading:
            self.effects.on_leading(leading)
        self._take_back(self._rounds.settle(node))
        if self._rounds.has_confirmed:
            self._answer_reads(wall_ms)
        while works := self.follower_reads.take_answerable():
            answer(works, self._reader.read_works(works, wall_ms))
        if self._rounds.under_way:
            self._read_ahead(wall_ms)
        more_to_write = self._go_on_with_snapshot()
        self._huge_replies.step()
        return more_to_write or bool(self._huge_replies) or self.state.applied < node.log.commit

    @property
    def applied(self) -> int:
        """Index of the entry applied last."""
        return self.state.applied

    @property
    def proposals_waiting(self) -> int:
        """Entries that this member has proposed and not yet seen applied."""
        return len(self._proposals)

    @property
    def forwards_waiting(self) -> int:
        """Messages with commands that this member has sent to the leader and has no answer to."""
        return len(self._forwarder)

    @property
    def needs_turn(self) -> bool:
        """Whether a turn would do anything after the inputs since the last one. Reads that come while a round is under
        way, and writes while enough entries are, can only wait: a turn for each few of them costs more than they do."""
        if self._stirred or self.wants_turn or self.state.applied < self.node.log.commit:
            return True
        if self.snapshots.taking.jobs or self.digesting.has_more or self._huge_replies:
            return True
        return self.node.role is not Role.LEADER and bool(self._writes or self._reads or self._admin_works)

    @property
    def wants_turn(self) -> bool:
        """Whether another turn would do something although no input came. A slice of a snapshot or of a huge reply is
        no reason while more follow: between two of them everybody has their turn."""
        taking = self.snapshots.taking
        if (self._sends and not self._huge_replies) or (taking.jobs and not taking.has_more):
            return True
        if self.node.role is not Role.LEADER:
            return self.follower_reads.wants_turn
        return (
            self.state.applied >= self.node.term_start
            and self.node.transferring is None
            and (self._may_propose or self._may_begin_round or self._rounds.has_read_by_lease)
        )

    # ---- writes

    @property
    def _may_propose(self) -> bool:
        """Committed entries are answered first: their clients come back with the next works."""
        return (
            self._write_gathering.is_ripe(len(self._writes))
            and len(self._proposals) < self.settings.proposals_inflight_max
            and self.state.applied == self.node.log.commit
        )

    def _propose(self, wall_ms: int) -> None:
        """Put what has gathered into the log: one entry, more only when it is too large for one."""
        settings = self.settings
        while self._may_propose:
            works: list[Work] = []
            size_bytes = 0
            while self._writes and (not works or size_bytes + self._writes[0].size_bytes <= settings.entry_bytes_max):
                work = self._writes.popleft()
                size_bytes += work.size_bytes
                works.append(work)
            if self.screen.concerns(works):
                admitted = self.screen.admit(works)
                if not admitted:
                    self._write_gathering.on_answered(len(self._writes), len(works))
                    continue
                works = admitted
            self._propose_one(works, wall_ms)
        if not self._proposals and self._time.deadline_due(wall_ms) is not None:
            self._propose_time(wall_ms)

    def _propose_time(self, wall_ms: int) -> int:
        """An entry without commands: it only tells the time."""
        self._time.on_telling(wall_ms)
        return self._propose_one([], wall_ms)

    def _propose_one(self, works: list[Work], wall_ms: int) -> int:
        commands, scopes = join(works)
        system = self.screen.has_system and any(work.system for work in works)
        return self._append(commands, scopes, works, wall_ms, system=system)

    def _do_duties(self, wall_ms: int) -> None:
        """What a leader owes the ledger. One entry at a time, or each tick until it is applied would bring another."""
        self._duties_due = False
        if self.state.applied >= self._duty_index:
            commands = self.ledger.duties(self.settings.sessions, self.versions.lowest, wall_ms, self.effects.done())
            if commands is not None:
                self._duty_index = self._propose_system(commands, wall_ms)

    def _propose_system(self, commands: list[list[bytes]], wall_ms: int) -> int:
        """Put this leader's own commands for the ledger into the log, which no client may send."""
        return self._append(commands, {}, [], wall_ms, system=True)

    def _append(
        self, commands: list[list[bytes]], scopes: dict[int, int], works: list[Work], wall_ms: int, *, system: bool
    ) -> int:
        batch = Batch(self._time.stamp(wall_ms), self._random.getrandbits(63), commands, scopes, system)
        index = self.node.propose(_encode_batch(batch))
        self._proposals.add(Proposal(index, self.node.term, batch, works))
        return index

    def _apply(self, entry: Entry) -> int:
        """Apply one entry; returns what it counts against the turn's budget."""
        proposal, lost = self._proposals.on_applying(entry.index, entry.term)
        if lost:
            self._take_back(lost)
        self.snapshots.on_applied(entry)
        if entry.kind != EntryKind.COMMANDS:
            effects = self.state.apply_without_commands(entry)
            if entry.kind == EntryKind.MEMBERSHIP:
                self._follow_membership()
            if effects:
                self._on_effects(entry, effects, is_own=True)
            return 1
        batch = proposal.batch if proposal is not None else _decode_batch(entry.data)
        works: list[Work] = proposal.works if proposal is not None else []
        replies, effects = self.state.apply(entry, batch, bool(works))
        if batch.system:
            self._look_at_ledger()
            if self.ledger.is_marked:
                self.ledger.is_marked = False
                self._begin_digest(entry)
        if works:
            self._write_gathering.on_answered(len(self._writes), len(works))
        if effects:
            awaited = self._on_effects(entry, effects, is_own=proposal is not None)
            self.effects.answer(works, replies, awaited)
        elif works:
            answer(works, replies)
        return 1 + len(batch.commands)

    def _follow_membership(self) -> None:
        self.versions.members = sorted(self.state.membership.members)
        self._screen_versions()

    def _on_effects(self, entry: Entry, effects: Effects, *, is_own: bool) -> dict[int, list[str]]:
        node = self.node
        is_own = is_own and node.role is Role.LEADER and node.term == entry.term
        awaited = self.effects.on_applied(entry.index, effects, is_own=is_own)
        self._look_at_ledger()
        return awaited

    def _look_at_ledger(self) -> None:
        """Something in the ledger has changed that decides what may go into the log."""
        self._screen_versions()
        outbox, settings = self.ledger.outbox, self.settings
        full = len(outbox) >= settings.outbox_max or outbox.size_bytes >= settings.outbox_bytes_max
        self.screen.outbox_is_full = full

    def _screen_versions(self) -> None:
        self.screen.version_check = self.versions.refusal if self.versions.has_too_new else None

    def _take_back(self, works: list[Work]) -> None:
        """These were certainly not done. Ours are tried again, under their old deadline; another member's go back."""
        for work in works:
            work.refusals = None
            if work.sink.remote:
                work.sink.on_not_done(LEADERSHIP_LOST)
            elif work.kind is Kind.WRITE:
                self._writes.append(work)
            elif work.kind is Kind.ADMIN:
                self._admin_works.append(work)
            else:
                self._reads.append(work)

    # ---- verification

    def _begin_digest(self, entry: Entry) -> None:
        """The state behind a mark is to be compared. For one of an earlier term, or that was here at the start already,
        nobody waits."""
        if entry.term != self.node.term or entry.index <= self._stored_index:
            return
        if self.snapshots.taking.under_way:
            self._tell_digest(StateDigest(entry.term, entry.index, b""))
        else:
            self._tell_digest(self.digesting.begin(entry.term, entry.index))

    def _tell_digest(self, digest: StateDigest | None) -> None:
        leader_id = self.node.leader_id
        if digest is None or leader_id is None:
            return
        if leader_id == self.node.id:
            self.verification.on_digest(leader_id, digest)
        elif leader_id in self._connected:
            self._sends.append((leader_id, digest))

    def _verify(self, wall_ms: int) -> None:
        """On the leader: begin when it is time, end when all have answered."""
        node, verification = self.node, self.verification
        if verification.wants_to_begin(self._now_ms) and not self.snapshots.taking.under_way:
            index = self._propose_system([[MARK]], wall_ms)
            verification.begin(node.term, index, {*node.members}, self._connected, self._now_ms)
        verification.settle(node.term, self._now_ms, wall_ms)

    # ---- snapshots

    def _go_on_with_snapshot(self) -> bool:
        """One slice of the snapshot that is being taken, or the begin of one that is due; a digest that is being made
        comes first. Returns whether more slices can be made at once."""
        if self.digesting.under_way:
            if self.digesting.has_more:
                self._tell_digest(self.digesting.step())
            return self.digesting.has_more
        taking = self.snapshots.taking
        if taking.has_more:
            taking.step()
        elif self.state.applied and self.snapshots.is_due(self._now_ms):
            meta = self.state.meta(self.node.log.term(self.state.applied), self._cluster_id)
            self.snapshots.begin(meta, self.ledger, self.machine)
        return taking.has_more

    def _on_snapshot_taken(self, info: SnapshotInfo) -> None:  # noqa: ARG002
        self._cut_log()

    def _cut_log(self) -> None:
        """Forget what the newest snapshot stands for, as far as nobody is about to need it."""
        index = self.snapshots.cut_up_to(self.node.log.memory_first)
        if index > self.node.log.base_index:
            self.node.compact(index)

    def _tell_snapshot_progress(self, index: int, offset: int) -> None:
        node = self.node
        if node.leader_id is not None and node.leader_id != node.id:
            node.promise(node.leader_id, SnapshotReply(node.term, index, offset, False), needs_entries=False)

    def _on_snapshot_received(self, info: SnapshotInfo) -> None:
        """The leader's snapshot is here, durable and sound: it replaces what this member had."""
        node, meta = self.node, info.meta
        if not node.install_snapshot(meta.index, meta.term, decode_membership(meta.membership)):
            return  # the log has come that far by itself
        self.snapshots.on_installing(info)
        self._tell_digest(self.digesting.abandon())
        for work in self._proposals.on_skipped(meta.index):
            work.sink.on_unknown(OUTCOME_UNKNOWN)
        self._restore(info)
        if node.leader_id is not None:
            node.promise(node.leader_id, SnapshotReply(node.term, meta.index, info.size_bytes, True))

    def _restore(self, info: SnapshotInfo) -> None:
        self.state.restore(self.snapshots.store, info)
        self._follow_membership()
        self._look_at_ledger()

    # ---- reads

    @property
    def _may_begin_round(self) -> bool:
        """Confirmed reads are answered first, as with writes."""
        rounds = self._rounds
        return self._read_gathering.is_ripe(len(self._reads)) and not rounds.under_way and not rounds.has_confirmed

    def _begin_read_round(self, wall_ms: int) -> None:
        if not self._may_begin_round:
            return
        works, self._reads = self._reads, []
        read_index = 0
        deadline_ms = self._time.deadline_due(wall_ms)
        if deadline_ms is not None:
            # Something is due but not yet gone by log time. An entry under way may carry a time that is late enough.
            read_index = (
                self.node.log.last_index
                if self._proposals and self._time.newest_ms >= deadline_ms
                else self._propose_time(wall_ms)
            )
        self._rounds.begin(self.node, works, read_index)

    def _read_ahead(self, wall_ms: int) -> None:
        works = self._rounds.works_to_read_ahead(self.state.applied)
        if works:
            self._rounds.on_read_ahead(self._reader.read_works(works, wall_ms))

    def _answer_reads(self, wall_ms: int) -> None:
        while True:
            works, replies = self._rounds.take_answerable(self.state.applied)
            if not works:
                return
            self._read_gathering.on_answered(len(self._reads), len(works))
            answer(works, self._reader.read_works(works, wall_ms) if replies is None else replies)

    # ---- not the leader

    def _route(self) -> None:
        """Send what has gathered to the leader, tell clients where it is, or let it wait for one."""
        leader_id = self.node.leader_id
        if self._reads and self.settings.reads_locally:
            self._keep_reads()
        if self.follower_reads.wants_turn:
            self._reads.append(self.follower_reads.ask(self._now_ms))
        if not self._writes and not self._reads and not self._admin_works:
            return
        works = [*self._writes, *self._reads, *self._admin_works]
        self._writes, self._reads, self._admin_works = deque(), [], []
        mine = []
        for work in works:
            if work.sink.remote:
                work.sink.on_not_done(LEADERSHIP_LOST)
            else:
                mine.append(work)
        if self.node.is_removed:
            # Nobody will hear this member again, and its clients should not find that out by waiting.
            for work in mine:
                work.sink.on_not_done(REMOVED)
            return
        if leader_id is not None and not self.settings.forwards:
            mine = _redirect(mine, leader_id)
        if leader_id is None:
            self._take_back(mine)
        elif leader_id in self._connected:
            for message in self._forwarder.forward(mine, leader_id, self._now_ms, self.settings.entry_bytes_max):
                self._sends.append((leader_id, message))
        else:
            self._take_back(mine)

    def _keep_reads(self) -> None:
        """Those that this member is to answer itself: of its own clients, and for the machine. Questions for the read
        index go to the leader."""
        kept: list[Work] = []
        rest: list[Work] = []
        for work in self._reads:
            is_ours = work.commands and not work.system and not work.sink.remote
            is_welcome = self.settings.forwards or work.sink.readonly  # others are told who leads
            (kept if is_ours and is_welcome else rest).append(work)
        self._reads = rest
        self.follower_reads.take(kept)


def _redirect(works: list[Work], leader_id: int) -> list[Work]:
    """Tell the clients of `works` who leads. Returns what is carried there all the same: reads of READONLY
    connections, and what operators ask for."""
    carried = []
    for work in works:
        if work.kind is _ADMIN or (work.sink.readonly and work.kind is not _WRITE):
            carried.append(work)
        else:
            work.sink.on_redirect(leader_id)
    return carried
