"""Integers as Redis takes them (`string2ll`): an optional minus, no plus, no leading zero, no space, within 64 bits.

Python's `int` is far more lenient, so its result is printed back and compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_INT64_DIGITS_MAX: Final = 20


def parse_integer(text: bytes) -> int | None:
    """A 64-bit integer in its one canonical spelling, else None."""
    if len(text) > _INT64_DIGITS_MAX:  # also keeps hostile lengths away from int()
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if INT64_MIN <= number <= INT64_MAX and b"%d" % number == text else None


def signed_size(number: int, sizes: Iterable[int]) -> int | None:
    """The first of these numbers of bytes that holds an integer with its sign; None: too few, all of them."""
    bits = (number if number >= 0 else ~number).bit_length() + 1
    return next((size for size in sizes if bits <= 8 * size), None)
