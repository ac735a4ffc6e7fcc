"""Intsets: the members of a small set of integers, in their order.

    bytes of one member (4 bytes: 2, 4 or 8)  number of members (4)  members

All numbers are little-endian. Redis widens the members when a wide one comes, and does not narrow them when it goes.
Here they are written as narrow as they are.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct, unpack_from
from struct import pack as pack_numbers
from typing import Final

from raftkv.machines.numbers import signed_size
from raftkv.machines.redis.rdb import Malformed

_HEADER: Final = Struct("<II")
_FORMATS: Final = {2: "h", 4: "i", 8: "q"}


def pack(members: list[int]) -> bytes:
    """`members` in their order."""
    size = max(signed_size(member, _FORMATS) or 8 for member in (members[0], members[-1]))
    return _HEADER.pack(size, len(members)) + pack_numbers(f"<{len(members)}{_FORMATS[size]}", *members)


def unpack(data: bytes) -> list[int]:
    """Its members. Raises Malformed unless they are in their order, each once, and for an empty one."""
    if len(data) < _HEADER.size:
        raise Malformed("an intset without a head")
    size, count = _HEADER.unpack_from(data)
    if size not in _FORMATS or count == 0 or _HEADER.size + size * count != len(data):
        raise Malformed("an intset with a wrong length")
    members = list(unpack_from(f"<{count}{_FORMATS[size]}", data, _HEADER.size))
    if any(member >= following for member, following in pairwise(members)):
        raise Malformed("an intset that is out of order")
    return members
