"""Lengths and strings: each form at its edges, what is never compressed, and that unpacking is limited."""

from __future__ import annotations

import pytest

from raftkv.machines.redis.rdb import Malformed, fields
from raftkv.machines.redis.rdb.fields import Reader, Writer


def written(text: bytes) -> bytes:
    writer = Writer()
    writer.put_string(text)
    return b"".join(writer.parts)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, b"\x00"),
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16383, b"\x7f\xff"),
        (16384, b"\x80\x00\x00\x40\x00"),
        (2**32 - 1, b"\x80\xff\xff\xff\xff"),
        (2**32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
    ],
)
def test_lengths(length: int, expected: bytes) -> None:
    writer = Writer()
    writer.put_length(length)
    assert writer.parts == [expected]
    assert Reader(expected).length() == length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b"\x00"),
        (b"0", b"\xc0\x00"),
        (b"-128", b"\xc0\x80"),
        (b"128", b"\xc1\x80\x00"),
        (b"-32769", b"\xc2\xff\x7f\xff\xff"),
        (b"2147483647", b"\xc2\xff\xff\xff\x7f"),
        (b"2147483648", b"\x0a2147483648"),
        (b"007", b"\x03007"),
        (b"-0", b"\x02-0"),
        (b"a" * 20, b"\x14" + b"a" * 20),
        (b"a" * 30, b"\xc3\x09\x1e\x01aa\xe0\x11\x00\x01aa"),
    ],
)
def test_strings(text: bytes, expected: bytes) -> None:
    assert written(text) == expected
    assert Reader(written(text)).string() == text


def test_only_the_first_of_many_strings_are_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "PACKED_BYTES_MAX", 250)
    writer = Writer()
    for _ in range(4):
        writer.put_string(b"a" * 100)
    assert [part[0] for part in writer.parts] == [0xC3, 0xC3, 0x40, 0x40]


def test_the_strings_of_one_payload_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "STRING_BYTES_MAX", 250)
    reader = Reader(written(b"a" * 100) * 4)
    assert [reader.string(), reader.string()] == [b"a" * 100] * 2
    with pytest.raises(Malformed, match="too much"):
        reader.string()


@pytest.mark.parametrize(
    "data", [b"", b"\x05abcd", b"\x40", b"\x80\x00\x00\x00", b"\x81" + b"\xff" * 8, b"\xc1\x00", b"\xc4"]
)
def test_what_is_cut_off_or_unknown(data: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(data).string()


def test_what_redis_does_not_look_at() -> None:
    assert Reader(b"\xc3\x03\x00xyz").string() == b""  # packed bytes of nothing
    assert Reader(b"\xc5").length() == 5  # the mark of a string as a length
