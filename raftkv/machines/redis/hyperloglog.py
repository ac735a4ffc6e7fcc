"""PFADD, PFCOUNT, PFMERGE: how many different elements there were, in 12 kB at most (hll.py)."""

from __future__ import annotations

from collections.abc import Iterable
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
    if len(argv) == 2:
        found = _checked(string_at(db, argv[1]))
        known = 0 if found is None else hll.cached(found)
        if known is not None:
            return known
    try:
        return hll.estimate(_merged(_checked(string_at(db, name)) for name in argv[1:]))
    except hll.Corrupt:
        return _CORRUPT


def pfmerge(db: Database, argv: list[bytes]) -> Reply:
    before = string_for_write(db, argv[1])
    found = (_checked(string_for_write(db, name)) for name in argv[1:])
    most = db.space.thresholds.hll_sparse_max_bytes
    try:
        registers = _merged(found)
        data = hll.new() if before is None else bytearray(before)
        if any(hll.is_dense(string_for_write(db, name) or _EMPTY) for name in argv[1:]):
            hll.make_dense(data)
        for index, value in enumerate(registers):
            if value:
                hll.raise_register(data, index, value, most)
    except hll.Corrupt:
        return _CORRUPT
    hll.invalidate(data)
    db.put(argv[1], bytes(data))
    return OK


_EMPTY: Final = bytes(hll.new())


def _merged(found: Iterable[bytes | None]) -> bytes:
    """Of those that are there. One is checked and merged before the next is looked at, as in Redis."""
    present = (hll.registers_of(each) for each in found if each is not None)
    return reduce(hll.merged, present, bytes(hll.REGISTERS))


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
