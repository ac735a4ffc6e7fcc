"""HyperLogLogs: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.redis import hll
from raftkv.machines.replies import OK, Error
from tests.machines.casework import Case, MachineClient, cases, run_on_machine

NOT_ONE = Error("WRONGTYPE Key is not a valid HyperLogLog string value.")
EMPTY = b"HYLL\x01" + bytes(10) + b"\x80\x7f\xff"

CASES = cases(
    {
        "few elements": [
            ("PFADD h a b c", 1),
            ("PFADD h a", 0),
            ("PFCOUNT h", 3),
            ("PFADD h d", 1),
            ("PFADD g x d", 1),
            ("PFCOUNT g h", 5),
            ("PFCOUNT nothing h", 4),
            ("PFCOUNT nothing", 0),
            ("PFMERGE m g h nothing", OK),
            ("PFCOUNT m", 5),
            ("STRLEN m", 32),
        ],
        "empty ones": [
            ("PFADD h", 1),
            ("PFADD h", 0),
            ("GET h", EMPTY),
            ("PFCOUNT h", 0),
            ("PFMERGE new", OK),
            ("GET new", EMPTY),
        ],
        "what is none": [
            ("SET s text", OK),
            ("PFADD s a", NOT_ONE),
            ("PFCOUNT s", NOT_ONE),
            ("PFMERGE d s", NOT_ONE),
            ('SET s "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00"', OK),
            ("PFADD s a", Error("INVALIDOBJ Corrupted HLL object detected")),
            ("PFCOUNT s", Error("INVALIDOBJ Corrupted HLL object detected")),
            ("PFMERGE d s", Error("INVALIDOBJ Corrupted HLL object detected")),
            ("SADD x a", 1),
            ("PFADD x a", Error("WRONGTYPE Operation against a key holding the wrong kind of value")),
            ("PFCOUNT x", Error("WRONGTYPE Operation against a key holding the wrong kind of value")),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


def test_sparse_becomes_dense_and_counts_on() -> None:
    client = MachineClient()
    for start in range(0, 20_000, 500):
        client.call(b"PFADD", b"h", *(b"%d" % number for number in range(start, start + 500)))
    assert len(client.call(b"GET", b"h")) == 16 + 12288
    assert abs(client.call(b"PFCOUNT", b"h") - 20_000) < 400


@given(st.dictionaries(st.integers(0, hll.REGISTERS - 1), st.integers(1, 51), max_size=60))
def test_dense_and_sparse_hold_the_same(registers: dict[int, int]) -> None:
    sparse, dense = hll.new(), hll.new()
    hll.make_dense(dense)
    for index, value in registers.items():
        hll.raise_register(sparse, index, value, 3000)
        hll.raise_register(dense, index, value, 3000)
    flat = hll.registers_of(sparse)
    assert {index: value for index, value in enumerate(flat) if value} == registers
    assert flat == hll.registers_of(dense)
    hll.make_dense(sparse)
    assert sparse == dense


@given(st.binary(max_size=40))
def test_no_bytes_whatever_do_harm(tail: bytes) -> None:
    client = MachineClient()
    client.call(b"SET", b"h", b"HYLL\x01" + bytes(11) + tail)
    for line in ([b"PFADD", b"h", b"a"], [b"PFCOUNT", b"h"], [b"PFCOUNT", b"h", b"h"], [b"PFMERGE", b"d", b"h"]):
        client.call(*line)
