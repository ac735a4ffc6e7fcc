"""Sorted sets: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.redis import graveyard
from raftkv.machines.redis.doubles import parse_double, parse_limit
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.replies import NULL_ARRAY, OK, Error, Pairs, Simple
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_FLOAT = error("value is not a valid float")

CASES = cases(
    {
        "ZADD": [
            ("ZADD z 1 a 2 b", 2),
            ("ZADD z 3 a", 0),
            ("ZADD z CH 4 a 5 c", 2),
            ("ZSCORE z a", 4.0),
            ("ZADD z NX 9 a 6 d", 1),
            ("ZADD z XX 7 d 1 x", 0),
            ("ZADD z GT CH 1 a", 0),
            ("ZADD z LT CH 1 a", 1),
            ("ZADD z INCR 2.5 a", 3.5),
            ("ZADD z NX INCR 1 a", None),
            ("ZADD z XX INCR 1 x", None),
            ("ZMSCORE z a x d", [3.5, None, 7.0]),
            ("ZCARD z", 4),
            ("TYPE z", Simple("zset")),
            ("ZADD z NX XX 1 a", error("XX and NX options at the same time are not compatible")),
            ("ZADD z NX GT 1 a", error("GT, LT, and/or NX options at the same time are not compatible")),
            ("ZADD z INCR 1 a 2 b", error("INCR option supports a single increment-element pair")),
            ("ZADD z 1 a b", SYNTAX),
            ("ZADD z NX CH", SYNTAX),
            ("ZADD z x a", NOT_FLOAT),
            ("ZADD z nan a", NOT_FLOAT),
            ("ZADD nothing XX 1 a", 0),
            ("EXISTS nothing", 0),
        ],
        "scores": [
            ("ZADD z inf a -inf b 0.1 c 1e21 d -0 e 3 f", 6),
            (
                "ZRANGE z 0 -1 WITHSCORES",
                Pairs([(b"b", -inf), (b"e", 0.0), (b"c", 0.1), (b"f", 3.0), (b"d", 1e21), (b"a", inf)]),
            ),
            ("ZINCRBY z -inf a", error("resulting score is not a number (NaN)")),
            ("ZINCRBY z 1.5 f", 4.5),
            ("ZINCRBY z 1.5 new", 1.5),
            ("ZINCRBY z x new", NOT_FLOAT),
        ],
        "ranks": [
            ("ZADD z 1 a 2 b 2 c 3 d", 4),
            ("ZRANK z a", 0),
            ("ZRANK z c", 2),
            ("ZREVRANK z c", 1),
            ("ZRANK z x", None),
            ("ZRANK nothing x", None),
            ("ZREVRANK nothing x", None),
        ],
        "an emptied sorted set is gone": [
            ("ZADD z 1 a 2 b 3 c", 3),
            ("ZREM z a x a", 1),
            ("ZPOPMIN z", [b"b", 2.0]),
            ("ZPOPMAX z 5", Pairs([(b"c", 3.0)])),
            ("EXISTS z", 0),
            ("ZPOPMIN z", []),
            ("ZPOPMIN z 2", []),
            ("ZPOPMAX z -1", error("value is out of range, must be positive")),
            ("ZPOPMAX z 1 2", SYNTAX),
            ("ZREM z a", 0),
        ],
        "ZMPOP": [
            ("ZADD z 1 a 2 b 3 c", 3),
            ("ZMPOP 2 nothing z MIN", [b"z", [[b"a", 1.0]]]),
            ("ZMPOP 1 z max COUNT 5", [b"z", [[b"c", 3.0], [b"b", 2.0]]]),
            ("ZMPOP 1 z MIN", NULL_ARRAY),
            ("ZMPOP 0 z MIN", error("numkeys should be greater than 0")),
            ("ZMPOP 1 z foo", SYNTAX),
            ("ZMPOP 1 z MIN COUNT 0", error("count should be greater than 0")),
        ],
        "ranges by place": [
            ("ZADD z 1 a 2 b 3 c 4 d", 4),
            ("ZRANGE z 1 2", [b"b", b"c"]),
            ("ZRANGE z -2 -1", [b"c", b"d"]),
            ("ZRANGE z 0 1 REV", [b"d", b"c"]),
            ("ZREVRANGE z 0 1 WITHSCORES", Pairs([(b"d", 4.0), (b"c", 3.0)])),
            ("ZRANGE z 5 9", []),
            ("ZRANGE z x 1", NOT_INTEGER),
            (
                "ZRANGE z 0 1 LIMIT 0 1",
                error("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"),
            ),
            ("ZRANGE nothing 0 -1", []),
            ("ZRANGE z 0 1 foo", SYNTAX),
        ],
        "ranges by score": [
            ("ZADD z 1 a 2 b 3 c 4 d", 4),
            ("ZRANGE z 2 3 BYSCORE", [b"b", b"c"]),
            ("ZRANGE z 3 2 BYSCORE REV", [b"c", b"b"]),
            ("ZRANGEBYSCORE z (1 +inf LIMIT 1 2", [b"c", b"d"]),
            ("ZREVRANGEBYSCORE z +inf (1 WITHSCORES LIMIT 0 1", Pairs([(b"d", 4.0)])),
            ("ZRANGEBYSCORE z -inf inf LIMIT 0 -1", [b"a", b"b", b"c", b"d"]),
            ("ZRANGEBYSCORE z 9 1", []),
            ("ZRANGEBYSCORE z x 1", error("min or max is not a float")),
            ("ZCOUNT z (1 4", 3),
            ("ZCOUNT z (1 (4", 2),
            ("ZCOUNT nothing 1 2", 0),
            ("ZCOUNT nothing x 2", error("min or max is not a float")),
        ],
        "ranges by name": [
            ("ZADD z 0 a 0 b 0 c 0 d", 4),
            ("ZRANGE z [b (d BYLEX", [b"b", b"c"]),
            ("ZRANGEBYLEX z - + LIMIT 1 2", [b"b", b"c"]),
            ("ZREVRANGEBYLEX z (d -", [b"c", b"b", b"a"]),
            ("ZLEXCOUNT z (a +", 3),
            ("ZLEXCOUNT z + -", 0),
            ("ZRANGEBYLEX z a b", error("min or max not valid string range item")),
            (
                "ZRANGE z - + BYLEX WITHSCORES",
                error("syntax error, WITHSCORES not supported in combination with BYLEX"),
            ),
            ("ZREMRANGEBYLEX z [b [c", 2),
            ("ZRANGE z 0 -1", [b"a", b"d"]),
        ],
        "taking ranges out": [
            ("ZADD z 1 a 2 b 3 c 4 d 5 e", 5),
            ("ZREMRANGEBYRANK z 0 0", 1),
            ("ZREMRANGEBYSCORE z (2 3", 1),
            ("ZRANGE z 0 -1", [b"b", b"d", b"e"]),
            ("ZREMRANGEBYRANK z 0 -1", 3),
            ("EXISTS z", 0),
            ("ZREMRANGEBYRANK z x 1", NOT_INTEGER),
            ("ZREMRANGEBYSCORE z 0 1", 0),
        ],
        "ZRANGESTORE": [
            ("ZADD z 1 a 2 b 3 c", 3),
            ("ZRANGESTORE y z 0 1", 2),
            ("ZRANGESTORE y z 3 2 BYSCORE REV LIMIT 0 1", 1),
            ("ZRANGE y 0 -1 WITHSCORES", Pairs([(b"c", 3.0)])),
            ("ZRANGESTORE y z 5 9", 0),
            ("EXISTS y", 0),
            ("ZRANGESTORE y z 0 1 WITHSCORES", SYNTAX),
        ],
        "algebra": [
            ("ZADD a 1 x 2 y 3 z", 3),
            ("ZADD b 10 y 20 z 30 w", 3),
            ("SADD s z w", 2),
            ("ZUNION 2 a b WITHSCORES", Pairs([(b"x", 1.0), (b"y", 12.0), (b"z", 23.0), (b"w", 30.0)])),
            ("ZINTER 2 a b WITHSCORES", Pairs([(b"y", 12.0), (b"z", 23.0)])),
            ("ZINTER 2 a b WEIGHTS 2 1 AGGREGATE MAX WITHSCORES", Pairs([(b"y", 10.0), (b"z", 20.0)])),
            ("ZINTER 2 a s WITHSCORES", Pairs([(b"z", 4.0)])),
            ("ZDIFF 2 a b WITHSCORES", Pairs([(b"x", 1.0)])),
            ("ZUNIONSTORE d 2 a b AGGREGATE MIN", 4),
            ("ZRANGE d 0 -1 WITHSCORES", Pairs([(b"x", 1.0), (b"y", 2.0), (b"z", 3.0), (b"w", 30.0)])),
            ("ZINTERSTORE d 2 a b WEIGHTS 1 0", 2),
            ("ZDIFFSTORE d 2 a b", 1),
            ("ZINTERCARD 2 a b", 2),
            ("ZINTERCARD 2 a b LIMIT 1", 1),
            ("ZINTERCARD 2 a b LIMIT -1", error("LIMIT can't be negative")),
            ("ZUNION 0 a", error("at least 1 input key is needed for 'zunion' command")),
            ("ZUNIONSTORE d 0 a", error("at least 1 input key is needed for 'zunionstore' command")),
            ("ZUNION x a", NOT_INTEGER),
            ("ZUNION 3 a b", SYNTAX),
            ("ZUNION 2 a b WEIGHTS 1", SYNTAX),
            ("ZUNION 2 a b WEIGHTS 1 x", error("weight value is not a float")),
            ("ZUNIONSTORE d 1 nothing", 0),
            ("EXISTS d", 0),
        ],
        "ZRANDMEMBER and ZSCAN": [
            ("ZADD z 1.5 a", 1),
            ("ZRANDMEMBER z", b"a"),
            ("ZRANDMEMBER z -2", [b"a", b"a"]),
            ("ZRANDMEMBER z 3 WITHSCORES", Pairs([(b"a", 1.5)])),
            ("ZRANDMEMBER z 1 foo", SYNTAX),
            ("ZRANDMEMBER nothing", None),
            ("ZRANDMEMBER nothing 1", []),
            ("ZADD z 1 b", 1),
            ("ZSCAN z 0", [b"0", [b"b", b"1", b"a", b"1.5"]]),
            ("ZSCAN z 0 MATCH a", [b"0", [b"a", b"1.5"]]),
            ("ZSCAN nothing 0", [b"0", []]),
        ],
        "missing": [("ZSCORE z a", None), ("ZMSCORE z a b", [None, None]), ("ZCARD z", 0), ("ZLEXCOUNT z - +", 0)],
        "of another type": [
            ("SET s 1", OK),
            *((line, WRONG_TYPE) for line in ("ZADD s 1 a", "ZINCRBY s 1 a", "ZSCORE s a", "ZMSCORE s a", "ZCARD s")),
            *(
                (line, WRONG_TYPE)
                for line in ("ZCOUNT s 1 2", "ZLEXCOUNT s - +", "ZRANK s a", "ZREVRANK s a", "ZREM s a")
            ),
            *(
                (line, WRONG_TYPE)
                for line in ("ZREMRANGEBYRANK s 0 1", "ZREMRANGEBYSCORE s 0 1", "ZREMRANGEBYLEX s - +")
            ),
            *(
                (line, WRONG_TYPE)
                for line in ("ZRANGE s 0 1", "ZRANGESTORE d s 0 1", "ZRANGEBYSCORE s 0 1", "ZREVRANGE s 0 1")
            ),
            *(
                (line, WRONG_TYPE)
                for line in ("ZPOPMIN s", "ZPOPMAX s 1", "ZMPOP 1 s MIN", "ZUNION 1 s", "ZINTER 2 x s")
            ),
            *(
                (line, WRONG_TYPE)
                for line in ("ZUNIONSTORE d 1 s", "ZDIFF 1 s", "ZINTERCARD 1 s", "ZRANDMEMBER s", "ZSCAN s 0")
            ),
            ("ZADD z 1 a", 1),
            ("GET z", WRONG_TYPE),
            ("SADD z a", WRONG_TYPE),
            ("LPUSH z a", WRONG_TYPE),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


MANY = [word for number in range(200) for word in (b"%d" % (number % 9), b"m%d" % number)]


@pytest.mark.parametrize(
    ("steps", "encoding"),
    [
        ([[b"ZADD", b"z", *MANY[:256]]], "listpack"),
        ([[b"ZADD", b"z", *MANY[:258]]], "skiplist"),
        ([[b"ZADD", b"z", b"1", b"x" * 64]], "listpack"),
        ([[b"ZADD", b"z", b"1", b"x" * 65]], "skiplist"),
        ([[b"ZADD", b"z", *MANY[:258]], [b"ZREMRANGEBYRANK", b"z", b"5", b"-1"]], "skiplist"),
        ([[b"ZADD", b"y", *MANY[:258]], [b"ZRANGESTORE", b"z", b"y", b"0", b"9"]], "listpack"),
    ],
)
def test_encoding_as_redis_has_it(steps: list[list[bytes]], encoding: str) -> None:
    client = MachineClient()
    for argv in steps:
        client.call(*argv)
    again = RedisMachine()
    again.restore(iter(list(client.machine.snapshot())))
    for machine in (client.machine, again):
        found = machine.space.databases[0].values[b"z"]
        assert isinstance(found, SortedSet)
        assert found.encoding == encoding
    assert again.state_hash() == client.machine.state_hash()


def test_large_and_compact_ones_answer_alike() -> None:
    chance, names = Random(5), [b"n%d" % number for number in range(60)]
    small, large = Thresholds(), Thresholds(zset_max_listpack_entries=0)
    compact, skip = SortedSet(), SortedSet()
    for _ in range(2000):
        name, score = chance.choice(names), float(chance.randrange(12))
        if chance.random() < 0.3:
            assert compact.discard(name) == skip.discard(name)
        else:
            compact.set_score(name, score, small)
            skip.set_score(name, score, large)
        assert compact.pairs(0, 99) == list(skip.pairs(0, 99)) == sorted((s, n) for n, s in compact.members.items())
    assert (compact.encoding, skip.encoding) == ("listpack", "skiplist")


@given(st.floats(allow_nan=False))
def test_doubles_there_and_back(number: float) -> None:
    text = b"%.17g" % number
    assert parse_double(text) == parse_limit(text) == number


@pytest.mark.parametrize(
    "text", [b"", b" 1", b"1 ", b"1_0", b"nan", b"1e400", b"1e-400", b"x", b"0x", b"1\x00", b"--1", b"."]
)
def test_what_is_no_double(text: bytes) -> None:
    assert parse_double(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"", 0.0),
        (b" 1", 1.0),
        (b"1e400", inf),
        (b"-1e400", -inf),
        (b"1\x00x", 1.0),
        (b"0x1p-1", 0.5),
        (b"0x1p9999", inf),
    ],
)
def test_limits_are_read_more_kindly(text: bytes, number: float) -> None:
    assert parse_limit(text) == number


def test_a_large_one_is_freed_in_slices_with_its_order() -> None:
    before = graveyard.members_waiting()
    count = 3 * graveyard.LARGE_MEMBERS
    here = SortedSet.made_of({b"%d" % number: float(number) for number in range(count)}, Thresholds())
    del here
    assert graveyard.members_waiting() - before == 2 * count
    while graveyard.members_waiting():
        graveyard.free_some()
