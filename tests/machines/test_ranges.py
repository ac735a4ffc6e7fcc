"""APPEND, STRLEN, SETRANGE, GETRANGE."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK
from tests.machines.casework import NOT_INTEGER, Case, arity, cases, error, run_on_machine

TOO_LONG = error("string exceeds maximum allowed size (proto-max-bulk-len)")

CASES = cases(
    {
        "append": [
            ("APPEND a xy", 2),
            ("EXPIRE a 100", 1),
            ("APPEND a z", 3),
            ("GET a", b"xyz"),
            ("TTL a", 100),
            ('APPEND b ""', 0),
            ("EXISTS b", 1),
            ("APPEND a", arity("append")),
        ],
        "strlen": [("STRLEN a", 0), ("SET a xyz", OK), ("STRLEN a", 3), ("STRLEN", arity("strlen"))],
        "setrange": [
            ("SETRANGE a 2 xy", 4),
            ("GET a", b"\0\0xy"),
            ("SETRANGE a 0 AB", 4),
            ("SETRANGE a 3 CD", 5),
            ("GET a", b"ABxCD"),
            ('SETRANGE a 100 ""', 5),
            ('SETRANGE b 5 ""', 0),
            ("EXISTS b", 0),
        ],
        "setrange keeps the deadline": [("SET a xyz EX 100", OK), ("SETRANGE a 1 b", 3), ("TTL a", 100)],
        "setrange refuses": [
            ("SETRANGE a -1 x", error("offset is out of range")),
            ("SETRANGE a x y", NOT_INTEGER),
            ("SETRANGE a 536870912 x", TOO_LONG),
            ("SETRANGE a 9223372036854775807 x", TOO_LONG),
            ("SETRANGE a 1", arity("setrange")),
            ("EXISTS a", 0),
        ],
        "getrange": [
            ("SET a Hello", OK),
            ("GETRANGE a 0 -1", b"Hello"),
            ("GETRANGE a 1 3", b"ell"),
            ("GETRANGE a -3 -2", b"ll"),
            ("GETRANGE a -100 100", b"Hello"),
            ("GETRANGE a 3 1", b""),
            ("GETRANGE a -1 -2", b""),
            ("GETRANGE a 0 -100", b"H"),
            ("GETRANGE a -100 -50", b"H"),
            ("GETRANGE a 5 10", b""),
            ("GETRANGE a 9223372036854775807 9223372036854775807", b""),
            ("GETRANGE b 0 -1", b""),
            ("GETRANGE a x 1", NOT_INTEGER),
            ("GETRANGE a 1", arity("getrange")),
        ],
        "substr": [("SET a Hello", OK), ("SUBSTR a 1 2", b"el"), ("SUBSTR a", arity("substr"))],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
