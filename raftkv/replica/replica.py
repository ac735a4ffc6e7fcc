"""One member: consensus, machine and log store behind one call, `turn`. No sockets, no clock, no awaits.

A turn goes straight through, and every stage handles all that has gathered, not one command::

    submit / on_message / on_synced / on_tick     only take note
    turn:   intake  ->  one log entry of all writes | one read round for all reads | one Forward to the leader
            output of the core  ->  a write for the disk, messages for the peers
            committed entries   ->  machine  ->  replies to their sinks
            confirmed reads     ->  machine  ->  replies to their sinks

Time. Each entry carries the leader's clock, never below that of an earlier entry; a new leader therefore proposes
nothing before it has applied its first own entry. Keys become invisible by that log time only: when the clock has
passed the machine's deadline, the leader commits an empty batch with the new time before it answers reads
(otherwise a client could see a key gone on one leader, and back on the next whose clock is behind).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random

import msgspec

from raftkv.errors import NonDeterministic, ProtocolError
from raftkv.machines.interface import Batch, Context, Kind, ReadContext, StateMachine
from raftkv.machines.replies import Error, Reply
from raftkv.raft.log import Log
from raftkv.raft.messages import Entry, EntryKind, RaftMessage
from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import EffectDesk
from raftkv.replica.forwarding import FRAME_SLACK_BYTES, Answer, Forwarder, RemoteSink
from raftkv.replica.gathering import Gathering
from raftkv.replica.ledger import Ledger
from raftkv.replica.proposals import Proposal, Proposals
from raftkv.replica.rounds import Rounds
from raftkv.replica.screen import Screen, internal_error, read_one_by_one
from raftkv.replica.sessions import Limits
from raftkv.replica.versions import Versions
from raftkv.replica.work import LEADERSHIP_LOST, NO_LEADER, NO_QUORUM, Sink, Work, answer, join
from raftkv.storage.interface import LogStore, Write
from raftkv.wire.peer import Forward, ForwardRefused, ForwardReply, ForwardUnknown, Hello, HelloReply, PeerMessage

_WRITE = Kind.WRITE
_encode_batch = msgspec.msgpack.Encoder().encode
_FORWARDED_KINDS = frozenset({Kind.WRITE, Kind.READ})
_decode_batch = msgspec.msgpack.Decoder(Batch).decode


class ReplicaSettings(msgspec.Struct, frozen=True):
    raft: RaftSettings = RaftSettings()

    sessions: Limits = Limits()
    """For exactly-once sessions. Those of the leader hold for all members."""

    forwards: bool = True
    """Send commands on to the leader; otherwise their clients are told where it is."""

    proposals_inflight_max: int = 1
    """So many entries may be on their way to being applied; what arrives meanwhile gathers for the next one."""

    entry_bytes_max: int = 4 * 1024 * 1024
    """An entry takes no further work once it is about this large."""

    frame_bytes_max: int = 64 * 1024 * 1024
    """The largest message that another member takes."""

    apply_commands_max: int = 10_000
    """A turn applies about so many commands, so that a member that catches up still hears and speaks."""

    no_leader_wait_ms: int = 3000
    """How long a command waits for a leader to be known."""

    request_timeout_ms: int = 5000
    """How long a command that is under way waits for its outcome."""

    outbox_max: int = 100_000
    """With so many durable effects waiting, a leader takes no further writes."""


Report = Callable[[str, Exception], None]
"""(what the machine was asked, what it raised)"""


def _say_nothing(what: str, error: Exception) -> None:
    pass


class Turn(msgspec.Struct, gc=False):
    """What is to be done now. `write` is disk write number `sequence`; answer it with `on_synced(sequence)`."""

    sequence: int
    write: Write | None
    sends: list[tuple[int, PeerMessage]]


class Replica:
    def __init__(
        self,
        member_id: int,
        voters: Iterable[int],
        *,
        machine: StateMachine,
        store: LogStore,
        settings: ReplicaSettings,
        random: Random,
        now_ms: int,
        report: Report = _say_nothing,
    ) -> None:
        """`report` hears of the machine's exceptions that do not stop this member. Those of `machine.init` leave."""
        recovered = store.recovered
        self.settings = settings
        self.machine = machine
        machine.init()
        self.ledger = Ledger(machine)
        self.screen = Screen(self.ledger, lambda: self.applied == self.node.log.last_index)
        self.node = Node(
            member_id,
            voters,
            hard_state=recovered.hard_state,
            log=Log(
                last_index=recovered.last_index,
                terms=recovered.terms,
                commit=recovered.hard_state.commit,
                read_stored=store.read,
                cache_bytes_max=settings.raft.log_cache_bytes_max,
            ),
            settings=settings.raft,
            random=random,
            now_ms=now_ms,
        )
        self.applied = 0
        self.log_time_ms = 0
        """Time of the newest entry applied or proposed here."""

        self.effects = EffectDesk(self.ledger.outbox)
        self._entry_time_ms = 0
        """Time of the newest entry applied: the same on every member, as `log_time_ms` is not."""

        self._report = report
        if type(machine).is_command is not StateMachine.is_command:
            self.screen.checks.append(self._is_command)
        self._told_role = ""
        self._tell_role(Role.FOLLOWER)
        self.versions = Versions(member_id, self.node.voters, machine, self.ledger)
        self._screen_versions()
        self._duties_due = False
        self._duty_index = 0
        """The newest entry that this leader has proposed by duty."""

        self._members = tuple(sorted(self.node.voters))
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
        self._proposals = Proposals()
        self._forwarder = Forwarder()
        self._rounds = Rounds()
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
        (self._writes if kind is _WRITE else self._reads).append(work)

    def read_dirty(self, commands: list[list[bytes]], scopes: Mapping[int, int], wall_ms: int) -> list[Reply]:
        """Answer from this member's present state, which may be behind."""
        return self._handle_read(ReadContext(max(wall_ms, self.log_time_ms), scopes), commands)

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
        elif kind is Hello or kind is HelloReply:
            raise ProtocolError("a second handshake")
        else:
            self.node.on_message(sender, message)  # type: ignore[arg-type]

    def _on_forward(self, origin: int, message: Forward) -> None:
        if message.kind not in _FORWARDED_KINDS:
            raise ProtocolError(f"forwarded commands of kind {message.kind}")
        if self.node.role is not Role.LEADER:
            self._sends.append((origin, ForwardRefused(message.request_id, self.node.leader_id)))
            return

        link = self._links_made.get(origin)

        def send(reply: Answer) -> None:
            # Only on the link that the commands came by: a restarted origin counts its requests from 1 again, and would
            # take this for the answer to another client's command.
            if self._links_made.get(origin) == link and origin in self._connected:
                self._sends.append((origin, reply))

        reply_bytes_max = self.settings.frame_bytes_max - FRAME_SLACK_BYTES
        sink = RemoteSink(message.request_id, message.resp3, reply_bytes_max, send, lambda: self.applied)
        size_bytes = sum(map(len, map(b"".join, message.commands)))
        self.submit(Kind(message.kind), message.commands, message.scopes, size_bytes, sink, message.system)

    def on_link_up(self, peer: int, machine_version: int = 1) -> None:
        """A new connection to `peer`, whose machine is of that version, is ready for use."""
        self._stirred = True
        self.versions.known[peer] = machine_version
        self._connected.add(peer)
        self._links_made[peer] = self._links_made.get(peer, 0) + 1
        self.node.on_link_reset(peer)

    def on_link_down(self, peer: int) -> None:
        self._stirred = True
        self._connected.discard(peer)
        self._sends = [addressed for addressed in self._sends if addressed[0] != peer]
        self._take_back(self._forwarder.on_link_down(peer))

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
        """Stand for election now, whoever leads."""
        self._stirred = True
        self.node.trigger_election()

    def on_effect_ended(self, effect_id: str, well: bool) -> None:
        """An effect that `effects.take_due` has handed out was carried out, or failed."""
        if self.effects.on_ended(effect_id, well):
            self._stirred = self._duties_due = True

    def on_quiet(self) -> None:
        """Nothing has come in for a moment: what has gathered should go."""
        self._write_gathering.on_quiet()
        self._read_gathering.on_quiet()

    def on_tick(self, now_ms: int) -> None:
        """Time has passed: elections, heartbeats, and works that have waited too long. `now_ms` never goes back."""
        self._stirred = True
        self._duties_due = True
        self._now_ms = now_ms
        self.on_quiet()
        self.node.on_tick(now_ms)
        timed_out_ms = now_ms - self.settings.request_timeout_ms
        self._proposals.give_up_older_than(timed_out_ms)
        self.effects.release_older_than(timed_out_ms)
        self._take_back(self._forwarder.give_up_older_than(timed_out_ms))
        if self.node.role is Role.LEADER:
            # A quorum that still speaks but whose disks hang deposes nobody, and would keep them waiting for ever.
            self._refuse_older_than(timed_out_ms, NO_QUORUM)
        else:
            self._refuse_older_than(now_ms - self.settings.no_leader_wait_ms, NO_LEADER)

    def _refuse_older_than(self, since_ms: int, error: Error) -> None:
        """Give up works that are in no log and not on their way to another member: they are certainly not done."""
        late = [work for work in (*self._writes, *self._reads) if work.since_ms < since_ms]
        if late:
            self._writes = deque(work for work in self._writes if work.since_ms >= since_ms)
            self._reads = [work for work in self._reads if work.since_ms >= since_ms]
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
                self._tell_role(role)
        self._take_back(self._rounds.settle(node))
        if node.role is Role.LEADER:
            if self.applied >= node.term_start:
                if self._duties_due:
                    self._do_duties(wall_ms)
                self._propose(wall_ms)
                self._begin_read_round(wall_ms)
        else:
            self._route()
        output = node.take_output()
        sends, self._sends = self._sends, []
        sends += output.now
        if output.after_sync:
            if output.sequence <= self._synced:
                sends += output.after_sync
            else:
                self._held.append((output.sequence, output.after_sync))
        write = None
        if output.entries or output.hard_state is not None:
            write = Write(output.hard_state, output.entries)
        return Turn(output.sequence, write, sends)

    def apply(self, wall_ms: int) -> bool:
        """Carry out what is committed, then answer the reads that are confirmed. Apart from `turn`, so that messages
        and disk writes are under way meanwhile. Returns whether more is left to be applied (`apply_commands_max`)."""
        node = self.node
        budget = self.settings.apply_commands_max
        while self.applied < node.log.commit and budget > 0:
            for entry in node.log.slice(self.applied + 1, node.log.commit, 256, 1024 * 1024):
                budget -= self._apply(entry)
                if budget <= 0:
                    break
        node.log.trim(self.applied)
        leading = node.role is Role.LEADER and self.applied >= node.term_start
        if leading is not self.effects.leading:
            self.effects.on_leading(leading)
        self._take_back(self._rounds.settle(node))
        if self._rounds.has_confirmed:
            self._answer_reads(wall_ms)
        if self._rounds.under_way:
            self._read_ahead(wall_ms)
        return self.applied < node.log.commit

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
        if self._stirred or self.wants_turn or self.applied < self.node.log.commit:
            return True
        return self.node.role is not Role.LEADER and bool(self._writes or self._reads)

    @property
    def wants_turn(self) -> bool:
        """Whether another turn would do something although no input came."""
        return bool(self._sends) or (
            self.node.role is Role.LEADER
            and self.applied >= self.node.term_start
            and (self._may_propose or self._may_begin_round)
        )

    # ---- writes

    @property
    def _may_propose(self) -> bool:
        """Committed entries are answered first: their clients come back with the next works."""
        return (
            self._write_gathering.is_ripe(len(self._writes))
            and len(self._proposals) < self.settings.proposals_inflight_max
            and self.applied == self.node.log.commit
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
        deadline_ms = self.machine.deadline_ms()
        if deadline_ms is not None and deadline_ms <= wall_ms and not self._proposals:
            self._propose_one([], wall_ms)

    def _propose_one(self, works: list[Work], wall_ms: int) -> int:
        commands, scopes = join(works)
        system = self.screen.has_system and any(work.system for work in works)
        return self._append(commands, scopes, works, wall_ms, system=system)

    def _do_duties(self, wall_ms: int) -> None:
        """What a leader owes the ledger. One entry at a time, or each tick until it is applied would bring another."""
        self._duties_due = False
        if self.applied >= self._duty_index:
            commands = self.ledger.duties(self.settings.sessions, self.versions.lowest, wall_ms, self.effects.done())
            if commands is not None:
                self._duty_index = self._propose_system(commands, wall_ms)

    def _propose_system(self, commands: list[list[bytes]], wall_ms: int) -> int:
        """Put this leader's own commands for the ledger into the log, which no client may send."""
        return self._append(commands, {}, [], wall_ms, system=True)

    def _append(
        self, commands: list[list[bytes]], scopes: dict[int, int], works: list[Work], wall_ms: int, *, system: bool
    ) -> int:
        self.log_time_ms = max(wall_ms, self.log_time_ms)
        batch = Batch(self.log_time_ms, self._random.getrandbits(63), commands, scopes, system)
        index = self.node.propose(_encode_batch(batch))
        self._proposals.add(Proposal(index, self.node.term, batch, works))
        return index

    def _apply(self, entry: Entry) -> int:
        """Apply one entry; returns what it counts against the turn's budget."""
        proposal, lost = self._proposals.on_applying(entry.index, entry.term)
        if lost:
            self._take_back(lost)
        self.applied = entry.index
        if entry.kind != EntryKind.COMMANDS:
            self._apply_no_op(entry)
            return 1
        batch = proposal.batch if proposal is not None else _decode_batch(entry.data)
        self._entry_time_ms = batch.time_ms
        self.log_time_ms = max(self.log_time_ms, batch.time_ms)
        works: list[Work] = proposal.works if proposal is not None else []
        context = Context(
            index=entry.index,
            term=entry.term,
            time_ms=batch.time_ms,
            seed=batch.seed,
            members=self._members,
            scopes=batch.scopes,
            wants_replies=bool(works),
        )
        if batch.system:
            replies = self.ledger.handle_write(context, batch.commands)
            self._look_at_ledger()
        else:
            replies = self.machine.handle_write(context, batch.commands)
        if works:
            self._write_gathering.on_answered(len(self._writes), len(works))
        if context.effects:
            awaited = self._on_effects(entry, context, is_own=proposal is not None)
            self.effects.answer(works, replies, awaited)
        elif works:
            answer(works, replies)
        return 1 + len(batch.commands)

    def _apply_no_op(self, entry: Entry) -> None:
        """A new leader's first entry. It tells the machine who the members are, as ExRaft's does."""
        context = Context(
            index=entry.index,
            term=entry.term,
            time_ms=self._entry_time_ms,
            seed=entry.index,
            members=self._members,
            wants_replies=False,
        )
        self.machine.handle_system_write("config", list(self._members), context)
        if context.effects:
            self._on_effects(entry, context, is_own=True)

    def _on_effects(self, entry: Entry, context: Context, *, is_own: bool) -> dict[int, list[str]]:
        node = self.node
        is_own = is_own and node.role is Role.LEADER and node.term == entry.term
        awaited = self.effects.on_applied(entry.index, context.effects, is_own=is_own)
        self._look_at_ledger()
        return awaited

    def _look_at_ledger(self) -> None:
        """Something in the ledger has changed that decides what may go into the log."""
        self._screen_versions()
        self.screen.outbox_is_full = len(self.ledger.outbox) >= self.settings.outbox_max

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
            else:
                self._reads.append(work)

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
        deadline_ms = self.machine.deadline_ms()
        if deadline_ms is not None and deadline_ms <= wall_ms:
            # Something is due but not yet gone by log time. An entry under way may carry a time that is late enough.
            read_index = (
                self.node.log.last_index
                if self._proposals and self.log_time_ms >= deadline_ms
                else self._propose_one([], wall_ms)
            )
        self._rounds.begin(self.node, works, read_index)

    def _read_ahead(self, wall_ms: int) -> None:
        works = self._rounds.works_to_read_ahead(self.applied)
        if works:
            self._rounds.on_read_ahead(self._read(works, wall_ms))

    def _answer_reads(self, wall_ms: int) -> None:
        while True:
            works, replies = self._rounds.take_answerable(self.applied)
            if not works:
                return
            self._read_gathering.on_answered(len(self._reads), len(works))
            answer(works, self._read(works, wall_ms) if replies is None else replies)

    def _read(self, works: list[Work], wall_ms: int) -> list[Reply]:
        commands, scopes = join(works)
        context = ReadContext(max(wall_ms, self.log_time_ms), scopes)
        if self.screen.version_check is None:
            return self._handle_read(context, commands)
        return self.screen.read_admitted(self._handle_read, context, commands)

    def _handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        try:
            return self.machine.handle_read(context, commands)
        except NonDeterministic:
            raise
        except Exception as error:
            if len(commands) == 1:
                self._report("read", error)
                return [internal_error(commands[0], error)]
        return read_one_by_one(self._handle_read, context, commands)

    # ---- the machine's other callbacks

    def _is_command(self, kind: Kind, argv: list[bytes]) -> Error | None:  # noqa: ARG002
        row = self.machine.commands.get(argv[0].lower()) if argv else None
        if row is None or row.kind is not Kind.WRITE:
            return None
        try:
            verdict = self.machine.is_command(argv)
        except NonDeterministic:
            raise
        except Exception as error:
            self._report("is_command", error)
            return internal_error(argv, error)
        if isinstance(verdict, Error):
            return verdict
        return None if verdict else Error(f"ERR the machine does not take this {row.name!r}; it was not carried out")

    def _tell_role(self, role: Role) -> None:
        """Standing for election counts from where it changes something: a pre-candidate is a follower still."""
        if role is Role.PRE_CANDIDATE or (role.value == self._told_role and role is not Role.CANDIDATE):
            return
        self._told_role = role.value
        try:
            self.machine.transition(role.value)
        except Exception as error:
            self._report("transition", error)

    # ---- not the leader

    def _route(self) -> None:
        """Send what has gathered to the leader, tell clients where it is, or let it wait for one."""
        leader_id = self.node.leader_id
        if not self._writes and not self._reads:
            return
        works = [*self._writes, *self._reads]
        self._writes, self._reads = deque(), []
        mine = []
        for work in works:
            if work.sink.remote:
                work.sink.on_not_done(LEADERSHIP_LOST)
            else:
                mine.append(work)
        if leader_id is not None and not self.settings.forwards:
            mine = _redirect(mine, leader_id)
        if leader_id is None:
            self._take_back(mine)
        elif leader_id in self._connected:
            for message in self._forwarder.forward(mine, leader_id, self._now_ms, self.settings.entry_bytes_max):
                self._sends.append((leader_id, message))
        else:
            self._take_back(mine)


def _redirect(works: list[Work], leader_id: int) -> list[Work]:
    """Tell the clients of `works` who leads. Returns the reads of those who want them carried there (READONLY)."""
    carried = []
    for work in works:
        if work.sink.readonly and work.kind is not _WRITE:
            carried.append(work)
        else:
            work.sink.on_redirect(leader_id)
    return carried
