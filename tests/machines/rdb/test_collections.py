"""Listpacks, ziplists, zipmaps and intsets by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.redis.rdb import Malformed, intset, listpack, ziplist, zipmap
from tests.machines.rdb import made

_EDGES = [0, 127, 128, -1, 4095, 4096, -4096, -4097, *(sign * 2**bits for bits in (15, 23, 31, 63) for sign in (1, -1))]
_TEXTS = [b"x" * length for length in (0, 63, 64, 125, 126, 127, 4095, 4096, 16377, 16378, 16379, 2_097_150)]
elements = st.lists(st.one_of(st.binary(max_size=5), st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n)))


@pytest.mark.parametrize("element", [*(b"%d" % number for number in _EDGES), b"%d" % (2**63 - 1), *_TEXTS])
def test_each_form_of_an_element(element: bytes) -> None:
    assert listpack.unpack(listpack.pack([b"before", element, b"behind"])) == [b"before", element, b"behind"]


def test_known_bytes_of_a_listpack() -> None:
    assert (
        listpack.pack([b"1", b"ab", b"-1"])
        == b"\x10\0\0\0\3\0" + b"\x01\x01" + b"\x82ab\x03" + b"\xdf\xff\x02" + b"\xff"
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(elements=elements)
def test_round_trips(elements: list[bytes]) -> None:
    assert listpack.unpack(listpack.pack(elements)) == elements
    assert ziplist.unpack(made.ziplist(*elements)) == elements
    numbers = sorted(set(map(len, elements)))
    assert not numbers or intset.unpack(intset.pack(numbers)) == numbers


def test_a_listpack_with_more_elements_than_its_head_can_tell() -> None:
    assert len(listpack.unpack(listpack.pack([b"1"] * 70_000))) == 70_000


def test_an_intset_is_as_narrow_as_it_may_be() -> None:
    for numbers, size in (([-32768, 32767], 2), ([-32769, 0], 4), ([0, 2**31], 8)):
        assert intset.pack(numbers)[0] == size
        assert intset.unpack(intset.pack(numbers)) == numbers


def test_a_zipmap_may_go_on_behind_its_end() -> None:
    assert zipmap.unpack(made.zipmap((b"f", b"v"), unused=2) + b"more\xff") == [(b"f", b"v")]


UNPACKERS: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "listpack": (listpack.unpack, listpack.pack([b"1", b"word", b"-5000", b"x" * 70, b"70000", b"y" * 130])),
    "ziplist": (ziplist.unpack, made.ziplist(b"1", b"word", b"-5000", b"x" * 70, b"70000", b"y" * 260, b"z")),
    "zipmap": (zipmap.unpack, made.zipmap((b"f", b"v"), (b"x" * 260, b"y" * 260), unused=1)),
    "intset": (intset.unpack, intset.pack([-5, 0, 70000])),
}


@pytest.mark.parametrize("name", UNPACKERS)
def test_no_single_change_makes_them_stumble(name: str) -> None:
    """Each byte is set to values that mean much, left out, and doubled; each length is tried."""
    unpack, whole = UNPACKERS[name]
    tampered = [whole[:at] + bytes([byte]) + whole[at + 1 :] for at in range(len(whole)) for byte in _MEANINGFUL]
    tampered += [whole[:at] + whole[at + 1 :] for at in range(len(whole))]
    tampered += [whole[:at] + whole[at - 1 :] for at in range(1, len(whole))]
    tampered += [whole[:at] for at in range(len(whole))]
    refused = 0
    for data in tampered:
        try:
            unpack(data)
        except Malformed:
            refused += 1
    assert refused > len(whole)


_MEANINGFUL = (0, 1, 0x7F, 0x80, 0xC0, 0xE0, 0xF0, 0xF1, 0xF4, 0xF5, 0xFD, 0xFE, 0xFF)
