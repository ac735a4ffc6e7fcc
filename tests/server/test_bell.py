"""The bell is rung by tasks of the hub's own thread, and by the job thread at any moment."""

from __future__ import annotations

import os
import select

import pytest

from raftkv.server import bell as bell_module
from raftkv.server.bell import Bell
from raftkv.server.hub import Hub


def is_heard(bell: Bell) -> bool:
    return bool(select.select([bell._fd], [], [], 0)[0])


def test_it_is_heard_once_however_often_it_rings() -> None:
    heard: list[int] = []
    hub = Hub()
    bell = Bell(hub, lambda: heard.append(1))
    for _ in range(3):
        bell.ring()
    while hub._pass(0.0):
        pass
    assert heard == [1]
    bell.ring()
    assert hub._pass(0.0)
    assert heard == [1, 1]
    bell.close()
    hub.close()


def test_a_ring_while_the_hub_answers_the_last_one_does_not_make_it_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """From another thread, between two lines of `on_event`. Seen as a snapshot that stood still for ever at 4 MB."""
    waiting, done = ["first"], list[str]()
    hub = Hub()
    bell = Bell(hub, lambda: done.extend(waiting) or waiting.clear())
    read = os.eventfd_read

    def read_while_it_rings(fd: int) -> int:
        waiting.append("second")
        bell.ring()
        return read(fd)

    bell.ring()
    monkeypatch.setattr(bell_module.os, "eventfd_read", read_while_it_rings)
    assert hub._pass(0.0)
    monkeypatch.undo()
    assert done == ["first", "second"]
    waiting.append("third")
    bell.ring()
    assert is_heard(bell)
    assert hub._pass(0.0)
    assert done == ["first", "second", "third"]
    bell.close()
    hub.close()
