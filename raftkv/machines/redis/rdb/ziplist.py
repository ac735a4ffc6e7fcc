"""Ziplists: what Redis kept small collections in before listpacks, up to version 6. They are read only.

    length of all (4 bytes)  where the last element begins (4)  number of elements (2, 65535: too many to tell)
    elements  0xFF

An element is the length of the one before it (a byte, or 0xFE and four bytes), its form, and its content:

    00llllll ...                                  a string of l bytes
    01llllll llllllll ...                         the same, longer
    10______ llllllll * 4 ...                     the same, longer still
    11000000, 11010000, 11100000, 11110000, 0xFE  an integer of 2, 4, 8, 3, 1 bytes behind it
    1111nnnn                                      the integer n - 1, for n from 1 to 13

Lengths in a form are big-endian, everything else is little-endian.
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.redis.rdb import Malformed

_HEADER_BYTES: Final = 10
_END: Final = 0xFF
_LONG_BEFORE: Final = 0xFE
_COUNT_UNKNOWN: Final = 0xFFFF
_INTEGER_SIZES: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def unpack(data: bytes) -> list[bytes]:
    """Its elements, integers as texts. Raises Malformed unless it is whole, and each length is right."""
    end = len(data) - 1
    if end < _HEADER_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[end] != _END:
        raise Malformed("a ziplist with a wrong length")
    elements: list[bytes] = []
    at, before = _HEADER_BYTES, 0
    while at < end and data[at] != _END:
        told, size = _length_before(data, at)
        element, own_size = _element(data, at + size)
        if told != before or at + size + own_size > end:
            raise Malformed("an element of a ziplist with a wrong length")
        before = size + own_size
        at += before
        elements.append(element)
    last, count = int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:10], "little")
    if at != end or count not in (len(elements), _COUNT_UNKNOWN):
        raise Malformed("a ziplist with a wrong number of elements")
    if last != at - before if elements else last > end:
        raise Malformed("a ziplist with a wrong end")
    return elements


def _length_before(data: bytes, at: int) -> tuple[int, int]:
    """(length of the element before, bytes that tell it)"""
    if data[at] < _LONG_BEFORE:
        return data[at], 1
    return int.from_bytes(data[at + 1 : at + 5], "little"), 5


def _element(data: bytes, at: int) -> tuple[bytes, int]:
    """(element, length of its form and content)"""
    if at >= len(data):
        raise Malformed("a ziplist that is cut off")
    head = data[at]
    if head < 0xC0:
        size, length = _text_lengths(data, at)
        return data[at + size : at + size + length], size + length
    if 0xF1 <= head <= 0xFD:
        return b"%d" % ((head & 0xF) - 1), 1
    if head not in _INTEGER_SIZES:
        raise Malformed(f"an element of a ziplist of unknown form: {head}")
    size = _INTEGER_SIZES[head]
    return b"%d" % int.from_bytes(data[at + 1 : at + 1 + size], "little", signed=True), 1 + size


def _text_lengths(data: bytes, at: int) -> tuple[int, int]:
    """(length of the form, length of the string)"""
    kind = data[at] >> 6
    if kind == 0:
        return 1, data[at] & 0x3F
    if kind == 1:
        return 2, (data[at] & 0x3F) << 8 | data[at + 1] if at + 1 < len(data) else 0
    return 5, int.from_bytes(data[at + 1 : at + 5], "big")
