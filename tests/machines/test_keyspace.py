"""Commands on whole databases."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK
from tests.machines.casework import SYNTAX, Case, arity, cases, error, run_on_machine

CASES = cases(
    {
        "dbsize": [("DBSIZE", 0), ("MSET a 1 b 2", OK), ("DBSIZE", 2), ("DBSIZE x", arity("dbsize"))],
        "databases are apart": [
            ("SET a 1", OK),
            ("@select 1", None),
            ("GET a", None),
            ("SET a 2", OK),
            ("@select 0", None),
            ("GET a", b"1"),
        ],
        "flushdb": [
            ("SET a 1", OK),
            ("@select 1", None),
            ("SET a 2 EX 100", OK),
            ("FLUSHDB", OK),
            ("DBSIZE", 0),
            ("SET a 3", OK),
            ("TTL a", -1),
            ("FLUSHDB async", OK),
            ("@select 0", None),
            ("GET a", b"1"),
            ("FLUSHDB FOO", SYNTAX),
            ("FLUSHDB SYNC ASYNC", SYNTAX),
            ("GET a", b"1"),
        ],
        "flushall": [
            ("SET a 1", OK),
            ("@select 1", None),
            ("SET a 2", OK),
            ("FLUSHALL SYNC", OK),
            ("DBSIZE", 0),
            ("@select 0", None),
            ("DBSIZE", 0),
            ("FLUSHALL FOO", SYNTAX),
        ],
        "swapdb": [
            ("SET a 1 EX 100", OK),
            ("SWAPDB 0 1", OK),
            ("GET a", None),
            ("@select 1", None),
            ("GET a", b"1"),
            ("TTL a", 100),
            ("SWAPDB 1 1", OK),
            ("GET a", b"1"),
            ("SWAPDB x 1", error("invalid first DB index")),
            ("SWAPDB 1 x", error("invalid second DB index")),
            ("SWAPDB 1 3000000000", error("invalid second DB index")),
            ("SWAPDB 1 16", error("DB index is out of range")),
            ("SWAPDB -1 1", error("DB index is out of range")),
            ("SWAPDB 1", arity("swapdb")),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
