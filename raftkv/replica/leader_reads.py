"""Linearizable reads of a member that leads: when their round begins, what is done while it is under way, the answers.

`rounds.py` knows where each read is on that way, `gathering.py` how long they wait before it, `reader.py` asks the
machine. Those of other members: `follower_reads.py`.

All of it is asked in each pass of the hub. So whether there is a round is looked at here, by an attribute, before
`Rounds` is asked: a call that is made once in half a millisecond costs half a microsecond.
"""

from __future__ import annotations

from raftkv.raft.node import Addressed, Node
from raftkv.raft.roles import Role
from raftkv.replica.intake import Intake
from raftkv.replica.proposer import Proposer
from raftkv.replica.reader import Reader
from raftkv.replica.rounds import Rounds
from raftkv.replica.state import ReplicatedState
from raftkv.replica.work import Work, answer, prepare


class LeaderReads:
    def __init__(
        self,
        node: Node,
        state: ReplicatedState,
        intake: Intake,
        proposer: Proposer,
        reader: Reader,
        early_round_clients_min: int,
    ) -> None:
        self._node = node
        self._state = state
        self._intake = intake
        self._proposer = proposer
        self._reader = reader
        self._early_round_clients_min = early_round_clients_min
        self._rounds = Rounds()

    # ---- beginning

    @property
    def may_begin(self) -> bool:
        """Confirmed reads are answered first, as with writes."""
        rounds = self._rounds
        return not rounds.works and not rounds.confirmed and self._intake.reads.is_ripe

    def begin(self, wall_ms: int) -> None:
        """A round for all that wait, if it may begin."""
        if self.may_begin:
            read_index = self._proposer.read_index_for_deadline(wall_ms)
            self._rounds.begin(self._node, self._intake.reads.take_all(), read_index)

    def begin_early(self, coming: int, wall_ms: int) -> list[Addressed]:
        """Of so many clients commands have been received, and not looked at yet. If they are reads, as those were that
        were answered last, and if then all are there who are expected, begin the round now: it travels while they are
        parsed. Returns what to send for it; empty: it has not begun. `join` is to be called when they are submitted,
        and nothing else in between."""
        node, rounds = self._node, self._rounds
        if (
            coming < self._early_round_clients_min
            or node.role is not Role.LEADER
            or not node.voter_peers
            or not self._intake.reads.is_ripe_with(coming)
            or rounds.works
            or rounds.confirmed
            or self._intake.writes
            or self._proposer.proposals
            or self._state.applied < node.term_start
            or node.transferring is not None
            or node.holds_lease
            or self._state.time.deadline_due(wall_ms) is not None
        ):
            return []
        rounds.begin(node, [], 0)
        return node.take_now()

    def join(self) -> None:
        """The round that was begun early is for the reads that are waiting by now."""
        works = self._intake.reads.take_all()
        if works:
            self._rounds.join(works)
        else:
            self._intake.reads.expect_nobody()

    # ---- under way

    @property
    def is_decided(self) -> bool:
        """Whether `settle` has news of a round."""
        return bool(self._rounds.works) and self._rounds.is_decided(self._node)

    @property
    def wants_serving(self) -> bool:
        """Whether `serve` alone would do something. Never for reads by lease: a turn begins with a look at the clock,
        by which they are judged."""
        rounds = self._rounds
        if not rounds.works or rounds.by_lease:
            return False
        return rounds.is_decided(self._node) or rounds.reads_ahead(self._state.applied)

    @property
    def has_read_by_lease(self) -> bool:
        """Whether only the clock is to be asked once more."""
        return self._rounds.has_read_by_lease

    def settle(self) -> None:
        """Look whether the round under way is decided; reads that were in vain are tried again."""
        if self._rounds.works and (in_vain := self._rounds.settle(self._node)):
            self._intake.take_back(in_vain)

    def serve(self, wall_ms: int) -> None:
        """Answer those that are confirmed; those in a round are read ahead."""
        self.settle()
        rounds, applied = self._rounds, self._state.applied
        while rounds.confirmed:
            works, replies = rounds.take_answerable(applied)
            if not works:
                break
            self._intake.reads.on_answered(works)
            answer(works, self._reader.read_works(works, wall_ms) if replies is None else replies)
        if rounds.works and (ahead := rounds.works_to_read_ahead(applied)):
            replies = self._reader.read_works(ahead, wall_ms)
            rounds.on_read_ahead(replies)
            prepare(ahead, replies)

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Those that have waited since before `since_ms`: no longer wanted."""
        return self._rounds.give_up_older_than(since_ms)
