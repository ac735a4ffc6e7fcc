"""KEYS, SCAN, RANDOMKEY."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from raftkv.machines.replies import OK
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, arity, cases, error, run_on_machine

BAD_CURSOR = error("invalid cursor")
SORTED = ("@sorted", None)
THREE = ("MSET one 1 two 2 three 3", OK)

CASES = cases(
    {
        "keys": [
            ("KEYS *", []),
            THREE,
            SORTED,
            ("KEYS *", [b"one", b"three", b"two"]),
            SORTED,
            ("KEYS t*", [b"three", b"two"]),
            ("KEYS [^t]??", [b"one"]),
            ("KEYS x", []),
            ("KEYS", arity("keys")),
        ],
        "the empty key": [
            ('SET "" 1', OK),
            ("KEYS *", [b""]),
            ("KEYS **", []),
            ('KEYS ""', [b""]),
            ("SCAN 0 MATCH *", [b"0", [b""]]),
            ("SCAN 0 MATCH **", [b"0", []]),
        ],
        "scan": [
            ("SCAN 0", [b"0", []]),
            THREE,
            SORTED,
            ("SCAN 0", [b"0", [b"one", b"three", b"two"]]),
            SORTED,
            ("SCAN 0 COUNT 100 MATCH t*", [b"0", [b"three", b"two"]]),
            SORTED,
            ("SCAN 0 TYPE STRING COUNT 5", [b"0", [b"one", b"three", b"two"]]),
            ("SCAN 0 TYPE nothing", [b"0", []]),
            ("SCAN 0 TYPE hash", [b"0", []]),
        ],
        "scan refuses": [
            ("SCAN x", BAD_CURSOR),
            ('SCAN " 0"', BAD_CURSOR),
            ("SCAN 18446744073709551616", BAD_CURSOR),
            ("SCAN 0x1", BAD_CURSOR),
            ('SCAN ""', [b"0", []]),
            ("SCAN +0", [b"0", []]),
            ("SCAN 0 COUNT 0", SYNTAX),
            ("SCAN 0 COUNT x", NOT_INTEGER),
            ("SCAN 0 COUNT", SYNTAX),
            ("SCAN 0 FOO 1", SYNTAX),
            ("SCAN", arity("scan")),
        ],
        "randomkey": [("RANDOMKEY", None), ("SET a 1", OK), ("RANDOMKEY", b"a"), ("RANDOMKEY x", arity("randomkey"))],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def walk(client: MachineClient, between: object = None, count: int = 10) -> list[bytes]:
    """A whole iteration; `between` is called after each step."""
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, page = client.call(b"SCAN", cursor, b"COUNT", b"%d" % count)
        found += page
        if cursor == b"0":
            return found
        if callable(between):
            between()


def filled(keys: int) -> MachineClient:
    client = MachineClient()
    for number in range(keys):
        client.call(b"SET", b"key:%d" % number, b"v")
    return client


def test_a_quiet_database_is_returned_exactly_once() -> None:
    assert sorted(walk(filled(1000))) == sorted(b"key:%d" % number for number in range(1000))


@pytest.mark.parametrize("seed", range(5))
def test_keys_present_all_the_time_are_returned_whatever_else_happens(seed: int) -> None:
    client, chance = filled(500), random.Random(seed)
    stay = {b"key:%d" % number for number in range(0, 500, 5)}

    def churn() -> None:
        for _ in range(60):
            name = b"key:%d" % chance.randrange(2000)
            if name not in stay:
                client.call(*chance.choice([[b"DEL", name], [b"SET", name, b"w"]]))

    assert stay <= set(walk(client, churn))


def test_a_cursor_goes_on_at_a_member_that_never_saw_the_scan() -> None:
    first, second = filled(300), filled(300)
    cursor, page = first.call(b"SCAN", b"0", b"COUNT", b"100")
    rest: list[bytes] = []
    while cursor != b"0":
        cursor, more = second.call(b"SCAN", cursor, b"COUNT", b"100")
        rest += more
    assert sorted(page + rest) == sorted(b"key:%d" % number for number in range(300))


def test_a_step_returns_about_count_keys() -> None:
    client = filled(5000)
    _, page = client.call(b"SCAN", b"0", b"COUNT", b"50")
    assert len(page) == 50


def test_randomkey_is_fair_enough() -> None:
    client = filled(50)
    drawn = Counter(client.call(b"RANDOMKEY") for _ in range(5000))
    assert len(drawn) == 50
    assert min(drawn.values()) > 50
    assert max(drawn.values()) < 200
