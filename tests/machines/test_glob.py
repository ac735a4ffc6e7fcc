"""Glob patterns: known cases, and random ones against a real server's KEYS."""

from __future__ import annotations

import random

import pytest

from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.replies import Error
from tests.machines.casework import MachineClient
from tests.support.redis_server import RespConnection, start_redis_server

MATCHES = [
    (b"h?llo", b"hello"),
    (b"h*llo", b"heeello"),
    (b"h*llo", b"hllo"),
    (b"h[ae]llo", b"hallo"),
    (b"h[^e]llo", b"hbllo"),
    (b"h[a-c]llo", b"hbllo"),
    (b"h[c-a]llo", b"hbllo"),
    (b"*", b"x"),
    (b"a**b", b"a\nb"),
    (b"\\*", b"*"),
    (b"\\", b"\\"),
    (b"[\\]]", b"]"),
    (b"[abc", b"c"),
    (b"[a-]", b"_"),
    (b"[^", b"x"),
    (b"[a-\xff]", b"\x20"),
    (b"*ab*ab", b"abxab"),
    (b"", b""),
]
MISSES = [
    (b"h?llo", b"hllo"),
    (b"h[^e]llo", b"hello"),
    (b"[", b"["),
    (b"[]", b"]"),
    (b"*", b""),
    (b"?", b""),
    (b"", b"x"),
    (b"abc", b"ABC"),
    (b"*ab*ab", b"aab"),
    (b"\\*", b"x"),
    (b"[a-\xff]", b"\x80"),
]


@pytest.mark.parametrize(("pattern", "key"), MATCHES)
def test_matches(pattern: bytes, key: bytes) -> None:
    assert glob_matcher(pattern)(key)


@pytest.mark.parametrize(("pattern", "key"), MISSES)
def test_misses(pattern: bytes, key: bytes) -> None:
    assert not glob_matcher(pattern)(key)


def test_many_stars_do_not_backtrack() -> None:
    # Naive matching takes longer than the universe lasts on this one.
    assert not glob_matcher(b"a*" * 40 + b"b")(b"a" * 2000)


def test_very_long_patterns_are_refused() -> None:
    client = MachineClient()
    client.call(b"SET", b"a", b"1")
    for argv in ([b"KEYS", b"a" * 100_000], [b"SCAN", b"0", b"MATCH", b"a" * 100_000]):
        assert client.call(*argv) == Error("ERR pattern is too long")


@pytest.mark.redis
def test_random_patterns_against_redis() -> None:
    chance = random.Random(7)
    keys = {bytes(chance.choices(b"aab]-^\\*\x80\xff", k=chance.randrange(1, 6))) for _ in range(150)}
    with start_redis_server() as port, RespConnection(port) as connection:
        connection.pipeline([[b"SET", key, b""] for key in keys])
        for _ in range(600):
            pattern = bytes(chance.choices(b"aab?**[[]]-^\\\x80\xff", k=chance.randrange(1, 9)))
            ours = sorted(filter(glob_matcher(pattern), keys))
            assert ours == sorted(connection.call(b"KEYS", pattern)), pattern
