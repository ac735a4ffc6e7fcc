"""An overlay behaves as a dict that takes the changes at once, before, during and after they are merged."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from raftkv.machines.redis.overlay import Overlay
from raftkv.machines.redis.values import Value


@pytest.mark.parametrize("seed", range(20))
def test_it_is_as_a_dict_that_takes_the_changes_at_once(seed: int) -> None:
    chance = Random(seed)
    base: dict[bytes, Value] = {b"%d" % number: b"old" for number in range(chance.randrange(12))}
    twin, names = dict(base), list(base)
    overlay, listing = Overlay(base), iter(base)
    listed: list[bytes] = []
    for step in range(80):
        key = b"%d" % chance.randrange(16)
        if chance.random() < 0.5:
            overlay[key] = twin[key] = b"%d" % step
        else:
            assert overlay.pop(key, None) == twin.pop(key, None)
        assert overlay == twin
        assert len(overlay) == len(twin)
        assert sorted(overlay) == sorted(twin)
        if step < 40:
            listed += islice(listing, 1)
        elif step == 40:
            overlay.thaw()
        else:
            overlay.merge(1)
    assert listed == names
    assert overlay.merge(1) == 1
    assert base == twin


def test_what_is_not_there_cannot_be_deleted() -> None:
    overlay = Overlay({b"a": b"1"})
    del overlay[b"a"]
    with pytest.raises(KeyError):
        del overlay[b"a"]
    assert not overlay
