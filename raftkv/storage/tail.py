"""Torn or corrupt: what it means that no valid batch follows the last one of the newest segment.

Behind the last batch the file is zero, and a batch is begun only after the one before it was durable. So a
crash can leave at most one unfinished batch, and of that one any subset of its 512-byte sectors: the
others still read as zeros. Such a batch was never acknowledged and is cut off (torn). Anything else is
damage to something that may have been acknowledged, and must not be dropped (corrupt).

Assumed of the disk: a sector is written wholly or not at all.
"""

from __future__ import annotations

import enum

import msgspec

from raftkv.storage.records import (
    ALIGN_BYTES,
    MAGIC_BYTES,
    count_zero_sectors,
    read_batch_header,
)

_CHUNK = bytes(1 << 20)


class Verdict(enum.Enum):
    CLEAN = "clean"  # nothing but zeros follows
    TORN = "torn"
    CORRUPT = "corrupt"


class Tail(msgspec.Struct, frozen=True):
    """`bytes`: how many follow up to the last that is not zero."""

    verdict: Verdict
    why: str = ""
    bytes: int = 0


def judge_tail(buf: bytes, end: int, sequence: int, seed: int) -> Tail:
    """Judges what lies at `end`, where the batch numbered `sequence` would begin, in the newest segment."""
    if _is_zero(buf, end):
        return Tail(Verdict.CLEAN)
    length = len(buf.rstrip(b"\0")) - end
    verdict, why = _judge_rest(buf, end, sequence, seed)
    return Tail(verdict, why, length)


def _judge_rest(buf: bytes, end: int, sequence: int, seed: int) -> tuple[Verdict, str]:
    if end + ALIGN_BYTES > len(buf):
        return Verdict.TORN, "the file ends inside a batch header"
    if buf[end : end + ALIGN_BYTES] == _CHUNK[:ALIGN_BYTES]:
        return _unless_followed(buf, end, sequence, seed, "the sector with the batch header never arrived")
    header = read_batch_header(buf, end, seed)
    if header is None:
        # The header lies in one sector, so a crash cannot have left a part of it.
        return Verdict.CORRUPT, "damaged batch header"
    if header.sequence != sequence:
        return Verdict.CORRUPT, f"batch {header.sequence} found where batch {sequence} is due"
    if header.end > len(buf):
        return Verdict.TORN, "the file ends inside a batch"
    if count_zero_sectors(buf[end : header.end], end) <= header.zero_sectors:
        return Verdict.CORRUPT, f"checksum of batch {sequence} is wrong"
    return _unless_followed(buf, header.end, sequence, seed, "some sectors of the batch never arrived")


def _unless_followed(buf: bytes, start: int, sequence: int, seed: int, why: str) -> tuple[Verdict, str]:
    """Torn, unless a later batch is there: then this one had been durable, and was damaged afterwards."""
    at = buf.find(MAGIC_BYTES, start)
    while at >= 0:
        header = read_batch_header(buf, at, seed) if at % ALIGN_BYTES == 0 else None
        if header is not None and header.sequence > sequence:
            return Verdict.CORRUPT, f"batch {sequence} is damaged, batch {header.sequence} follows at {at}"
        at = buf.find(MAGIC_BYTES, at + 1)
    return Verdict.TORN, why


def _is_zero(buf: bytes, start: int) -> bool:
    # Compared in slices of bytes: memcmp, against a byte-by-byte walk for a memoryview.
    for at in range(start, len(buf), len(_CHUNK)):
        part = buf[at : at + len(_CHUNK)]
        if part != _CHUNK[: len(part)]:
            return False
    return True
