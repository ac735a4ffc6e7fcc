"""Hashes that are sums: of a state whose parts have no order of their own (`StateMachine.digests`).

A sum of strong hashes tells apart what chance makes different; it is no defence against somebody who chooses the
parts, and need not be: it looks for bugs and broken memory.
"""

from __future__ import annotations

import hashlib
from typing import Final

HASH_MODULUS: Final = 1 << 256


def part_hash(data: bytes) -> int:
    """One part of a sum."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=32).digest(), "big")


def sum_bytes(total: int) -> bytes:
    """The sum as 32 bytes."""
    return (total % HASH_MODULUS).to_bytes(32, "big")
