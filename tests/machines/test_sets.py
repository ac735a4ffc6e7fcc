"""Sets: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

import pytest

from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.sets import Set
from raftkv.machines.replies import OK, Error, SetReply, Simple
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
MAX = 2**63 - 1
NOT_POSITIVE = error("value is out of range, must be positive")

CASES = cases(
    {
        "members come and go": [
            ("SADD s 3 1 2 1", 3),
            ("SADD s 1 4", 1),
            ("SMEMBERS s", SetReply([b"1", b"2", b"3", b"4"])),
            ("SCARD s", 4),
            ("TYPE s", Simple("set")),
            ("SREM s 1 x 1", 1),
            ("SISMEMBER s 1", 0),
            ("SMISMEMBER s 2 1 4", [1, 0, 1]),
            ("SREM s 2 3 4", 3),
            ("EXISTS s", 0),
        ],
        "missing": [
            ("SMEMBERS s", SetReply([])),
            ("SCARD s", 0),
            ("SISMEMBER s a", 0),
            ("SMISMEMBER s a b", [0, 0]),
            ("SREM s a", 0),
            ("SPOP s", None),
            ("SPOP s 2", SetReply([])),
            ("SRANDMEMBER s", None),
            ("SRANDMEMBER s 2", []),
            ("SSCAN s 0", [b"0", []]),
            ("SMOVE s t a", 0),
            ("SINTER s t", SetReply([])),
            ("SUNION s t", SetReply([])),
            ("SDIFF s t", SetReply([])),
            ("SINTERCARD 2 s t", 0),
        ],
        "SPOP and SRANDMEMBER": [
            ("SADD s 2 1", 2),
            ("SPOP s 0", SetReply([])),
            ("SRANDMEMBER s 5", [b"1", b"2"]),
            ("SRANDMEMBER s 0", []),
            ("SPOP s 5", SetReply([b"1", b"2"])),
            ("EXISTS s", 0),
            ("SADD s a", 1),
            ("SRANDMEMBER s", b"a"),
            ("SRANDMEMBER s -3", [b"a", b"a", b"a"]),
            ("SRANDMEMBER s x", NOT_INTEGER),
            ("SRANDMEMBER s 1 2", SYNTAX),
            (
                "SRANDMEMBER s -9223372036854775808",
                error(f"value is out of range, value must between {-MAX} and {MAX}"),
            ),
            ("SPOP s -1", NOT_POSITIVE),
            ("SPOP s x", NOT_POSITIVE),
            ("SPOP s 1 2", SYNTAX),
            ("SPOP s", b"a"),
            ("EXISTS s", 0),
        ],
        "SMOVE": [
            ("SADD s a b", 2),
            ("SMOVE s t a", 1),
            ("SMEMBERS t", SetReply([b"a"])),
            ("SMOVE s t x", 0),
            ("SMOVE t t a", 1),
            ("SMOVE t t x", 0),
            ("SMOVE s t b", 1),
            ("EXISTS s", 0),
            ("SET x 1", OK),
            ("SMOVE t x a", WRONG_TYPE),
            ("SMOVE x t a", WRONG_TYPE),
            ("SMOVE nothing x a", 0),
        ],
        "SSCAN of integers is in their order": [
            ("SADD s 10 9 -1 100", 4),
            ("SSCAN s 0", [b"0", [b"-1", b"9", b"10", b"100"]]),
            ("SSCAN s 0 MATCH 1* COUNT 1", [b"0", [b"10", b"100"]]),
            ("SSCAN s x", error("invalid cursor")),
            ("SSCAN s 0 COUNT 0", SYNTAX),
        ],
        "algebra": [
            ("SADD a 1 2 3 4", 4),
            ("SADD b 2 3 5", 3),
            ("SADD c 3 7", 2),
            ("SINTER a b c", SetReply([b"3"])),
            ("SINTER a b nothing", SetReply([])),
            ("SUNION b c", SetReply([b"2", b"3", b"5", b"7"])),
            ("SDIFF a b c nothing", SetReply([b"1", b"4"])),
            ("SINTERSTORE d a b", 2),
            ("SMEMBERS d", SetReply([b"2", b"3"])),
            ("EXPIRE d 1000", 1),
            ("SUNIONSTORE d a c", 5),
            ("TTL d", -1),
            ("SDIFFSTORE d a b c", 2),
            ("SMEMBERS d", SetReply([b"1", b"4"])),
            ("SINTERSTORE d a nothing", 0),
            ("EXISTS d", 0),
            ("SET text 1", OK),
            ("SUNIONSTORE text a", 4),
            ("SET text 1", OK),
            ("SINTERSTORE text nothing a", 0),
            ("EXISTS text", 0),
        ],
        "SINTERCARD": [
            ("SADD a 1 2 3", 3),
            ("SADD b 1 2 3 4", 4),
            ("SINTERCARD 2 a b", 3),
            ("SINTERCARD 2 a b LIMIT 2", 2),
            ("SINTERCARD 2 a b LIMIT 0", 3),
            ("SINTERCARD 0 a", error("numkeys should be greater than 0")),
            ("SINTERCARD x a", error("numkeys should be greater than 0")),
            ("SINTERCARD 3 a b", error("Number of keys can't be greater than number of args")),
            ("SINTERCARD 2 a b LIMIT -1", error("LIMIT can't be negative")),
            ("SINTERCARD 2 a b LIMIT x", error("LIMIT can't be negative")),
            ("SINTERCARD 2 a b LIMIT", SYNTAX),
            ("SINTERCARD 1 a b", SYNTAX),
        ],
        "of another type": [
            ("SET s 1", OK),
            ("SADD a 1", 1),
            *((line, WRONG_TYPE) for line in ("SADD s a", "SREM s a", "SMEMBERS s", "SISMEMBER s a", "SMISMEMBER s a")),
            *((line, WRONG_TYPE) for line in ("SCARD s", "SPOP s", "SPOP s 1", "SRANDMEMBER s", "SRANDMEMBER s 1")),
            *(
                (line, WRONG_TYPE)
                for line in ("SSCAN s 0", "SINTER a s", "SINTER nothing s", "SUNION a s", "SDIFF a s")
            ),
            *((line, WRONG_TYPE) for line in ("SINTERSTORE a nothing s", "SUNIONSTORE a s", "SDIFFSTORE a nothing s")),
            ("SINTERCARD 2 nothing s", WRONG_TYPE),
            ("SMEMBERS a", SetReply([b"1"])),
            ("GET a", WRONG_TYPE),
            ("HGET a x", WRONG_TYPE),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def set_at(client: MachineClient, name: bytes = b"s") -> Set:
    found = client.machine.space.databases[0].values[name]
    assert isinstance(found, Set)
    return found


NUMBERS = [b"%d" % number for number in range(600)]


@pytest.mark.parametrize(
    ("steps", "encoding"),
    [
        ([[b"SADD", b"s", *NUMBERS[:512]]], "intset"),
        ([[b"SADD", b"s", *NUMBERS[:513]]], "hashtable"),
        ([[b"SADD", b"s", b"1", b"01"]], "hashtable"),
        ([[b"SADD", b"s", b"1", b"x"], [b"SREM", b"s", b"x"]], "hashtable"),
        ([[b"SADD", b"a", b"1", b"x"], [b"SADD", b"b", b"1"], [b"SINTERSTORE", b"s", b"a", b"b"]], "intset"),
        ([[b"SADD", b"a", b"1", b"x"], [b"SADD", b"b", b"x"], [b"SDIFFSTORE", b"s", b"a", b"b"]], "intset"),
        ([[b"SADD", b"a", b"1", b"x"], [b"SMOVE", b"a", b"s", b"1"]], "intset"),
    ],
)
def test_encoding_as_redis_has_it(steps: list[list[bytes]], encoding: str) -> None:
    client = MachineClient()
    for argv in steps:
        client.call(*argv)
    assert set_at(client).encoding == encoding


@pytest.mark.parametrize("count", [1, 100, 900, 1999])
def test_what_is_popped_is_the_same_on_a_restored_member(count: int) -> None:
    client = MachineClient()
    client.call(b"SADD", b"s", *(b"m%d" % number for number in range(2000)))
    client.call(b"SPOP", b"s", b"10")
    client.call(b"SADD", b"s", *(b"n%d" % number for number in range(50)))
    again = RedisMachine()
    again.restore(iter(list(client.machine.snapshot())))
    other = MachineClient(again)
    other.index = client.index
    for _ in range(5):
        assert client.call(b"SPOP", b"s", b"%d" % count) == other.call(b"SPOP", b"s", b"%d" % count)
        assert client.call(b"SPOP", b"s") == other.call(b"SPOP", b"s")
    assert client.machine.state_hash() == again.state_hash()


def test_every_member_is_popped_once() -> None:
    client = MachineClient()
    client.call(b"SADD", b"s", *NUMBERS, b"x")
    popped = [client.call(b"SPOP", b"s") for _ in range(601)]
    assert sorted(popped) == sorted([*NUMBERS, b"x"])
    assert popped != [*NUMBERS, b"x"]
