"""Hashes that are sums: of a state whose parts have no order of their own (`StateMachine.digests`).

A sum of strong hashes tells apart what chance makes different; it is no defence against somebody who chooses the
parts, and need not be: it looks for bugs and broken memory.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

HASH_MODULUS: Final = 1 << 256


class Hash(Protocol):
    """As those of hashlib."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def new_hash(data: bytes = b"") -> Hash:
    """For a part of a sum that comes piece by piece; `hash_number` is then what it counts."""
    return hashlib.blake2b(data, digest_size=32)


def hash_number(finished: Hash) -> int:
    return int.from_bytes(finished.digest(), "big")


def part_hash(data: bytes) -> int:
    """One part of a sum."""
    return hash_number(new_hash(data))


def sum_bytes(total: int) -> bytes:
    """The sum as 32 bytes."""
    return (total % HASH_MODULUS).to_bytes(32, "big")
