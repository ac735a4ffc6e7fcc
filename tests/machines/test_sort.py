"""SORT: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK, Error
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, cases, error, run_on_machine

CASES = cases(
    {
        "numbers and texts": [
            ("RPUSH l 3 1 10 2 -1.5", 5),
            ("SORT l", [b"-1.5", b"1", b"2", b"3", b"10"]),
            ("SORT_RO l DESC", [b"10", b"3", b"2", b"1", b"-1.5"]),
            ("SORT l ALPHA", [b"-1.5", b"1", b"10", b"2", b"3"]),
            ("SORT l LIMIT 1 2", [b"1", b"2"]),
            ("SORT l LIMIT 9 2", []),
            ("SORT l LIMIT x 2", NOT_INTEGER),
            ("SORT l foo", SYNTAX),
            ("SORT_RO l STORE d", SYNTAX),
            ("RPUSH l text", 6),
            ("SORT l", error("One or more scores can't be converted into double")),
            ("SORT l BY nosort", [b"3", b"1", b"10", b"2", b"-1.5", b"text"]),
            ("SORT nothing", []),
        ],
        "by and with other keys": [
            ("SADD s 1 2 3", 3),
            ("MSET w_1 30 w_2 10 w_3 20", OK),
            ("HSET h_1 f one", 1),
            ("HSET h_2 f two", 1),
            ("SORT s BY w_*", [b"2", b"3", b"1"]),
            ("SORT s BY w_* GET # GET h_*->f GET w_*", [b"2", b"two", b"10", b"3", None, b"20", b"1", b"one", b"30"]),
            ("SORT s BY h_*->f ALPHA", [b"3", b"1", b"2"]),
            ("SORT s BY nosort BY w_*", [b"1", b"2", b"3"]),
            ("SORT s BY w_* BY nosort", [b"1", b"2", b"3"]),
            ("SORT s BY nosort BY w_* STORE d", 3),
            ("LRANGE d 0 -1", [b"1", b"2", b"3"]),
            ("SORT s BY w_* STORE d", 3),
            ("LRANGE d 0 -1", [b"2", b"3", b"1"]),
            ("SORT s GET h_*->f STORE d", 3),
            ("LRANGE d 0 -1", [b"one", b"two", b""]),
            ("SORT nothing STORE d", 0),
            ("EXISTS d", 0),
        ],
        "sorted sets": [
            ("ZADD z 3 a 2 b 1 c", 3),
            ("SORT z BY nosort", [b"c", b"b", b"a"]),
            ("SORT z BY nosort DESC LIMIT 0 2", [b"a", b"b"]),
            ("SORT z ALPHA", [b"a", b"b", b"c"]),
        ],
        "of another type": [
            ("SET s 1", OK),
            ("SORT s", Error("WRONGTYPE Operation against a key holding the wrong kind of value")),
            ("SORT s foo", SYNTAX),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
