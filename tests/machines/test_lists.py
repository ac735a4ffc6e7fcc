"""Lists: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

import pytest

from raftkv.machines.redis.lists import List
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import NULL_ARRAY, OK, Error, Simple
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, arity, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_POSITIVE = error("value is out of range, must be positive")

CASES = cases(
    {
        "both ends": [
            ("RPUSH l a b", 2),
            ("LPUSH l 1 2", 4),
            ("LRANGE l 0 -1", [b"2", b"1", b"a", b"b"]),
            ("TYPE l", Simple("list")),
            ("LPOP l", b"2"),
            ("RPOP l", b"b"),
            ("LLEN l", 2),
            ("LPOP l 5", [b"1", b"a"]),
            ("EXISTS l", 0),
            ("LPUSHX l a", 0),
            ("RPUSHX l a", 0),
            ("LPUSH l a", 1),
            ("RPUSHX l b c", 3),
            ("LPUSHX l x", 4),
        ],
        "missing": [
            ("LPOP l", None),
            ("LPOP l 1", NULL_ARRAY),
            ("LPOP l 0", NULL_ARRAY),
            ("LPOP l -1", NOT_POSITIVE),
            ("RPOP l x", NOT_POSITIVE),
            ("RPOP l 1 2", arity("rpop")),
            ("LLEN l", 0),
            ("LINDEX l 0", None),
            ("LINDEX l x", None),
            ("LSET l 0 a", error("no such key")),
            ("LRANGE l 0 -1", []),
            ("LTRIM l 0 1", OK),
            ("LINSERT l BEFORE a b", 0),
            ("LREM l 0 a", 0),
            ("LPOS l a", None),
            ("LPOS l a COUNT 0", []),
            ("LMOVE l m LEFT RIGHT", None),
            ("RPOPLPUSH l m", None),
            ("LMPOP 1 l LEFT", NULL_ARRAY),
        ],
        "LPOP of none": [("RPUSH l a", 1), ("LPOP l 0", []), ("LLEN l", 1)],
        "indexes": [
            ("RPUSH l a b c d", 4),
            ("LINDEX l 1", b"b"),
            ("LINDEX l -1", b"d"),
            ("LINDEX l 4", None),
            ("LINDEX l x", NOT_INTEGER),
            ("LSET l -1 z", OK),
            ("LSET l 4 z", error("index out of range")),
            ("LSET l x z", NOT_INTEGER),
            ("LRANGE l 1 2", [b"b", b"c"]),
            ("LRANGE l -100 100", [b"a", b"b", b"c", b"z"]),
            ("LRANGE l 2 1", []),
            ("LRANGE l x 1", NOT_INTEGER),
            ("LTRIM l 1 -2", OK),
            ("LRANGE l 0 -1", [b"b", b"c"]),
            ("LTRIM l 5 9", OK),
            ("EXISTS l", 0),
        ],
        "LINSERT": [
            ("RPUSH l a c", 2),
            ("LINSERT l before c b", 3),
            ("LINSERT l AFTER c d", 4),
            ("LINSERT l AFTER x d", -1),
            ("LINSERT l foo c d", SYNTAX),
            ("LRANGE l 0 -1", [b"a", b"b", b"c", b"d"]),
        ],
        "LREM": [
            ("RPUSH l a b a c a", 5),
            ("LREM l 1 a", 1),
            ("LREM l -1 a", 1),
            ("LRANGE l 0 -1", [b"b", b"a", b"c"]),
            ("LREM l x a", NOT_INTEGER),
            ("LREM l 0 x", 0),
            ("RPUSH m a a", 2),
            ("LREM m 0 a", 2),
            ("EXISTS m", 0),
        ],
        "LPOS": [
            ("RPUSH l a b c 1 2 3 c c", 8),
            ("LPOS l c", 2),
            ("LPOS l c RANK 2", 6),
            ("LPOS l c RANK -1", 7),
            ("LPOS l c COUNT 2", [2, 6]),
            ("LPOS l c RANK -1 COUNT 2", [7, 6]),
            ("LPOS l c COUNT 0", [2, 6, 7]),
            ("LPOS l c COUNT 0 MAXLEN 3", [2]),
            ("LPOS l c MAXLEN 2", None),
            ("LPOS l x COUNT 1", []),
            (
                "LPOS l c RANK 0",
                error(
                    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to"
                    " start from the end of the list"
                ),
            ),
            ("LPOS l c COUNT -1", error("COUNT can't be negative")),
            ("LPOS l c MAXLEN -1", error("MAXLEN can't be negative")),
            ("LPOS l c RANK", SYNTAX),
            ("LPOS l c foo 1", SYNTAX),
        ],
        "from list to list": [
            ("RPUSH l a b c", 3),
            ("LMOVE l m LEFT RIGHT", b"a"),
            ("LMOVE l m right left", b"c"),
            ("LRANGE m 0 -1", [b"c", b"a"]),
            ("RPOPLPUSH m m", b"a"),
            ("LRANGE m 0 -1", [b"a", b"c"]),
            ("RPOPLPUSH l m", b"b"),
            ("EXISTS l", 0),
            ("LMOVE m m LEFT LEFT", b"b"),
            ("LMOVE m m LEFT foo", SYNTAX),
            ("RPUSH one a", 1),
            ("LMOVE one one LEFT RIGHT", b"a"),
            ("LLEN one", 1),
            ("SET s 1", OK),
            ("LMOVE m s LEFT LEFT", WRONG_TYPE),
            ("LMOVE s m LEFT LEFT", WRONG_TYPE),
            ("LMOVE nothing s LEFT LEFT", None),
        ],
        "LMPOP": [
            ("RPUSH l a b c d", 4),
            ("LMPOP 2 nothing l LEFT", [b"l", [b"a"]]),
            ("LMPOP 1 l right COUNT 2", [b"l", [b"d", b"c"]]),
            ("LMPOP 0 l LEFT", error("numkeys should be greater than 0")),
            ("LMPOP x l LEFT", error("numkeys should be greater than 0")),
            ("LMPOP 2 l LEFT", SYNTAX),
            ("LMPOP 1 l foo", SYNTAX),
            ("LMPOP 1 l LEFT COUNT 0", error("count should be greater than 0")),
            ("LMPOP 1 l LEFT COUNT", SYNTAX),
            ("LMPOP 1 l LEFT COUNT 1 COUNT 1", SYNTAX),
            ("LMPOP 1 l LEFT COUNT 9", [b"l", [b"b"]]),
            ("EXISTS l", 0),
            ("SET s 1", OK),
            ("LMPOP 2 s l LEFT", WRONG_TYPE),
        ],
        "of another type": [
            ("SET s 1", OK),
            *(
                (line, WRONG_TYPE)
                for line in ("LPUSH s a", "RPUSH s a", "LPUSHX s a", "RPUSHX s a", "LPOP s", "RPOP s 1")
            ),
            *((line, WRONG_TYPE) for line in ("LLEN s", "LINDEX s 0", "LSET s 0 a", "LRANGE s 0 1", "LTRIM s 0 1")),
            *((line, WRONG_TYPE) for line in ("LINSERT s BEFORE a b", "LREM s 0 a", "LPOS s a", "RPOPLPUSH s l")),
            ("LRANGE s x 1", NOT_INTEGER),
            ("RPUSH l a", 1),
            ("GET l", WRONG_TYPE),
            ("HGET l a", WRONG_TYPE),
            ("SADD l a", WRONG_TYPE),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def test_a_long_list_there_and_back() -> None:
    client = MachineClient()
    for start in range(0, 5000, 500):
        client.call(b"RPUSH", b"l", *(b"%d" % number for number in range(start, start + 500)))
    client.call(b"LINSERT", b"l", b"BEFORE", b"2500", b"x")
    again = RedisMachine()
    again.restore(iter(list(client.machine.snapshot())))
    assert again.state_hash() == client.machine.state_hash()
    found = again.space.databases[0].values[b"l"]
    assert isinstance(found, List)
    assert found.encoding == "quicklist"
    assert found.elements.get(2500) == b"x"
