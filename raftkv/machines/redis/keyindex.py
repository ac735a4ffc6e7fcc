"""The order in which SCAN walks a database, and the ground RANDOMKEY draws from.

A Python dict offers neither a stable position to continue from nor a member at random. So keys are put in the order
of a 32-bit hash (CRC-32: the same on every member and in every process, unlike `hash`), and a cursor is simply the
hash to continue at. That makes a cursor free of state: it stays good for ever, on every member, after a failover, and
whatever is inserted or deleted meanwhile, since no key ever changes its place. All keys of one hash are
returned by one call, so a call may return slightly more than COUNT.

The keys lie in buckets, each a contiguous range of hashes, split in two when it grows past BUCKET_KEYS_MAX. Inside they
are put in order when a rank is asked for there, and then kept so: to order a bucket takes ten times as long as to draw
from it. One entry costs 8 bytes and a share of its bucket, about 11 in all. Nothing exists until the first SCAN or
RANDOMKEY on a database: building it costs about a quarter of a microsecond per key, once; from then on an insert or
delete pays about half a microsecond. FLUSHDB drops it.

What was not done: sorting a snapshot at SCAN 0 costs a second per million keys for each new iteration; positions
in insertion order shift with each delete.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from random import Random
from typing import Final
from zlib import crc32

BUCKET_KEYS_MAX: Final = 64
INDEX_BYTES: Final = 11
"""Of one entry, with its share of the bucket."""

_HASH_BITS: Final = 32
_SLOT_BITS: Final = 10
_GROUP_BITS: Final = 5
"""Keys are counted by the first 10 and the first 5 bits of their hash, so that a rank is found in some 40 steps."""


class KeyIndex:
    """Keys ordered by hash. `starts[i]` is the lowest hash that belongs into `buckets[i]`; starts[0] is 0."""

    __slots__ = ("_groups", "_ordered", "_slots", "buckets", "starts")

    def __init__(self, keys: Iterable[bytes]) -> None:
        every = list(keys)
        bits = max(0, (len(every) // (BUCKET_KEYS_MAX // 2)).bit_length())
        self.starts = [number << (_HASH_BITS - bits) for number in range(1 << bits)]
        self.buckets: list[list[bytes]] = [[] for _ in self.starts]
        self._ordered = bytearray(len(self.buckets))
        """Of each bucket whether its keys are in the order of (hash, key)."""

        shift, buckets = _HASH_BITS - bits, self.buckets
        for key in every:
            buckets[crc32(key) >> shift].append(key)
        self._slots: list[int] = []
        self._groups: list[int] = []
        """How many keys there are in each slot and group of slots; empty until the first `draw`."""

    def add(self, key: bytes) -> None:
        """Insert a key that is not in yet."""
        value = crc32(key)
        number = self._bucket_of(value)
        bucket = self.buckets[number]
        if self._ordered[number]:
            bucket.insert(_place_in(bucket, value, key), key)
        else:
            bucket.append(key)
        if self._slots:
            self._count(value, 1)
        # Only at multiples: keys of one and the same hash cannot be split, and must not be tried at each insert.
        if len(bucket) % BUCKET_KEYS_MAX == 0:
            self._split(number)

    def discard(self, key: bytes) -> None:
        """Take a key out that is in."""
        value = crc32(key)
        number = self._bucket_of(value)
        bucket = self.buckets[number]
        if self._ordered[number]:
            del bucket[_place_in(bucket, value, key)]
        else:
            bucket.remove(key)
        if self._slots:
            self._count(value, -1)
        if not bucket and number > 0:
            del self.buckets[number], self.starts[number], self._ordered[number]

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """`count` keys or a few more from hash `cursor` on, and the cursor to go on with.

        Fewer than `count` only at the end; a cursor of 0 says that nothing is left.
        """
        keys: list[bytes] = []
        last = -1
        for value, key in self._from(cursor):
            if len(keys) >= count and value != last:
                return value, keys
            keys.append(key)
            last = value
        return 0, keys

    def choose(self, chances: Iterator[int]) -> bytes:
        """A key, each equally likely. There must be one.

        Draws a bucket, accepts it in proportion to its size, else draws again: buckets are about half full, so
        two or three draws do.
        """
        buckets = self.buckets
        for chance in chances:
            bucket = buckets[chance % len(buckets)]
            place = (chance >> 32) % max(BUCKET_KEYS_MAX, len(bucket))
            if place < len(bucket):
                return bucket[place]
        raise AssertionError("chances ended")

    def draw(self, chance: Random, length: int) -> bytes:
        """A key, each equally likely, of the `length` that there are. Unlike `choose` it depends on the keys and on
        `chance` alone, not on how the buckets have come to be: it draws a rank in the order of (hash, key)."""
        if not self._slots:
            self._count_all()
        rank = chance.randrange(length)
        group = 0
        while rank >= self._groups[group]:
            rank -= self._groups[group]
            group += 1
        slot = group << _SLOT_BITS - _GROUP_BITS
        while rank >= self._slots[slot]:
            rank -= self._slots[slot]
            slot += 1
        start = slot << _HASH_BITS - _SLOT_BITS
        number = self._bucket_of(start)
        if self.starts[number] < start:  # some of its keys belong to the slot before
            rank += sum(crc32(key) < start for key in self.buckets[number])
        while rank >= len(self.buckets[number]):
            rank -= len(self.buckets[number])
            number += 1
        if not self._ordered[number]:
            self.buckets[number].sort(key=_by_hash)
            self._ordered[number] = True
        return self.buckets[number][rank]

    def _count_all(self) -> None:
        self._slots = [0] * (1 << _SLOT_BITS)
        self._groups = [0] * (1 << _GROUP_BITS)
        for bucket, start, end in zip(self.buckets, self.starts, [*self.starts[1:], 1 << _HASH_BITS], strict=True):
            if start >> _HASH_BITS - _SLOT_BITS == end - 1 >> _HASH_BITS - _SLOT_BITS:
                self._count(start, len(bucket))
            else:
                for key in bucket:
                    self._count(crc32(key), 1)

    def _count(self, value: int, more: int) -> None:
        self._slots[value >> _HASH_BITS - _SLOT_BITS] += more
        self._groups[value >> _HASH_BITS - _GROUP_BITS] += more

    def _from(self, cursor: int) -> Iterator[tuple[int, bytes]]:
        for number in range(self._bucket_of(cursor), len(self.buckets)):
            for pair in sorted([(crc32(key), key) for key in self.buckets[number]]):
                if pair[0] >= cursor:
                    yield pair

    def _bucket_of(self, value: int) -> int:
        return bisect_right(self.starts, value) - 1

    def _split(self, number: int) -> None:
        pairs = sorted([(crc32(key), key) for key in self.buckets[number]])
        middle = pairs[len(pairs) // 2][0]
        if middle == pairs[0][0]:  # everything below the middle has one hash: split above it, or not at all
            middle = next((value for value, _ in pairs if value != middle), middle)
            if middle == pairs[0][0]:
                return
        self.buckets[number] = [key for value, key in pairs if value < middle]
        self.buckets.insert(number + 1, [key for value, key in pairs if value >= middle])
        self.starts.insert(number + 1, middle)
        self._ordered[number] = True
        self._ordered.insert(number + 1, True)


def _by_hash(key: bytes) -> tuple[int, bytes]:
    return crc32(key), key


def _place_in(bucket: list[bytes], value: int, key: bytes) -> int:
    """Where the key of hash `value` is in an ordered bucket, or belongs."""
    place = bisect_left(bucket, value, key=crc32)
    while place < len(bucket) and bucket[place] < key and crc32(bucket[place]) == value:
        place += 1
    return place
