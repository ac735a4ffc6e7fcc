"""Zipmaps: what Redis kept small hashes in up to version 2.4. They are read only.

    number of pairs (a byte, 254: too many to tell)  pairs  0xFF

A pair is the length of the field and the field, the length of the value, a byte that tells how many unused bytes follow
the value, and the value. A length is one byte, or 0xFE and four bytes, little-endian.
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.redis.rdb import Malformed

_LONG: Final = 0xFE
_END: Final = 0xFF


def unpack(data: bytes) -> list[tuple[bytes, bytes]]:
    """Its pairs (field, value). Raises Malformed for an empty one, and where a length is wrong. As in Redis, it may go
    on behind its end, up to a second one."""
    if len(data) < 2 or data[-1] != _END:
        raise Malformed("a zipmap without an end")
    pairs: list[tuple[bytes, bytes]] = []
    at = 1
    while data[at] != _END:
        field, at = _piece(data, at, spare=0)
        value, at = _piece(data, at, spare=1)
        pairs.append((field, value))
    if not pairs or data[0] not in (len(pairs), _LONG):
        raise Malformed("a zipmap with a wrong number of pairs")
    return pairs


def _piece(data: bytes, at: int, spare: int) -> tuple[bytes, int]:
    """(field or value, where the next one begins). spare: bytes between the length and the content, which tell how many
    unused ones follow it."""
    size, length = 1, data[at]
    if length >= _LONG:
        size, length = 5, int.from_bytes(data[at + 1 : at + 5], "little")
        if length < _LONG:
            raise Malformed("a length in a zipmap that should be short")
    first = at + size + spare
    unused = data[first - 1] if spare and first <= len(data) else 0
    behind = first + length + unused
    if behind >= len(data):
        raise Malformed("a zipmap that is cut off")
    return data[first : first + length], behind
