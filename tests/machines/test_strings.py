"""SET, GET and their kin. The tables also run against a real server, see test_against_redis.py."""

from __future__ import annotations

import pytest

from raftkv.machines.replies import OK
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, Near, arity, cases, error, run_on_machine

CASES = cases(
    {
        "set and get": [("GET a", None), ("SET a 1", OK), ("GET a", b"1"), ("SeT a 2", OK), ("get a", b"2")],
        "binary keys and values": [(r"SET \x00\xff \r\n\x00", OK), (r"GET \x00\xff", b"\r\n\0"), ('SET "" ""', OK)],
        "set only if missing": [
            ("SET a 1 NX", OK),
            ("SET a 2 nx", None),
            ("SET a 3 NX GET", b"1"),
            ("SET b 1 NX GET", None),
            ("MGET a b", [b"1", b"1"]),
        ],
        "set only if present": [
            ("SET a 1 XX", None),
            ("SET a 1 XX GET", None),
            ("EXISTS a", 0),
            ("SET a 1", OK),
            ("SET a 2 xx", OK),
            ("SET a 3 XX GET", b"2"),
            ("GET a", b"3"),
        ],
        "set clears the deadline unless told to keep it": [
            ("SET a 1 EX 100", OK),
            ("SET a 2 KEEPTTL", OK),
            ("TTL a", 100),
            ("SET a 3", OK),
            ("TTL a", -1),
        ],
        "set with each unit": [
            ("SET a 1 EX 100", OK),
            ("PTTL a", Near(100_000)),
            ("SET a 1 PX 50000", OK),
            ("PTTL a", Near(50_000)),
            ("SET a 1 EXAT 9999999999", OK),
            ("EXPIRETIME a", 9999999999),
            ("SET a 1 PXAT 9999999999123", OK),
            ("PEXPIRETIME a", 9999999999123),
        ],
        "set with a deadline in the past removes": [
            ("SET a 1", OK),
            ("SET a 2 EXAT 1", OK),
            ("EXISTS a", 0),
            ("SET a 2 PXAT 1 GET", None),
            ("GET a", None),
        ],
        "set refuses bad expiries and changes nothing": [
            ("SET a 1", OK),
            ("SET a 2 EX 0", error("invalid expire time in 'set' command")),
            ("SET a 2 PX -1", error("invalid expire time in 'set' command")),
            ("SET a 2 EX 9223372036854775807", error("invalid expire time in 'set' command")),
            ("SET a 2 EX 9223372036854775", error("invalid expire time in 'set' command")),
            ("SET a 2 PX 9223372036854775807", error("invalid expire time in 'set' command")),
            ("SET a 2 EX 1.5", NOT_INTEGER),
            ("SET a 2 EX 9223372036854775808", NOT_INTEGER),
            ("SET a 2 EX", SYNTAX),
            ("GET a", b"1"),
        ],
        "set refuses options that exclude each other": [
            ("SET a 1 NX XX", SYNTAX),
            ("SET a 1 XX NX", SYNTAX),
            ("SET a 1 EX 1 PX 1", SYNTAX),
            ("SET a 1 KEEPTTL EX 1", SYNTAX),
            ("SET a 1 EX 1 KEEPTTL", SYNTAX),
            ("SET a 1 PERSIST", SYNTAX),
            ("SET a 1 FOO", SYNTAX),
            ("SET a", arity("set")),
        ],
        "set takes repeated options": [("SET a 1 NX NX GET GET EX 5 EX 100", None), ("TTL a", 100)],
        "get arity": [("GET", arity("get")), ("GET a b", arity("get")), ("gEt", arity("get"))],
        "getset": [
            ("GETSET a 1", None),
            ("EXPIRE a 100", 1),
            ("GETSET a 2", b"1"),
            ("TTL a", -1),
            ("GETSET a", arity("getset")),
        ],
        "getdel": [("GETDEL a", None), ("SET a 1", OK), ("GETDEL a", b"1"), ("EXISTS a", 0)],
        "getex": [
            ("GETEX a EX 0", None),
            ("SET a 1", OK),
            ("GETEX a", b"1"),
            ("TTL a", -1),
            ("GETEX a EX 100", b"1"),
            ("TTL a", 100),
            ("GETEX a PX 200000", b"1"),
            ("TTL a", 200),
            ("GETEX a PERSIST", b"1"),
            ("TTL a", -1),
            ("GETEX a EXAT 9999999999", b"1"),
            ("EXPIRETIME a", 9999999999),
            ("GETEX a PXAT 1", b"1"),
            ("GET a", None),
        ],
        "getex refuses": [
            ("SET a 1", OK),
            ("GETEX a EX 0", error("invalid expire time in 'getex' command")),
            ("GETEX a EX x", NOT_INTEGER),
            ("GETEX a EX 1 PERSIST", SYNTAX),
            ("GETEX a PERSIST EX 1", SYNTAX),
            ("GETEX a KEEPTTL", SYNTAX),
            ("GETEX a EX", SYNTAX),
            ("GETEX", arity("getex")),
        ],
        "mset and mget": [
            ("MSET a 1 b 2 a 3", OK),
            ("MGET a b c a", [b"3", b"2", None, b"3"]),
            ("MSET a 1 b", arity("mset")),
            ("MSET a", arity("mset")),
            ("MGET", arity("mget")),
        ],
        "mset clears deadlines": [("SET a 1 EX 100", OK), ("MSET a 2", OK), ("TTL a", -1)],
        "msetnx is all or nothing": [
            ("MSETNX a 1 b 2", 1),
            ("MSETNX b 3 c 4", 0),
            ("MGET a b c", [b"1", b"2", None]),
            ("MSETNX a 1 b", arity("msetnx")),
        ],
        "setnx": [("SETNX a 1", 1), ("SETNX a 2", 0), ("GET a", b"1"), ("SETNX a", arity("setnx"))],
        "setex": [
            ("SETEX a 100 1", OK),
            ("TTL a", 100),
            ("SETEX a 0 1", error("invalid expire time in 'setex' command")),
            ("SETEX a x 1", NOT_INTEGER),
            ("SETEX a 1", arity("setex")),
        ],
        "psetex": [
            ("PSETEX a 100000 1", OK),
            ("PTTL a", Near(100_000)),
            ("PSETEX a -5 1", error("invalid expire time in 'psetex' command")),
        ],
    }
)

MACHINE_CASES = cases(
    {
        "dirtyget reads like get": [
            ("DIRTYGET a", None),
            ("SET a 1", OK),
            ("DIRTYGET a", b"1"),
            ("DIRTYGET", arity("dirtyget")),
            ("DIRTYGET a MAXLAG 0", b"1"),
            ("DIRTYGET a maxlag 100", b"1"),
            ("DIRTYGET a MAXLAG -1", error("MAXLAG is negative")),
            ("DIRTYGET a MAXLAG x", NOT_INTEGER),
            ("DIRTYGET a MAXLAG", SYNTAX),
            ("DIRTYGET a b 1", SYNTAX),
            ("DIRTYGET a MAXLAG 1 1", SYNTAX),
        ]
    }
)


@pytest.mark.parametrize("case", CASES + MACHINE_CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)
