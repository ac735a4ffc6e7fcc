"""Commands on keys of any type."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK, Simple
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, arity, cases, error, run_on_machine

NO_SUCH_KEY = error("no such key")
SAME = error("source and destination objects are the same")
NO_DATABASE = error("DB index is out of range")
NOT_32_BIT = error("value is out of range, value must between -2147483648 and 2147483647")

CASES = cases(
    {
        "del": [("MSET a 1 b 2 c 3", OK), ("DEL a b x a", 2), ("DBSIZE", 1), ("DEL", arity("del"))],
        "unlink": [("MSET a 1 b 2", OK), ("UNLINK a b a", 2), ("DBSIZE", 0), ("UNLINK", arity("unlink"))],
        "exists": [("SET a 1", OK), ("EXISTS a b a", 2), ("EXISTS", arity("exists"))],
        "touch": [("SET a 1", OK), ("TOUCH a b a", 2), ("TOUCH", arity("touch"))],
        "type": [("TYPE a", Simple("none")), ("SET a 1", OK), ("TYPE a", Simple("string")), ("TYPE", arity("type"))],
        "rename": [
            ("RENAME a b", NO_SUCH_KEY),
            ("SET a 1 EX 100", OK),
            ("SET b 2", OK),
            ("RENAME a b", OK),
            ("MGET a b", [None, b"1"]),
            ("TTL b", 100),
            ("RENAME b b", OK),
            ("SET c 3", OK),
            ("RENAME c b", OK),
            ("TTL b", -1),
            ("RENAME a", arity("rename")),
        ],
        "renamenx": [
            ("RENAMENX a b", NO_SUCH_KEY),
            ("RENAMENX a a", NO_SUCH_KEY),
            ("SET a 1 EX 100", OK),
            ("RENAMENX a a", 0),
            ("RENAMENX a b", 1),
            ("TTL b", 100),
            ("SET a 2", OK),
            ("RENAMENX a b", 0),
            ("MGET a b", [b"2", b"1"]),
            ("RENAMENX a", arity("renamenx")),
        ],
        "copy": [
            ("COPY a b", 0),
            ("SET a 1 EX 100", OK),
            ("COPY a b", 1),
            ("TTL b", 100),
            ("COPY a b", 0),
            ("SET a 2", OK),
            ("COPY a b REPLACE", 1),
            ("GET b", b"2"),
            ("TTL b", -1),
            ("COPY a a", SAME),
            ("COPY a a DB 0", SAME),
        ],
        "copy to another database": [
            ("SET a 1", OK),
            ("COPY a a DB 1", 1),
            ("COPY a a DB 1", 0),
            ("SET a 2", OK),
            ("COPY a a db 1 replace", 1),
            ("@select 1", None),
            ("GET a", b"2"),
            ("COPY a a DB 16", NO_DATABASE),
            ("COPY a a DB -1", NO_DATABASE),
            ("COPY a a DB x", NOT_INTEGER),
            ("COPY a a DB 3000000000", NOT_32_BIT),
            ("COPY a a DB", SYNTAX),
            ("COPY a b FOO", SYNTAX),
            ("COPY a", arity("copy")),
        ],
        "move": [
            ("MOVE a 1", 0),
            ("SET a 1 EX 100", OK),
            ("MOVE a 1", 1),
            ("EXISTS a", 0),
            ("SET a 2", OK),
            ("MOVE a 1", 0),
            ("@select 1", None),
            ("GET a", b"1"),
            ("TTL a", 100),
            ("MOVE a 1", SAME),
            ("MOVE a 16", NO_DATABASE),
            ("MOVE a x", NOT_INTEGER),
            ("MOVE a 99999999999", NOT_32_BIT),
            ("MOVE a", arity("move")),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
