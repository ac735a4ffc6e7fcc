"""Inline arguments: a table, and the same lines (and thousands more) split by a real redis-server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.wire.inline import split_arguments
from raftkv.wire.resp_encode import encode
from tests.wire.conftest import Exchange, steady

LINES: list[tuple[bytes, list[bytes] | None]] = [
    (b"", []),
    (b" \t ", []),
    (b"a b", [b"a", b"b"]),
    (b"  a\t\tb  ", [b"a", b"b"]),
    (b"a\vb", [b"a\vb"]),
    (b"a \v\f b", [b"a", b"b"]),
    (b'"a b" c', [b"a b", b"c"]),
    (b'""', [b""]),
    (b"''", [b""]),
    (b'x"y"', [b"xy"]),
    (b'x"y" z', [b"xy", b"z"]),
    (b"x'y'", [b"xy"]),
    (b'"a"\v"b"', [b"a", b"b"]),
    (rb'"\n\r\t\b\a"', [b"\n\r\t\b\a"]),
    (rb'"\x00\xfF\x4g\q\\\""', [b'\x00\xffx4gq\\"']),
    (rb'"\x"', [b"x"]),
    (rb"'\n\''", [b"\\n'"]),
    (rb"'\x41\"'", [rb"\x41\""]),
    (rb"a\n", [rb"a\n"]),
    (rb"'\\'", None),
    (rb"'\'", None),
    (rb'"\"', None),
    (b'"a"b', None),
    (b"'a'b", None),
    (b"\"a\"'b'", None),
    (b'"', None),
    (b"a'", None),
    (b"\xff\x01", [b"\xff\x01"]),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_split(line: bytes, expected: list[bytes] | None) -> None:
    assert split_arguments(line) == expected


def redis_split(exchange: Exchange, line: bytes) -> bytes:
    return exchange(b'EVAL "return ARGV" 0 ' + line + b"\n")


def as_reply(argv: list[bytes] | None) -> bytes:
    if argv is None:
        return b"-ERR Protocol error: unbalanced quotes in request\r\n"
    return encode(list(argv), resp3=False)


@pytest.mark.redis
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_redis_splits_the_same(redis_exchange: Exchange, line: bytes, expected: list[bytes] | None) -> None:
    assert redis_split(redis_exchange, line) == as_reply(expected)


letters = st.sampled_from([bytes([b]) for b in b" \t\v\f\r\"'\\x4fnab\xff"])


@pytest.mark.redis
@steady
@given(line=st.lists(letters, max_size=12).map(b"".join))
def test_redis_splits_anything_the_same(redis_exchange: Exchange, line: bytes) -> None:
    assert redis_split(redis_exchange, line) == as_reply(split_arguments(line.removesuffix(b"\r")))
