"""Effects of a machine under faults: a durable one of a committed entry is carried out at least once, a plain one at
most once, whatever crashes and whoever leads.
"""

from __future__ import annotations

from collections import Counter

import pytest

from raftkv.machines.interface import Context, Effect
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import Reply
from raftkv.replica.effects import Due, EffectDesk
from raftkv.testing.failure import RuleBroken
from raftkv.testing.scenario import draw
from raftkv.testing.simulation import Simulation

SEEDS = [seed for seed in range(1, 40) if draw(seed).machine == "redis"][:8]
NAMES = frozenset({b"append", b"set", b"incr"})


class World:
    """What was wanted, and what was done."""

    def __init__(self, seed: int) -> None:
        self.wanted: dict[str, bool] = {}
        """Id of an effect of a committed entry -> whether it is durable."""
        self.carried_out: Counter[str] = Counter()
        world = self

        class Machine(RedisMachine):
            def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
                for position, argv in enumerate(commands):
                    if argv and argv[0].lower() in NAMES:
                        durable = (context.index + position) % 2 == 0
                        world.wanted[f"{context.index}.{len(context.effects)}"] = durable
                        context.add_effect(position, Effect(name="mail", durable=durable, before_reply=position == 0))
                return super().handle_write(context, commands)

        scenario = draw(seed)
        self.simulation = Simulation(scenario, Machine)
        self.chance = self.simulation.random
        for member in self.simulation.members.values():
            member.carry_out = self.carry_out

    def carry_out(self, due: Due) -> bool:
        self.carried_out[due.id] += 1
        return self.chance.random() < 0.7

    def run(self) -> None:
        self.simulation.run()
        for member in self.simulation.members.values():
            member.carry_out = lambda due: self.carry_out(due) or True
        self.simulation.run_until(self.all_is_done, 20_000, "carrying out what is in the outbox")
        for effect_id, durable in self.wanted.items():
            count = self.carried_out[effect_id]
            assert count >= 1 if durable else count <= 1, f"{effect_id} (durable: {durable}) carried out {count} times"

    def all_is_done(self) -> bool:
        replicas = [member.replica for member in self.simulation.present_members()]  # others hear nothing any more
        return all(replica is not None and not replica.ledger.outbox.waiting for replica in replicas)


@pytest.mark.parametrize("seed", SEEDS)
def test_durable_at_least_once_and_plain_at_most_once(seed: int) -> None:
    World(seed).run()


def test_the_runs_are_not_empty() -> None:
    """Otherwise the promises above would be kept by doing nothing."""
    world = World(SEEDS[0])
    world.run()
    plain = {effect_id for effect_id, durable in world.wanted.items() if not durable}
    assert len(plain) > 20
    assert sum(world.carried_out[effect_id] for effect_id in plain) > len(plain) / 2
    assert any(world.carried_out[effect_id] > 1 for effect_id in world.wanted.keys() - plain), "some were repeated"


def is_broken(seed: int) -> bool:
    try:
        World(seed).run()
    except (AssertionError, RuleBroken):
        return True
    return False


def test_a_leader_that_forgets_the_outbox_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    on_leading = EffectDesk.on_leading

    def forgetful(self: EffectDesk, leading: bool) -> None:
        waiting, self._outbox.waiting = self._outbox.waiting, {}
        on_leading(self, leading)
        self._outbox.waiting = waiting

    monkeypatch.setattr(EffectDesk, "on_leading", forgetful)
    assert any(map(is_broken, SEEDS))


def test_members_that_all_carry_out_plain_effects_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    on_applied = EffectDesk.on_applied

    def eager(self: EffectDesk, index: int, effects: list[tuple[int, Effect]], *, is_own: bool) -> dict[int, list[str]]:
        return on_applied(self, index, effects, is_own=True)

    monkeypatch.setattr(EffectDesk, "on_applied", eager)
    assert any(map(is_broken, SEEDS))
