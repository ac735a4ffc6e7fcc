"""Log time never goes back, whatever the members' clocks do and whoever leads (ARCHITECTURE, rule 6); keys expire by
it, so a key that is gone stays gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from raftkv.machines.interface import Batch
from raftkv.raft.messages import EntryKind
from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member

_decode_batch = msgspec.msgpack.Decoder(Batch).decode


class LogTime(Invariant):
    name = "log time"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._checked = 0
        self._time_ms = 0

    def after_step(self, member: Member) -> None:  # noqa: ARG002
        committed = self.facts.committed
        for entry in committed[self._checked :]:
            if entry.kind == EntryKind.COMMANDS:
                time_ms = _decode_batch(entry.data).time_ms
                self.require(time_ms >= self._time_ms, f"entry {entry.index}: {self._time_ms} to {time_ms}")
                self._time_ms = time_ms
        self._checked = len(committed)
