"""Replies too large to be listed at once: they are taken while writes go on, and stay what they were.

Two machines get the same writes; one of them is read all the time, with replies and a snapshot that are taken late, bit
by bit or never. Its state, down to the order of members, must be that of the other.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest

from raftkv.machines.redis import graveyard, sorted_set
from raftkv.machines.redis.overlay import Overlay
from raftkv.machines.redis.values import LISTED_MAX
from raftkv.machines.replies import Map, Pairs, SetReply, Walk
from raftkv.wire.resp_encode import encode, encode_in_pieces
from tests.machines.casework import MachineClient

MANY = 20_000
NAMES = [b"%d" % (number * 7919 % 100_003) for number in range(MANY)]

READS = [
    b"SMEMBERS s",
    b"SRANDMEMBER s 99999",
    b"HGETALL h",
    b"HKEYS h",
    b"HVALS h",
    b"HRANDFIELD h 99999",
    b"HRANDFIELD h 99999 WITHVALUES",
    b"LRANGE l 0 -1",
    b"LRANGE l 1000 -900",
    b"ZRANGE z 0 -1",
    b"ZRANGE z 700 -300 REV WITHSCORES",
    b"ZREVRANGE z 0 -1",
    b"ZRANGEBYSCORE z 100 99000 WITHSCORES LIMIT 5 20000",
    b"ZREVRANGEBYSCORE z +inf -inf",
    b"ZRANDMEMBER z 99999",
    b"ZRANDMEMBER z 99999 WITHSCORES",
]


def filled() -> MachineClient:
    client = MachineClient()
    client.call(b"SADD", b"s", *NAMES)
    client.call(b"RPUSH", b"l", *NAMES)
    client.call(b"HSET", b"h", *(word for name in NAMES for word in (name, b"v" + name)))
    client.call(b"ZADD", b"z", *(word for name in NAMES for word in (name, b"n" + name)))
    return client


def walks_in(reply: Any) -> int:
    items = reply.items if isinstance(reply, SetReply | Map | Pairs) else reply
    return isinstance(items, Walk)


def order_of(client: MachineClient, key: bytes) -> list[bytes]:
    return list(client.machine.space.databases[0].values[key].pieces())


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Tests elsewhere count what waits to be freed."""
    yield
    gc.collect()
    while graveyard.members_waiting():
        graveyard.free_some()


@pytest.fixture(scope="module")
def client() -> MachineClient:
    return filled()


@pytest.mark.parametrize("line", READS, ids=bytes.decode)
def test_a_large_reply_is_walked_and_says_the_same(
    line: bytes, client: MachineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = client.call(*line.split())
    assert walks_in(walked)
    for module in ("sets", "hashes", "lists", "zset_ranges"):
        monkeypatch.setattr(f"raftkv.machines.redis.{module}.LISTED_MAX", 1 << 30)
    listed = client.call(*line.split())
    assert not walks_in(listed)
    expected = listed if b"RAND" not in line else walked
    for resp3 in (False, True):
        assert encode(walked, resp3) == encode(expected, resp3) == b"".join(encode_in_pieces([walked], resp3))
    assert len(encode(walked, True)) == len(encode(listed, True))


class Reader:
    """Of one reply, some pieces at a time."""

    def __init__(self, reply: Any) -> None:
        self.pieces: Iterator[bytes] = encode_in_pieces([reply], True)
        self.expected = encode(reply, True)
        self.read: list[bytes] = []

    def go_on(self, pieces: int) -> bool:
        """Whether it has ended."""
        before = len(self.read)
        self.read += islice(self.pieces, pieces)
        if len(self.read) - before == pieces:
            return False
        assert b"".join(self.read) == self.expected
        return True


def write(chance: Random) -> list[bytes]:
    """One command, mostly on a few members of the large collections."""
    name, other = (b"%d" % chance.randrange(100_003) for _ in range(2))
    index = b"%d" % chance.randrange(-MANY, MANY)
    lines = [
        (b"SADD s", name),
        (b"SREM s", name, other),
        (b"SPOP s",),
        (b"HSET h", name, b"new", other, b"too"),
        (b"HDEL h", name, other),
        (b"ZADD z", index, name),
        (b"ZADD z", index, b"n" + name),
        (b"ZREM z", b"n" + name, b"n" + other),
        (b"ZPOPMIN z 3",),
        (b"ZREMRANGEBYRANK z 5 9",),
        (b"LSET l", index, name),
        (b"LPUSH l", name),
        (b"RPUSH l", name),
        (b"LPOP l 3",),
        (b"LREM l 1", name),
        (b"LTRIM l 2 -2",),
    ]
    first, *rest = chance.choice(lines)
    return [*first.split(), *rest]


RARE = [
    b"RENAME s s2",
    b"RENAME s2 s",
    b"COPY h h2 REPLACE",
    b"COPY z z2 REPLACE",
    b"SPOP s2 99999",
    b"LPOP l 17000",
    b"RPOP l 17000",
    b"DEL h2 z2",
    b"SUNIONSTORE s s h",
    b"SDIFFSTORE s3 s s2",
    b"ZRANGESTORE z3 z 0 -1 REV",
    b"ZREMRANGEBYRANK z 100 400",
    b"ZREMRANGEBYRANK z 0 -200",
    b"ZPOPMAX z 300",
    b"ZMPOP 1 z MIN COUNT 1200",
    b"ZPOPMIN z2 99999",
]


@pytest.mark.parametrize("seed", range(4))
def test_readers_change_nothing_and_see_no_change(seed: int) -> None:
    chance = Random(seed)
    read, alone = filled(), filled()
    readers: list[Reader] = []
    snapshot: Iterator[int] | None = None
    before, total = 0, 0
    for step in range(250):
        argv = chance.choice(RARE).split() if chance.random() < 0.05 else write(chance)
        assert encode(read.call(*argv), True) == encode(alone.call(*argv), True), argv
        if step % 20 == 0:
            readers.append(Reader(read.call(*chance.choice(READS).split())))
        if readers and chance.random() < 0.3:
            reader = chance.choice(readers)
            if reader.go_on(1) or chance.random() < 0.05:
                readers.remove(reader)
            del reader
        if step == 100:
            before = sum(alone.machine.digests())
            snapshot, total = read.machine.digests(), 0
        for part in islice(snapshot or (), 2):
            total += part
    while readers:
        readers.pop().go_on(1 << 30)
    total += sum(snapshot or ())
    assert total % (1 << 256) == before % (1 << 256), "the digests are those of the moment when they began"
    for _ in range(50):
        read.advance(0)
    values = read.machine.space.databases[0].values
    assert not any(isinstance(value.members, Overlay) for key, value in values.items() if key[:1] in b"shz")
    assert sum(read.machine.digests()) == sum(alone.machine.digests())
    assert {key: order_of(read, key) for key in values} == {key: order_of(alone, key) for key in values}


def test_a_walk_that_nobody_else_holds_lives_until_its_end() -> None:
    client = filled()
    reply = client.call(b"LRANGE", b"l", b"0", b"-1")
    client.call(b"DEL", b"l")
    walk = iter(reply)
    del reply
    while graveyard.members_waiting():
        client.advance(0)
    assert list(walk) == NAMES


def test_all_keys_are_walked_while_they_change_and_a_snapshot_begins() -> None:
    client = MachineClient()
    client.call(b"MSET", *(word for name in NAMES for word in (name, b"1")))
    replies = [client.call(b"KEYS", b"*")]
    client.call(b"DEL", *NAMES[:5000])
    client.call(b"MSET", b"new", b"1", NAMES[0], b"2")
    replies.append(client.call(b"KEYS", b"*"))
    assert [list(reply) for reply in replies] == [NAMES, [*NAMES[5000:], b"new", NAMES[0]]]
    digest = sum(client.machine.digests())
    walk = client.machine.digests()
    total = next(walk)
    assert not isinstance(client.call(b"KEYS", b"*"), Walk)
    client.call(b"FLUSHALL")
    assert (total + sum(walk)) % (1 << 256) == digest % (1 << 256)
    assert [len(list(reply)) for reply in replies] == [len(NAMES), len(NAMES) - 5000 + 2]
    replies.clear()
    client.call(b"SET", b"a", b"1")
    assert type(client.machine.space.databases[0].values) is dict


def test_what_is_read_and_deleted_is_freed_some_at_a_time_when_it_was_read() -> None:
    client = filled()
    reply = client.call(b"SMEMBERS", b"s")
    expected = encode(reply, True)
    client.call(b"DEL", b"s")
    while graveyard.members_waiting():
        client.advance(0)
    assert encode(reply, True) == expected
    del reply
    client.advance(0)
    assert graveyard.members_waiting() > LISTED_MAX // 2
    while graveyard.members_waiting():
        client.advance(0)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_a_sorted_set_and_its_copies_share_lists_and_no_changes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_set._Order, "DEFAULT_LOAD_FACTOR", 4)
    chance = Random(seed)
    twins = [(sorted_set._Order([(float(number), b"") for number in range(40)]), [*map(float, range(40))])]
    for _ in range(300):
        order, twin = chance.choice(twins)
        pair = chance.randrange(60) / 1.0, b""
        if chance.random() < 0.05:
            twins.append((order.copy(), [*twin]))
        first = chance.randrange(len(twin) + 1)
        behind = min(len(twin), first + chance.randrange(30))
        if first < behind and behind - first < len(twin) and chance.random() < 0.1:
            order.cut(first, behind)
            del twin[first:behind]
            continue
        order.make_own(pair)
        if pair[0] in twin:
            order.remove(pair)
            twin.remove(pair[0])
        elif len(twin) < chance.randrange(60):
            order.add(pair)
            twin[:] = sorted([*twin, pair[0]])
        for order, twin in twins:
            order._check()
            assert order[len(order) // 2 :] == [(score, b"") for score in twin[len(order) // 2 :]]
            assert [score for score, _ in order] == twin
