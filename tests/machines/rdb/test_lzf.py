"""LZF by itself; that it is Redis's to the byte is shown in test_with_redis.py."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.redis.rdb import Malformed
from raftkv.machines.redis.rdb.lzf import compress, decompress

pieces = st.one_of(st.binary(min_size=1, max_size=40), st.just(b"a" * 300), st.just(b"abc" * 20))
texts = st.lists(st.tuples(pieces, st.integers(1, 4)), min_size=1, max_size=12).map(
    lambda drawn: b"".join(piece * times for piece, times in drawn) + b"the end"
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=texts)
def test_what_is_packed_can_be_unpacked(text: bytes) -> None:
    packed = compress(text, 2 * len(text) + 8)
    assert packed is not None
    assert decompress(packed, len(text)) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=texts, most=st.integers(1, 600))
def test_nothing_is_longer_than_allowed(text: bytes, most: int) -> None:
    packed = compress(text, most)
    assert packed is None or len(packed) <= most


def test_known_bytes() -> None:
    assert compress(b"a" * 100, 96) == b"\x01aa\xe0\x57\x00\x01aa"
    assert compress(b"abcdefghijklmnopqrstuvwxyz", 22) is None
    assert decompress(b"\x00a\xe0\x5a\x00", 100) == b"a" * 100
    assert decompress(b"\x02abc\x40\x02\x00!", 8) == b"abcabca!"


@settings(max_examples=500, deadline=None, derandomize=True)
@given(packed=st.binary(max_size=40), length=st.integers(1, 400))
def test_anything_is_unpacked_or_refused(packed: bytes, length: int) -> None:
    with suppress(Malformed):
        assert len(decompress(packed, length)) == length


def test_unpacking_stops_soon_after_the_length_is_passed() -> None:
    bomb = b"\x00a" + b"\xe0\xff\x00" * 1_000_000
    with pytest.raises(Malformed, match="265 bytes or more"):
        decompress(bomb, 100)
