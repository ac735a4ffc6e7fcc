"""An overlay behaves as a dict that takes the changes at once, before, during and after they are merged."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from raftkv.machines.redis.overlay import Overlay, View


@pytest.mark.parametrize("seed", range(40))
def test_it_is_as_a_dict_that_takes_the_changes_at_once(seed: int) -> None:
    chance = Random(seed)
    base = {b"%d" % number: b"old" for number in range(chance.randrange(12))}
    twin, whole = dict(base), dict(base)
    overlay, walk = Overlay(base), iter(base.items())
    overlay.holders = 1
    walked: list[tuple[bytes, bytes]] = []
    views: list[tuple[View[bytes], dict[bytes, bytes]]] = []
    for step in range(80):
        key = b"%d" % chance.randrange(16)
        if chance.random() < 0.5:
            overlay[key] = twin[key] = b"%d" % step
        else:
            assert overlay.pop(key, None) == twin.pop(key, None)
        assert list(overlay.items()) == list(twin.items())
        assert list(overlay) == list(twin)
        assert len(overlay) == len(twin)
        assert {key: overlay.get(key) for key in whole | twin} == {key: twin.get(key) for key in whole | twin}
        assert [key in overlay for key in whole] == [key in twin for key in whole]
        if chance.random() < 0.1:
            views.append((overlay.view(), dict(twin)))
        elif views and chance.random() < 0.1:
            del views[chance.randrange(len(views))]
        assert [list(view.items()) for view, _ in views] == [list(then.items()) for _, then in views]
        assert [len(view) for view, _ in views] == [len(then) for _, then in views]
        if step < 40:
            walked += islice(walk, 1)
        elif step == 40:
            overlay.holders -= 1
        else:
            overlay.merge(1)
    assert dict(walked) == whole
    views.clear()
    assert overlay.merge(200) > 0
    assert list(base.items()) == list(twin.items())


def test_what_is_not_there_cannot_be_deleted() -> None:
    overlay = Overlay({b"a": b"1"})
    overlay.holders = 1
    del overlay[b"a"]
    with pytest.raises(KeyError):
        del overlay[b"a"]
    assert not overlay


def test_a_merge_ends_although_each_of_its_slices_meets_as_many_new_keys() -> None:
    overlay: Overlay[None] = Overlay({})
    view = overlay.view()
    for number in range(1000):
        overlay[b"%d" % number] = None
    del view
    new = 1000
    while overlay.merge(10) == 0:
        for _ in range(20):
            overlay[b"%d" % new] = None
            new += 1
    assert list(overlay.base) == [b"%d" % number for number in range(new)]
    assert new < 4000
