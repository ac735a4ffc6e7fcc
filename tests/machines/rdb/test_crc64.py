"""The checksum: the standard check value, and that folding changes nothing."""

from __future__ import annotations

from random import Random

import pytest

from raftkv.machines.redis.rdb.crc64 import DISTANCE, crc64

_POLYNOMIAL = 0xAD93D23594C935A9
"""Jones's, its highest power first."""


def bit_by_bit(data: bytes) -> int:
    """As the textbook has it: bits in, lowest first; long division."""
    register = 0
    for byte in data:
        for place in range(8):
            carry = register & 1 ^ byte >> place & 1
            register = register >> 1 ^ (int(f"{_POLYNOMIAL:064b}"[::-1], 2) if carry else 0)
    return register


def test_the_check_value() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"") == 0


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
@pytest.mark.parametrize("more", [-1, 0, 1, 7, 8, 9])
def test_folding_changes_nothing(blocks: int, more: int) -> None:
    data = Random(blocks).randbytes(blocks * DISTANCE + more)
    assert crc64(data) == bit_by_bit(data)
