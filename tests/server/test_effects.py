"""Carrying effects out: sync and async, failing and hanging, never more at a time than allowed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import trio

from raftkv.machines.interface import Effect
from raftkv.replica.effects import Due
from raftkv.server.effects import Effects, EffectStats
from raftkv.settings import Effects as Settings


class Scene:
    """`run` is what the machine does with an effect."""

    def __init__(self, run: Callable[[Effect, str], Any], **settings: int) -> None:
        self.ended: list[tuple[str, bool]] = []
        self.due: list[Due] = []
        self.leading = True
        self.wakes = 0
        machine = SimpleNamespace(run_effect=run)
        desk = SimpleNamespace(take_due=self._take, leading=True, office=1)
        self.desk = desk
        replica: Any = SimpleNamespace(
            machine=machine, effects=desk, on_effect_ended=lambda *ended: self.ended.append(ended)
        )
        self.effects = Effects(
            replica, Settings(**settings), EffectStats(), Random(1), self._wake, structlog.get_logger()
        )

    def _wake(self) -> None:
        self.wakes += 1

    def _take(self) -> list[Due]:
        due, self.due = self.due, []
        return due

    async def carry_out(self, *names: str, durable: bool = False, within_s: float = 1.0) -> list[tuple[str, bool]]:
        """What has ended, and how, after so long."""
        self.due = [Due(name, Effect(name=name, durable=durable)) for name in names]
        with trio.move_on_after(within_s):
            self.effects.on_stirred()
            await self.effects.run()
        return self.ended


async def test_plain_functions_and_coroutines(autojump_clock: trio.testing.MockClock) -> None:
    done = []

    def run(effect: Effect, effect_id: str) -> Any:
        async def later() -> None:
            await trio.sleep(0.1)
            done.append(effect_id)

        if effect.name == "later":
            return later()
        done.append(effect_id)
        return "what it returns does not matter"

    scene = Scene(run)
    assert await scene.carry_out("later", "now") == [("now", True), ("later", True)]
    assert done == ["now", "later"]
    assert scene.wakes == 2
    assert scene.effects.stats.run == 2


async def test_what_it_raises_harms_nobody(autojump_clock: trio.testing.MockClock) -> None:
    def run(effect: Effect, effect_id: str) -> None:
        if effect.name == "bad":
            raise ZeroDivisionError

    scene = Scene(run)
    assert sorted(await scene.carry_out("bad", "good")) == [("bad", False), ("good", True)]
    assert (scene.effects.stats.run, scene.effects.stats.failed) == (1, 1)


async def test_a_durable_one_is_tried_again_ever_more_seldom(autojump_clock: trio.testing.MockClock) -> None:
    tried: list[float] = []

    def run(effect: Effect, effect_id: str) -> None:
        tried.append(trio.current_time())
        if len(tried) < 6:
            raise OSError("not yet")

    scene = Scene(run, retry_ms_min=100, retry_ms_max=400)
    assert await scene.carry_out("mail", durable=True, within_s=60) == [("mail", False)] * 5 + [("mail", True)]
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    for wait, about in zip(waits, [0.1, 0.2, 0.4, 0.4, 0.4], strict=True):
        assert about / 2 <= wait <= about * 1.5


async def test_who_does_not_lead_tries_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    tried = []

    def run(effect: Effect, effect_id: str) -> None:
        tried.append(effect_id)
        scene.desk.leading = False
        scene.effects.on_stirred()
        raise OSError("not yet")

    scene = Scene(run)
    await scene.carry_out("mail", durable=True, within_s=3600)
    assert tried == ["mail"]


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_at_a_time_than_allowed(most: int, autojump_clock: trio.testing.MockClock) -> None:
    running: list[int] = [0, 0]

    async def run(effect: Effect, effect_id: str) -> None:
        running[0] += 1
        running[1] = max(running)
        await trio.sleep(0.01)
        running[0] -= 1

    scene = Scene(run, concurrent_max=most)
    assert len(await scene.carry_out(*map(str, range(10)))) == 10
    assert running == [0, most]


async def test_too_many_plain_ones_are_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    async def run(effect: Effect, effect_id: str) -> None:
        await trio.sleep(0.01)

    scene = Scene(run, waiting_max=2)
    ended = await scene.carry_out("a", "b", "c")
    assert ended[0] == ("c", False), "whose reply waits for it must not wait for ever"
    assert sorted(ended[1:]) == [("a", True), ("b", True)]
    assert scene.effects.stats.dropped == 1


@pytest.mark.parametrize("durable", [False, True])
async def test_one_that_hangs_is_cancelled_and_has_failed(
    durable: bool, autojump_clock: trio.testing.MockClock
) -> None:
    begun = []

    async def run(effect: Effect, effect_id: str) -> None:
        begun.append(trio.current_time())
        await trio.sleep_forever()

    scene = Scene(run, timeout_ms=1000, retry_ms_min=1000, retry_ms_max=1000, concurrent_max=1)
    ended = await scene.carry_out("slow", durable=durable, within_s=5)
    assert ended[0] == ("slow", False)
    assert len(begun) > 1 if durable else len(begun) == 1
    assert scene.effects.stats.failed == len(ended)


async def test_a_deposed_leader_begins_no_plain_effect_any_more(autojump_clock: trio.testing.MockClock) -> None:
    """Those that waited for a place: the next leader's clients have moved on, and nobody expects them."""
    begun = []

    async def run(effect: Effect, effect_id: str) -> None:
        begun.append(effect_id)
        scene.desk.leading, scene.desk.office = False, 2
        await trio.sleep(0.01)

    scene = Scene(run, concurrent_max=1)
    ended = dict(await scene.carry_out("a", "b", "c"))
    assert len(begun) == 1
    assert ended == {name: name in begun for name in ("a", "b", "c")}
    assert scene.effects.stats.dropped == 2
