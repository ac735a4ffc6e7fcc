"""One member's part in consensus: messages and time in, messages and disk writes out. No I/O, clock or chance.

How it is driven (`replica/` does this)::

    node.on_tick(now_ms)                 time has passed
    node.on_message(sender, message)     a message came; `now_ms` is that of the last tick
    node.propose(data)                   leader: append an entry
    node.propose_membership(target)      leader: change the members
    node.transfer_leadership(target)     leader: hand over
    node.compact(index)                  a snapshot has everything up to there: forget it
    node.install_snapshot(...)           a snapshot of the leader is durable here: begin behind it
    node.begin_read_round()              leader: prove leadership once more
    node.on_synced(sequence)             all disk writes up to that number are durable
    node.on_link_reset(peer)             what was under way to that peer may be lost
    output = node.take_output()          what to do now; log.commit tells what may be applied
    node.take_now()                      what of it may leave ahead of the rest

Two outgoing lists. `Output.now` may leave at once: a leader's appends travel while its own disk still works.
`Output.after_sync` are promises (votes, acknowledgements) that must not leave before disk write number
`Output.sequence` is durable, for a member that forgets a promise in a crash breaks it later (paper, 5.1: persistent
state is updated *before responding*).

Which function handles which message in which role stands in `_HANDLERS`; a pair that is not there is ignored.

Who is a member is in the log (membership.py), so it changes while this runs: whatever depends on it is worked out
anew by `_adopt`, at the moment a membership enters the log or is cut from it. A request is answered whoever sends it,
for the sender may be a member by an entry that has not come here yet (thesis, 4.2.2); an answer counts only from
members.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from raftkv.errors import BrokenInvariant, HandingOver, LeaseInForce, NotLeader
from raftkv.raft import changes, election, reads, replication, snapshots, transfer
from raftkv.raft.log import Log
from raftkv.raft.membership import MEMBERSHIP, Membership, Memberships, decode_membership
from raftkv.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    RaftMessage,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from raftkv.raft.progress import Mode, Progress
from raftkv.raft.quorum import Half, halves_of
from raftkv.raft.roles import Role, advance_if_elected, become_candidate, become_follower
from raftkv.raft.settings import RaftSettings

Addressed = tuple[int, RaftMessage]

_ANSWERS = frozenset({VoteReply, AppendReply, HeartbeatReply, SnapshotReply})


class Output(msgspec.Struct, gc=False):
    """What one turn asks for. `hard_state`, `base` and `entries` make disk write number `sequence`, if there are any;
    `after_sync` waits for number `sequence` in any case (it may be one that was issued earlier).

    base: (index, term) that the log begins behind from now on. It comes before the entries: if the log has that
    entry, all up to it is forgotten, otherwise all is."""

    sequence: int
    hard_state: HardState | None
    entries: list[Entry]
    now: list[Addressed]
    after_sync: list[Addressed]
    base: tuple[int, int] | None = None


class _Unsynced(msgspec.Struct, gc=False):
    """A disk write that was issued: when done, the log is durable up to `index` and the term up to `term`."""

    sequence: int
    index: int
    term: int
    since_ms: int


class Node:
    def __init__(
        self,
        member_id: int,
        membership: Membership,
        *,
        later_memberships: Iterable[tuple[int, Membership]] = (),
        hard_state: HardState,
        log: Log,
        settings: RaftSettings,
        random: Random,
        now_ms: int,
    ) -> None:
        """`hard_state` and `log` are what the log store recovered. `membership` is that in force at the log's base (for
        a new cluster, the list it is begun with; empty for a member that is to join one), `later_memberships` are
        those in the log, with their indexes."""
        self.id = member_id
        self.settings = settings
        self.log = log
        self.now_ms = now_ms
        self._random = random

        # A snapshot is durable before the term of the leader it came from may be; its own term proves almost as much.
        self.term = max(hard_state.term, log.last_term)
        self.vote = hard_state.vote if self.term == hard_state.term else 0
        self.role = Role.FOLLOWER
        self.entered: list[Role] = []
        """Roles taken since somebody last looked, in order; to be emptied by whoever looks."""

        self.leader_id: int | None = None
        self.leader_heard_ms = now_ms
        self.votes: dict[int, bool] = {}

        self.progress: dict[int, Progress] = {}
        self.snapshot_inputs: list[tuple[int, SnapshotChunk | SnapshotReply]] = []
        """Of the leader, or of those it sends a snapshot to; to be emptied by whoever looks."""
        self.wanting_snapshot: list[int] = []
        """Leader: who lacks entries that are compacted away, as of the last output."""

        self.transferring: int | None = None
        """Leader: whom it hands over to; nothing is proposed meanwhile."""
        self.transfer_told = False
        self.transfer_due_ms = 0
        self.catching_up: dict[int, changes.Round] = {}
        self.leaving: dict[int, changes.Farewell] = {}
        """Leader: who is no member any more, and is still sent the log until it knows."""

        self.counted: list[tuple[Half, list[Progress]]] = []
        """Leader: each half with what is known of its other voters; at hand, as every commit and read round asks."""
        self.term_start = 0
        self.round = 0
        self.confirmed_round = 0
        self.round_begun_ms = 0
        self.rounds_sent: deque[tuple[int, int]] = deque()
        """(round, when it was sent) of those not confirmed; kept where there are leases."""
        self.lease_from_ms: int | None = None
        """When the newest confirmed round was sent."""
        self.lease_is_over = False
        """No more in this term: another member was told to stand for election."""
        self.votes_from_ms = now_ms + (settings.election_timeout_ms_min if settings.lease_drift_percent_max else 0)
        """No vote before, for nobody: a leader may read by lease. After a start, by an answer of the life before."""

        self.asked: tuple[int, ...]
        """Whom the newest read round asked first."""
        self.heartbeat_due_ms = 0

        self._now: list[Addressed] = []
        self._after_sync: list[Addressed] = []
        self._unwritten: list[Entry] = []
        self._base: tuple[int, int] | None = None
        self._hard_state_changed = False
        self._written_commit = hard_state.commit
        self._sequence = 0
        self._unsynced: deque[_Unsynced] = deque()
        self._durable_term = self.term

        self.memberships = Memberships(log.base_index, membership, later_memberships)
        self._adopt()
        self.reset_election_timer()
        if self.voters == {member_id}:
            self.election_due_ms = self.votes_from_ms  # nobody else could be leading

    # ---- inputs

    def on_clock(self, now_ms: int) -> None:
        """Messages from here on arrive at `now_ms`; no timer is looked at before the next tick."""
        self.now_ms = max(now_ms, self.now_ms)

    def on_tick(self, now_ms: int) -> None:
        """Time is now `now_ms` (milliseconds of any clock that does not go back)."""
        self.on_clock(now_ms)
        if self.role is Role.LEADER:
            reads.check_quorum(self)
        elif self.now_ms >= self.election_due_ms:
            election.on_election_timeout(self)
        if self.role is Role.LEADER:
            self._keep_leading()

    def _keep_leading(self) -> None:
        reads.ask_again(self)
        if self.now_ms >= self.heartbeat_due_ms:
            # Read rounds send heartbeats too, but do not count here: a steady stream of reads would otherwise put off
            # the search for lost appends for ever.
            self.heartbeat_due_ms = self.now_ms + self.settings.heartbeat_interval_ms
            replication.look_for_lost_appends(self)
            changes.on_heartbeat_due(self)
            reads.on_heartbeat_due(self)
            replication.send_heartbeats(self, self.peers)
            transfer.on_heartbeat_due(self)

    def on_message(self, sender: int, message: RaftMessage) -> None:
        """A message from another member. Terms are settled first (paper, 5.1), then the table decides."""
        if sender == self.id or (sender not in self.members and self._is_not_for_us(sender, message)):
            return
        kind = type(message)
        if kind is VoteRequest:
            election.on_vote_request(self, sender, message)  # type: ignore[arg-type]
            return
        if message.term > self.term and not (isinstance(message, VoteReply) and message.pre and message.granted):
            become_follower(self, message.term, None)
        elif message.term < self.term:
            self._answer_stale(sender, message)
            return
        handler = _HANDLERS.get((self.role, kind))
        if handler is not None:
            handler(self, sender, message)

    def _is_not_for_us(self, sender: int, message: RaftMessage) -> bool:
        """Of a sender that is no member as far as we know: answers mean nothing, but those of members that we have
        removed ourselves and that do not know it yet; and these must not depose us by their term."""
        if type(message) in _ANSWERS:
            return sender not in self.leaving or message.term > self.term
        # Once the removal is committed no election needs it, and an operator at its console must not force one.
        return type(message) is VoteRequest and self.membership_is_committed and sender in self.membership.removed

    def _answer_stale(self, sender: int, message: RaftMessage) -> None:
        """A deposed leader must learn of the new term, or it would go on for ever; old answers mean nothing."""
        if isinstance(message, Append):
            # About no place in the log (0): the sender may meanwhile lead this very term, and would take a rejection
            # of an old append for a sign that the logs differ from the first entry on.
            self.promise(sender, AppendReply(self.term, False, 0, 0, 0, 0))
        elif isinstance(message, Heartbeat):
            self.promise(sender, HeartbeatReply(self.term, 0))
        elif isinstance(message, SnapshotChunk):
            self.promise(sender, SnapshotReply(self.term, 0, 0, False))

    def propose(self, data: bytes) -> int:
        """Append a COMMANDS entry and return its index. Raises NotLeader, HandingOver."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        if self.transferring is not None:
            raise HandingOver(f"leadership goes to member {self.transferring}")
        return self.append_own(EntryKind.COMMANDS, data)

    def propose_membership(self, target: Membership) -> int:
        """Change the members to `target` (its `outgoing` and `removed` are worked out here); returns the index of the
        first entry for it, or of the present membership when nothing would change. It is done once
        `membership_is_committed` and not `membership.is_joint`; also a later leader brings it to its end.

        Raises NotLeader, UnstableLeader, UnstableConfig, HandingOver, LastServer, InvalidMembership.
        """
        return changes.propose(self, target)

    def transfer_leadership(self, target: int | None = None) -> None:
        """Hand over to the voter `target`, or the one that is up to date the most; `transferring` until it is done or
        given up. Raises NotLeader, NotVoter."""
        transfer.start(self, target)

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`, which is applied, and in a snapshot that is durable."""
        if index > self.log.base_index:
            self.log.compact(index)
            self._begin_behind(index)

    def install_snapshot(self, index: int, term: int, membership: Membership) -> bool:
        """Begin behind a snapshot of the leader that is durable here and holds all up to the entry (`index`, `term`);
        what the log has behind it is kept if it agrees there. False: nothing was done, we have all that already."""
        return snapshots.install(self, index, term, membership)

    def begin_read_round(self) -> int:
        """Start a read round (see reads.py) and return its number. Raises NotLeader."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        return reads.begin_round(self)

    def campaign(self) -> None:
        """Stand for election now, as if the election timeout had passed: it succeeds only where no leader is heard.
        Nothing happens while this member owes a lease."""
        if self.role is not Role.LEADER and not self.owes_lease:
            election.on_election_timeout(self)

    def trigger_election(self) -> None:
        """Become candidate now, whoever leads (ExRaft's trigger_election). A leader gives up its leadership; a
        candidate goes on as it is, and so does who is no voter. Where there are leases, only a leader may force
        others to vote although they hear one. Raises LeaseInForce."""
        if self.role is Role.CANDIDATE or not self.may_campaign:
            return
        if self.settings.lease_drift_percent_max and self.role is not Role.LEADER:
            if self.owes_lease:
                raise LeaseInForce(self.leader_id)
            self.campaign()
        else:
            become_candidate(self, forced=True)

    def on_synced(self, sequence: int) -> None:
        """Disk writes up to number `sequence` are durable."""
        while self._unsynced and self._unsynced[0].sequence <= sequence:
            done = self._unsynced.popleft()
            self.log.synced = max(self.log.synced, done.index)
            self._durable_term = done.term
        self.log.check()
        if self.role is Role.LEADER:
            replication.commit_what_a_quorum_has(self)
        elif self.role is Role.CANDIDATE:
            advance_if_elected(self)

    def on_link_reset(self, peer: int) -> None:
        """The connection to `peer` is new: find out again where the logs agree, at once."""
        progress = self.progress.get(peer)
        if progress is not None:
            # While probing, `next` stays: a new leader knows no match yet, and must not begin again at the first entry.
            progress.become_probe(progress.match + 1 if progress.mode is Mode.REPLICATE else progress.next)

    def take_output(self) -> Output:
        """Everything that the inputs since the last call have led to."""
        if self.role is Role.LEADER:
            replication.send_appends(self)
            if self.transferring is not None:
                transfer.hand_over_when_equal(self)
        entries, self._unwritten = self._unwritten, []
        hard_state = None
        is_written = bool(entries) or self._base is not None
        if self._hard_state_changed or (is_written and self.log.commit > self._written_commit):
            hard_state = HardState(self.term, self.vote, self.log.commit)
            self._hard_state_changed = False
            self._written_commit = self.log.commit
        if is_written or hard_state is not None:
            self._sequence += 1
            self._unsynced.append(_Unsynced(self._sequence, self.log.last_index, self.term, self.now_ms))
        output = Output(self._sequence, hard_state, entries, self._now, self._after_sync, self._base)
        self._now, self._after_sync, self._base = [], [], None
        return output

    def take_now(self) -> list[Addressed]:
        """Of the output, what may leave at once."""
        now, self._now = self._now, []
        return now

    # ---- what can be asked

    @property
    def leads_and_is_ready(self) -> bool:
        """Leader whose first own entry is committed: only now does it know what is committed (paper, section 8)."""
        return self.role is Role.LEADER and self.log.commit >= self.term_start

    @property
    def membership(self) -> Membership:
        """The newest in the log, which counts."""
        return self.memberships.newest

    @property
    def membership_index(self) -> int:
        return self.memberships.index

    @property
    def membership_is_committed(self) -> bool:
        return self.memberships.index <= self.log.commit

    @property
    def is_removed(self) -> bool:
        """Whether it is certain that this member was removed, for ever."""
        return self.membership_is_committed and self.id in self.membership.removed

    @property
    def may_campaign(self) -> bool:
        """Voters stand for election, and those that a membership not known to be committed would make none: the only
        log with that entry may be theirs, and then nobody else can be elected (thesis, 4.2.2)."""
        if self.id in self.voters:
            return True
        before = self.memberships.before_newest
        return before is not None and not self.membership_is_committed and self.id in before.voters + before.outgoing

    @property
    def holds_lease(self) -> bool:
        """Leader: whether it may answer what it has read already, without a round (reads.py)."""
        return reads.holds_lease(self)

    @property
    def owes_lease(self) -> bool:
        """Whether a leader may read by this voter's answer still, so that it takes part in no election but the leader's
        own (reads.py)."""
        return self.now_ms < self.votes_from_ms

    @property
    def term_is_durable(self) -> bool:
        return self._durable_term == self.term

    @property
    def disk_is_stalled(self) -> bool:
        return bool(self._unsynced) and self.now_ms - self._unsynced[0].since_ms >= self.settings.disk_stall_ms_max

    # ---- for the handlers

    def send(self, peer: int, message: RaftMessage) -> None:
        """To leave now: depends on nothing that is not durable."""
        self._now.append((peer, message))

    def promise(self, peer: int, message: RaftMessage, *, needs_entries: bool = True) -> None:
        """To leave once everything it depends on is durable. Without `needs_entries` that is the term alone, which
        nearly always is already, so a heartbeat's answer does not queue behind a sync of entries."""
        waits = bool(self._unsynced or self._unwritten) if needs_entries else not self.term_is_durable
        waits = waits or self._hard_state_changed or self._base is not None
        (self._after_sync if waits else self._now).append((peer, message))

    def set_term_and_vote(self, term: int, vote: int) -> None:
        if (term, vote) != (self.term, self.vote):
            if term < self.term or (term == self.term and self.vote not in (0, vote)):
                raise BrokenInvariant(f"term {self.term} vote {self.vote} cannot become term {term} vote {vote}")
            self.term, self.vote = term, vote
            self._hard_state_changed = True

    def append_own(self, kind: EntryKind, data: bytes) -> int:
        entry = Entry(self.log.last_index + 1, self.term, int(kind), data)
        self.log.append(entry)
        self._unwritten.append(entry)
        if kind is EntryKind.MEMBERSHIP:
            self._take_over(entry)
        return entry.index

    def accept(self, entries: Sequence[Entry]) -> None:
        """Append these entries. A membership among them is in force from here on."""
        for entry in entries:
            self.log.append(entry)
            if entry.kind == MEMBERSHIP:
                self._take_over(entry)
        self._unwritten.extend(entries)

    def _take_over(self, entry: Entry) -> None:
        self.memberships.append(entry.index, decode_membership(entry.data))
        self._adopt()

    def cut_from(self, index: int) -> None:
        """Drop a conflicting suffix. Writes under way that contained it no longer vouch for it: otherwise an entry
        cut here and accepted again later would count as durable when only its first copy was (the ABA problem)."""
        self.log.cut_from(index)
        self._unwritten = [entry for entry in self._unwritten if entry.index < index]
        for write in self._unsynced:
            write.index = min(write.index, index - 1)
        if self.memberships.index >= index:
            self.memberships.cut_from(index)
            self._adopt()

    def begin_behind_snapshot(self, index: int, term: int, membership: Membership) -> None:
        """The log is of no use any more: go on from a snapshot. As in `cut_from`, no write under way may vouch for
        entries that are yet to come; up to `index` the snapshot does."""
        self.log.begin_behind(index, term)
        for write in self._unsynced:
            write.index = min(write.index, index)
        self.memberships = Memberships(index, membership)
        self._adopt()
        self._begin_behind(index)

    def _begin_behind(self, index: int) -> None:
        self.memberships.compact(index)
        self._base = (index, self.log.base_term)
        # The base is written first, and what lies below it would not fit behind it.
        self._unwritten = [entry for entry in self._unwritten if entry.index > index]

    def _adopt(self) -> None:
        """Go by the newest membership: who may vote, how many are needed, who is sent the log."""
        membership = self.memberships.newest
        self.halves = halves_of(membership, self.id, self.settings.min_majority)
        self.quorum = self.halves[0].needed
        self.members = membership.members
        self.voters = frozenset(membership.voters + membership.outgoing)
        self.voter_peers = tuple(sorted(self.voters - {self.id}))
        self.asked = ()
        self.is_changing = True
        """Whether something is to be done when this membership is committed."""
        if self.role is Role.LEADER:
            changes.on_adopted(self)
        self.keep_peers()

    def on_elected(self) -> None:
        changes.on_elected(self)

    def keep_peers(self) -> None:
        """Have one `Progress`, while leading, for each member and each that is still told that it is none."""
        self.peers = tuple(sorted({*self.members, *self.leaving} - {self.id}))
        if self.role is Role.LEADER:
            known, next_index = self.progress, self.log.last_index + 1
            self.progress = {peer: known.get(peer) or Progress(next_index, self.now_ms) for peer in self.peers}
            self.counted = [(half, [self.progress[peer] for peer in half.peers]) for half in self.halves]

    def advance_commit(self, index: int) -> None:
        if index > self.log.commit:
            self.log.commit = index
            self.log.check()
            if self.is_changing and self.memberships.index <= index:
                changes.on_membership_committed(self)

    def write_commit(self) -> None:
        """Have the commit index on disk although nothing else is written."""
        self._hard_state_changed = True

    def reset_election_timer(self) -> None:
        settings = self.settings
        span_ms = settings.election_timeout_ms_max - settings.election_timeout_ms_min
        # Not `randrange`, which takes ten calls, for each heartbeat of a leader that is asked to read.
        self.election_due_ms = self.now_ms + settings.election_timeout_ms_min + int(self._random.random() * span_ms)


_HANDLERS: dict[tuple[Role, type], Callable[[Node, int, Any], None]] = {
    (Role.FOLLOWER, Append): replication.on_append,
    (Role.PRE_CANDIDATE, Append): replication.on_append,
    (Role.CANDIDATE, Append): replication.on_append,
    (Role.LEADER, Append): replication.on_append,  # refused: two leaders in one term
    (Role.FOLLOWER, Heartbeat): reads.on_heartbeat,
    (Role.PRE_CANDIDATE, Heartbeat): reads.on_heartbeat,
    (Role.CANDIDATE, Heartbeat): reads.on_heartbeat,
    (Role.LEADER, Heartbeat): reads.on_heartbeat,  # refused: two leaders in one term
    (Role.FOLLOWER, SnapshotChunk): snapshots.on_snapshot_chunk,
    (Role.PRE_CANDIDATE, SnapshotChunk): snapshots.on_snapshot_chunk,
    (Role.CANDIDATE, SnapshotChunk): snapshots.on_snapshot_chunk,
    (Role.LEADER, SnapshotChunk): snapshots.on_snapshot_chunk,  # refused: two leaders in one term
    (Role.FOLLOWER, TimeoutNow): transfer.on_timeout_now,
    (Role.PRE_CANDIDATE, TimeoutNow): transfer.on_timeout_now,
    (Role.PRE_CANDIDATE, VoteReply): election.on_vote_reply,
    (Role.CANDIDATE, VoteReply): election.on_vote_reply,
    (Role.LEADER, AppendReply): replication.on_append_reply,
    (Role.LEADER, HeartbeatReply): reads.on_heartbeat_reply,
    (Role.LEADER, SnapshotReply): snapshots.on_snapshot_reply,
}
