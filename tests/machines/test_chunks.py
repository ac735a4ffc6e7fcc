"""Chunks beside a plain list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raftkv.machines.redis import chunks, graveyard
from raftkv.machines.redis.chunks import Chunks

ELEMENT = st.sampled_from([b"a", b"b", b"c"])
PLACE = st.integers(0, 10**6)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_MAX", 4)


class Twin(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.plain = Chunks(), list[bytes]()
        self.others: list[tuple[Chunks, list[bytes]]] = []

    @rule(element=ELEMENT, left=st.booleans(), count=st.integers(1, 6))
    def push(self, element: bytes, left: bool, count: int) -> None:
        for _ in range(count):
            (self.ours.push_left if left else self.ours.push_right)(element)
            self.plain.insert(0 if left else len(self.plain), element)

    @precondition(lambda self: self.plain)
    @rule(left=st.booleans())
    def pop(self, left: bool) -> None:
        taken = self.ours.pop_left() if left else self.ours.pop_right()
        assert taken == self.plain.pop(0 if left else -1)

    @rule(place=PLACE, element=ELEMENT)
    def insert(self, place: int, element: bytes) -> None:
        at = place % (len(self.plain) + 1)
        self.ours.insert(at, element)
        self.plain.insert(at, element)

    @precondition(lambda self: self.plain)
    @rule(place=PLACE, element=ELEMENT)
    def replace(self, place: int, element: bytes) -> None:
        at = place % len(self.plain)
        assert self.ours.get(at) == self.plain[at]
        self.ours.set(at, element)
        self.plain[at] = element

    @precondition(lambda self: self.plain)
    @rule(start=PLACE, length=PLACE, trim=st.booleans())
    def cut(self, start: int, length: int, trim: bool) -> None:
        start %= len(self.plain)
        stop = start + 1 + length % (len(self.plain) - start)
        assert self.ours.range(start, stop) == self.plain[start:stop]
        if trim and stop - start > 2:
            self.ours.trim(start, stop)
            self.plain = self.plain[start:stop]

    @rule(element=ELEMENT, most=st.integers(1, 4), from_right=st.booleans())
    def remove(self, element: bytes, most: int, from_right: bool) -> None:
        rest, removed = self.plain[::-1] if from_right else self.plain[:], 0
        while element in rest and removed < most:
            rest.remove(element)
            removed += 1
        assert self.ours.remove(element, most, from_right=from_right) == removed
        self.plain = rest[::-1] if from_right else rest

    @rule(keep_copy=st.booleans())
    def copied(self, keep_copy: bool) -> None:
        other = self.ours.copy()
        if keep_copy:
            self.ours, other = other, self.ours
        self.others.append((other, self.plain[:]))

    @rule(element=ELEMENT)
    def find(self, element: bytes) -> None:
        assert self.ours.index_of(element) == (self.plain.index(element) if element in self.plain else None)

    @invariant()
    def equal(self) -> None:
        assert (len(self.ours), list(self.ours)) == (len(self.plain), self.plain)
        assert list(reversed(self.ours)) == self.plain[::-1]
        assert all(0 < len(chunk) <= 4 for chunk in self.ours._chunks)
        assert all(list(copied) == plain for copied, plain in self.others), "a copy stays as it is"


TestTwin: Any = Twin.TestCase
TestTwin.settings = settings(max_examples=60, stateful_step_count=30, derandomize=True)


@given(st.lists(ELEMENT))
def test_made_of_elements(elements: list[bytes]) -> None:
    assert list(Chunks(elements)) == elements


def test_what_a_copy_has_too_is_not_freed() -> None:
    made = Chunks([b"x"] * (2 * graveyard.LARGE_MEMBERS))
    copied = made.copy()
    del made
    while graveyard.members_waiting():
        graveyard.free_some()
    assert len(list(copied)) == 2 * graveyard.LARGE_MEMBERS


def test_a_long_one_is_freed_some_at_a_time() -> None:
    before = graveyard.members_waiting()
    made = Chunks([b"x"] * (2 * graveyard.LARGE_MEMBERS))
    del made
    assert graveyard.members_waiting() - before == 2 * graveyard.LARGE_MEMBERS
    while graveyard.members_waiting():
        graveyard.free_some()
