"""Lengths, strings and doubles: what all values in RDB are written with.

A length takes one, two, five or nine bytes, told by the first two bits of the first (the fourth pair of bits, 11, says
that no length follows but a string in a special form: an integer of one, two or four bytes, or LZF).

Compressing costs Python a third of a microsecond for each byte, and a member answers nobody meanwhile: `Writer` does it
for at most PACKED_BYTES_MAX bytes of a payload and stores the rest as it is. Unpacking multiplies: `Reader` refuses
what makes the compressed strings of one payload larger than one string may be.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from raftkv.machines.numbers import parse_integer, signed_size
from raftkv.machines.redis.ranges import STRING_BYTES_MAX
from raftkv.machines.redis.rdb import Malformed
from raftkv.machines.redis.rdb.lzf import compress, decompress

PACKED_BYTES_MAX: Final = 256 * 1024
"""So many bytes one DUMP tries to compress: about 100 milliseconds of work."""

_INTEGER_MARKS: Final = {1: 0xC0, 2: 0xC1, 4: 0xC2}
"""By the bytes that the integer takes."""

_LZF: Final = 0xC3
_LENGTH32, _LENGTH64 = 0x80, 0x81
_INTEGER_TEXT_MAX: Final = 11
_NOT_PACKED_MAX: Final = 20
"""Strings up to here are never compressed."""

_GAIN_MIN: Final = 4
_NO_LENGTH: Final = 2**64 - 1
"""Redis's own mark of an error, so no length."""

_DOUBLE: Final = Struct("<d")


class Writer:
    """Collects what is put; `parts` joined are the bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._packing_room = PACKED_BYTES_MAX

    def put_length(self, length: int) -> None:
        self.parts.append(_length(length))

    def put_string(self, text: bytes) -> None:
        self.parts.append(_short_integer(text) or self._packed(text) or _length(len(text)) + text)

    def put_double(self, number: float) -> None:
        self.parts.append(_DOUBLE.pack(number))

    def _packed(self, text: bytes) -> bytes | None:
        if not _NOT_PACKED_MAX < len(text) <= self._packing_room:
            return None
        self._packing_room -= len(text)
        packed = compress(text, len(text) - _GAIN_MIN)
        return packed and bytes((_LZF,)) + _length(len(packed)) + _length(len(text)) + packed


def _length(length: int) -> bytes:
    if length < 1 << 6:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((0x40 | length >> 8, length & 255))
    if length < 1 << 32:
        return bytes((_LENGTH32,)) + length.to_bytes(4, "big")
    return bytes((_LENGTH64,)) + length.to_bytes(8, "big")


def _short_integer(text: bytes) -> bytes | None:
    """The text of an integer of 32 bits."""
    if not 0 < len(text) <= _INTEGER_TEXT_MAX or text[0] > 0x39:  # "9": most texts need no closer look
        return None
    number = parse_integer(text)
    if number is None:
        return None
    size = signed_size(number, _INTEGER_MARKS)
    return None if size is None else bytes((_INTEGER_MARKS[size],)) + number.to_bytes(size, "little", signed=True)


class Reader:
    """Takes a payload apart from its front. Raises Malformed at what is not well-formed or not there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._unpacking_room = STRING_BYTES_MAX

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise Malformed("cut off")
        self._at += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        """A count. The mark of a special string is one too, by the bits that are left: Redis does not mind."""
        return self._length_from(self.byte())

    def string(self) -> bytes:
        head = self.byte()
        if head >> 6 != 3:
            return self.take(self._length_from(head))
        if head == _LZF:
            return self._unpacked()
        if head < _LZF:
            return b"%d" % int.from_bytes(self.take(1 << (head & 3)), "little", signed=True)
        raise Malformed(f"unknown form of a string: {head}")

    def double(self) -> float:
        number: float = _DOUBLE.unpack(self.take(_DOUBLE.size))[0]
        return number

    def _length_from(self, head: int) -> int:
        kind, bits = head >> 6, head & 0x3F
        if kind in (0, 3):
            return bits
        if kind == 1:
            return bits << 8 | self.byte()
        if head not in (_LENGTH32, _LENGTH64):
            raise Malformed(f"unknown form of a length: {head}")
        length = int.from_bytes(self.take(4 if head == _LENGTH32 else 8), "big")
        if length == _NO_LENGTH:
            raise Malformed("no length")
        return length

    def _unpacked(self) -> bytes:
        packed_length, length = self.length(), self.length()
        packed = self.take(packed_length)
        if length > self._unpacking_room:
            raise Malformed("too much to be unpacked")
        self._unpacking_room -= length
        return decompress(packed, length) if length else b""  # then Redis does not look at what is packed
