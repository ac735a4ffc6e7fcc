"""LCS."""

from __future__ import annotations

import random

import pytest

from raftkv.machines.replies import OK, Error
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, arity, cases, error, run_on_machine

PAIR = [("MSET a ohmytext b mynewtext", OK)]

CASES = cases(
    {
        "the string": [*PAIR, ("LCS a b", b"mytext"), ("LCS a c", b""), ("LCS c d", b""), ("LCS a a", b"ohmytext")],
        "the length": [*PAIR, ("LCS a b LEN", 6), ("LCS a c len", 0), ("LCS a b LEN MINMATCHLEN 5", 6)],
        "the places": [
            *PAIR,
            ("LCS a b IDX", {b"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len": 6}),
            ("LCS a b IDX MINMATCHLEN 4", {b"matches": [[[4, 7], [5, 8]]], b"len": 6}),
            (
                "LCS a b IDX WITHMATCHLEN MINMATCHLEN -1",
                {b"matches": [[[4, 7], [5, 8], 4], [[2, 3], [0, 1], 2]], b"len": 6},
            ),
            ("LCS a c IDX", {b"matches": [], b"len": 0}),
        ],
        "refused": [
            *PAIR,
            ("LCS a b IDX LEN", error("If you want both the length and indexes, please just use IDX.")),
            ("LCS a b FOO", SYNTAX),
            ("LCS a b MINMATCHLEN", SYNTAX),
            ("LCS a b MINMATCHLEN x", NOT_INTEGER),
            ("LCS a", arity("lcs")),
            ("SETRANGE a 11999 x", 12000),
            ("SETRANGE b 11999 x", 12000),
            (
                "LCS a b",
                error("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"),
            ),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


@pytest.mark.parametrize("seed", range(20))
def test_length_equals_the_textbook_table(seed: int) -> None:
    chance = random.Random(seed)
    first, second = (bytes(chance.choices(b"abc", k=chance.randrange(40))) for _ in range(2))
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, left in enumerate(first, 1):
        for j, right in enumerate(second, 1):
            equal = table[i - 1][j - 1] + 1
            table[i][j] = equal if left == right else max(table[i - 1][j], table[i][j - 1])
    client = MachineClient()
    client.call(b"MSET", b"a", first, b"b", second)
    assert client.call(b"LCS", b"a", b"b", b"LEN") == table[-1][-1]
    assert len(client.call(b"LCS", b"a", b"b")) == table[-1][-1]


def test_a_long_first_string_is_refused_where_redis_would_work_on() -> None:
    client = MachineClient()
    client.call(b"SETRANGE", b"a", b"300000", b"x")
    client.call(b"SET", b"b", b"x")
    assert client.call(b"LCS", b"b", b"a", b"LEN") == 1
    assert isinstance(client.call(b"LCS", b"a", b"b", b"LEN"), Error)
