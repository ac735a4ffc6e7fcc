"""Sine, cosine and arc sine that are the same on every machine.

Those of the C library are nearly right, each version's and each processor's a little differently: one of some hundred
results differs in its last bit. For an answer that does not matter, but what is stored must be the same on all members.
Here the arithmetic is done in integers, in units of 2**-128, and rounded once; that takes about 3 us.

An angle is a multiple of 1/64, whose sine and cosine are kept, and a small rest, for which a few terms of the series
do.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt, sqrt
from typing import Final

_BITS: Final = 128
_ONE: Final = 1 << _BITS
_SCALE: Final = float(_ONE)
_PART_BITS: Final = _BITS - 6
_PARTS_MAX: Final = 1024
"""Kept sines: more than there are parts in the angles between places."""
_SINE_DIVISORS: Final = (210, 156, 110, 72, 42, 20, 6)
_COSINE_DIVISORS: Final = (182, 132, 90, 56, 30, 12, 2)
_TINY: Final = 2.0**-27
"""Below it a number is its own sine."""


def sine(angle: float) -> float:
    """Of a few turns at most."""
    return angle if abs(angle) < _TINY else _sine_and_cosine(int(angle * _SCALE))[0] / _ONE


def cosine(angle: float) -> float:
    """Of a few turns at most."""
    return _sine_and_cosine(int(angle * _SCALE))[1] / _ONE


def arc_sine(number: float) -> float:
    """Of 0 to 1."""
    if number < _TINY:
        return number
    part = int(_estimate(number) * 64)
    sine, cosine = _of_part(part)
    wanted = int(number * _SCALE)
    across = isqrt((_ONE << _BITS) - wanted * wanted)
    rest = (wanted * cosine - across * sine) >> _BITS  # the sine of the difference
    square = rest * rest >> _BITS
    total = term = rest
    for n in range(1, 21, 2):
        term = (term * square >> _BITS) * (n * n) // ((n + 1) * (n + 2))
        total += term
    return ((part << _PART_BITS) + total) / _ONE


def _estimate(number: float) -> float:
    """The arc sine with four digits (Hastings, 1955), by operations that are exact to the last bit everywhere."""
    polynomial = 1.5707288 + number * (-0.2121144 + number * (0.0742610 + number * -0.0187293))
    return 1.5707963 - sqrt(1.0 - number) * polynomial


def _sine_and_cosine(angle: int) -> tuple[int, int]:
    part = angle >> _PART_BITS
    sine, cosine = _of_part(part)
    rest = angle - (part << _PART_BITS)
    square = rest * rest >> _BITS
    small_sine = small_cosine = _ONE
    for divisor in _SINE_DIVISORS:
        small_sine = _ONE - (square * small_sine >> _BITS) // divisor
    for divisor in _COSINE_DIVISORS:
        small_cosine = _ONE - (square * small_cosine >> _BITS) // divisor
    small_sine = rest * small_sine >> _BITS
    return (
        (sine * small_cosine + cosine * small_sine) >> _BITS,
        (cosine * small_cosine - sine * small_sine) >> _BITS,
    )


@lru_cache(_PARTS_MAX)
def _of_part(part: int) -> tuple[int, int]:
    """Sine and cosine of part / 64, by the whole series, with more bits, since its first terms may be large."""
    more = 32
    one = 1 << (_BITS + more)
    angle = abs(part) << (_PART_BITS + more)
    sums = [one, 0]
    term, n = one, 0
    while term:
        n += 1
        term = term * angle // (one * n)
        sums[n % 2] += -term if n % 4 > 1 else term
    cosine, sine = (total >> more for total in sums)
    return (sine if part >= 0 else -sine), cosine
