"""Sine, cosine and arc sine without the C library: right to the last bit, nearly always the library's, and the same
everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.redis.same_trigonometry import arc_sine, cosine, sine

ANGLES = st.floats(-2 * math.pi, 2 * math.pi)
NUMBERS = st.one_of(st.floats(0, 1), st.integers(0, 2**40).map(lambda n: 1 - n / 2**53))


@pytest.mark.parametrize(
    ("function", "number", "expected"),
    [
        (sine, 0.0, 0.0),
        (sine, math.pi / 2, 1.0),
        (sine, 1.0, 0.8414709848078965),
        (sine, -1.0, -0.8414709848078965),
        (sine, math.pi, 1.2246467991473532e-16),
        (sine, 1e-200, 1e-200),
        (cosine, 0.0, 1.0),
        (cosine, -2.0, -0.4161468365471424),
        (cosine, math.pi / 2, 6.123233995736766e-17),
        (arc_sine, 0.0, 0.0),
        (arc_sine, 0.5, 0.5235987755982989),
        (arc_sine, 1.0, math.pi / 2),
        (arc_sine, 1e-200, 1e-200),
    ],
)
def test_known_ones(function: Callable[[float], float], number: float, expected: float) -> None:
    assert function(number) == expected


@settings(deadline=None, derandomize=True)
@given(ANGLES)
def test_sine_and_cosine_are_rounded_once(angle: float) -> None:
    assert sine(angle) == float(_series(Decimal(angle), 1))
    assert cosine(angle) == float(_series(Decimal(angle), 0))


@settings(deadline=None, derandomize=True)
@given(NUMBERS)
def test_arc_sine_is_next_to_the_librarys(number: float) -> None:
    assert abs(arc_sine(number) - math.asin(number)) <= math.ulp(math.asin(number))


def _series(angle: Decimal, first: int) -> Decimal:
    with localcontext(prec=80):
        total = term = angle if first else Decimal(1)
        n = first
        while abs(term) > Decimal(10) ** -60 * abs(angle):
            term *= -angle * angle / ((n + 1) * (n + 2))
            total += term
            n += 2
        return total
