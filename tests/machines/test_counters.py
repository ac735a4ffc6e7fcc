"""INCR and its kin."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK
from tests.machines.casework import NOT_INTEGER, Case, arity, cases, error, run_on_machine

OVERFLOW = error("increment or decrement would overflow")
NOT_FLOAT = error("value is not a valid float")
NOT_FINITE = error("increment would produce NaN or Infinity")

CASES = cases(
    {
        "incr and decr": [
            ("INCR a", 1),
            ("INCR a", 2),
            ("DECR a", 1),
            ("DECR b", -1),
            ("GET a", b"1"),
            ("INCR", arity("incr")),
            ("DECR a b", arity("decr")),
        ],
        "incrby and decrby": [
            ("INCRBY a 10", 10),
            ("DECRBY a 3", 7),
            ("INCRBY a -10", -3),
            ("DECRBY a -3", 0),
            ("INCRBY a 1.5", NOT_INTEGER),
            ("DECRBY a", arity("decrby")),
            ("INCRBY a", arity("incrby")),
        ],
        "limits": [
            ("SET a 9223372036854775807", OK),
            ("INCR a", OVERFLOW),
            ("DECR a", 9223372036854775806),
            ("SET a -9223372036854775808", OK),
            ("DECR a", OVERFLOW),
            ("DECRBY a -9223372036854775808", error("decrement would overflow")),
            ("INCRBY a -1", OVERFLOW),
            ("GET a", b"-9223372036854775808"),
        ],
        "only the one spelling of an integer counts": [
            step
            for text in [
                "01",
                "+1",
                "-0",
                '"1 "',
                '" 1"',
                "1_0",
                "",
                "1.0",
                "9223372036854775808",
                "0x1",
                "\\xb2",
                "--1",
            ]
            for step in [(f"SET a {text}" if text else 'SET a ""', OK), ("INCR a", NOT_INTEGER)]
        ],
        "keeps the deadline": [("SET a 1 EX 100", OK), ("INCR a", 2), ("INCRBYFLOAT a 1", b"3"), ("TTL a", 100)],
        "incrbyfloat": [
            ("INCRBYFLOAT a 0.1", b"0.1"),
            ("INCRBYFLOAT a 0.2", b"0.3"),
            ("INCRBYFLOAT a -0.3", b"0"),
            ("SET a 3.0e3", OK),
            ("INCRBYFLOAT a 200", b"3200"),
            ("INCRBYFLOAT a 1e-18", b"3200"),
            ("INCRBYFLOAT a 0x1p-4", b"3200.0625"),
            ("INCRBYFLOAT a", arity("incrbyfloat")),
        ],
        "incrbyfloat refuses": [
            ("SET a 1", OK),
            *[
                (f"INCRBYFLOAT a {text}", NOT_FLOAT)
                for text in ["nan", "x", '""', '" 1"', '"1 "', "1e", ".", "0x", "1e5000", "1e-5000"]
            ],
            *[(f"INCRBYFLOAT a {text}", NOT_FINITE) for text in ["inf", "-Infinity", "+INF"]],
            ("GET a", b"1"),
            ("SET a x", OK),
            ("INCRBYFLOAT a 1", NOT_FLOAT),
            ("SET a 1e4932", OK),
            ("INCRBYFLOAT a 1e4932", NOT_FINITE),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
