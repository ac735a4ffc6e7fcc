"""Carries out the machine's effects: outside of the hub, in tasks of their own, so that none holds up anybody.

The replica says what is due (`replica/effects.py` has the promises); `StateMachine.run_effect` does it. A plain
function runs in this thread and must not block; one that returns an awaitable is awaited (`trio.to_thread` is there for
what blocks), but not for longer than `effects.timeout_ms`: it is then cancelled, and has failed. What an effect raises
is logged and counted, and harms nobody: a plain effect has then had its one chance, a durable one is tried again after
a while, until it ends well or another member leads.

At most `effects.concurrent_max` run at a time. No order is promised: trio begins tasks in any, and they may overtake
each other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from raftkv.machines.interface import StateMachine
from raftkv.replica import Replica
from raftkv.replica.effects import Due
from raftkv.settings import Effects as EffectSettings


class EffectStats:
    """Counters since the start of this member's life."""

    def __init__(self) -> None:
        self.run = 0
        self.failed = 0
        self.dropped = 0


class Effects:
    """`wake`: have the hub take a turn."""

    def __init__(
        self,
        replica: Replica,
        settings: EffectSettings,
        stats: EffectStats,
        random: Random,
        wake: Callable[[], None],
        log: Any,
    ) -> None:
        self.stats = stats
        self._replica = replica
        self._machine: StateMachine = replica.machine
        self._settings = settings
        self._random = random
        self._wake = wake
        self._log = log
        self._slots = trio.CapacityLimiter(settings.concurrent_max)
        self._stirred = trio.Event()
        self._durable: set[trio.CancelScope] = set()
        self._waiting = 0

    def on_stirred(self) -> None:
        """The replica has something due, or does not lead any more."""
        self._stirred.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._stirred.wait()
                self._stirred = trio.Event()
                desk = self._replica.effects
                if not desk.leading:
                    # The next leader carries them out; two at a time would be allowed, but is nobody's wish.
                    for scope in self._durable:
                        scope.cancel()
                for due in desk.take_due():
                    self._begin(nursery, due)

    def _begin(self, nursery: trio.Nursery, due: Due) -> None:
        if due.effect.durable:
            nursery.start_soon(self._until_done, due)
        elif self._waiting < self._settings.waiting_max:
            self._waiting += 1
            nursery.start_soon(self._once, due, self._replica.effects.office)
        else:
            self._drop(due, "effects.waiting_max")

    def _drop(self, due: Due, reason: str) -> None:
        self.stats.dropped += 1
        self._log.warning("effect_dropped", effect=due.effect.name, id=due.id, reason=reason)
        self._end(due, False)

    async def _once(self, due: Due, office: int) -> None:
        try:
            await self._try(due, office)
        finally:
            self._waiting -= 1

    async def _until_done(self, due: Due) -> None:
        settings = self._settings
        wait_ms = settings.retry_ms_min
        with trio.CancelScope() as scope:
            self._durable.add(scope)
            try:
                while not await self._try(due):
                    await trio.sleep(wait_ms * (0.5 + self._random.random()) / 1000)
                    wait_ms = min(2 * wait_ms, settings.retry_ms_max)
            finally:
                self._durable.discard(scope)

    async def _try(self, due: Due, office: int | None = None) -> bool:
        """Carry it out; whether that went well. `office`: not unless the leadership is still the same when its turn
        has come."""
        async with self._slots:
            well = False
            if office not in (None, self._replica.effects.office):
                self._drop(due, "another member leads")
                return False
            try:
                result = self._machine.run_effect(due.effect, due.id)
                if inspect.isawaitable(result):
                    with trio.fail_after(self._settings.timeout_ms / 1000):
                        await result
                well = True
            except Exception as error:
                self.stats.failed += 1
                self._log.warning(
                    "effect_failed", effect=due.effect.name, id=due.id, durable=due.effect.durable, exc_info=error
                )
            self.stats.run += well
        self._end(due, well)
        return well

    def _end(self, due: Due, well: bool) -> None:
        self._replica.on_effect_ended(due.id, well)
        self._wake()
