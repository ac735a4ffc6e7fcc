"""Listpacks: short strings and integers in one piece of memory, as Redis keeps small collections and parts of lists.

    length of all (4 bytes)  number of elements (2 bytes, 65535: too many to tell)  elements  0xFF

An element is its content, headed by its form, and then the length of both, to be read from behind:

    0nnnnnnn                            an integer from 0 to 127
    10llllll ...                        a string of l < 64 bytes
    110nnnnn nnnnnnnn                   an integer of 13 bits
    1110llll llllllll ...               a string of l < 4096 bytes
    11110000 llllllll * 4 ...           a longer one
    11110001, 11110010, ... 11110100    an integer of 2, 3, 4, 8 bytes behind it

Numbers of more than one byte are little-endian, except in the forms that begin with 110 and 1110.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raftkv.machines.numbers import parse_integer, signed_size
from raftkv.machines.redis.rdb import Malformed

HEADER_BYTES: Final = 6
END: Final = b"\xff"
_COUNT_UNKNOWN: Final = 0xFFFF
_INTEGER_TEXT_MAX: Final = 20
_BACK_SIZES: Final = ((16383, 2), (2097151, 3), (268435455, 4))
"""(Less than so long, so many bytes to tell it)"""

_INTEGER_SIZES: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
_INTEGER_FORMS: Final = {size: form for form, size in _INTEGER_SIZES.items()}


def pack(elements: Iterable[bytes]) -> bytes:
    return join([entry(element) for element in elements])


def join(entries: list[bytes]) -> bytes:
    """The listpack of ready entries."""
    content = b"".join(entries)
    length = HEADER_BYTES + len(content) + len(END)
    count = min(len(entries), _COUNT_UNKNOWN)
    return length.to_bytes(4, "little") + count.to_bytes(2, "little") + content + END


def entry(element: bytes) -> bytes:
    """An element in its form: as an integer where it is the text of one."""
    number = None
    if 0 < len(element) <= _INTEGER_TEXT_MAX and element[0] <= 0x39:  # "9": most texts need no closer look
        number = parse_integer(element)
    content = _text(element) if number is None else _integer(number)
    return content + _back_length(len(content))


def _text(element: bytes) -> bytes:
    length = len(element)
    if length < 1 << 6:
        return bytes((0x80 | length,)) + element
    if length < 1 << 12:
        return bytes((0xE0 | length >> 8, length & 255)) + element
    return b"\xf0" + length.to_bytes(4, "little") + element


def _integer(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes((number,))
    if -(1 << 12) <= number < 1 << 12:
        high, low = divmod(number % (1 << 13), 256)
        return bytes((0xC0 | high, low))
    size = signed_size(number, _INTEGER_FORMS) or 8
    return bytes((_INTEGER_FORMS[size],)) + number.to_bytes(size, "little", signed=True)


def _back_length(length: int) -> bytes:
    """Seven bits in a byte, the highest first; all bytes but the first one, which is the last to be read, say by their
    highest bit that there is more."""
    if length < 128:
        return bytes((length,))
    size = next((size for limit, size in _BACK_SIZES if length < limit), 5)
    digits = [length >> 7 * place & 127 for place in range(size)]
    return bytes((digits.pop(), *(digit | 128 for digit in reversed(digits))))


def unpack(data: bytes) -> list[bytes]:
    """Its elements, integers as texts. Raises Malformed unless it is whole, and each length is right."""
    end = len(data) - len(END)
    if end < HEADER_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[end] != END[0]:
        raise Malformed("a listpack with a wrong length")
    elements: list[bytes] = []
    at = HEADER_BYTES
    while at < end:
        element, size = _element(data, at)
        at += size
        back = _back_length(size)
        if data[at : at + len(back)] != back:
            raise Malformed("an element of a listpack with a wrong length")
        at += len(back)
        elements.append(element)
    count = int.from_bytes(data[4:6], "little")
    if at != end or count not in (len(elements), _COUNT_UNKNOWN):
        raise Malformed("a listpack with a wrong number of elements")
    return elements


def _element(data: bytes, at: int) -> tuple[bytes, int]:
    """(element, length of its form and content). What lies behind the end is noticed by its length at the back, or by
    where the next element would begin."""
    head = data[at]
    if head < 0x80:
        return b"%d" % head, 1
    if head < 0xC0:
        length = head & 0x3F
        return data[at + 1 : at + 1 + length], 1 + length
    if head < 0xE0:
        number = (head & 0x1F) << 8 | data[at + 1]
        return b"%d" % (number - (1 << 13) if number >> 12 else number), 2
    if head < 0xF0:
        length = (head & 0xF) << 8 | data[at + 1]
        return data[at + 2 : at + 2 + length], 2 + length
    if head == 0xF0:
        length = int.from_bytes(data[at + 1 : at + 5], "little")
        return data[at + 5 : at + 5 + length], 5 + length
    if head not in _INTEGER_SIZES:
        raise Malformed(f"an element of a listpack of unknown form: {head}")
    size = _INTEGER_SIZES[head]
    return b"%d" % int.from_bytes(data[at + 1 : at + 1 + size], "little", signed=True), 1 + size
