"""Maps: undone exactly, copied in slices while they change, and nothing passes them by."""

from __future__ import annotations

import enum
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines import walk
from raftkv.machines.state import Journal, Map, StateError

OPERATION = st.tuples(st.sampled_from(["set", "del", "pop", "clear", "update", "setdefault"]), st.integers(0, 8))


def new_map() -> tuple[Map[int, int], Journal]:
    journal = Journal()
    journal.is_open = True
    return Map(journal, "numbers", int, int), journal


def change(target: Any, operation: tuple[str, int]) -> None:
    name, key = operation
    match name:
        case "set":
            target[key] = len(target) + key
        case "del":
            if key in target:
                del target[key]
        case "pop":
            target.pop(key, None)
        case "clear":
            if key == 0:
                target.clear()
        case "update":
            target.update({key: 1, key + 1: 2})
        case "setdefault":
            target.setdefault(key, 5)


@given(st.lists(OPERATION), st.lists(OPERATION))
def test_undoing_is_as_if_nothing_had_been(before: list[tuple[str, int]], undone: list[tuple[str, int]]) -> None:
    numbers, journal = new_map()
    twin: dict[int, int] = {}
    for operation in before:
        change(numbers, operation)
        change(twin, operation)
    journal.keep()
    for operation in undone:
        change(numbers, operation)
    journal.undo()
    assert list(numbers.items()) == sorted(twin.items())
    assert len(numbers) == len(twin)


@given(st.lists(OPERATION), st.lists(st.tuples(st.booleans(), st.lists(OPERATION)), max_size=12))
def test_a_snapshot_is_the_state_at_its_begin(before: list[tuple[str, int]], between: list[Any]) -> None:
    """Whatever commands come between its slices, done or undone."""
    numbers, journal = new_map()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "SLICE_ITEMS", 2)
        for operation in before:
            change(numbers, operation)
        journal.keep()
        expected = list(numbers.items())
        copied = []
        rounds = iter(between)
        for items in numbers.begin_walk().slices():
            copied += items
            is_done, operations = next(rounds, (True, []))
            for operation in operations:
                change(numbers, operation)
            if not is_done:
                journal.undo()
            journal.keep()
        assert copied == expected


def test_slices_are_bounded_and_what_is_passed_is_dropped() -> None:
    numbers, _ = new_map()
    chance = Random(1)
    numbers.update({number: number for number in chance.sample(range(10_000), 5000)})
    begun = numbers.begin_walk()
    sizes = []
    for items in begun.slices():
        sizes.append(len(items))
        numbers.update(dict.fromkeys(chance.sample(range(10000), 100), 0))
    assert sum(sizes) == 5000
    assert max(sizes) <= walk.SLICE_ITEMS
    assert all(key > 9000 for key in begun._kept), "only what came behind the last key of all"


def test_slices_stay_bounded_when_all_is_deleted_on_the_way() -> None:
    numbers, _ = new_map()
    numbers.update(dict.fromkeys(range(5500), 0))
    slices = numbers.begin_walk().slices()
    sizes = [len(next(slices))]
    for number in list(numbers):
        del numbers[number]
    sizes += map(len, slices)
    assert sizes == [1000] * 5 + [500]


def test_clearing_notes_one_thing_however_much_there_is() -> None:
    numbers, journal = new_map()
    numbers.update(dict.fromkeys(range(5000), 0))
    journal.keep()
    begun = numbers.begin_walk()
    numbers.clear()
    assert len(journal._undo) == 1
    assert begun._kept == {}, "the walk goes on through the old content, which nobody changes"
    assert (len(numbers), list(numbers)) == (0, [])


def test_a_walk_is_told_again_of_changes_once_clearing_was_undone() -> None:
    numbers, journal = new_map()
    numbers.update({1: 1, 2: 2})
    journal.keep()
    begun = numbers.begin_walk()
    numbers.clear()
    numbers[3] = 3
    numbers.clear()
    journal.undo()
    assert dict(numbers) == {1: 1, 2: 2}
    numbers[2] = 5
    del numbers[1]
    assert list(begun.slices()) == [[(1, 1), (2, 2)]]
    numbers.end_walk(begun)
    assert numbers._walks == []


def test_clearing_while_going_through_is_told() -> None:
    numbers, _ = new_map()
    numbers.update({1: 0, 2: 0})
    walk = iter(numbers)
    next(walk)
    numbers.clear()
    with pytest.raises(StateError, match="list"):
        next(walk)


def test_two_walks_do_not_disturb_each_other_and_end() -> None:
    numbers, _ = new_map()
    numbers[1] = 1
    first = numbers.begin_walk()
    numbers[1] = 2
    second = numbers.begin_walk()
    numbers[1] = 3
    assert [*first.slices(), *second.slices()] == [[(1, 1)], [(1, 2)]]
    for begun in (first, second, first):
        numbers.end_walk(begun)
    assert numbers._walks == []


def test_a_walk_goes_on_through_the_old_content_when_the_map_is_restored() -> None:
    numbers, _ = new_map()
    numbers.update({1: 1, 2: 2})
    begun = numbers.begin_walk()
    numbers.empty()
    numbers.load([(5, 5)])
    assert list(begun.slices()) == [[(1, 1), (2, 2)]]
    assert list(numbers) == [5]


def test_keys_come_in_order_whatever_was_done_before() -> None:
    numbers, journal = new_map()
    numbers.update({3: 0, 1: 0, 2: 0})
    journal.keep()
    del numbers[1]
    journal.undo()
    assert list(numbers) == [1, 2, 3]
    assert list(numbers.between(2)) == [2, 3]
    assert list(numbers.between(None, 2)) == [1]


def test_changing_while_going_through_is_told() -> None:
    numbers, _ = new_map()
    numbers.update({1: 0, 2: 0})
    walk = iter(numbers)
    numbers[next(walk) + 10] = 0
    with pytest.raises(StateError, match="list"):
        next(walk)
    for number in list(numbers):
        del numbers[number]
    assert len(numbers) == 0


@pytest.mark.parametrize(("key", "value"), [("1", 1), (1, "1"), (1, 1.5), (1, None), (True, 1), (1, [1])])
def test_other_types_than_declared_are_refused(key: Any, value: Any) -> None:
    numbers, _ = new_map()
    with pytest.raises(TypeError, match="of numbers: Expected"):
        numbers[key] = value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**70])
def test_what_no_snapshot_could_hold_is_refused_where_it_is_put(value: int) -> None:
    numbers, journal = new_map()
    with pytest.raises(ValueError, match="more than 64 bits"):
        numbers[1] = value
    assert len(numbers) == 0
    texts = Map[str, str](journal, "texts", str, str)
    with pytest.raises(ValueError, match="cannot be stored"):
        texts["a"] = "\udc80"


class Number(enum.IntEnum):
    ONE = 1


class Backwards(str):
    """Text with an order of its own."""

    def __lt__(self, other: str) -> bool:
        raise ZeroDivisionError

    __gt__ = __lt__


def test_a_key_is_stored_as_the_plain_value_that_it_is() -> None:
    numbers, journal = new_map()
    numbers[Number.ONE] = 1
    del numbers[Number.ONE]
    journal.undo()
    numbers[1] = 1
    journal.keep()
    del numbers[Number.ONE]
    journal.undo()
    assert [type(key) for key in numbers] == [type(key) for key in numbers._values] == [int]
    with pytest.raises(TypeError, match="of numbers"):
        numbers[True] = 2
    texts = Map[str, int](journal, "texts", str, int)
    texts["a"] = 1
    for text in "a", "b":
        with pytest.raises(TypeError):
            texts[Backwards(text)] = 1
    assert dict(texts) == {"a": 1}


def test_keys_that_cannot_be_compared_leave_no_trace() -> None:
    """Such a type is refused when a class is made; were one to come through, undoing would still have to work."""
    journal = Journal()
    journal.is_open = True
    mixed = Map[Any, int](journal, "mixed", int | str, int)
    mixed[1] = 1
    journal.keep()
    with pytest.raises(TypeError):
        mixed["a"] = 1
    journal.undo()
    assert list(mixed) == list(mixed._values) == [1]


def test_a_closed_journal_lets_nothing_pass() -> None:
    numbers, journal = new_map()
    numbers[1] = 1
    journal.keep()
    journal.is_open = False
    for attempt in (lambda: numbers.__setitem__(1, 2), lambda: numbers.pop(1), numbers.clear):
        with pytest.raises(StateError, match="outside of a write"):
            attempt()
    assert dict(numbers) == {1: 1}
