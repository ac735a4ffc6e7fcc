"""Hashes: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from raftkv.machines.redis.hashes import Hash
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import OK, Error, Pairs, Simple
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, arity, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")

CASES = cases(
    {
        "HSET counts new fields": [
            ("HSET h a 1 b 2", 2),
            ("hset h a 3 c 4 c 5", 1),
            ("HGETALL h", {b"a": b"3", b"b": b"2", b"c": b"5"}),
            ("HLEN h", 3),
            ("TYPE h", Simple("hash")),
            ("HSET h a", arity("hset")),
            ("HSET h a 1 b", arity("hset")),
        ],
        "HMSET": [
            ("HMSET h a 1 b 2", OK),
            ("HMSET h a 1 b", arity("hmset")),
            ("HMGET h b x a", [b"2", None, b"1"]),
            ("HMGET nothing a b", [None, None]),
        ],
        "HSETNX": [
            ("HSETNX h a 1", 1),
            ("HSETNX h a 2", 0),
            ("HGET h a", b"1"),
            ("HGET h b", None),
            ("HGET x b", None),
        ],
        "an emptied hash is gone": [
            ("HSET h a 1 b 2", 2),
            ("HDEL h a a x", 1),
            ("HDEL h b", 1),
            ("EXISTS h", 0),
            ("HDEL h b", 0),
        ],
        "the order is that of coming, an overwritten field keeps its place": [
            ("HSET h b 1 a 2 c 3", 3),
            ("HSET h b 9", 0),
            ("HKEYS h", [b"b", b"a", b"c"]),
            ("HVALS h", [b"9", b"2", b"3"]),
            ("HDEL h b", 1),
            ("HSET h b 1", 1),
            ("HKEYS h", [b"a", b"c", b"b"]),
            ("HSCAN h 0", [b"0", [b"a", b"2", b"c", b"3", b"b", b"1"]]),
            ("HSCAN h 0 MATCH [ac] COUNT 1", [b"0", [b"a", b"2", b"c", b"3"]]),
        ],
        "missing": [
            ("HKEYS h", []),
            ("HVALS h", []),
            ("HGETALL h", {}),
            ("HLEN h", 0),
            ("HSTRLEN h a", 0),
            ("HEXISTS h a", 0),
            ("HSCAN h 0", [b"0", []]),
            ("HRANDFIELD h", None),
            ("HRANDFIELD h 3", []),
            ("HRANDFIELD h -3 WITHVALUES", []),
        ],
        "HINCRBY": [
            ("HINCRBY h a 5", 5),
            ("HINCRBY h a -7", -2),
            ("HGET h a", b"-2"),
            ("HINCRBY h a x", NOT_INTEGER),
            ("HSET h t text n 9223372036854775807", 2),
            ("HINCRBY h t 1", error("hash value is not an integer")),
            ("HINCRBY h n 1", error("increment or decrement would overflow")),
            ("HINCRBY new a x", NOT_INTEGER),
            ("EXISTS new", 0),
        ],
        "HINCRBYFLOAT": [
            ("HINCRBYFLOAT h a 10.5", b"10.5"),
            ("HINCRBYFLOAT h a 0.1", b"10.6"),
            ("HINCRBYFLOAT h a -5", b"5.6"),
            ("HINCRBYFLOAT h a 5.0e3", b"5005.60000000000000009"),
            ("HINCRBYFLOAT h a x", error("value is not a valid float")),
            ("HSET h t text", 1),
            ("HINCRBYFLOAT h t 1", error("hash value is not a float")),
        ],
        "HSTRLEN and HEXISTS": [("HSET h a hello", 1), ("HSTRLEN h a", 5), ("HSTRLEN h b", 0), ("HEXISTS h a", 1)],
        "HRANDFIELD": [
            ("HSET h a 1", 1),
            ("HRANDFIELD h", b"a"),
            ("HRANDFIELD h 5", [b"a"]),
            ("HRANDFIELD h -3", [b"a", b"a", b"a"]),
            ("HRANDFIELD h 0", []),
            ("HRANDFIELD h -2 WITHVALUES", Pairs([(b"a", b"1"), (b"a", b"1")])),
            ("HRANDFIELD h 1 foo", SYNTAX),
            ("HRANDFIELD h 1 WITHVALUES x", SYNTAX),
            ("HRANDFIELD h x", NOT_INTEGER),
            ("HRANDFIELD h -9223372036854775807 WITHVALUES", error("value is out of range")),
        ],
        "the time to live stays": [
            ("HSET h a 1", 1),
            ("EXPIRE h 1000", 1),
            ("HSET h b 1", 1),
            ("HINCRBY h b 1", 2),
            ("HDEL h a", 1),
            ("PERSIST h", 1),
        ],
        "of another type": [
            ("SET s 1", OK),
            *((line, WRONG_TYPE) for line in ("HSET s a 1", "HSETNX s a 1", "HGET s a", "HMSET s a 1", "HMGET s a")),
            *(
                (line, WRONG_TYPE)
                for line in ("HDEL s a", "HLEN s", "HSTRLEN s a", "HEXISTS s a", "HKEYS s", "HVALS s")
            ),
            *((line, WRONG_TYPE) for line in ("HGETALL s", "HINCRBY s a 1", "HINCRBYFLOAT s a 1", "HRANDFIELD s")),
            *((line, WRONG_TYPE) for line in ("HRANDFIELD s 1", "HSCAN s 0", "HSCAN s 0 COUNT 0")),
            ("HSCAN s x", error("invalid cursor")),
            ("HINCRBY s a x", NOT_INTEGER),
            ("HSET h a 1", 1),
            ("GET h", WRONG_TYPE),
            ("APPEND h x", WRONG_TYPE),
            ("SET h x", OK),
        ],
        "moved about": [
            ("HSET h a 1", 1),
            ("COPY h i", 1),
            ("HSET i b 2", 1),
            ("HGETALL h", {b"a": b"1"}),
            ("RENAME i j", OK),
            ("MOVE j 1", 1),
            ("@select 1", None),
            ("HGETALL j", {b"a": b"1", b"b": b"2"}),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def hash_at(client: MachineClient, name: bytes = b"h") -> Hash:
    found = client.machine.space.databases[0].values[name]
    assert isinstance(found, Hash)
    return found


@pytest.mark.parametrize(
    ("steps", "encoding"),
    [
        ([[b"HSET", b"h", *(b"%d" % (n // 2) for n in range(1024))]], "listpack"),
        ([[b"HSET", b"h", *(b"%d" % (n // 2) for n in range(1026))]], "hashtable"),
        ([[b"HSET", b"h", b"f", b"x" * 64]], "listpack"),
        ([[b"HSET", b"h", b"f", b"x" * 65]], "hashtable"),
        ([[b"HSETNX", b"h", b"x" * 65, b"f"]], "hashtable"),
        ([[b"HSET", b"h", b"f", b"x" * 65, b"g", b""], [b"HDEL", b"h", b"f"]], "hashtable"),
        ([[b"HSET", b"h", b"f", b"x" * 65], [b"DEL", b"h"], [b"HSET", b"h", b"f", b"x"]], "listpack"),
        ([[b"HSET", b"g", b"f", b"x" * 65], [b"COPY", b"g", b"h"]], "hashtable"),
        ([[b"HINCRBYFLOAT", b"h", b"f" * 65, b"1"]], "hashtable"),
    ],
)
def test_encoding_as_redis_has_it(steps: list[list[bytes]], encoding: str) -> None:
    client = MachineClient()
    for argv in steps:
        client.call(*argv)
    assert hash_at(client).encoding == encoding
    restored = RedisMachine()
    restored.restore(iter(list(client.machine.snapshot())))
    again: Any = restored.space.databases[0].values[b"h"]
    assert (again.encoding, list(again.members.items())) == (encoding, list(hash_at(client).members.items()))


def test_a_large_hash_is_walked_in_steps() -> None:
    client = MachineClient()
    client.call(b"HSET", b"h", *(b"%d" % (n // 2) for n in range(2000)))
    cursor, met = b"0", Counter[bytes]()
    while True:
        cursor, words = client.call(b"HSCAN", b"h", cursor, b"COUNT", b"50")
        assert len(words) < 200
        met.update(words[::2])
        assert words[::2] == words[1::2]
        if cursor == b"0":
            break
    assert met == Counter({b"%d" % n: 1 for n in range(1000)})


def test_fields_by_chance() -> None:
    client = MachineClient()
    client.call(b"HSET", b"h", *(b"%d" % (n // 2) for n in range(2000)))
    some = client.call(b"HRANDFIELD", b"h", b"100")
    assert len(set(some)) == len(some) == 100
    repeated = client.call(b"HRANDFIELD", b"h", b"-3000")
    assert len(repeated) == 3000 > len(set(repeated)) > 800
    pairs = client.call(b"HRANDFIELD", b"h", b"10", b"WITHVALUES")
    assert all(field == value for field, value in pairs.items)
