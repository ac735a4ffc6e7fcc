"""One member: consensus, machine and log store behind one call, `turn`. No sockets, no clock, no awaits.

A turn goes straight through, and every stage handles all that has gathered, not one command::

    submit / on_message / on_synced / on_tick     only take note
    turn:   intake  ->  one log entry of all writes | one read round for all reads | one Forward to the leader
            output of the core  ->  a write for the disk, messages for the peers
            committed entries   ->  machine  ->  replies to their sinks
            confirmed reads     ->  machine  ->  replies to their sinks

What a stage does stands in files of their own::

    intake.py          works that have come in and wait; gathering.py says for how long
    proposer.py        into the log: screen.py looks before, log_time.py has the time, proposals.py remembers
    duties.py marks.py what a leader puts there by itself
    leader_reads.py    reads of a leader, in rounds.py; follower_reads.py those of other members; reader.py asks
    router.py          all the rest on such members; forwarding.py is the way to the leader and back
    links.py           messages, and the promises among them that wait for the disk
    state.py           what entries are applied to; effects.py what has to be done outside then
    snapshots.py       taken, sent and received, a slice or a chunk in each turn
    recovery.py        how a member begins; callbacks.py the machine's others
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random

import msgspec

from raftkv.errors import ProtocolError
from raftkv.machines.interface import Batch, Kind, StateMachine
from raftkv.machines.replies import Error, Reply
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind, HeartbeatReply, SnapshotChunk, SnapshotReply
from raftkv.raft.roles import Role
from raftkv.replica.admin import Admin
from raftkv.replica.callbacks import Callbacks, Report
from raftkv.replica.duties import Duties
from raftkv.replica.effects import EffectDesk
from raftkv.replica.follower_reads import FollowerReads
from raftkv.replica.forwarding import FRAME_SLACK_BYTES, Forwarder, RemoteSink, Slices
from raftkv.replica.intake import Intake
from raftkv.replica.jobs import Job
from raftkv.replica.leader_reads import LeaderReads
from raftkv.replica.ledger import Ledger
from raftkv.replica.links import Links
from raftkv.replica.log_time import LogTime
from raftkv.replica.marks import Marks
from raftkv.replica.proposer import Proposer
from raftkv.replica.reader import Reader
from raftkv.replica.recovery import recover_node
from raftkv.replica.router import Router
from raftkv.replica.screen import Screen
from raftkv.replica.settings import ReplicaSettings
from raftkv.replica.snapshots import Snapshots
from raftkv.replica.state import Effects, ReplicatedState
from raftkv.replica.verifying import Digesting, Verification, is_verify
from raftkv.replica.versions import Versions
from raftkv.replica.work import NO_LEADER, NO_QUORUM, OUTCOME_UNKNOWN, Sink, Work, answer
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
        self.ledger = Ledger(machine)
        self.state = state = ReplicatedState(machine, self.ledger, members, LogTime(machine, report))
        self._cluster_id = cluster_id
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
            state.restore(snapshots, newest)
        self.node = node = recover_node(member_id, store, newest, state, settings.raft, random, now_ms)
        self._callbacks.tell_role(Role.FOLLOWER)
        self.versions = Versions(member_id, lambda: state.membership.members, machine, self.ledger)
        self.screen = Screen(
            self.ledger,
            self.versions,
            settings.outbox_max,
            settings.outbox_bytes_max,
            is_settled=lambda: state.applied == node.log.last_index,
        )
        if self._callbacks.judges_commands:
            self.screen.checks.append(self._callbacks.is_command)

        self._now_ms = now_ms
        self._known_leader_id: int | None = None
        self._links = Links()
        self._intake = Intake()
        self._stirred = True
        """Something other than work has come in since the last turn: a message, a sync, time, a link."""

        self.effects = EffectDesk(self.ledger.outbox)
        self._proposer = Proposer(node, state, self._intake, self.screen, settings, random)
        self._proposals = self._proposer.proposals
        self._duties = Duties(state, self.versions, self.effects, settings.sessions, self._proposer)
        self._reader = Reader(machine, self.screen, state.time, report)
        self.reads = LeaderReads(
            node, state, self._intake, self._proposer, self._reader, settings.early_round_clients_min
        )
        self.follower_reads = FollowerReads(lambda: state.applied)
        self._reply_bytes_max = settings.frame_bytes_max - FRAME_SLACK_BYTES
        self._forwarder = Forwarder(self._reply_bytes_max)
        self._router = Router(node, self._intake, self.follower_reads, self._forwarder, self._links, settings)
        self._huge_replies = Slices()
        self.admin = Admin(settings.joining_patience_ms, self.snapshots.sending.offset_of)
        self.digesting = Digesting(self.ledger, machine, report)
        self.verification = Verification(member_id, settings.verify_interval_ms, settings.verify_patience_ms)
        self._marks = Marks(
            node,
            self._links,
            self._proposer,
            self.snapshots.taking,
            self.digesting,
            self.verification,
            stored_index=node.log.last_index,
        )

    def follow_settings(self, settings: ReplicaSettings) -> None:
        """Go by these from now on; they differ in the changeable ones only (`server/commands/config.py`)."""
        self.settings = self._proposer.settings = self._router.settings = settings

    # ---- inputs

    def submit(
        self,
        kind: Kind,
        commands: list[list[bytes]],
        scopes: Mapping[int, int],
        size_bytes: int,
        sink: Sink,
        system: bool = False,
        clients: int = 1,
    ) -> None:
        """Take in WRITE or READ commands of one client, or one of each of `clients`. Commands of kind READ among writes
        are allowed, and are then ordered with them through the log; `sink` hears once what became of them all.
        `system`: some are for the ledger. A READ without commands asks for the read index: the sink of a member that
        leads hears `on_replies` without replies, and takes `applied` for it; elsewhere `on_encoded` brings the
        leader's."""
        work = Work(kind, commands, scopes, size_bytes, sink, self._now_ms, system, clients=clients)
        if system:
            self.screen.has_system = True
        if kind is _ADMIN:
            self._stirred = True
            self._intake.admin.append(work)
        else:
            (self._intake.writes if kind is _WRITE else self._intake.reads).add(work)

    def read_dirty(self, commands: list[list[bytes]], scopes: Mapping[int, int], wall_ms: int) -> list[Reply]:
        """Answer from this member's present state, which may be behind."""
        return self._reader.read(commands, scopes, wall_ms)

    def on_message(self, sender: int, message: PeerMessage) -> None:
        """Raises ProtocolError when no member of this version sends that: the link is then to be closed."""
        kind = type(message)
        if kind is HeartbeatReply:
            self.node.on_message(sender, message)  # type: ignore[arg-type]
            # All that it brings about for a leader that stays one is that reads are confirmed: see `only_reads`.
            self._stirred = self._stirred or self.node.role is not Role.LEADER
            return
        self._stirred = True
        if kind is Forward:
            self._on_forward(sender, message)  # type: ignore[arg-type]
        elif kind is ForwardReply:
            self._forwarder.on_reply(sender, message)  # type: ignore[arg-type]
        elif kind is ForwardRefused:
            self._intake.take_back(self._forwarder.on_refused(sender, message))  # type: ignore[arg-type]
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
            self._links.send(origin, ForwardRefused(message.request_id, self.node.leader_id))
            return
        # Only on the link that the commands came by: a restarted origin counts its requests from 1 again, and would
        # take this for the answer to another client's command.
        send = partial(self._links.send_on, origin, self._links.number_of(origin))
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
        self._links.on_up(peer)
        self.node.on_link_reset(peer)
        self.snapshots.sending.on_link_up(peer)

    def on_link_down(self, peer: int) -> None:
        self._stirred = True
        self._links.on_down(peer)
        self._intake.take_back(self._forwarder.on_link_down(peer))
        self.verification.on_gone(peer)
        self.snapshots.sending.on_link_down(peer)

    def on_synced(self, sequence: int) -> None:
        """Disk writes up to number `sequence` are durable: promises that waited for them may leave."""
        self._stirred = True
        self.node.on_synced(sequence)
        self._links.on_synced(sequence)

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
            self._stirred = self._duties.are_due = True

    def on_quiet(self) -> None:
        """Nothing has come in for a moment: what has gathered should go."""
        self._intake.on_quiet()
        self.follower_reads.on_quiet()

    def on_tick(self, now_ms: int) -> None:
        """Time has passed: elections, heartbeats, and works that have waited too long. `now_ms` never goes back."""
        self._stirred = True
        self._duties.are_due = True
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
        self._intake.take_back(self._forwarder.give_up_older_than(timed_out_ms))
        for work in self.follower_reads.give_up_older_than(timed_out_ms):
            work.sink.on_not_done(NO_QUORUM)
        if self.node.role is Role.LEADER:
            # A quorum that still speaks but whose disks hang deposes nobody, and would keep them waiting for ever.
            self._refuse_older_than(timed_out_ms, NO_QUORUM)
        else:
            self._refuse_older_than(now_ms - self.settings.no_leader_wait_ms, NO_LEADER)

    def _refuse_older_than(self, since_ms: int, error: Error) -> None:
        """Give up works that are in no log and not on their way to another member: they are certainly not done."""
        late = self._intake.give_up_older_than(since_ms)
        for work in late + self.reads.give_up_older_than(since_ms):
            work.sink.on_not_done(error)

    # ---- the turn

    def turn(self, wall_ms: int) -> Turn:
        """Do everything that the inputs have made possible. `wall_ms` is Unix time."""
        node = self.node
        self._stirred = False
        if node.entered:
            self._on_entered()
        if node.leader_id != self._known_leader_id:
            self._on_other_leader(node.leader_id)
        self.reads.settle()
        if node.role is Role.LEADER:
            self._lead(wall_ms)
        else:
            self.verification.on_not_leading()
            self._router.route(self._now_ms)
        if self.admin:
            self.admin.settle(node)
        output = node.take_output()
        write = None
        if output.entries or output.hard_state is not None or output.base is not None:
            write = Write(output.hard_state, output.entries, output.base)
        chunks = self._chunks_to_send() if node.wanting_snapshot or self.snapshots.sending else ()
        return Turn(output.sequence, write, self._links.take(output, chunks), self.snapshots.take_jobs())

    def _on_entered(self) -> None:
        """The core has changed its role since the last turn, perhaps several times."""
        entered, self.node.entered = self.node.entered, []
        for role in entered:
            self._callbacks.tell_role(role)
        if Role.LEADER in entered:
            self._duties.on_elected()
            self.state.time.on_elected()

    def _on_other_leader(self, leader_id: int | None) -> None:
        self._known_leader_id = leader_id
        if leader_id is not None:
            self._intake.take_back(self._forwarder.on_leader(leader_id))

    def _lead(self, wall_ms: int) -> None:
        node, intake = self.node, self._intake
        intake.reads.add_all(self.follower_reads.take_back())
        for work in intake.admin:
            (self.verification if is_verify(work) else self.admin).take(work)
        intake.admin.clear()
        if self.state.applied < node.term_start or node.transferring is not None:
            return  # it does not know yet what is committed, or is about to lead no more
        if self._duties.are_due:
            self._duties.propose(wall_ms)
            self._marks.lead(self._now_ms, wall_ms)
        self._proposer.propose(wall_ms)
        self.reads.begin(wall_ms)

    def _chunks_to_send(self) -> list[tuple[int, SnapshotChunk]]:
        """Of a snapshot, for members that are too far behind for the log."""
        node = self.node
        wanting = [peer for peer in node.wanting_snapshot if peer in self._links.connected]
        return self.snapshots.send(node.term, wanting, self._now_ms)

    def apply(self, wall_ms: int) -> bool:
        """Carry out what is committed, then answer the reads that are confirmed. Apart from `turn`, so that messages
        and disk writes are under way meanwhile. Returns whether more is left to be applied (`apply_commands_max`)."""
        node, state = self.node, self.state
        budget = self.settings.apply_commands_max
        while state.applied < node.log.commit and budget > 0:
            for entry in node.log.slice(state.applied + 1, node.log.commit, 256, 1024 * 1024):
                budget -= self._apply(entry)
                if budget <= 0:
                    break
        node.log.trim(state.applied)
        leading = node.role is Role.LEADER and state.applied >= node.term_start
        if leading is not self.effects.leading:
            self.effects.on_leading(leading)
        self.reads.serve(wall_ms)
        while works := self.follower_reads.take_answerable():
            answer(works, self._reader.read_works(works, wall_ms))
        more_to_write = self._go_on_with_snapshot()
        self._huge_replies.step()
        return more_to_write or bool(self._huge_replies) or state.applied < node.log.commit

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
        if self.snapshots.taking.jobs or self.digesting.has_more or self._huge_replies or self.reads.is_decided:
            return True
        return self.node.role is not Role.LEADER and bool(self._intake)

    @property
    def only_reads(self) -> bool:
        """Whether nothing has come in but reads that are in a round already, or the answer that they were waiting for:
        `reads.serve` will do, without a turn."""
        return not self._stirred and self.reads.wants_serving

    @property
    def wants_turn(self) -> bool:
        """Whether another turn would do something although no input came. A slice of a snapshot or of a huge reply is
        no reason while more follow: between two of them everybody has their turn."""
        taking = self.snapshots.taking
        if (self._links.sends and not self._huge_replies) or (taking.jobs and not taking.has_more):
            return True
        if self.node.role is not Role.LEADER:
            return self.follower_reads.wants_turn
        return (
            self.state.applied >= self.node.term_start
            and self.node.transferring is None
            and (
                (self._intake.writes.clients > 0 and self._proposer.may_propose)
                or (self._intake.reads.clients > 0 and self.reads.may_begin)
                or self.reads.has_read_by_lease
            )
        )

    # ---- committed entries

    def _apply(self, entry: Entry) -> int:
        """Apply one entry; returns what it counts against the turn's budget."""
        proposal, lost = self._proposals.on_applying(entry.index, entry.term)
        if lost:
            self._intake.take_back(lost)
        self.snapshots.on_applied(entry)
        if entry.kind != EntryKind.COMMANDS:
            effects = self.state.apply_without_commands(entry)
            if effects:
                self._on_effects(entry, effects, is_own=True)
            return 1
        batch = proposal.batch if proposal is not None else _decode_batch(entry.data)
        works: list[Work] = proposal.works if proposal is not None else []
        replies, effects = self.state.apply(entry, batch, bool(works))
        if batch.system:
            self.screen.look_at_ledger()
            if self.ledger.is_marked:
                self.ledger.is_marked = False
                self._marks.on_applied(entry)
        if works:
            self._intake.writes.on_answered(works)
        if effects:
            awaited = self._on_effects(entry, effects, is_own=proposal is not None)
            self.effects.answer(works, replies, awaited)
        elif works:
            answer(works, replies)
        return 1 + len(batch.commands)

    def _on_effects(self, entry: Entry, effects: Effects, *, is_own: bool) -> dict[int, list[str]]:
        node = self.node
        is_own = is_own and node.role is Role.LEADER and node.term == entry.term
        awaited = self.effects.on_applied(entry.index, effects, is_own=is_own)
        self.screen.look_at_ledger()
        return awaited

    # ---- snapshots

    def _go_on_with_snapshot(self) -> bool:
        """One slice of the snapshot that is being taken, or the begin of one that is due; a digest that is being made
        comes first. Returns whether more slices can be made at once."""
        if self.digesting.under_way:
            if self.digesting.has_more:
                self._marks.step()
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
        self._marks.on_replacing_state()
        for work in self._proposals.on_skipped(meta.index):
            work.sink.on_unknown(OUTCOME_UNKNOWN)
        self._restore(info)
        if node.leader_id is not None:
            node.promise(node.leader_id, SnapshotReply(node.term, meta.index, info.size_bytes, True))

    def _restore(self, info: SnapshotInfo) -> None:
        self.state.restore(self.snapshots.store, info)
        self.screen.look_at_ledger()
