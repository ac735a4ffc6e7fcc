"""Doubles as C's strtod reads them, in the two ways in which Redis uses it.

Python's `float` is no substitute: it takes underscores and surrounding space, and does not know hexadecimal.
"""

from __future__ import annotations

import re
from math import inf, isinf
from typing import Final

_DECIMAL: Final = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_HEXADECIMAL: Final = re.compile(rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?\d+)?")
_INFINITY: Final = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)
_NAN_OR_INFINITY: Final = re.compile(rb"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_SHORT: Final = 300
"""Fewer digits are surely no infinity."""

_C_SPACES: Final = b" \t\n\v\f\r"


def parse_double(text: bytes) -> float | None:
    """A number that is all of the text; None for anything else: also what is too large, or too small to be told from 0,
    and NaN."""
    if text.isdigit() and len(text) < _SHORT:  # most scores: a third of the time
        return float(text)
    if match := _INFINITY.fullmatch(text):
        return -inf if match[1] == b"-" else inf
    number = _finite(text)
    if number is None or isinf(number):
        return None
    if number == 0 and re.search(rb"[1-9a-fA-F]", re.split(rb"[pP]" if b"x" in text.lower() else rb"[eE]", text)[0]):
        return None
    return number


def parse_limit(text: bytes) -> float | None:
    """A limit of a range, which Redis reads more kindly: space before it and nothing at all (0) are taken, what is too
    large is infinite, and a NUL ends it."""
    text = c_text(text)
    if not text:
        return 0.0
    if match := _INFINITY.fullmatch(text):
        return -inf if match[1] == b"-" else inf
    return _finite(text)


def leading_double(text: bytes) -> float | None:
    """The number with which the text begins, whatever follows; None: with none. It may be NaN."""
    text = c_text(text)
    if match := _NAN_OR_INFINITY.match(text):
        return float(match[0])
    match = _HEXADECIMAL.match(text) or _DECIMAL.match(text)
    return None if match is None else _finite(match[0])


def c_text(text: bytes) -> bytes:
    """What strtod sees of it: from the first character that is no space to the first NUL."""
    return text.split(b"\0", 1)[0].lstrip(_C_SPACES)


def _finite(text: bytes) -> float | None:
    """Infinite only by being too large."""
    if _DECIMAL.fullmatch(text):
        return float(text)
    if not _HEXADECIMAL.fullmatch(text):
        return None
    try:
        return float.fromhex(text.decode())
    except OverflowError:
        return -inf if text.startswith(b"-") else inf
