"""Strings as rows of bits: bit 0 is the highest one of the first byte.

A string is an immutable object, so what changes a bit copies the string: 20 microseconds for one of 100 kB. Whole
strings are combined and counted as large integers, which C does word by word.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_, or_, xor
from typing import Any, Final, NamedTuple

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.ranges import STRING_BYTES_MAX
from raftkv.machines.redis.refusals import NOT_AN_INTEGER, SYNTAX, Refused
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.redis.strings import string_at, string_for_write
from raftkv.machines.replies import Error, Reply

_BAD_OFFSET: Final = Error("ERR bit offset is not an integer or out of range")
_BAD_BIT: Final = Error("ERR bit is not an integer or out of range")
_NOT_A_BIT: Final = Error("ERR The bit argument must be 1 or 0.")
_ONE_SOURCE: Final = Error("ERR BITOP NOT must be called with a single source key.")
_BAD_TYPE: Final = Error(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
_BAD_OVERFLOW: Final = Error("ERR Invalid OVERFLOW type specified")
_ONLY_GET: Final = Error("ERR BITFIELD_RO only supports the GET subcommand")


def _offset(text: bytes, scale: int = 1) -> int:
    number = integer(text, _BAD_OFFSET) * scale
    if not 0 <= number < STRING_BYTES_MAX * 8:
        raise Refused(_BAD_OFFSET)
    return number


# Single bits


def setbit(db: Database, argv: list[bytes]) -> Reply:
    offset = _offset(argv[2])
    bit = integer(argv[3], _BAD_BIT)
    if bit not in (0, 1):
        return _BAD_BIT
    before = string_for_write(db, argv[1])
    at, mask = offset >> 3, 0x80 >> (offset & 7)
    changed = bytearray(before or b"")
    changed.extend(bytes(max(0, at + 1 - len(changed))))
    was = int(bool(changed[at] & mask))
    if was != bit or before is None or len(before) < len(changed):
        changed[at] ^= mask if was != bit else 0
        db.put(argv[1], bytes(changed))
    return was


def getbit(db: Database, argv: list[bytes]) -> Reply:
    offset = _offset(argv[2])
    found = string_at(db, argv[1]) or b""
    at = offset >> 3
    return int(at < len(found) and bool(found[at] & 0x80 >> (offset & 7)))


# Ranges


class _Bits(NamedTuple):
    """Bits from `first` up to but without `behind` of a string."""

    first: int
    behind: int


def _bits(words: list[bytes], length: int) -> _Bits | None:
    """``start [end [BYTE|BIT]]`` in a string of so many bytes; None: no bit is in it. Raises Refused."""
    start, end = integer(words[0]), integer(words[1]) if len(words) > 1 else -1
    unit = 8
    if len(words) == 3:
        word = words[2].upper()
        if word not in (b"BIT", b"BYTE"):
            raise Refused(SYNTAX)
        unit = 1 if word == b"BIT" else 8
    total = length * 8 // unit
    first = max(0, start + total if start < 0 else start)
    last = min(max(0, end + total if end < 0 else end), total - 1)
    return _Bits(first * unit, (last + 1) * unit) if first <= last else None


def _within(data: bytes, bits: _Bits, outside: int) -> bytes:
    """The bytes with these bits; what else is in them is made `outside`, 0 or 1."""
    cut = bytearray(data[bits.first >> 3 : (bits.behind + 7) >> 3])
    before, after = 0xFF00 >> (bits.first & 7) & 0xFF, (1 << (-bits.behind & 7)) - 1
    for at, mask in ((0, before), (-1, after)):
        cut[at] = cut[at] | mask if outside else cut[at] & ~mask
    return bytes(cut)


def bitcount(db: Database, argv: list[bytes]) -> Reply:
    found = string_at(db, argv[1])
    if found is None:
        return 0
    if len(argv) in (4, 5):
        bits = _bits(argv[2:], len(found))
        if bits is None or _is_crossed(argv[2], argv[3]):
            return 0
        found = _within(found, bits, 0)
    elif len(argv) != 2:
        return SYNTAX
    return int.from_bytes(found, "big").bit_count()


def _is_crossed(start: bytes, end: bytes) -> bool:
    """Whether both count from the end, in the wrong order. BITCOUNT alone looks before it cuts them to the string."""
    return 0 > int(start) > int(end)


def bitpos(db: Database, argv: list[bytes]) -> Reply:
    bit = integer(argv[2])
    if bit not in (0, 1):
        return _NOT_A_BIT
    found = string_at(db, argv[1])
    if found is None:
        return -1 if bit else 0
    if len(argv) > 6:
        return SYNTAX
    bits: _Bits | None = _Bits(0, len(found) * 8)
    if len(argv) > 3:
        bits = _bits(argv[3:], len(found))
    if bits is None or not found:
        return -1
    cut = _within(found, bits, 1 - bit)
    rest = cut.lstrip(b"\0" if bit else b"\xff")
    if not rest:
        # A string without an end given is thought to go on with zeros.
        return bits.behind if not bit and len(argv) < 5 else -1
    place = 8 - (rest[0] if bit else rest[0] ^ 0xFF).bit_length()
    return (bits.first & ~7) + (len(cut) - len(rest)) * 8 + place


# BITOP

_OPERATIONS: Final[dict[bytes, Callable[[int, int], int]]] = {b"AND": and_, b"OR": or_, b"XOR": xor}


def bitop(db: Database, argv: list[bytes]) -> Reply:
    operation, target, names = argv[1].upper(), argv[2], argv[3:]
    if operation not in _OPERATIONS and operation != b"NOT":
        return SYNTAX
    if operation == b"NOT" and len(names) != 1:
        return _ONE_SOURCE
    strings = [string_for_write(db, name) or b"" for name in names]
    length = max(map(len, strings))
    if length == 0:
        if db.fetch(target) is not None:
            db.remove(target)
        return 0
    numbers = [int.from_bytes(string.ljust(length, b"\0"), "big") for string in strings]
    if operation == b"NOT":
        result = numbers[0] ^ ((1 << length * 8) - 1)
    else:
        result = reduce(_OPERATIONS[operation], numbers)
    db.replace(target, result.to_bytes(length, "big"))
    return length


# BITFIELD


class _Operation(NamedTuple):
    """value: to be set or added. overflow: WRAP, SAT or FAIL."""

    name: bytes
    signed: bool
    bits: int
    offset: int
    value: int
    overflow: bytes


def _type(text: bytes) -> tuple[bool, int]:
    signed = text[:1] == b"i"
    digits = text[1:]
    if text[:1] not in (b"i", b"u") or not digits.isdigit() or digits != b"%d" % int(digits[:4]):
        raise Refused(_BAD_TYPE)
    bits = int(digits)
    if not 1 <= bits <= (64 if signed else 63):
        raise Refused(_BAD_TYPE)
    return signed, bits


def _operations(words: list[bytes]) -> list[_Operation]:
    found: list[_Operation] = []
    overflow, at = b"WRAP", 0
    while at < len(words):
        name, left = words[at].upper(), len(words) - at - 1
        if name == b"OVERFLOW" and left >= 1:
            overflow = words[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise Refused(_BAD_OVERFLOW)
            at += 2
            continue
        needed = {b"GET": 2, b"SET": 3, b"INCRBY": 3}.get(name)
        if needed is None or left < needed:
            raise Refused(SYNTAX)
        signed, bits = _type(words[at + 1])
        text = words[at + 2]
        offset = _offset(text[1:], bits) if text.startswith(b"#") else _offset(text)
        if offset + bits > STRING_BYTES_MAX * 8:
            raise Refused(_BAD_OFFSET)
        value = integer(words[at + 3], NOT_AN_INTEGER) if needed == 3 else 0
        found.append(_Operation(name, signed, bits, offset, value, overflow))
        at += 1 + needed
    return found


def _read(data: bytes | bytearray, each: _Operation) -> int:
    first, behind = each.offset >> 3, (each.offset + each.bits + 7) >> 3
    number = int.from_bytes(data[first:behind].ljust(behind - first, b"\0"), "big")
    number = number >> (-(each.offset + each.bits) & 7) & ((1 << each.bits) - 1)
    return _as_signed(number, each.bits) if each.signed else number


def _as_signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number


def _write(data: bytearray, each: _Operation, value: int) -> None:
    first, behind = each.offset >> 3, (each.offset + each.bits + 7) >> 3
    shift = -(each.offset + each.bits) & 7
    mask = ((1 << each.bits) - 1) << shift
    number = int.from_bytes(data[first:behind], "big") & ~mask | (value << shift) & mask
    data[first:behind] = number.to_bytes(behind - first, "big")


def _fitted(value: int, each: _Operation) -> int | None:
    """The value as the type holds it; None: it does not, and shall not be made to."""
    low, high = (-(1 << each.bits - 1), (1 << each.bits - 1) - 1) if each.signed else (0, (1 << each.bits) - 1)
    if low <= value <= high:
        return value
    if each.overflow == b"FAIL":
        return None
    if each.overflow == b"SAT":
        return high if value > high else low
    wrapped = value & ((1 << each.bits) - 1)
    return _as_signed(wrapped, each.bits) if each.signed else wrapped


def bitfield(db: Database, argv: list[bytes]) -> Reply:
    operations = _operations(argv[2:])
    if all(each.name == b"GET" for each in operations):
        return _only_read(db, argv[1], operations)
    before = string_for_write(db, argv[1])
    data = bytearray(before or b"")
    highest = max(each.offset + each.bits for each in operations if each.name != b"GET")
    data.extend(bytes(max(0, (highest + 7 >> 3) - len(data))))
    is_longer = before is None or len(data) > len(before)
    is_change = False
    replies: list[Reply] = []
    for each in operations:
        old = _read(data, each)
        if each.name == b"GET":
            replies.append(old)
            continue
        wanted = each.value if each.name == b"SET" else old + each.value
        if not each.signed and each.name == b"SET":
            wanted &= 2**64 - 1  # Redis takes the argument for an unsigned number
        new = _fitted(wanted, each)
        if new is None:
            replies.append(None)
            continue
        _write(data, each, new)
        is_change = is_change or is_longer or new != old
        replies.append(old if each.name == b"SET" else new)
    if is_change:
        db.put(argv[1], bytes(data))
    elif is_longer:  # though nothing was written: Redis signals no modified key, and so who watches it is not told
        db.put_unnoticed(argv[1], bytes(data))
    return replies


def bitfield_ro(db: Database, argv: list[bytes]) -> Reply:
    operations = _operations(argv[2:])
    if any(each.name != b"GET" for each in operations):
        return _ONLY_GET
    return _only_read(db, argv[1], operations)


def _only_read(db: Database, name: bytes, operations: list[_Operation]) -> Reply:
    data = string_at(db, name) or b""
    return [_read(data, each) for each in operations]


_BITMAP: Final[dict[str, Any]] = {"acl": "bitmap", "group": "bitmap"}

ROWS: Final = (
    row(
        "setbit",
        4,
        setbit,
        "write denyoom",
        keys=(key_spec("RW access update"),),
        since="2.2.0",
        summary="Sets a bit of a string, and answers what it was",
        complexity="O(N), N being the length of the string, which is copied",
        arguments=(
            key(),
            argument("offset", "integer"),
            argument("value", "integer"),
        ),
        **_BITMAP,
    ),
    row(
        "getbit",
        3,
        getbit,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="2.2.0",
        summary="Answers a bit of a string",
        complexity="O(1)",
        arguments=(
            key(),
            argument("offset", "integer"),
        ),
        **_BITMAP,
    ),
    row(
        "bitcount",
        -2,
        bitcount,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.6.0",
        summary="Counts the bits of a string that are 1",
        complexity="O(N), N being the length of the range",
        arguments=(
            key(),
            argument(
                "index",
                "block",
                flags=OPTIONAL,
                arguments=[
                    argument("start", "integer"),
                    argument("end", "integer"),
                    argument(
                        "index_unit", "oneof", since="7.0.0", flags=OPTIONAL, arguments=[flag("BYTE"), flag("BIT")]
                    ),
                ],
            ),
        ),
        history=(("7.0.0", "BYTE and BIT"),),
        **_BITMAP,
    ),
    row(
        "bitpos",
        -3,
        bitpos,
        "readonly",
        keys=(key_spec("RO access"),),
        since="2.8.7",
        summary="Finds the first bit that is 1, or 0",
        complexity="O(N), N being the length of the range",
        arguments=(
            key(),
            argument("bit", "integer"),
            argument(
                "index",
                "block",
                flags=OPTIONAL,
                arguments=[
                    argument("start", "integer"),
                    argument(
                        "end_index",
                        "block",
                        flags=OPTIONAL,
                        arguments=[
                            argument("end", "integer"),
                            argument(
                                "index_unit",
                                "oneof",
                                since="7.0.0",
                                flags=OPTIONAL,
                                arguments=[flag("BYTE"), flag("BIT")],
                            ),
                        ],
                    ),
                ],
            ),
        ),
        history=(("7.0.0", "BYTE and BIT"),),
        **_BITMAP,
    ),
    row(
        "bitop",
        -4,
        bitop,
        "write denyoom",
        keys=(
            key_spec("OW update", index=2),
            key_spec("RO access", index=3, last=-1),
        ),
        since="2.6.0",
        summary="Combines strings bit by bit, and stores the result",
        complexity="O(N), N being the length of all strings together",
        arguments=(
            argument("operation", "string"),
            key("destkey"),
            key(spec=1, flags=MULTIPLE),
        ),
        **_BITMAP,
    ),
    row(
        "bitfield",
        -2,
        bitfield,
        "write denyoom",
        keys=(key_spec("RW access update variable_flags"),),
        since="3.2.0",
        summary="Reads, sets and increases integers inside a string",
        complexity="O(N+M), N being the number of operations and M the length of the string, which is copied",
        arguments=(
            key(),
            argument(
                "operation",
                "oneof",
                flags=["optional", "multiple"],
                arguments=[
                    argument(
                        "encoding_offset",
                        "block",
                        token="GET",
                        arguments=[argument("encoding", "string"), argument("offset", "integer")],
                    ),
                    argument(
                        "write",
                        "block",
                        arguments=[
                            argument(
                                "wrap_sat_fail",
                                "oneof",
                                token="OVERFLOW",
                                flags=OPTIONAL,
                                arguments=[flag("WRAP"), flag("SAT"), flag("FAIL")],
                            ),
                            argument(
                                "write_operation",
                                "oneof",
                                arguments=[
                                    argument(
                                        "encoding_offset_value",
                                        "block",
                                        token="SET",
                                        arguments=[
                                            argument("encoding", "string"),
                                            argument("offset", "integer"),
                                            argument("value", "integer"),
                                        ],
                                    ),
                                    argument(
                                        "encoding_offset_increment",
                                        "block",
                                        token="INCRBY",
                                        arguments=[
                                            argument("encoding", "string"),
                                            argument("offset", "integer"),
                                            argument("increment", "integer"),
                                        ],
                                    ),
                                ],
                            ),
                        ],
                    ),
                ],
            ),
        ),
        **_BITMAP,
    ),
    row(
        "bitfield_ro",
        -2,
        bitfield_ro,
        "readonly fast",
        keys=(key_spec("RO access"),),
        since="6.0.0",
        summary="Reads integers inside a string",
        complexity="O(N), N being the number of operations",
        arguments=(
            key(),
            argument(
                "encoding_offset",
                "block",
                token="GET",
                flags=["optional", "multiple", "multiple_token"],
                arguments=[argument("encoding", "string"), argument("offset", "integer")],
            ),
        ),
        **_BITMAP,
    ),
)
