"""What a leader owes the ledger (`Ledger.duties`): versions, limits, effects that are done, sessions that expire.

One entry at a time, or each tick until it is applied would bring another.
"""

from __future__ import annotations

from raftkv.replica.effects import EffectDesk
from raftkv.replica.proposer import Proposer
from raftkv.replica.sessions import Limits
from raftkv.replica.state import ReplicatedState
from raftkv.replica.versions import Versions


class Duties:
    def __init__(
        self, state: ReplicatedState, versions: Versions, effects: EffectDesk, limits: Limits, proposer: Proposer
    ) -> None:
        self.are_due = False
        """Whether to look for some: time has passed, or an effect is done."""

        self._state = state
        self._versions = versions
        self._effects = effects
        self._limits = limits
        self._proposer = proposer
        self._index = 0
        """The newest entry that this leader has proposed by duty."""

    def on_elected(self) -> None:
        """What an earlier leadership has proposed may be lost."""
        self._index = 0

    def propose(self, wall_ms: int) -> None:
        """Put what is owed into the log."""
        self.are_due = False
        if self._state.applied < self._index:
            return
        effects_done = self._effects.done()
        commands = self._state.ledger.duties(self._limits, self._versions.lowest, wall_ms, effects_done)
        if commands is not None:
            self._index = self._proposer.propose_system(commands, wall_ms)
