"""The order of keys: buckets stay consistent under any changes."""

from __future__ import annotations

import itertools
import random
from zlib import crc32

import pytest

from raftkv.machines.redis.keyindex import BUCKET_KEYS_MAX, KeyIndex


def check(index: KeyIndex, keys: set[bytes]) -> None:
    assert index.starts[0] == 0
    assert index.starts == sorted(set(index.starts))
    ends = [*index.starts[1:], 2**32]
    for start, end, bucket in zip(index.starts, ends, index.buckets, strict=True):
        assert all(start <= crc32(key) < end for key in bucket)
    assert sorted(key for bucket in index.buckets for key in bucket) == sorted(keys)


@pytest.mark.parametrize("seed", range(5))
def test_random_changes(seed: int) -> None:
    chance = random.Random(seed)
    keys = {b"%d" % number for number in range(chance.choice([0, 10, 2000]))}
    index = KeyIndex(sorted(keys))
    for _ in range(4000):
        key = b"%d" % chance.randrange(3000)
        if key in keys:
            keys.remove(key)
            index.discard(key)
        else:
            keys.add(key)
            index.add(key)
    check(index, keys)
    assert max(map(len, index.buckets)) <= BUCKET_KEYS_MAX


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_depends_on_the_keys_and_on_chance_alone(seed: int) -> None:
    chance = random.Random(seed)
    keys = {b"%d" % number for number in range(chance.choice([1, 100, 5000]))}
    old = KeyIndex(keys)
    for number in range(chance.randrange(6000)):
        old.draw(random.Random(number), len(keys))
        key = b"%d" % chance.randrange(9000)
        if key not in keys:
            keys.add(key)
            old.add(key)
        elif len(keys) > 1:
            keys.remove(key)
            old.discard(key)
    in_order = sorted(keys, key=lambda key: (crc32(key), key))
    for rank in [0, len(keys) - 1, *(chance.randrange(len(keys)) for _ in range(300))]:
        assert old.draw(Drawn(rank), len(keys)) == KeyIndex(keys).draw(Drawn(rank), len(keys)) == in_order[rank]


class Drawn(random.Random):
    """Chance that has been decided."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return self._number


def test_pages_cover_everything_in_order() -> None:
    keys = {b"%d" % number for number in range(1000)}
    index, cursor, found = KeyIndex(keys), 0, []
    while True:
        cursor, page = index.page(cursor, 7)
        found += page
        if cursor == 0:
            break
    assert found == sorted(keys, key=lambda key: (crc32(key), key))


# CRC-32 is linear: laying its own polynomial over a key, at any place, leaves the hash as it was.
POLYNOMIAL = bytes.fromhex("410671db01")


def test_keys_of_one_hash_come_together_and_need_no_split() -> None:
    choices = itertools.product([bytes(len(POLYNOMIAL)), POLYNOMIAL], repeat=9)
    twins = {b"".join(parts) for parts in choices}
    assert len({crc32(key) for key in twins}) == 1
    index = KeyIndex([])
    for key in twins:
        index.add(key)
    check(index, twins)
    cursor, page = index.page(0, 1)
    assert cursor == 0
    assert set(page) == twins
    others = {b"%d" % number for number in range(500)}
    for key in others:
        index.add(key)
    check(index, twins | others)


def test_keys_of_one_hash_are_drawn_in_their_order() -> None:
    twins = [b"".join(parts) for parts in itertools.product([bytes(len(POLYNOMIAL)), POLYNOMIAL], repeat=5)]
    chance = random.Random(0)
    chance.shuffle(twins)
    index = KeyIndex(twins[:10])
    present = set(twins[:10])
    for _ in range(300):
        in_order = sorted(present)
        assert [index.draw(Drawn(rank), len(present)) for rank in range(len(present))] == in_order
        key = chance.choice(twins)
        if key not in present:
            present.add(key)
            index.add(key)
        elif len(present) > 1:
            present.remove(key)
            index.discard(key)
