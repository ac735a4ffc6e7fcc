"""LCS: the longest common subsequence of two strings.

The textbook table of lengths needs one Python step per pair of bytes: minutes for two strings that Redis still
accepts. Here one row of the table is one large integer (the bit-parallel method of Hyyro): bit j is 0 where the length
grows from column j to j + 1, and a whole row follows from the one before in four operations. The walk back
through the table only ever asks whether the length grew in one column, so the rows are all that must be kept.

Which of several longest subsequences is answered depends on the choices of that walk; they are Redis's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.ranges import STRING_BYTES_MAX
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import OPTIONAL, argument, flag, key, key_spec, row
from raftkv.machines.replies import Error, Reply

_TABLE_CELL_BYTES: Final = 4  # what Redis's table takes, which its limit is written for
# Own limit beside it: each byte of the first string is a Python step, and a read must not stop the member for long.
_FIRST_BYTES_MAX: Final = 256 * 1024

_NOT_STRINGS: Final = Error("ERR The specified keys must contain string values")
_LENGTH_AND_INDEXES: Final = Error("ERR If you want both the length and indexes, please just use IDX.")
_TOO_LARGE: Final = Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")


class _Match(NamedTuple):
    """A run of equal bytes: its first and last position in either string."""

    first: tuple[int, int]
    second: tuple[int, int]
    length: int


def lcs(db: Database, argv: list[bytes]) -> Reply:
    first, second = db.peek(argv[1]) or b"", db.peek(argv[2]) or b""
    if not isinstance(first, bytes) or not isinstance(second, bytes):
        return _NOT_STRINGS
    options = _options(argv)
    table_bytes = (len(first) + 1) * (len(second) + 1) * _TABLE_CELL_BYTES
    if table_bytes > STRING_BYTES_MAX or len(first) > _FIRST_BYTES_MAX:
        return _TOO_LARGE
    rows = _rows(first, second)
    length = len(second) - rows[-1].bit_count()
    if b"LEN" in options:
        return length
    places = list(_walk_back(first, second, rows))
    if b"IDX" not in options:
        return bytes(first[i] for i, _ in reversed(places))
    length_min = options.get(b"MINMATCHLEN", 0)
    matches = [match for match in _runs(places) if match.length >= length_min]
    return {b"matches": [_reply(match, b"WITHMATCHLEN" in options) for match in matches], b"len": length}


def _options(argv: list[bytes]) -> dict[bytes, int]:
    options: dict[bytes, int] = {}
    rest = iter(argv[3:])
    for argument_ in rest:
        word = argument_.upper()
        if word in {b"IDX", b"LEN", b"WITHMATCHLEN"}:
            options[word] = 1
        elif word == b"MINMATCHLEN" and (number := next(rest, None)) is not None:
            options[word] = integer(number)
        else:
            raise Refused(SYNTAX)
    if b"IDX" in options and b"LEN" in options:
        raise Refused(_LENGTH_AND_INDEXES)
    return options


def _rows(first: bytes, second: bytes) -> list[int]:
    full = (1 << len(second)) - 1
    where = {byte: _positions(second, byte) for byte in set(first)}
    rows = [full]
    for byte in first:
        row_ = rows[-1]
        common = row_ & where[byte]
        rows.append(((row_ + common) | (row_ - common)) & full)
    return rows


def _positions(text: bytes, byte: int) -> int:
    """Bit j is set where text[j] is `byte`."""
    digits = bytearray(b"0" * 256)
    digits[byte] = ord("1")
    return int(text[::-1].translate(digits) or b"0", 2)


def _walk_back(first: bytes, second: bytes, rows: list[int]) -> Iterator[tuple[int, int]]:
    """The pairs of positions of the common bytes, last first."""
    i, j = len(first), len(second)
    # Testing a bit of a long integer copies it, so each row is turned into bytes when the walk enters it.
    level = _bits(rows[i], len(second))
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            yield i, j
        elif level[(j - 1) >> 3] >> ((j - 1) & 7) & 1:
            j -= 1
            continue
        else:
            i -= 1
        level = _bits(rows[i], len(second))


def _bits(row_: int, width: int) -> bytes:
    return row_.to_bytes((width + 7) // 8 or 1, "little")


def _runs(places: list[tuple[int, int]]) -> Iterator[_Match]:
    start = 0
    for end in range(1, len(places) + 1):
        if end < len(places):
            (i, j), (before_i, before_j) = places[end], places[end - 1]
            if (i, j) == (before_i - 1, before_j - 1):
                continue
        (i_last, j_last), (i, j) = places[start], places[end - 1]
        yield _Match((i, i_last), (j, j_last), end - start)
        start = end


def _reply(match: _Match, with_length: bool) -> Reply:
    ranges: list[Reply] = [list(match.first), list(match.second)]
    return [*ranges, match.length] if with_length else ranges


_FLAGS: Final[dict[str, Any]] = {"flags": OPTIONAL}

ROWS: Final = (
    row(
        "lcs",
        -3,
        lcs,
        "readonly",
        acl="string",
        keys=(key_spec("RO access", last=1),),
        since="7.0.0",
        group="string",
        summary="Finds the longest common subsequence of two strings",
        complexity="O(N*M), N and M being the lengths of the strings; 64 columns are worked on at once",
        arguments=(
            key("key1"),
            key("key2"),
            flag("LEN", **_FLAGS),
            flag("IDX", **_FLAGS),
            argument("len", "integer", token="MINMATCHLEN", **_FLAGS),
            flag("WITHMATCHLEN", **_FLAGS),
        ),
    ),
)
