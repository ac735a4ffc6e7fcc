"""The 80-bit extended floats of x86, which INCRBYFLOAT computes with, in integer arithmetic.

Redis keeps the number as text, reads it with strtold, adds two long doubles and prints 17 digits after the point.
Python's float has 53 bits where a long double has 64, and would answer 0.30000000000000004 for 0.1 + 0.2. Here
a finite number is (mantissa, exponent), meaning mantissa * 2**exponent, rounded half to even to 64 bits after reading
and after adding, as the hardware does. That is exact on every platform, also where C's long double is wider
or narrower, so all members agree.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from math import inf
from typing import Final

Finite = tuple[int, int]
LongDouble = Finite | float
"""(mantissa, exponent), or plus or minus infinity."""

_MANTISSA_BITS: Final = 64
_EXPONENT_MIN: Final = -16445  # of the smallest subnormal
_EXPONENT_END: Final = 16384  # numbers of 2**this and more are infinite
_TEXT_BYTES_MAX: Final = 5 * 1024 - 1
_DECIMAL_MAGNITUDE_MAX: Final = 5000  # beyond it is infinity or zero, whatever the digits
_FRACTION_DIGITS: Final = 17
# Not int() and str(): they refuse numbers of more than 4300 digits, and the limit is an environment variable.
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

_DECIMAL: Final = re.compile(rb"([+-]?)((\d*)\.?(\d*))(?:[eE]([+-]?\d+))?")
_HEXADECIMAL: Final = re.compile(rb"([+-]?)0[xX](([0-9a-fA-F]*)\.?([0-9a-fA-F]*))(?:[pP]([+-]?\d+))?")
_INFINITY: Final = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)


def parse_long_double(text: bytes) -> LongDouble | None:
    """What strtold makes of the whole text; None where Redis says it is not a valid float (too large and
    rounded to zero included)."""
    if len(text) > _TEXT_BYTES_MAX:
        return None
    if match := _INFINITY.fullmatch(text):
        return -inf if match[1] == b"-" else inf
    if match := _DECIMAL.fullmatch(text):
        return _parsed(match, 10)
    if match := _HEXADECIMAL.fullmatch(text):
        return _parsed(match, 16)
    return None


def add(left: LongDouble, right: LongDouble) -> LongDouble | None:
    """The rounded sum; None where it is not a finite number."""
    if isinstance(left, float) or isinstance(right, float):
        return None
    exponent = min(left[1], right[1])
    total = (left[0] << (left[1] - exponent)) + (right[0] << (right[1] - exponent))
    rounded = _rounded(abs(total), 1, exponent)
    if isinstance(rounded, float):
        return None
    return (-rounded[0] if total < 0 else rounded[0], rounded[1])


def format_long_double(number: Finite) -> bytes:
    """17 digits after the point, without trailing zeros; never "-0"."""
    mantissa, exponent = abs(number[0]), number[1]
    scaled = mantissa * 10**_FRACTION_DIGITS
    scaled = scaled << exponent if exponent >= 0 else _divided_half_even(scaled, 1 << -exponent)
    digits = str(_EXACT.create_decimal(scaled)).zfill(_FRACTION_DIGITS + 1)
    text = f"{digits[:-_FRACTION_DIGITS]}.{digits[-_FRACTION_DIGITS:]}".rstrip("0").rstrip(".")
    return (f"-{text}" if number[0] < 0 and text != "0" else text).encode()


def _parsed(match: re.Match[bytes], base: int) -> LongDouble | None:
    sign, _, whole, fraction, exponent_text = match.groups()
    digits = (whole + fraction).lstrip(b"0")
    if not whole and not fraction:
        return None
    if not digits:
        return (0, 0)
    # Digits are at most 5 thousand, so comparing lengths keeps a hostile exponent away from the arithmetic.
    exponent = _clamped(exponent_text or b"0")
    magnitude = _rounded_digits(digits, len(fraction), exponent, base)
    if isinstance(magnitude, float) or magnitude[0] == 0:
        return None
    return (-magnitude[0], magnitude[1]) if sign == b"-" else magnitude


def _rounded_digits(digits: bytes, fraction_digits: int, exponent: int, base: int) -> LongDouble:
    if base == 16:
        if abs(exponent) > 10 * _DECIMAL_MAGNITUDE_MAX:
            return inf if exponent > 0 else (0, 0)
        return _rounded(int(digits, 16), 1, exponent - 4 * fraction_digits)
    power = exponent - fraction_digits
    if len(digits) + power > _DECIMAL_MAGNITUDE_MAX:
        return inf
    if len(digits) + power < -_DECIMAL_MAGNITUDE_MAX:
        return (0, 0)
    number = int(_EXACT.create_decimal(digits.decode()))
    return _rounded(number * 10**power, 1, 0) if power >= 0 else _rounded(number, 10**-power, 0)


def _clamped(exponent_text: bytes) -> int:
    digits = exponent_text.lstrip(b"+-").lstrip(b"0")
    magnitude = int(digits or b"0") if len(digits) < 10 else 10**10
    return -magnitude if exponent_text.startswith(b"-") else magnitude


def _rounded(numerator: int, denominator: int, exponent: int) -> LongDouble:
    """numerator / denominator * 2**exponent (not negative) to 64 bits, fewer among the subnormals."""
    if numerator == 0:
        return (0, 0)
    # The quotient has this many bits, or one more: then the quantum below is one too fine, and is tried again.
    shift = numerator.bit_length() - denominator.bit_length() - _MANTISSA_BITS
    for quantum in (shift, shift + 1):
        limited = max(quantum, _EXPONENT_MIN - exponent)
        scaled, divisor = (numerator << -limited, denominator) if limited < 0 else (numerator, denominator << limited)
        if scaled // divisor < 1 << _MANTISSA_BITS:
            break
    mantissa = _divided_half_even(scaled, divisor)
    if mantissa.bit_length() + limited + exponent > _EXPONENT_END:
        return inf
    return (mantissa, limited + exponent)


def _divided_half_even(numerator: int, denominator: int) -> int:
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


def decimal_of(number: Finite) -> Decimal:
    """The exact value, for tests and tools."""
    return _EXACT.create_decimal(number[0]) * _EXACT.power(2, number[1])
