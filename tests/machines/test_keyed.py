"""Members by name: walking, drawing and being freed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Self

import pytest

from raftkv.machines.redis import graveyard
from raftkv.machines.redis.keyed import WALK_MEMBERS_MAX, Keyed

MANY = [b"member:%d" % number for number in range(5000)]


class Names(Keyed[None]):
    type_name = "names"
    encoding = "plain"

    def copy(self) -> Self:
        return type(self)(dict(self.members), is_compact=self.is_compact)

    def digest_parts(self) -> list[bytes]:
        return sorted(self.members)

    def pieces(self) -> Iterator[bytes]:
        return iter(self.members)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        return cls(dict.fromkeys(pieces), is_compact=False)

    @staticmethod
    def value_bytes(value: None) -> int:
        return 0


def names(members: list[bytes]) -> Names:
    return Names.from_pieces(members)


def test_a_walk_meets_what_is_there_throughout_once() -> None:
    here = names(MANY)
    cursor, met = here.page(0, 10)
    here.discard(MANY[1])
    here.put(b"late", None)
    while cursor:
        cursor, page = here.page(cursor, 100)
        met += page
    assert len(met) == len(set(met))
    assert set(MANY) - set(met) <= {MANY[1]}


def test_what_is_drawn_depends_on_the_members_not_on_their_history() -> None:
    grown = names(MANY[:1000])
    grown.draw(Random(0))  # has its index from here on
    for name in MANY[1000:]:
        grown.put(name, None)
    for name in MANY[:500]:
        grown.discard(name)
    restored = names(list(grown.members))
    for seed in range(200):
        assert grown.draw(Random(seed)) == restored.draw(Random(seed))
        assert grown.sample(Random(seed), 20) == restored.sample(Random(seed), 20)


@pytest.mark.parametrize("length", [1, 5, WALK_MEMBERS_MAX, WALK_MEMBERS_MAX + 1, 3000])
def test_each_member_is_drawn_about_equally_often(length: int) -> None:
    here, chance = names(MANY[:length]), Random(7)
    drawn = Counter(here.draw(chance) for _ in range(20_000))
    halves = sum(drawn[name] for name in MANY[: length // 2]), sum(drawn[name] for name in MANY[length // 2 : length])
    assert set(drawn) <= set(MANY[:length])
    if length % 2 == 0:
        assert abs(halves[0] - halves[1]) < 800
    assert max(drawn.values()) < 20_000 / length + 6 * (20_000 / length) ** 0.5 + 1


@pytest.mark.parametrize("count", [0, 1, 10, 1700, 5000, 6000])
def test_a_sample_has_no_member_twice(count: int) -> None:
    sample = names(MANY).sample(Random(3), count)
    assert len(sample) == len(set(sample)) == min(count, 5000)


def test_a_large_collection_is_freed_some_at_a_time() -> None:
    before = graveyard.members_waiting()
    here = names([b"%d" % number for number in range(3 * graveyard.FREED_MEMBERS_MAX)])
    del here
    assert graveyard.members_waiting() - before == 3 * graveyard.FREED_MEMBERS_MAX
    graveyard.free_some()
    assert graveyard.members_waiting() - before == 2 * graveyard.FREED_MEMBERS_MAX
    while graveyard.members_waiting():
        graveyard.free_some()


def test_a_small_one_goes_at_once() -> None:
    before = graveyard.members_waiting()
    here = names(MANY[:100])
    del here
    assert graveyard.members_waiting() == before


def test_the_size_grows_with_the_members() -> None:
    small, large = names(MANY[:100]).size_bytes(5), names(MANY).size_bytes(5)
    assert 25 * small < large < 100 * small
