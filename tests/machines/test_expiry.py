"""Deadlines: the EXPIRE and TTL families, PERSIST, and how time takes keys away."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.machines.redis import database
from raftkv.machines.redis.database import SWEEP_KEYS_MAX
from raftkv.machines.redis.differences import OVERDUE_COUNTED
from raftkv.machines.replies import OK
from tests.machines.casework import (
    NOT_INTEGER,
    START_MS,
    Case,
    MachineClient,
    Near,
    arity,
    cases,
    error,
    run_on_machine,
)
from tests.machines.differential import KEYS, LINES, Argv, same_reply, sequences

NX_WITH_OTHERS = error("NX and XX, GT or LT options at the same time are not compatible")
GT_WITH_LT = error("GT and LT options at the same time are not compatible")


def bad_time(name: str) -> object:
    return error(f"invalid expire time in '{name}' command")


CASES = cases(
    {
        "expire and ttl": [
            ("EXPIRE a 100", 0),
            ("TTL a", -2),
            ("PTTL a", -2),
            ("SET a 1", OK),
            ("TTL a", -1),
            ("PTTL a", -1),
            ("EXPIRE a 100", 1),
            ("TTL a", 100),
            ("PEXPIRE a 50000", 1),
            ("PTTL a", Near(50_000)),
            ("TTL", arity("ttl")),
            ("PTTL", arity("pttl")),
            ("EXPIRE a", arity("expire")),
            ("PEXPIRE a", arity("pexpire")),
        ],
        "expire at a time": [
            ("SET a 1", OK),
            ("EXPIRETIME a", -1),
            ("EXPIRETIME b", -2),
            ("PEXPIRETIME b", -2),
            ("EXPIREAT a 9999999999", 1),
            ("EXPIRETIME a", 9999999999),
            ("PEXPIREAT a 9999999999500", 1),
            ("PEXPIRETIME a", 9999999999500),
            ("EXPIRETIME a", 10000000000),
            ("EXPIREAT a", arity("expireat")),
            ("PEXPIREAT a", arity("pexpireat")),
            ("EXPIRETIME", arity("expiretime")),
            ("PEXPIRETIME", arity("pexpiretime")),
        ],
        "a deadline that has passed deletes": [
            ("MSET a 1 b 1 c 1 d 1", OK),
            ("EXPIRE a 0", 1),
            ("PEXPIRE b -1", 1),
            ("EXPIREAT c 1", 1),
            ("PEXPIREAT d -9223372036854775808", 1),
            ("EXISTS a b c d", 0),
            ("DBSIZE", 0),
        ],
        "conditions": [
            ("SET a 1", OK),
            ("EXPIRE a 100 XX", 0),
            ("EXPIRE a 100 GT", 0),
            ("EXPIRE a 100 nx", 1),
            ("EXPIRE a 200 NX", 0),
            ("EXPIRE a 50 GT", 0),
            ("EXPIRE a 200 GT", 1),
            ("EXPIRE a 300 LT", 0),
            ("EXPIREAT a 9999999999", 1),
            ("EXPIREAT a 9999999999 GT", 0),
            ("EXPIREAT a 9999999999 LT", 0),
            ("EXPIRE a 200", 1),
            ("EXPIRE a 100 LT XX", 1),
            ("EXPIRE a 90 XX", 1),
            ("TTL a", 90),
            ("SET b 1", OK),
            ("EXPIRE b 100 LT", 1),
            ("SET b 1", OK),
            ("EXPIRE b 100 LT XX", 0),
            ("EXPIRE b -1 GT", 0),
            ("EXPIRE a -1 LT", 1),
            ("EXISTS a", 0),
        ],
        "refused": [
            ("SET a 1", OK),
            ("EXPIRE a 1 NX XX", NX_WITH_OTHERS),
            ("EXPIRE a 1 GT NX", NX_WITH_OTHERS),
            ("EXPIRE a 1 GT LT", GT_WITH_LT),
            ("EXPIRE a x FOO", error("Unsupported option FOO")),
            ('EXPIRE a 1 "FO\\x00O"', error("Unsupported option FO")),
            ("EXPIRE a x", NOT_INTEGER),
            ("EXPIRE a 9223372036854776", bad_time("expire")),
            ("EXPIRE a 9223372036854775", bad_time("expire")),
            ("EXPIRE a -9223372036854776", bad_time("expire")),
            ("PEXPIRE a 9223372036854775807", bad_time("pexpire")),
            ("EXPIREAT a 9223372036854776", bad_time("expireat")),
            ("EXPIREAT b 9223372036854776", bad_time("expireat")),
            ("PEXPIREAT a 9223372036854775807", 1),
            ("PEXPIRETIME a", 9223372036854775807),
        ],
        "persist": [
            ("PERSIST a", 0),
            ("SET a 1", OK),
            ("PERSIST a", 0),
            ("EXPIRE a 100", 1),
            ("PERSIST a", 1),
            ("TTL a", -1),
            ("PERSIST", arity("persist")),
        ],
    }
)

TIMED_CASES = cases(
    {
        "a key is gone at its deadline, not before": [
            ("SET a 1 PX 1000", OK),
            ("@advance 999", None),
            ("GET a", b"1"),
            ("PTTL a", 1),
            ("TTL a", 0),
            ("@advance 1", None),
            ("GET a", None),
            ("PTTL a", -2),
            ("DBSIZE", 0),
        ],
        "a renewed key outlives its first deadline": [
            ("SET a 1 PX 1000", OK),
            ("PEXPIRE a 3000", 1),
            ("@advance 2000", None),
            ("GET a", b"1"),
            ("@advance 1000", None),
            ("GET a", None),
        ],
        "a shortened key ends at its new deadline": [
            ("SET a 1 PX 3000", OK),
            ("PEXPIRE a 1000", 1),
            ("@advance 1000", None),
            ("GET a", None),
        ],
        "an old deadline does not hit the key's successor": [
            ("SET a 1 PX 1000", OK),
            ("DEL a", 1),
            ("SET a 2 PX 5000", OK),
            ("@advance 1000", None),
            ("GET a", b"2"),
            ("PTTL a", 4000),
            ("PERSIST a", 1),
            ("@advance 5000", None),
            ("GET a", b"2"),
        ],
        "deadlines go with renamed, copied, moved and swapped keys": [
            ("SET a 1 PX 1000", OK),
            ("COPY a b", 1),
            ("RENAME a c", OK),
            ("SET m 1 PX 1000", OK),
            ("MOVE m 2", 1),
            ("SWAPDB 0 1", OK),
            ("@select 1", None),
            ("DBSIZE", 2),
            ("@advance 1000", None),
            ("DBSIZE", 0),
            ("@select 2", None),
            ("DBSIZE", 0),
        ],
    }
)


@pytest.mark.parametrize("case", CASES + TIMED_CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def test_the_clock_shortens_what_remains_but_hides_no_key() -> None:
    client = MachineClient()
    client.call(b"SET", b"a", b"1", b"PX", b"1000")
    client.time_ms += 400
    assert client.call(b"PTTL", b"a") == 600
    client.time_ms += 5000
    assert client.call(b"PTTL", b"a") == 0
    assert client.call(b"GET", b"a") == b"1"
    assert client.machine.deadline_ms() == START_MS + 1000
    client.advance(0)
    assert client.call(b"GET", b"a") is None
    assert client.machine.deadline_ms() is None


def test_a_clock_behind_the_log_does_not_lengthen_what_remains() -> None:
    client = MachineClient()
    client.call(b"SET", b"a", b"1", b"PX", b"1000")
    client.time_ms -= 10_000
    assert client.call(b"PTTL", b"a") == 1000


def test_a_large_sweep_goes_in_slices_and_what_is_left_is_invisible() -> None:
    client, total = MachineClient(), 2 * SWEEP_KEYS_MAX + 500
    for number in range(total):
        client.call(b"SET", b"key:%d" % number, b"1", b"PX", b"1000")
    client.call(b"SET", b"stays", b"1")
    client.advance(1000)
    assert client.call(b"DBSIZE") == total - SWEEP_KEYS_MAX + 1
    assert client.call(b"KEYS", b"*") == [b"stays"]
    assert client.call(b"RANDOMKEY") == b"stays"
    assert client.call(b"SCAN", b"0", b"COUNT", b"10000") == [b"0", [b"stays"]]
    assert client.machine.deadline_ms() == START_MS + 1000
    while client.machine.deadline_ms() is not None:
        client.advance(0)
    assert client.call(b"KEYS", b"*") == [b"stays"]
    assert client.call(b"DBSIZE") == 1


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.one_of(list(LINES.values())), sequence=sequences)
def test_an_overdue_key_is_a_missing_key_to_every_command(first: Argv, sequence: list[tuple[int, Argv]]) -> None:
    unswept, clean = MachineClient(), MachineClient()
    for key in KEYS:
        unswept.call(b"SET", key, b"1", b"PX", b"1000")
    with mock.patch.object(database, "SWEEP_KEYS_MAX", 0):
        for client in (unswept, clean):
            client.advance(1000)
        assert unswept.call(b"DBSIZE") == len(KEYS)
        for number, argv in [(0, first), *sequence]:
            unswept.database = clean.database = number
            replies = [unswept.call(*argv), clean.call(*argv)]
            if argv[0].decode().lower() not in OVERDUE_COUNTED:
                assert same_reply(argv, *replies), (argv, replies)
    for client in (unswept, clean):
        client.advance(0)
    assert unswept.machine.state_hash() == clean.machine.state_hash()


def test_renewing_and_deleting_leave_no_heap_of_old_deadlines() -> None:
    client = MachineClient()
    for number in range(20_000):
        client.call(b"SET", b"session", b"1", b"EX", b"%d" % (10_000 - number % 5000))
        client.call(b"SET", b"key:%d" % number, b"1", b"EX", b"5000")
        client.call(b"DEL", b"key:%d" % number)
    assert len(client.machine.space.databases[0].deadlines) < 2000
