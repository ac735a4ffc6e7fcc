"""Glob patterns as Redis matches them, for KEYS and SCAN.

The pattern is translated into a regular expression that cannot backtrack: each part between two stars is
searched lazily inside an atomic group, because in a glob the leftmost fit of a part is always as good as a later one.
So the cost is at most length of pattern times length of key, where the naive way is exponential in the stars.

Oddities kept, because they are visible: a class that is never closed ends with the pattern; a range may run over the
closing bracket ([a-] spans from a to ]); ranges compare bytes as signed; only an empty pattern matches an
empty key (callers treat a lone * as "no pattern").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from raftkv.machines.redis.refusals import Refused
from raftkv.machines.replies import Error

PATTERN_BYTES_MAX: Final = 8 * 1024
"""Translating takes some microseconds per byte, and translations are kept: without a bound a pattern of megabytes
would stop the member. Redis has none."""

_TOO_LONG: Final = Error("ERR pattern is too long")


@lru_cache(maxsize=256)
def glob_matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """A function that tells whether a key matches the whole of `pattern`; raises Refused for a very long one."""
    if len(pattern) > PATTERN_BYTES_MAX:
        raise Refused(_TOO_LONG)
    if not pattern:
        return lambda key: not key
    fits = re.compile(_expression(pattern), re.DOTALL).fullmatch
    return lambda key: bool(key) and fits(key) is not None


def _expression(pattern: bytes) -> bytes:
    parts = [b""]
    for piece in _pieces(pattern):
        if piece == b"*":
            parts.append(b"")
        else:
            parts[-1] += piece
    if len(parts) == 1:
        return parts[0]
    head, *middle, tail = parts
    # The tail is tied to the end of the key, so it needs no search: what lies before it is any run of bytes.
    return head + b"".join(b"(?>.*?" + part + b")" for part in middle if part) + b".*" + tail


def _pieces(pattern: bytes) -> Iterator[bytes]:
    """Each element as an expression for exactly one byte, or b"*"."""
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            yield b"*"
        elif byte == b"?":
            yield b"."
        elif byte == b"[":
            members, at = _class(pattern, at + 1)
            yield _any_of(members)
        else:
            if byte == b"\\" and at + 1 < len(pattern):
                at += 1
            yield re.escape(pattern[at : at + 1])
        at += 1


def _class(pattern: bytes, at: int) -> tuple[set[int], int]:
    """The bytes that a class admits, and the position of its last byte."""
    inverted = pattern[at : at + 1] == b"^"
    at += inverted
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < len(pattern):
            at += 1
            members.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((_signed(pattern[at]), _signed(pattern[at + 2])))
            members.update(number & 0xFF for number in range(low, high + 1))
            at += 2
        else:
            members.add(pattern[at])
        at += 1
    return (set(range(256)) - members if inverted else members), at


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _any_of(members: set[int]) -> bytes:
    """A class, written in ranges: listing each byte would make long patterns slow to translate."""
    if not members:
        return b"(?!)"
    firsts = [byte for byte in sorted(members) if byte - 1 not in members]
    lasts = [byte for byte in sorted(members) if byte + 1 not in members]
    ranges = [b"\\x%02x-\\x%02x" % pair for pair in zip(firsts, lasts, strict=True)]
    return b"[" + b"".join(ranges) + b"]"
