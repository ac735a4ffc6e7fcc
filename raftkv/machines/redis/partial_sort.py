"""The first few of many numbers in order, equal ones in the order that Redis's sorting leaves them in.

Where Redis needs all in order it uses a stable sort. Where it needs some of them (COUNT), it uses Bentley and McIlroy's
quicksort ("Engineering a Sort Function", 1993), which goes on only where the wanted ones are. That one is not stable:
which of several equal ones are among the first depends on each of its exchanges. So they are repeated here, but only if
there are equal ones at all; otherwise every sort gives the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_INSERTION_MAX: Final = 6
"""Up to so many are sorted by insertion, which is stable."""
_NINTHER_MIN: Final = 41
"""From so many on the pivot is a median of three medians of three."""


def first_in_order(keys: list[float], count: int) -> list[int]:
    """The positions in `keys` of the `count` smallest ones, ascending."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if count >= len(keys) or all(keys[left] != keys[right] for left, right in pairwise(order[: count + 1])):
        return order[:count]
    order = list(range(len(keys)))
    spans = [(0, len(order))]
    while spans:
        start, end = spans.pop()
        if start < count and end - start > 1:
            spans += _divide(keys, order, start, end)
    return order[:count]


def _divide(keys: list[float], order: list[int], start: int, end: int) -> list[tuple[int, int]]:
    """One step on `order[start:end]`: what is left to be sorted, smaller and greater than the pivot."""
    if end - start <= _INSERTION_MAX:
        order[start:end] = sorted(order[start:end], key=keys.__getitem__)
        return []
    _swap(order, start, _pivot(keys, order, start, end))
    pivot = keys[order[start]]
    # Equal ones are gathered at both ends: [equal | smaller | not seen | greater | equal]
    equal_left = left = start + 1
    equal_right = right = end - 1
    while True:
        while left <= right and (key := keys[order[left]]) <= pivot:
            if key == pivot:
                _swap(order, equal_left, left)
                equal_left += 1
            left += 1
        while left <= right and (key := keys[order[right]]) >= pivot:
            if key == pivot:
                _swap(order, right, equal_right)
                equal_right -= 1
            right -= 1
        if left > right:
            break
        _swap(order, left, right)
        left, right = left + 1, right - 1
    smaller, greater = left - equal_left, equal_right - right
    _swap_runs(order, start, left, min(equal_left - start, smaller))
    _swap_runs(order, left, end, min(greater, end - equal_right - 1))
    return [(end - greater, end), (start, start + smaller)]


def _pivot(keys: list[float], order: list[int], start: int, end: int) -> int:
    length = end - start
    low, middle, high = start, start + length // 2, end - 1
    if length >= _NINTHER_MIN:
        part = length // 8
        low = _median(keys, order, low, low + part, low + 2 * part)
        middle = _median(keys, order, middle - part, middle, middle + part)
        high = _median(keys, order, high - 2 * part, high - part, high)
    return _median(keys, order, low, middle, high) if length > _INSERTION_MAX + 1 else middle


def _median(keys: list[float], order: list[int], first: int, second: int, third: int) -> int:
    a, b, c = (keys[order[position]] for position in (first, second, third))
    if a < b:
        return second if b < c else (third if a < c else first)
    return second if b > c else (first if a < c else third)


def _swap(order: list[int], left: int, right: int) -> None:
    order[left], order[right] = order[right], order[left]


def _swap_runs(order: list[int], first: int, end: int, length: int) -> None:
    """So many from `first` on with so many before `end`."""
    for at in range(length):
        _swap(order, first + at, end - length + at)
