"""Against a real redis-server: the same bytes out, the same values in, the same judgement of what is bad.

The server checks what it restores (`sanitize-dump-payload yes`), as raftkv always does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.machines.redis.rdb import fields
from raftkv.machines.redis.rdb.lzf import compress
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.replies import OK
from tests.machines.casework import MachineClient
from tests.machines.rdb.made import OLD_FORMS, REFUSED, REFUSED_IF_CHECKED, resealed
from tests.support.redis_server import RespConnection, as_resp2, start_redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def redis() -> Iterator[RespConnection]:
    with start_redis_server("--sanitize-dump-payload", "yes") as port, RespConnection(port) as connection:
        yield connection


@pytest.fixture
def ours() -> MachineClient:
    return MachineClient()


def on_both(redis: RespConnection, ours: MachineClient, *argv: bytes) -> Any:
    """The reply to one command, which must be the same."""
    theirs, reply = redis.call(*argv), as_resp2(ours.call(*argv))
    assert reply == theirs, argv[:2]
    return theirs


def contents(call: Any, key: bytes) -> list[bytes]:
    """The members under a key, or the string; sorted where their order means nothing."""
    kind = as_resp2(call(b"TYPE", key)).text
    line = {
        "string": (b"GET", key),
        "list": (b"LRANGE", key, b"0", b"-1"),
        "set": (b"SMEMBERS", key),
        "hash": (b"HGETALL", key),
        "zset": (b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
    }[kind]
    found = as_resp2(call(*line))
    if kind == "set":
        return sorted(found)
    if kind == "hash":
        return sorted(field + b"=" + value for field, value in zip(found[::2], found[1::2], strict=True))
    return [found] if kind == "string" else list(found)


def check_same(redis: RespConnection, ours: MachineClient, key: bytes) -> None:
    assert contents(ours.call, key) == contents(redis.call, key)
    on_both(redis, ours, b"OBJECT", b"ENCODING", key)


# Out


integers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5000, 5000),
    st.sampled_from(
        [sign * 2**bits + more for bits in (7, 12, 15, 23, 31, 62) for sign in (1, -1) for more in (-1, 0, 1)]
    ),
).map(lambda number: b"%d" % number)
repeated = st.tuples(st.binary(min_size=1, max_size=6), st.integers(1, 60)).map(lambda drawn: drawn[0] * drawn[1])
words = st.one_of(integers, st.binary(max_size=70), repeated, st.sampled_from([b"", b"01", b"-0", b"1.5", b"word"]))
scores = st.one_of(
    st.floats(allow_nan=False).map(lambda score: b"%.17g" % score),
    st.integers(-(2**63), 2**63 - 1).map(lambda score: b"%d" % score),
    st.sampled_from(
        [b"1", b"1", b"2", b"-0", b"inf", b"-inf", b"1e18", b"4611686018427387904", b"4611686018427388928"]
    ),
)
texts = st.lists(st.one_of(words, repeated), min_size=1, max_size=12).map(b"".join)


def pairs_of(first: Any, second: Any, most: int) -> Any:
    return st.lists(st.tuples(first, second), min_size=1, max_size=most).map(
        lambda drawn: list(chain.from_iterable(drawn))
    )


FILLINGS = {
    "string": st.one_of(words, texts).map(lambda text: [b"SET", b"k", text]),
    "list": st.lists(words, min_size=1, max_size=40).map(lambda drawn: [b"RPUSH", b"k", *drawn]),
    "intset": st.sets(integers, min_size=1, max_size=40).map(lambda drawn: [b"SADD", b"k", *sorted(drawn)]),
    "listpack hash": pairs_of(st.binary(max_size=64), st.one_of(integers, st.binary(max_size=64)), 30).map(
        lambda drawn: [b"HSET", b"k", *drawn]
    ),
    "sorted set": pairs_of(scores, words, 140).map(lambda drawn: [b"ZADD", b"k", *drawn]),
    "HyperLogLog": st.lists(words, min_size=1, max_size=20).map(lambda drawn: [b"PFADD", b"k", *drawn]),
    "bitmap": st.integers(0, 3000).map(lambda bit: [b"SETBIT", b"k", b"%d" % bit, b"1"]),
}
"""Where the order of members is defined."""

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


@pytest.mark.parametrize("kind", FILLINGS)
def test_the_same_bytes_out_and_the_same_value_in(redis: RespConnection, kind: str) -> None:
    @FEW
    @given(filling=FILLINGS[kind])
    def check(filling: list[bytes]) -> None:
        redis.call(b"FLUSHALL")
        ours = MachineClient()
        on_both(redis, ours, *filling)
        dumped = on_both(redis, ours, b"DUMP", b"k")
        on_both(redis, ours, b"RESTORE", b"again", b"0", dumped)
        check_same(redis, ours, b"again")
        on_both(redis, ours, b"DUMP", b"again")

    check()


def test_a_list_of_many_nodes(redis: RespConnection, ours: MachineClient) -> None:
    redis.call(b"FLUSHALL")
    chance = Random(4)
    for _ in range(40):
        elements = [
            chance.choice([b"%d" % chance.randrange(10**9), b"word " * chance.randrange(900)]) for _ in range(20)
        ]
        on_both(redis, ours, b"RPUSH", b"k", *elements)
    on_both(redis, ours, b"RPUSH", b"k", b"x" * 20_000, b"y" * 8176, b"z" * 8177, b"last")
    dumped = redis.call(b"DUMP", b"k")
    assert dumped[1] > 30  # nodes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "PACKED_BYTES_MAX", 2**30)
        assert ours.call(b"DUMP", b"k") == dumped
    assert redis.call(b"RESTORE", b"again", b"0", ours.call(b"DUMP", b"k")) == OK  # not all of it compressed
    assert redis.call(b"LRANGE", b"again", b"0", b"-1") == redis.call(b"LRANGE", b"k", b"0", b"-1")


@pytest.fixture
def uncompressed(redis: RespConnection, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fields, "PACKED_BYTES_MAX", 0)
    redis.call(b"CONFIG", b"SET", b"rdbcompression", b"no")
    yield
    redis.call(b"CONFIG", b"SET", b"rdbcompression", b"yes")


@pytest.mark.usefixtures("uncompressed")
@pytest.mark.parametrize("length", [125, 126, 4095, 4096, 16377, 16378, 16379, 2_097_145, 2_097_146, 2_097_147])
def test_elements_whose_lengths_have_another_form(redis: RespConnection, ours: MachineClient, length: int) -> None:
    redis.call(b"FLUSHALL")
    on_both(redis, ours, b"RPUSH", b"k", b"x" * length)
    on_both(redis, ours, b"DUMP", b"k")


@pytest.mark.usefixtures("uncompressed")
def test_a_node_that_is_just_full(redis: RespConnection, ours: MachineClient) -> None:
    nodes = []
    for length in (4172, 4173, 4174):
        redis.call(b"FLUSHALL")
        ours.call(b"FLUSHALL")
        on_both(redis, ours, b"RPUSH", b"k", b"x" * 4000, b"y" * length)
        nodes.append(on_both(redis, ours, b"DUMP", b"k")[1])
    assert nodes == [1, 1, 2]


HASHTABLES = [
    [b"SADD", b"k", *(b"member:%d" % number for number in range(700))],
    [b"SADD", b"k", *(b"%d" % number for number in range(700))],
    [b"SADD", b"k", b"word", b"1", b"2"],
    [b"HSET", b"k", *(b"%d" % number for number in range(1400))],
    [b"HSET", b"k", b"f", b"x" * 65, b"g", b"1", b"h", b"word"],
]


@pytest.mark.parametrize("filling", HASHTABLES, ids=lambda filling: f"{filling[0].decode()}-{len(filling)}")
def test_what_has_no_order_goes_there_and_back(
    redis: RespConnection, ours: MachineClient, filling: list[bytes]
) -> None:
    redis.call(b"FLUSHALL")
    on_both(redis, ours, *filling)
    theirs, own = redis.call(b"DUMP", b"k"), ours.call(b"DUMP", b"k")
    for name, dumped in ((b"theirs", theirs), (b"ours", own)):
        on_both(redis, ours, b"RESTORE", name, b"0", dumped)
        check_same(redis, ours, name)
    assert contents(redis.call, b"ours") == contents(redis.call, b"theirs")
    assert redis.call(b"OBJECT", b"ENCODING", b"theirs") == b"hashtable"


@pytest.mark.parametrize("size", [21, 60, 250, 4000])
def test_compressed_as_by_redis(redis: RespConnection, size: int) -> None:
    chance = Random(size)
    for _ in range(60):
        text = bytearray(chance.randbytes(12))
        while len(text) < size:  # what was before, and something new
            first = chance.randrange(len(text))
            text += text[first : first + chance.randrange(1, 300)] + chance.randbytes(chance.randrange(4))
        check_compressed(redis, bytes(text))


def check_compressed(redis: RespConnection, text: bytes) -> None:
    redis.call(b"SET", b"k", text)
    dumped = redis.call(b"DUMP", b"k")
    packed = compress(text, len(text) - 4)
    assert (dumped[1] == 0xC3) == (packed is not None)
    assert packed is None or dumped[1:-10].endswith(packed)


@pytest.mark.parametrize("distance", [8191, 8192, 8193])
def test_how_far_a_repeat_may_reach(redis: RespConnection, distance: int) -> None:
    start = bytes(range(40))
    check_compressed(redis, start + b"\xff" * (distance - len(start)) + start)


# In


@pytest.mark.parametrize("name", [*OLD_FORMS, *REFUSED, *REFUSED_IF_CHECKED])
def test_made_by_hand(redis: RespConnection, ours: MachineClient, name: str) -> None:
    redis.call(b"FLUSHALL")
    whole = (OLD_FORMS | REFUSED | REFUSED_IF_CHECKED)[name]
    reply = on_both(redis, ours, b"RESTORE", b"k", b"0", whole)
    assert (reply == OK) == (name in OLD_FORMS)
    if reply == OK:
        check_same(redis, ours, b"k")
        assert redis.call(b"RESTORE", b"again", b"0", ours.call(b"DUMP", b"k")) == OK
        assert contents(redis.call, b"again") == contents(redis.call, b"k")


SMALL = Thresholds(
    hash_max_listpack_entries=1,
    hash_max_listpack_value=3,
    set_max_intset_entries=2,
    zset_max_listpack_entries=2,
    zset_max_listpack_value=1,
)


def test_made_by_hand_where_thresholds_are_small(redis: RespConnection, ours: MachineClient) -> None:
    ours.machine.space.thresholds = SMALL
    try:
        configure(redis, SMALL)
        for whole in OLD_FORMS.values():
            assert on_both(redis, ours, b"RESTORE", b"k", b"0", whole, b"REPLACE") == OK
            check_same(redis, ours, b"k")
    finally:
        configure(redis, Thresholds())


def configure(redis: RespConnection, thresholds: Thresholds) -> None:
    for name, value in msgspec.structs.asdict(thresholds).items():
        assert redis.call(b"CONFIG", b"SET", name.replace("_", "-").encode(), b"%d" % value) == OK


def samples(redis: RespConnection) -> list[bytes]:
    redis.call(b"FLUSHALL")
    chance = Random(2)
    some = [chance.choice([b"%d" % chance.randrange(-200, 70_000), b"x" * chance.randrange(90)]) for _ in range(30)]
    redis.call(b"SET", b"1", b"abc" * 70)
    redis.call(b"RPUSH", b"2", *some)
    redis.call(b"SADD", b"3", *some)
    redis.call(b"SADD", b"4", *(b"%d" % chance.randrange(10**9) for _ in range(20)))
    redis.call(b"HSET", b"5", *some)
    redis.call(b"ZADD", b"6", *chain.from_iterable((b"%.3f" % chance.random(), word) for word in some))
    dumped = []
    for compression in (b"yes", b"no"):
        redis.call(b"CONFIG", b"SET", b"rdbcompression", compression)
        dumped += [redis.call(b"DUMP", b"%d" % number) for number in range(1, 7)]
    redis.call(b"CONFIG", b"SET", b"rdbcompression", b"yes")
    return [*dumped, *OLD_FORMS.values(), *REFUSED.values(), *REFUSED_IF_CHECKED.values()]


def tampered(whole: bytes, chance: Random) -> bytes:
    """With a few bytes changed, left out or put in, and a checksum that fits."""
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(min(len(data) - 8, chance.choice([30, 10_000])))
        how = chance.randrange(4)
        if how == 0:
            data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xC3, 0xF0, 0xF4, 0xFE, 0xFF])
        elif how == 1:
            data[at] ^= 1 << chance.randrange(8)
        elif how == 2 and len(data) > 12:
            del data[at]
        else:
            data.insert(at, chance.randrange(256))
    return resealed(bytes(data))


def announces_too_much(whole: bytes) -> bool:
    """A table for so many members that the server would be busy for seconds with making room."""
    return whole[0] in (2, 3, 4, 5) and whole[1] in (0x80, 0x81) and whole[2:4] != b"\0\0"


def test_whatever_comes_is_judged_as_by_redis(redis: RespConnection, ours: MachineClient) -> None:
    """(Redis takes a listpack whose lengths at the back are longer than they need be; none is among these.)"""
    chance = Random(1)
    originals = samples(redis)
    accepted = 0
    for _ in range(1500):
        whole = tampered(chance.choice(originals), chance)
        if whole[0] in (15, 19) or announces_too_much(whole):
            continue  # 15, 19: streams
        theirs, own = (call(b"RESTORE", b"k", b"0", whole, b"REPLACE") for call in (redis.call, ours.call))
        assert own == theirs, whole
        if theirs == OK:
            accepted += 1
            check_same(redis, ours, b"k")
    assert accepted > 100
