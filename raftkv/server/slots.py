"""Hash slots, by which clients of Redis Cluster find a key's member. Here all of them are the leader's."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16384


def hash_slot(key: bytes) -> int:
    """The slot of `key`: of what stands between its first braces, where there is anything, else of the whole."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS
