"""How much memory Python's objects take up, for MEMORY USAGE: as their allocator rounds it."""

from __future__ import annotations

from collections.abc import Sized
from sys import getsizeof
from typing import Final

_GRAIN_BYTES: Final = 16


def block_bytes(thing: object) -> int:
    """What `thing` itself takes up, without what it refers to."""
    return -(-getsizeof(thing) // _GRAIN_BYTES) * _GRAIN_BYTES


def slot_bytes(table: Sized) -> int:
    """An entry's share of a dict or list, its spare room included."""
    return getsizeof(table) // max(1, len(table))
