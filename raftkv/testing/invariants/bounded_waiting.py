"""Whoever asks a running member is answered in bounded time, if only by an error that says what is certain
(ARCHITECTURE, rules 8 and 10; the paper leaves clients to their own patience, section 8).

The bound is generous: a command may wait for a leader, travel to it, wait there, and do so once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.testing.invariants.base import Facts, Invariant

if TYPE_CHECKING:
    from raftkv.testing.member import Member


class BoundedWaiting(Invariant):
    name = "bounded waiting"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._since: dict[int, tuple[int, int]] = {}
        """Member -> the work that it has had longest, and when it was first seen (ms that the member was awake)."""
        settings = facts.settings
        self._limit_ms = 2 * (settings.no_leader_wait_ms + settings.request_timeout_ms) + 1000

    def on_start(self, member: Member) -> None:
        self._since.pop(member.id, None)

    def after_step(self, member: Member) -> None:
        oldest = next(iter(member.opened), None)
        number, since_ms = self._since.get(member.id, (None, 0))
        if oldest is None:
            self._since.pop(member.id, None)
        elif oldest != number:
            self._since[member.id] = (oldest, member.awake_ms)
        else:
            waited_ms = member.awake_ms - since_ms
            self.require(waited_ms <= self._limit_ms, f"operation {oldest} has waited {waited_ms} ms at {member.id}")
