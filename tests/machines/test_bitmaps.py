"""Bitmaps: the cases below are run on the machine here, and on a real redis-server by test_against_redis.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.replies import OK, Error
from tests.machines.casework import NOT_INTEGER, SYNTAX, Case, MachineClient, cases, error, run_on_machine

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
BAD_OFFSET = error("bit offset is not an integer or out of range")
BAD_TYPE = error("Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")

CASES = cases(
    {
        "single bits": [
            ("SETBIT b 7 1", 0),
            ("SETBIT b 7 1", 1),
            ("GET b", b"\x01"),
            ("SETBIT b 16 0", 0),
            ("STRLEN b", 3),
            ("GETBIT b 7", 1),
            ("GETBIT b 100", 0),
            ("GETBIT nothing 0", 0),
            ("EXPIRE b 100", 1),
            ("SETBIT b 0 1", 0),
            ("PERSIST b", 1),
            ("SETBIT b -1 1", BAD_OFFSET),
            ("SETBIT b 4294967296 1", BAD_OFFSET),
            ("GETBIT b x", BAD_OFFSET),
            ("SETBIT b 0 2", error("bit is not an integer or out of range")),
        ],
        "BITCOUNT": [
            ("SET b foobar", OK),
            ("BITCOUNT b", 26),
            ("BITCOUNT b 0 0", 4),
            ("BITCOUNT b 1 1", 6),
            ("BITCOUNT b -2 -1", 7),
            ("BITCOUNT b 5 30 BIT", 17),
            ("BITCOUNT b 9 3", 0),
            ("BITCOUNT b 0", SYNTAX),
            ("BITCOUNT b 0 1 foo", SYNTAX),
            ("BITCOUNT b x 1", NOT_INTEGER),
            ("BITCOUNT nothing", 0),
        ],
        "BITPOS": [
            ('SET b "\\xff\\xf0\\x00"', OK),
            ("BITPOS b 0", 12),
            ("BITPOS b 1", 0),
            ("BITPOS b 1 2", -1),
            ("BITPOS b 0 0 0", -1),
            ("BITPOS b 1 7 15 BIT", 7),
            ('SET b "\\xff\\xff"', OK),
            ("BITPOS b 0", 16),
            ("BITPOS b 0 0", 16),
            ("BITPOS b 0 0 -1", -1),
            ("BITPOS nothing 0", 0),
            ("BITPOS nothing 1", -1),
            ("BITPOS b 2", error("The bit argument must be 1 or 0.")),
        ],
        "BITOP": [
            ("SET a abc", OK),
            ("SET b bc", OK),
            ("BITOP AND d a b", 3),
            ("GET d", b"`b\x00"),
            ("BITOP or d a b", 3),
            ("BITOP XOR d a b nothing", 3),
            ("GET d", b"\x03\x01c"),
            ("BITOP NOT d a", 3),
            ("GET d", b"\x9e\x9d\x9c"),
            ("BITOP NOT d a b", error("BITOP NOT must be called with a single source key.")),
            ("BITOP foo d a", SYNTAX),
            ("BITOP AND d nothing", 0),
            ("EXISTS d", 0),
        ],
        "BITFIELD": [
            ("BITFIELD f SET u8 #1 200 GET u8 8 INCRBY u8 8 100", [0, 200, 44]),
            ("GET f", b"\x00,"),
            ("BITFIELD f OVERFLOW SAT INCRBY i8 0 1000 OVERFLOW FAIL INCRBY i8 0 1", [127, None]),
            ("BITFIELD f GET i4 0 GET u4 4", [7, 15]),
            ("BITFIELD f SET i8 0 -1", [127]),
            ("BITFIELD f", []),
            ("BITFIELD_RO f GET i8 0 GET u16 100", [-1, 0]),
            ("BITFIELD_RO f SET u8 0 1", error("BITFIELD_RO only supports the GET subcommand")),
            ("BITFIELD f GET u64 0", BAD_TYPE),
            ("BITFIELD f GET x 0", BAD_TYPE),
            ("BITFIELD f GET u8 -1", BAD_OFFSET),
            ("BITFIELD f OVERFLOW foo", error("Invalid OVERFLOW type specified")),
            ("BITFIELD f SET u8 0", SYNTAX),
            ("BITFIELD f SET u8 0 x", NOT_INTEGER),
            ("BITFIELD nothing GET u8 0", [0]),
            ("EXISTS nothing", 0),
        ],
        "of another type": [
            ("SADD s a", 1),
            *(
                (line, WRONG_TYPE)
                for line in ("SETBIT s 0 1", "GETBIT s 0", "BITCOUNT s", "BITPOS s 1", "BITOP AND d s")
            ),
            *(
                (line, WRONG_TYPE)
                for line in ("BITFIELD s GET u8 0", "BITFIELD s SET u8 0 1", "BITFIELD_RO s GET u8 0")
            ),
        ],
    }
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


@given(st.binary(max_size=6), st.integers(-50, 50), st.integers(-50, 50), st.sampled_from([b"BIT", b"BYTE"]))
def test_ranges_beside_a_row_of_characters(data: bytes, start: int, end: int, unit: bytes) -> None:
    client = MachineClient()
    client.call(b"SET", b"b", data)
    row = "".join(f"{byte:08b}" for byte in data)
    step = 8 if unit == b"BYTE" else 1
    total = len(row) // step
    first = max(0, start + total if start < 0 else start) * step
    last = (min(max(0, end + total if end < 0 else end), total - 1) + 1) * step
    cut = row[first:last]
    words = [b"%d" % start, b"%d" % end, unit]
    is_crossed = 0 > start > end  # which BITCOUNT alone looks at before it cuts both to the string
    assert client.call(b"BITCOUNT", b"b", *words) == (0 if is_crossed else cut.count("1"))
    for bit in "01":
        place = cut.find(bit)
        assert client.call(b"BITPOS", b"b", bit.encode(), *words) == (place + first if place >= 0 else -1)
