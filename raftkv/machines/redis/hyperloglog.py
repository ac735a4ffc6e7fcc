"""PFADD, PFCOUNT, PFMERGE: how many different elements there were, in 12 kB at most (hll.py)."""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

from raftkv.machines.redis import hll
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import Refused
from raftkv.machines.redis.rows import MULTIPLE, argument, key, key_spec, row
from raftkv.machines.redis.strings import string_at, string_for_write
from raftkv.machines.replies import OK, Error, Reply

_NOT_ONE: Final = Error("WRONGTYPE Key is not a valid HyperLogLog string value.")
_CORRUPT: Final = Error("INVALIDOBJ Corrupted HLL object detected")


def _checked(found: bytes | None) -> bytes | None:
    if found is not None and not hll.is_valid(found):
        raise Refused(_NOT_ONE)
    return found


def pfadd(db: Database, argv: list[bytes]) -> Reply:
    before = _checked(string_for_write(db, argv[1]))
    data = hll.new() if before is None else bytearray(before)
    most = db.space.thresholds.hll_sparse_max_bytes
    is_changed = before is None
    try:
        for element in argv[2:]:
            if hll.raise_register(data, *hll.place_of(element), most):
                is_changed = True
    except hll.Corrupt:
        return _CORRUPT
    if is_changed:
        hll.invalidate(data)
        db.put(argv[1], bytes(data))
    return int(is_changed)


def pfcount(db: Database, argv: list[bytes]) -> Reply:
    found = [_checked(string_at(db, name)) for name in argv[1:]]
    present = [each for each in found if each is not None]
    try:
        if len(argv) == 2:
            if not present:
                return 0
            known = hll.cached(present[0])
            if known is not None:
                return known
        return hll.estimate(_merged(present))
    except hll.Corrupt:
        return _CORRUPT


def _merged(found: list[bytes]) -> bytes:
    return reduce(hll.merged, map(hll.registers_of, found), bytes(hll.REGISTERS))


def pfmerge(db: Database, argv: list[bytes]) -> Reply:
    found = [_checked(string_for_write(db, name)) for name in argv[1:]]
    data = hll.new() if found[0] is None else bytearray(found[0])
    most = db.space.thresholds.hll_sparse_max_bytes
    try:
        registers = _merged([each for each in found if each is not None])
        if any(each is not None and hll.is_dense(each) for each in found):
            hll.make_dense(data)
        for index, value in enumerate(registers):
            if value:
                hll.raise_register(data, index, value, most)
    except hll.Corrupt:
        return _CORRUPT
    hll.invalidate(data)
    db.put(argv[1], bytes(data))
    return OK


_HYPERLOGLOG: Final[dict[str, Any]] = {"acl": "hyperloglog", "group": "hyperloglog"}

ROWS: Final = (
    row(
        "pfadd",
        -2,
        pfadd,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="2.8.9",
        summary="Adds elements to a HyperLogLog",
        complexity="O(N), N being the number of elements; while it is small, as much again for each byte of it",
        arguments=(
            key(),
            argument("element", "string", flags=["optional", "multiple"]),
        ),
        **_HYPERLOGLOG,
    ),
    row(
        "pfcount",
        -2,
        pfcount,
        "readonly",
        keys=(key_spec("RW access", last=-1),),
        since="2.8.9",
        summary="Estimates how many different elements were added",
        complexity="O(N), N being the number of keys, with a large constant",
        arguments=(key(flags=MULTIPLE),),
        **_HYPERLOGLOG,
    ),
    row(
        "pfmerge",
        -2,
        pfmerge,
        "write denyoom",
        keys=(
            key_spec("RW access insert"),
            key_spec("RO access", index=2, last=-1),
        ),
        since="2.8.9",
        summary="Merges HyperLogLogs",
        complexity="O(N), N being the number of keys, with a large constant",
        arguments=(
            key("destkey"),
            key("sourcekey", spec=1, flags=MULTIPLE),
        ),
        **_HYPERLOGLOG,
    ),
)
