"""Taking an encoded array apart without decoding what is in it: its elements, byte for byte.

Needed where a member has to put elements of its own between those that the leader has encoded.
"""

from __future__ import annotations

from typing import Final

_CRLF: Final = b"\r\n"
_BODIES: Final = frozenset(b"$=!")
_PARTS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
"""Mark -> parts to each that is counted."""

_WITH_LENGTH: Final = _BODIES | frozenset(_PARTS)


def split_array(encoded: bytes) -> list[bytes]:
    """The elements of one encoded array, of RESP2 or RESP3. It must be whole and sound: a member has made it."""
    position = encoded.index(_CRLF) + 2
    elements = []
    while position < len(encoded):
        end = _end_of(encoded, position)
        elements.append(encoded[position:end])
        position = end
    return elements


def _end_of(encoded: bytes, start: int) -> int:
    """Where the value that begins at `start` ends."""
    position, missing = start, 1
    while missing:
        mark, line_end = encoded[position], encoded.index(_CRLF, position)
        length = int(encoded[position + 1 : line_end]) if mark in _WITH_LENGTH else 0
        position = line_end + 2
        missing -= 1
        if mark in _PARTS:
            missing += max(0, length) * _PARTS[mark]
        elif mark in _BODIES and length >= 0:  # -1 is RESP2's null
            position += length + 2
    return position
