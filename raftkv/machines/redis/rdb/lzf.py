"""LZF, the compression of strings in RDB: to the byte what liblzf makes of the same input, as it is built into Redis.

The packed form is a row of runs. The first bits tell what is in a run:

    000nnnnn                     the n+1 bytes behind it
    nnnooooo oooooooo            n+2 bytes again that came o+1 bytes before, n < 7
    111ooooo nnnnnnnn oooooooo   n+9 bytes again that came o+1 bytes before

A repeat may reach into what it makes itself: so one byte becomes many.

What is found to be a repeat is a matter of luck, and the bytes agree with Redis's only if the luck is the same. For
each three bytes a slot remembers where they came last. The slot's number is liblzf's hash of them: different threes may
share a slot, and the later one wins. Within a repeat only the last two positions are remembered. Position 0 is never
repeated. (liblzf does not clear its slots, so once in a blue moon what Redis packs depends on what it packed before.)
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from sys import byteorder
from typing import Final

from raftkv.machines.redis.rdb import Malformed

_DISTANCE_MAX: Final = 1 << 13
_LITERALS_MAX: Final = 1 << 5
_REPEAT_MAX: Final = (1 << 8) + (1 << 3)
_SLOTS: Final = 1 << 16


def compress(data: bytes, most: int) -> bytes | None:
    """Packed into `most` bytes or fewer; None: liblzf does not manage that. `data` has at least three bytes."""
    pairs = _pairs(data)
    slots = [(pair - 5 * following) % _SLOTS for pair, following in pairwise(pairs)]
    latest: dict[int, int] = {}
    out = bytearray()
    at = start = 0  # start: of the literals that are not in `out` yet
    end = len(slots)
    while at < end:
        slot = slots[at]
        seen = latest.get(slot, 0)
        latest[slot] = at
        is_repeat = seen and pairs[seen] == pairs[at] and pairs[seen + 1] == pairs[at + 1]
        if not is_repeat or at - seen > _DISTANCE_MAX:
            at += 1
            continue
        _put_literals(out, data[start:at])
        length = _repeat_length(data, seen, at)
        _put_repeat(out, length, at - seen)
        start = at = at + length
        if at < end:
            latest[slots[at - 2]] = at - 2
            latest[slots[at - 1]] = at - 1
    literals = max(0, end - start)
    if len(out) + literals + literals // _LITERALS_MAX + 4 > most:
        return None
    _put_literals(out, data[start:])
    return bytes(out)


def _pairs(data: bytes) -> list[int]:
    """Each two bytes that stand together, as one number."""
    pairs = array("H", bytes(2 * len(data) - 2))
    for first in (0, 1):
        pairs[first::2] = array("H", data[first : first + (len(data) - first) // 2 * 2])
    if byteorder == "little":
        pairs.byteswap()
    return pairs.tolist()


def _repeat_length(data: bytes, seen: int, at: int) -> int:
    """How many bytes from `seen` on come again from `at` on, as liblzf counts: it leaves out the last two bytes, if it
    notices in time that the end is near."""
    most = min(len(data) - at - 2, _REPEAT_MAX)
    most = max(most, 19 if most > 16 else 3)  # it begins to look for the end only behind so many
    length = 3
    while length < most and data[seen + length] == data[at + length]:
        length += 1
    return length


def _put_literals(out: bytearray, literals: bytes) -> None:
    for first in range(0, len(literals), _LITERALS_MAX):
        run = literals[first : first + _LITERALS_MAX]
        out.append(len(run) - 1)
        out += run


def _put_repeat(out: bytearray, length: int, distance: int) -> None:
    high, low = divmod(distance - 1, 256)
    if length < 9:
        out += bytes((length - 2 << 5 | high, low))
    else:
        out += bytes((7 << 5 | high, length - 9, low))


def decompress(packed: bytes, length: int) -> bytes:
    """The `length` bytes that it was made of; raises Malformed."""
    out = bytearray()
    at, end = 0, len(packed)
    try:
        while at < end:
            head = packed[at]
            at += 1
            if head < _LITERALS_MAX:
                literals = packed[at : at + head + 1]
                at += head + 1
                out += literals
                continue
            count = (head >> 5) + 2
            if count == 9:
                count += packed[at]
                at += 1
            first = len(out) - ((head & 31) << 8 | packed[at]) - 1
            at += 1
            if first < 0:
                raise Malformed("a repeat of what was before the beginning")
            _repeat(out, first, count)
            if len(out) > length:
                break
    except IndexError as error:
        raise Malformed("a run is cut off") from error
    if at != end or len(out) != length:
        raise Malformed(f"{len(out)} bytes or more instead of {length}")
    return bytes(out)


def _repeat(out: bytearray, first: int, count: int) -> None:
    repeated = out[first : first + count]
    if len(repeated) < count:  # it reaches into what it makes
        repeated = (repeated * (count // len(repeated) + 1))[:count]
    out += repeated
