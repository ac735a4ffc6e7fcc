"""Quorum arithmetic against naive twins: definitions carried out by counting, slow and evidently right."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.quorum import agreed, majority

VALUES = st.lists(st.integers(0, 12), max_size=9)


@given(st.integers(1, 9))
def test_majority_is_the_smallest_size_of_which_any_two_groups_meet(voters: int) -> None:
    def always_meet(size: int) -> bool:
        groups = list(combinations(range(voters), size))
        return all(set(a) & set(b) for a in groups for b in groups)

    assert majority(voters) == next(size for size in range(1, voters + 1) if always_meet(size))


@given(st.integers(1, 99), st.integers(0, 99))
def test_min_majority_only_raises(voters: int, min_majority: int) -> None:
    assert majority(voters, min_majority) == max(majority(voters), min_majority)


def test_half_is_not_a_majority() -> None:
    assert [majority(voters) for voters in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


@given(VALUES, st.integers(1, 9))
def test_agreed_is_the_highest_number_that_enough_have_reached(values: list[int], needed: int) -> None:
    reached = [x for x in range(13) if sum(value >= x for value in values) >= needed]
    assert agreed(values, needed) == max(reached, default=0)


@given(VALUES, st.integers(1, 9), st.randoms())
def test_agreed_does_not_depend_on_the_order(values: list[int], needed: int, random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert agreed(shuffled, needed) == agreed(values, needed)


@given(VALUES, st.integers(1, 9), st.integers(0, 8), st.integers(0, 5))
def test_agreed_never_falls_when_a_member_advances(values: list[int], needed: int, who: int, by: int) -> None:
    advanced = [value + by if place == who else value for place, value in enumerate(values)]
    assert agreed(advanced, needed) >= agreed(values, needed)


@given(VALUES)
def test_more_needed_than_there_are_agree_on_nothing(values: list[int]) -> None:
    assert agreed(values, len(values) + 1) == 0
