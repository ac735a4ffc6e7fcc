"""What a leader puts into the log: all writes that have gathered as one entry, the time, commands of its own.

The next entry goes when enough works are there (`gathering.py`), when fewer than so many are on their way, and when
what is committed is answered: those clients come back with the next works.
"""

from __future__ import annotations

from random import Random

import msgspec

from raftkv.machines.interface import Batch
from raftkv.raft.node import Node
from raftkv.replica.intake import Intake
from raftkv.replica.proposals import Proposal, Proposals
from raftkv.replica.screen import Screen
from raftkv.replica.settings import ReplicaSettings
from raftkv.replica.state import ReplicatedState
from raftkv.replica.work import Work, join

_encode_batch = msgspec.msgpack.Encoder().encode


class Proposer:
    def __init__(
        self,
        node: Node,
        state: ReplicatedState,
        intake: Intake,
        screen: Screen,
        settings: ReplicaSettings,
        random: Random,
    ) -> None:
        self.settings = settings
        self.proposals = Proposals()
        """What is in the log, and whose fate is not known yet."""

        self._node = node
        self._state = state
        self._time = state.time
        self._intake = intake
        self._screen = screen
        self._random = random

    @property
    def may_propose(self) -> bool:
        """Committed entries are answered first: their clients come back with the next works."""
        return (
            self._intake.writes.is_ripe
            and len(self.proposals) < self.settings.proposals_inflight_max
            and self._state.applied == self._node.log.commit
        )

    def propose(self, wall_ms: int) -> None:
        """Put what has gathered into the log: one entry, more only when it is too large for one."""
        while self.may_propose:
            works = self._intake.writes.take(self.settings.entry_bytes_max)
            if self._screen.concerns(works):
                admitted = self._screen.admit(works)
                if not admitted:
                    self._intake.writes.on_answered(works)
                    continue
                works = admitted
            commands, scopes = join(works)
            system = self._screen.has_system and any(work.system for work in works)
            self._append(commands, scopes, works, wall_ms, system=system)
        if not self.proposals and self._time.deadline_due(wall_ms) is not None:
            self._propose_time(wall_ms)

    def read_index_for_deadline(self, wall_ms: int) -> int:
        """What must be applied before reads, so that what is due by the machine's deadline is gone by log time, too; 0
        when nothing is due."""
        deadline_ms = self._time.deadline_due(wall_ms)
        if deadline_ms is None:
            return 0
        if self.proposals and self._time.newest_ms >= deadline_ms:
            return self._node.log.last_index  # an entry under way carries a time that is late enough
        return self._propose_time(wall_ms)

    def _propose_time(self, wall_ms: int) -> int:
        """An entry without commands: it only tells the time."""
        self._time.on_telling(wall_ms)
        return self._append([], {}, [], wall_ms, system=False)

    def propose_system(self, commands: list[list[bytes]], wall_ms: int) -> int:
        """Put this leader's own commands for the ledger into the log, which no client may send. Returns their index."""
        return self._append(commands, {}, [], wall_ms, system=True)

    def _append(
        self, commands: list[list[bytes]], scopes: dict[int, int], works: list[Work], wall_ms: int, *, system: bool
    ) -> int:
        batch = Batch(self._time.stamp(wall_ms), self._random.getrandbits(63), commands, scopes, system)
        index = self._node.propose(_encode_batch(batch))
        self.proposals.add(Proposal(index, self._node.term, batch, works))
        return index
