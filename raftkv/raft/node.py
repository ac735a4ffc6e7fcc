"""One member's part in consensus: messages and time in, messages and disk writes out. No I/O, clock or chance.

How it is driven (`replica/` does this)::

    node.on_tick(now_ms)                 time has passed
    node.on_message(sender, message)     a message came; `now_ms` is that of the last tick
    node.propose(data)                   leader: append an entry
    node.begin_read_round()              leader: prove leadership once more
    node.on_synced(sequence)             all disk writes up to that number are durable
    node.on_link_reset(peer)             what was under way to that peer may be lost
    output = node.take_output()          what to do now; log.commit tells what may be applied

Two outgoing lists. `Output.now` may leave at once: a leader's appends travel while its own disk still works.
`Output.after_sync` are promises (votes, acknowledgements) that must not leave before disk write number
`Output.sequence` is durable, for a member that forgets a promise in a crash breaks it later (paper, 5.1: persistent
state is updated *before responding*).

Which function handles which message in which role stands in `_HANDLERS`; a pair that is not there is ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from raftkv.errors import BrokenInvariant, NotLeader
from raftkv.raft import election, reads, replication
from raftkv.raft.log import Log
from raftkv.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    RaftMessage,
    VoteReply,
    VoteRequest,
)
from raftkv.raft.progress import Mode, Progress
from raftkv.raft.quorum import majority
from raftkv.raft.roles import Role, become_candidate, become_follower
from raftkv.raft.settings import RaftSettings

Addressed = tuple[int, RaftMessage]


class Output(msgspec.Struct, gc=False):
    """What one turn asks for. `hard_state` and `entries` make disk write number `sequence`, if there are any;
    `after_sync` waits for number `sequence` in any case (it may be one that was issued earlier)."""

    sequence: int
    hard_state: HardState | None
    entries: list[Entry]
    now: list[Addressed]
    after_sync: list[Addressed]


class _Unsynced(msgspec.Struct, gc=False):
    """A disk write that was issued: when done, the log is durable up to `index` and the term up to `term`."""

    sequence: int
    index: int
    term: int


class Node:
    def __init__(
        self,
        member_id: int,
        voters: Iterable[int],
        *,
        hard_state: HardState,
        log: Log,
        settings: RaftSettings,
        random: Random,
        now_ms: int,
    ) -> None:
        """`voters` includes this member; `hard_state` and `log` are what the log store recovered."""
        self.id = member_id
        self.voters = frozenset(voters)
        if member_id not in self.voters:
            raise BrokenInvariant(f"member {member_id} is not among the voters {sorted(self.voters)}")
        self.peers = tuple(sorted(self.voters - {member_id}))
        self.quorum = majority(len(self.voters), settings.min_majority)
        self.settings = settings
        self.log = log
        self.now_ms = now_ms
        self._random = random

        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.entered: list[Role] = []
        """Roles taken since somebody last looked, in order; to be emptied by whoever looks."""

        self.leader_id: int | None = None
        self.leader_heard_ms = now_ms
        self.votes: dict[int, bool] = {}

        self.progress: dict[int, Progress] = {}
        self.term_start = 0
        self.round = 0
        self.confirmed_round = 0
        self.round_begun_ms = 0
        self.asked: tuple[int, ...] = ()
        """Whom the newest read round asked first."""
        self.heartbeat_due_ms = 0

        self._now: list[Addressed] = []
        self._after_sync: list[Addressed] = []
        self._unwritten: list[Entry] = []
        self._hard_state_changed = False
        self._written_commit = hard_state.commit
        self._sequence = 0
        self._unsynced: deque[_Unsynced] = deque()
        self._durable_term = self.term

        self.reset_election_timer()
        if len(self.voters) == 1:
            self.election_due_ms = now_ms  # nobody else could be leading

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
            replication.send_heartbeats(self, self.peers)

    def on_message(self, sender: int, message: RaftMessage) -> None:
        """A message from another voter. Terms are settled first (paper, 5.1), then the table decides."""
        if sender not in self.voters or sender == self.id:
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

    def _answer_stale(self, sender: int, message: RaftMessage) -> None:
        """A deposed leader must learn of the new term, or it would go on for ever; old answers mean nothing."""
        if isinstance(message, Append):
            # About no place in the log (0): the sender may meanwhile lead this very term, and would take a rejection
            # of an old append for a sign that the logs differ from the first entry on.
            self.promise(sender, AppendReply(self.term, False, 0, 0, 0, 0))
        elif isinstance(message, Heartbeat):
            self.promise(sender, HeartbeatReply(self.term, 0))

    def propose(self, data: bytes) -> int:
        """Append a COMMANDS entry and return its index. Raises NotLeader."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        return self.append_own(EntryKind.COMMANDS, data)

    def begin_read_round(self) -> int:
        """Start a read round (see reads.py) and return its number. Raises NotLeader."""
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        return reads.begin_round(self)

    def campaign(self) -> None:
        """Stand for election now, as if the election timeout had passed: it succeeds only where no leader is heard."""
        if self.role is not Role.LEADER:
            election.on_election_timeout(self)

    def trigger_election(self) -> None:
        """Become candidate now, whoever leads (ExRaft's trigger_election). A leader gives up its leadership; a
        candidate goes on as it is."""
        if self.role is not Role.CANDIDATE:
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
        entries, self._unwritten = self._unwritten, []
        hard_state = None
        if self._hard_state_changed or (entries and self.log.commit > self._written_commit):
            hard_state = HardState(self.term, self.vote, self.log.commit)
            self._hard_state_changed = False
            self._written_commit = self.log.commit
        if entries or hard_state is not None:
            self._sequence += 1
            self._unsynced.append(_Unsynced(self._sequence, self.log.last_index, self.term))
        output = Output(self._sequence, hard_state, entries, self._now, self._after_sync)
        self._now, self._after_sync = [], []
        return output

    # ---- what can be asked

    @property
    def leads_and_is_ready(self) -> bool:
        """Leader whose first own entry is committed: only now does it know what is committed (paper, section 8)."""
        return self.role is Role.LEADER and self.log.commit >= self.term_start

    # ---- for the handlers

    def send(self, peer: int, message: RaftMessage) -> None:
        """To leave now: depends on nothing that is not durable."""
        self._now.append((peer, message))

    def promise(self, peer: int, message: RaftMessage, *, needs_entries: bool = True) -> None:
        """To leave once everything it depends on is durable. Without `needs_entries` that is the term alone, which
        nearly always is already, so a heartbeat's answer does not queue behind a sync of entries."""
        waits = bool(self._unsynced or self._unwritten) if needs_entries else self._durable_term != self.term
        waits = waits or self._hard_state_changed
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
        return entry.index

    def accept(self, entries: Sequence[Entry]) -> None:
        """Append a leader's entries."""
        for entry in entries:
            self.log.append(entry)
        self._unwritten.extend(entries)

    def cut_from(self, index: int) -> None:
        """Drop a conflicting suffix. Writes under way that contained it no longer vouch for it: otherwise an entry
        cut here and accepted again later would count as durable when only its first copy was (the ABA problem)."""
        self.log.cut_from(index)
        self._unwritten = [entry for entry in self._unwritten if entry.index < index]
        for write in self._unsynced:
            write.index = min(write.index, index - 1)

    def advance_commit(self, index: int) -> None:
        if index > self.log.commit:
            self.log.commit = index
            self.log.check()

    def reset_election_timer(self) -> None:
        settings = self.settings
        self.election_due_ms = self.now_ms + self._random.randrange(
            settings.election_timeout_ms_min, settings.election_timeout_ms_max
        )


_HANDLERS: dict[tuple[Role, type], Callable[[Node, int, Any], None]] = {
    (Role.FOLLOWER, Append): replication.on_append,
    (Role.PRE_CANDIDATE, Append): replication.on_append,
    (Role.CANDIDATE, Append): replication.on_append,
    (Role.LEADER, Append): replication.on_append,  # refused: two leaders in one term
    (Role.FOLLOWER, Heartbeat): reads.on_heartbeat,
    (Role.PRE_CANDIDATE, Heartbeat): reads.on_heartbeat,
    (Role.CANDIDATE, Heartbeat): reads.on_heartbeat,
    (Role.LEADER, Heartbeat): reads.on_heartbeat,  # refused: two leaders in one term
    (Role.PRE_CANDIDATE, VoteReply): election.on_vote_reply,
    (Role.CANDIDATE, VoteReply): election.on_vote_reply,
    (Role.LEADER, AppendReply): replication.on_append_reply,
    (Role.LEADER, HeartbeatReply): reads.on_heartbeat_reply,
}
