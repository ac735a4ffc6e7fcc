"""A HyperLogLog as Redis keeps it in a string, byte for byte: 16,384 registers behind a header of 16 bytes.

    "HYLL" | encoding: 0 dense, 1 sparse | 3 unused | the cached estimate, 8 bytes; its highest bit: it is out of date

Dense: six bits for each register, the lowest first. Sparse: runs, one or two bytes each::

    00llllll              `l`+1 registers are 0
    01llllll llllllll     the same, up to 16,384 of them
    1vvvvvll              `l`+1 registers are `v`+1

The estimate is that of O. Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), as in Redis.
"""

from __future__ import annotations

from math import floor, inf, sqrt
from typing import Final

HEADER_BYTES: Final = 16
REGISTERS: Final = 16_384
_INDEX_BITS: Final = 14
_RANK_MAX: Final = 64 - _INDEX_BITS
_DENSE, _SPARSE = 0, 1
_DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * 6 // 8
_ALPHA: Final = 0.721347520444481703680
_MASK64: Final = 2**64 - 1
_SEED: Final = 0xADC83B19
_MULTIPLIER: Final = 0xC6A4A7935BD1E995
_SHIFT: Final = 47
_ZERO_MAX, _VALUE_MAX, _VALUE_RUN_MAX, _LOOK_AHEAD = 64, 32, 4, 5

_ONE_BYTE_LENGTHS: Final = [
    (byte & 3) + 1 if byte & 0x80 else 0 if byte & 0x40 else (byte & 63) + 1 for byte in range(256)
]
"""First byte of a run -> its registers; 0: another byte tells. Looking for a register is most of PFADD's work."""

_REPEATED: Final = [bytes([value]) for value in range(64)]


class Corrupt(Exception):
    """The runs do not make 16,384 registers."""


def new() -> bytearray:
    """An empty one, sparse."""
    return bytearray(b"HYLL" + bytes([_SPARSE]) + bytes(11)) + _zeros(REGISTERS)


def is_valid(data: bytes) -> bool:
    """Whether it looks like one; runs may be wrong all the same."""
    if len(data) < HEADER_BYTES or data[:4] != b"HYLL" or data[4] not in (_DENSE, _SPARSE):
        return False
    return data[4] == _SPARSE or len(data) == _DENSE_BYTES


def is_dense(data: bytes | bytearray) -> bool:
    return data[4] == _DENSE


def invalidate(data: bytearray) -> None:
    """The cached estimate is out of date."""
    data[15] |= 0x80


def place_of(element: bytes) -> tuple[int, int]:
    """(register, the value that the element asks of it)"""
    hashed = murmur64a(element)
    rest = hashed >> _INDEX_BITS | 1 << _RANK_MAX
    return hashed & (REGISTERS - 1), (rest & -rest).bit_length()


def murmur64a(data: bytes) -> int:
    """MurmurHash64A, little-endian, with Redis's seed."""
    length = len(data)
    hashed = _SEED ^ (length * _MULTIPLIER & _MASK64)
    whole = length & ~7
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * _MULTIPLIER & _MASK64
        word = (word ^ word >> _SHIFT) * _MULTIPLIER & _MASK64
        hashed = (hashed ^ word) * _MULTIPLIER & _MASK64
    if length & 7:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK64
    hashed = (hashed ^ hashed >> _SHIFT) * _MULTIPLIER & _MASK64
    return hashed ^ hashed >> _SHIFT


# Registers


def raise_register(data: bytearray, index: int, value: int, sparse_bytes_max: int) -> bool:
    """Have the register at least at `value`; whether it was below. A sparse one becomes dense when it does not fit any
    more. Raises Corrupt."""
    if is_dense(data):
        return _raise_dense(data, index, value)
    raised = _raise_sparse(data, index, value, sparse_bytes_max)
    if raised is None:
        make_dense(data)
        return _raise_dense(data, index, value)
    return raised


def _raise_dense(data: bytearray, index: int, value: int) -> bool:
    at, shift = HEADER_BYTES + index * 6 // 8, index * 6 & 7
    two = int.from_bytes(data[at : at + 2], "little")
    if two >> shift & 63 >= value:
        return False
    two = two & ~(63 << shift) | value << shift
    piece = two.to_bytes(2, "little")
    data[at : at + 2] = piece[: min(2, len(data) - at)]
    return True


def _raise_sparse(data: bytearray, index: int, value: int, sparse_bytes_max: int) -> bool | None:
    """None: it must become dense."""
    if value > _VALUE_MAX:
        return None
    at, first, before = _find_run(data, index)
    size, held, length = _opcode(data, at)
    if held >= value:
        return False
    if length == 1:
        data[at] = _run(value, 1)
    else:
        left, right = index - first, first + length - 1 - index
        make = _zeros if held == 0 else lambda count: bytes([_run(held, count)])
        pieces = (make(left) if left else b"") + bytes([_run(value, 1)]) + (make(right) if right else b"")
        if len(pieces) > size and len(data) + len(pieces) - size > sparse_bytes_max:
            return None
        data[at : at + size] = pieces
    _merge_runs(data, HEADER_BYTES if before is None else before)
    return True


def _find_run(data: bytearray, index: int) -> tuple[int, int, int | None]:
    """(where the run of that register is, its first register, where the run before it is). Raises Corrupt."""
    at, end, before, first = HEADER_BYTES, len(data), None, 0
    while at < end:
        length, size = _ONE_BYTE_LENGTHS[data[at]], 1
        if not length:
            size, _, length = _opcode(data, at)
        if index < first + length:
            return at, first, before
        first += length
        before = at
        at += size
    raise Corrupt


def _opcode(data: bytes | bytearray, at: int) -> tuple[int, int, int]:
    """(bytes, value, registers) of the run there. Raises Corrupt."""
    byte = data[at]
    if byte & 0x80:
        return 1, (byte >> 2 & 31) + 1, (byte & 3) + 1
    if not byte & 0x40:
        return 1, 0, (byte & 63) + 1
    if at + 1 >= len(data):
        raise Corrupt
    return 2, 0, ((byte & 63) << 8 | data[at + 1]) + 1


def _zeros(count: int) -> bytes:
    if count > _ZERO_MAX:
        return bytes([count - 1 >> 8 | 0x40, count - 1 & 0xFF])
    return bytes([count - 1])


def _run(value: int, count: int) -> int:
    return (value - 1) << 2 | count - 1 | 0x80


def _merge_runs(data: bytearray, at: int) -> None:
    """Join neighbouring runs of one value, among the next few."""
    for _ in range(_LOOK_AHEAD):
        if at >= len(data):
            return
        byte = data[at]
        if byte & 0x80 and at + 1 < len(data) and data[at + 1] & 0x80 and byte >> 2 == data[at + 1] >> 2:
            count = (byte & 3) + (data[at + 1] & 3) + 2
            if count <= _VALUE_RUN_MAX:
                data[at : at + 2] = bytes([_run((byte >> 2 & 31) + 1, count)])
                continue
        at += 2 if byte & 0xC0 == 0x40 else 1


def registers_of(data: bytes | bytearray) -> bytes:
    """All registers, one byte each. Raises Corrupt."""
    if is_dense(data):
        found = bytearray()
        for at in range(HEADER_BYTES, _DENSE_BYTES, 3):  # 4 registers in 3 bytes
            number = int.from_bytes(data[at : at + 3], "little")
            found += bytes((number & 63, number >> 6 & 63, number >> 12 & 63, number >> 18))
        return bytes(found)
    at, pieces = HEADER_BYTES, []
    while at < len(data):
        size, value, length = _opcode(data, at)
        at += size
        pieces.append(_REPEATED[value] * length)
    if sum(map(len, pieces)) != REGISTERS:
        raise Corrupt
    return b"".join(pieces)


def make_dense(data: bytearray) -> None:
    """Raises Corrupt."""
    if is_dense(data):
        return
    number = 0
    for value in reversed(registers_of(data)):
        number = number << 6 | value
    data[4] = _DENSE
    data[HEADER_BYTES:] = number.to_bytes(_DENSE_BYTES - HEADER_BYTES, "little")


def merged(left: bytes, right: bytes) -> bytes:
    """Of each register the higher value."""
    return bytes(map(max, left, right))


# The estimate


def cached(data: bytes) -> int | None:
    """The estimate as it was cached; None: it is out of date."""
    return None if data[15] & 0x80 else int.from_bytes(data[8:16], "little")


def estimate(registers: bytes) -> int:
    """From all registers, one byte each."""
    total = float(REGISTERS)
    z = total * _tau((total - registers.count(_RANK_MAX + 1)) / total)
    for value in range(_RANK_MAX, 0, -1):
        z = (z + registers.count(value)) * 0.5
    z += total * _sigma(registers.count(0) / total)
    return floor(_ALPHA * total * total / z + 0.5)


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while before != z:
        x = sqrt(x)
        before, y = z, y * 0.5
        z -= (1 - x) ** 2 * y
    return z / 3


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    y, z, before = 1.0, x, -1.0
    while before != z:
        x *= x
        before = z
        z += x * y
        y += y
    return z
