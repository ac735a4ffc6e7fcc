"""Elements put between those of an encoded array, without decoding what is in it.

Needed where a member has replies of its own to put between those that the leader has encoded. To find out where an
element of a million values ends takes some 400 ms. So the array is made in pieces, each of which is sent before the
next one is looked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from raftkv.wire.resp_encode import WEIGHT_BYTES

_VALUES_AT_ONCE: Final = 4096
"""So many are walked for a piece, or twice as many: 2 to 3 ms of work. So many bytes weigh as much:"""

_BYTES_AT_ONCE: Final = _VALUES_AT_ONCE * WEIGHT_BYTES

_CRLF: Final = b"\r\n"
_BODIES: Final = frozenset(b"$=!")
_PARTS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
"""Mark -> parts to each that is counted."""

_WITH_LENGTH: Final = _BODIES | frozenset(_PARTS)

_Stretch = tuple[memoryview, int]
"""Some of the bytes, and how many values were walked to find them."""


def interleaved(encoded: bytes, slots: Sequence[bytes | None]) -> Iterator[bytes]:
    """An array of what is in `slots`, and where that is None the next element of the array `encoded`, in pieces. All of
    it is encoded, for RESP2 or RESP3. It must be whole and sound, and its elements as many as wanted: a member has made
    it."""
    piece: list[bytes | memoryview] = [b"*%d\r\n" % len(slots)]
    weight = 0
    for stretch, values in _stretches(encoded, slots):
        for start in range(0, len(stretch), _BYTES_AT_ONCE):
            part = stretch[start : start + _BYTES_AT_ONCE]
            piece.append(part)
            weight += values + len(part) // WEIGHT_BYTES
            if weight >= _VALUES_AT_ONCE:
                yield b"".join(piece)
                piece, weight = [], 0
    if piece:
        yield b"".join(piece)


def _stretches(encoded: bytes, slots: Sequence[bytes | None]) -> Iterator[_Stretch]:
    position = encoded.index(_CRLF) + 2
    for slot in slots:
        if slot is None:
            position = yield from _element(encoded, position)
        else:
            yield memoryview(slot), 1


def _element(encoded: bytes, position: int) -> Generator[_Stretch, None, int]:
    """The value that begins at `position`. Returns where it ends."""
    view, start, missing, values = memoryview(encoded), position, 1, 0
    while missing:
        mark, line_end = encoded[position], encoded.index(_CRLF, position)
        length = int(encoded[position + 1 : line_end]) if mark in _WITH_LENGTH else 0
        position = line_end + 2
        missing -= 1
        values += 1
        if mark in _PARTS:
            missing += max(0, length) * _PARTS[mark]
        elif mark in _BODIES and length >= 0:  # -1 is RESP2's null
            position += length + 2
        if not missing or values == _VALUES_AT_ONCE:
            yield view[start:position], values
            start, values = position, 0
    return position
