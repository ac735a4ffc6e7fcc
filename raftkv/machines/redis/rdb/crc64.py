"""The checksum of DUMP: CRC-64 with Jones's polynomial, reflected, starting at 0.

A byte at a time Python does 11 MB/s, so a long message is shortened first, by large operations. A CRC is linear: a
byte's effect on it is the same as that of eight certain bytes DISTANCE bytes further on. So a block of the message is
folded onto the next one: eight times `translate`, one for each of those bytes, shifted by 0 to 7 bytes, and added to
what stands there (to add is exclusive or, which Python does on integers of any size). Only the last block is left:
75 MB/s.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_POLYNOMIAL: Final = 0x95AC9329AC4BC9B5
DISTANCE: Final = 512
"""The length of a block. Longer ones are folded little faster, and leave more for the slow end."""

_SPILL: Final = 8
"""Bytes behind a block that folding reaches."""


def _table() -> list[int]:
    table = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return table


_TABLE: Final = _table()


@cache
def _fold_tables() -> list[bytes]:
    """For each byte, the first, second ... of the eight that stand for it DISTANCE bytes further on."""
    bits = []
    for bit in range(8):
        register = 1 << bit
        for _ in range(DISTANCE):
            register = register >> 8 ^ _TABLE[register & 255]
        bits.append(register)
    effects = [0]
    for register in bits:
        effects += [effect ^ register for effect in effects]
    return [bytes(effect >> 8 * place & 255 for effect in effects) for place in range(8)]


def crc64(data: bytes) -> int:
    register = 0
    for byte in _fold(data) if len(data) >= 2 * DISTANCE + _SPILL else data:
        register = register >> 8 ^ _TABLE[(register ^ byte) & 255]
    return register


def _fold(data: bytes) -> bytes:
    """A message of less than 2 * DISTANCE + _SPILL bytes with the same checksum."""
    tables = _fold_tables()
    number = int.from_bytes
    block = number(data[:DISTANCE], "little")
    at = DISTANCE
    while at + DISTANCE + _SPILL <= len(data):
        content = block.to_bytes(DISTANCE + _SPILL, "little")
        block = number(data[at : at + DISTANCE], "little") ^ number(content[DISTANCE:], "little")
        for place, table in enumerate(tables):
            block ^= number(content[:DISTANCE].translate(table), "little") << 8 * place
        at += DISTANCE
    rest = number(data[at:], "little") << 8 * DISTANCE
    return (block ^ rest).to_bytes(DISTANCE + len(data) - at, "little")
