"""The bytes of the log: segment header, batches, and the frames inside a batch.

    segment = header block (512 bytes) | batch | batch | ... | zeros
    batch   = header (32 bytes) | frame table (12 bytes each) | frame bodies | end mark | zeros up to 32 bytes
    frame   = in the table: kind, length, CRC of the body; the body is the msgpack of HardState, Entry or a base

All numbers are little-endian. A batch is what one `append` wrote with one sync, so it is the unit that is
there wholly or not at all. Every byte is covered by exactly one CRC: the header by its own, which is
seeded with the CRC of the segment's header so that a batch copied from elsewhere is never valid; the table
by one in the header; each body by one in the table, which lets a reader check one entry alone.

Batches start at multiples of 32, so a batch header never crosses a disk sector of 512 bytes: a crash leaves
it whole or absent. `zero_sectors` in it tells how many sectors of the batch are all zero by right (long
runs of zeros in a value), which is what lets `tail.py` tell sectors that never arrived from damaged ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct, pack, unpack_from
from typing import NamedTuple
from zlib import crc32

import msgspec

from raftkv.errors import BrokenInvariant
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.damage import corrupt
from raftkv.storage.directory import FORMAT_VERSION, Owner, unknown_version
from raftkv.storage.interface import Write

SECTOR_BYTES = 512
SEGMENT_HEADER_BYTES = SECTOR_BYTES
ALIGN_BYTES = 32
MAGIC = 0xB47C4A52
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
BATCH_BYTES_MAX = 1 << 30  # one pwritev takes less than 2 GiB; the limits upstream are far below this

HARD_STATE = 1
ENTRY = 2
BASE = 3

_SEGMENT = Struct("<8sII")  # magic, format version, CRC of all that follows: length of the msgpack, msgpack, zeros
_SEGMENT_MAGIC = b"raftkvWL"
# magic, CRC of the rest of the header, sequence, bytes behind the header, frames, table's CRC, zero sectors
_BATCH = Struct("<IIQIIII")
_FRAME = Struct("<III")  # kind, length, CRC
_BATCH_BYTES = _BATCH.size
_FRAME_BYTES = _FRAME.size
_HEADER_REST = Struct("<QIIII")

_ZEROS = bytes(SECTOR_BYTES)
_END_MARK = 1  # a byte that is not zero, so that the batch's last sector is never all zero by right
_ENDINGS = [b"\xff" + bytes(padding) for padding in range(ALIGN_BYTES)]

_encode = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode
decode_hard_state = msgspec.msgpack.Decoder(HardState).decode
decode_base = msgspec.msgpack.Decoder(tuple[int, int, bool]).decode

Placed = tuple[int, int, int, int, int]
"""An entry in a file: index, term, offset of its body in the file, length, CRC."""

Frame = tuple[int, int, int, int]
"""kind, offset of the body in the segment, length, CRC."""


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """`number` counts segments from 1; `first_batch` is the sequence number of the first batch in it, so
    that a segment also says how far the one before it must reach."""

    owner: Owner
    number: int
    first_batch: int


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Raises BrokenInvariant when the names in it are too long for the block."""
    body = _encode(header)
    room = SEGMENT_HEADER_BYTES - _SEGMENT.size - 4
    if len(body) > room:
        raise BrokenInvariant(f"segment header of {len(body)} bytes, room for {room}: names too long")
    tail = pack("<I", len(body)) + body + bytes(room - len(body))
    return _SEGMENT.pack(_SEGMENT_MAGIC, FORMAT_VERSION, crc32(tail)) + tail


def decode_segment_header(path: str, buf: bytes) -> tuple[SegmentHeader, int]:
    """The header of the segment file `path` and the seed of its batches. Raises StorageCorrupt."""
    if len(buf) < SEGMENT_HEADER_BYTES:
        raise corrupt(path, len(buf), "file ends inside the segment header")
    magic, version, crc = _SEGMENT.unpack_from(buf)
    if magic != _SEGMENT_MAGIC:
        raise corrupt(path, 0, "not a segment of a raftkv log")
    if version != FORMAT_VERSION:
        raise corrupt(path, 8, unknown_version(version), "use the program that wrote it")
    tail = buf[_SEGMENT.size : SEGMENT_HEADER_BYTES]
    if crc32(tail) != crc:
        raise corrupt(path, 12, "checksum of the segment header is wrong")
    (length,) = unpack_from("<I", tail)
    try:
        return msgspec.msgpack.decode(tail[4 : 4 + length], type=SegmentHeader), crc
    except msgspec.DecodeError as error:
        raise corrupt(path, _SEGMENT.size, f"segment header cannot be decoded ({error})") from error


class Held(NamedTuple):
    """What the log holds when a batch comes, the base of its first write being in force already: the entries behind
    `base_index` up to `last_index`. `keeps`: that base was in the log, so what followed it is kept."""

    base_index: int
    last_index: int
    keeps: bool = False


def encode_batch(
    writes: Sequence[Write], sequence: int, seed: int, offset: int, held: Held
) -> tuple[list[bytes], int, list[Placed]]:
    """One batch for `offset` in a segment: its buffers, its size, and where its entries come to lie.

    Only the first write may have a base. Raises BrokenInvariant when entries are not consecutive, leave a gap, or are
    not behind the base. One piece, because it is the hot path: an entry's data is copied once, by msgpack.
    """
    bodies: list[bytes] = []
    table: list[int] = []
    placed: list[Placed] = []
    length = 0
    has_zeros = False
    base_index, last_index, keeps = held
    for write in writes:
        if write.base is not None:
            body = _encode((*write.base, keeps))
            table += (BASE, len(body), crc32(body))
            bodies.append(body)
            length += len(body)
        if write.hard_state is not None:
            body = _encode(write.hard_state)
            table += (HARD_STATE, len(body), crc32(body))
            bodies.append(body)
            length += len(body)
        entries = write.entries
        if not entries:
            continue
        index = entries[0].index
        if not base_index < index <= last_index + 1:
            raise BrokenInvariant(f"entry {index} written to a log of {base_index + 1}..{last_index}: a gap")
        for entry in entries:
            if entry.index != index:
                raise BrokenInvariant(f"entry {entry.index} written where {index} is due")
            body = _encode(entry)
            size, crc = len(body), crc32(body)
            table += (ENTRY, size, crc)
            bodies.append(body)
            placed.append((index, entry.term, length, size, crc))
            length += size
            index += 1
            if size >= SECTOR_BYTES and _ZEROS in body:
                has_zeros = True
        last_index = index - 1
    packed = pack(f"<{len(table)}I", *table)
    start = offset + _BATCH_BYTES + len(packed)
    length += len(packed) + _END_MARK
    if length > BATCH_BYTES_MAX:
        raise BrokenInvariant(f"batch of {length} bytes, at most {BATCH_BYTES_MAX}")
    padding = -(_BATCH_BYTES + length) % ALIGN_BYTES
    zeros = 0
    if has_zeros:
        zeros = count_zero_sectors(b"".join((b"\xff" * _BATCH_BYTES, packed, *bodies, b"\xff")), offset)
    rest = _HEADER_REST.pack(sequence, length, len(table) // 3, crc32(packed), zeros)
    header = pack("<II", MAGIC, crc32(rest, seed)) + rest
    buffers = [header, packed, *bodies, _ENDINGS[padding]]
    return (
        buffers,
        _BATCH_BYTES + length + padding,
        [(index, term, start + at, size, crc) for index, term, at, size, crc in placed],
    )


def count_zero_sectors(record: bytes, offset: int) -> int:
    """How many of the sectors that `record` touches, when it lies at `offset`, are all zero in their part."""
    count, at = 0, 0
    step = SECTOR_BYTES - offset % SECTOR_BYTES
    while at < len(record):
        part = record[at : at + step]
        count += part == _ZEROS[: len(part)]
        at += step
        step = SECTOR_BYTES
    return count


class BatchHeader(msgspec.Struct, frozen=True):
    """A batch header whose CRC is right. `end`: offset behind the end mark, padding not counted."""

    sequence: int
    end: int
    zero_sectors: int


def read_batch_header(buf: bytes, offset: int, seed: int) -> BatchHeader | None:
    """The batch header at `offset`; None when there is no valid one."""
    if offset + _BATCH_BYTES > len(buf):
        return None
    magic, crc, sequence, length, _, _, zeros = _BATCH.unpack_from(buf, offset)
    if magic != MAGIC or crc32(buf[offset + 8 : offset + _BATCH_BYTES], seed) != crc:
        return None
    return BatchHeader(sequence, offset + _BATCH_BYTES + length, zeros)


def read_batches(
    buf: bytes, seed: int, sequence: int, offset: int = SEGMENT_HEADER_BYTES
) -> Iterator[tuple[int, int, list[Frame]]]:
    """The valid batches of a segment, from the one at `offset` on, numbered from `sequence`: (offset, offset of
    what follows, frames). `buf` is all of the segment, or a part that begins at a multiple of ALIGN_BYTES. Ends at the
    first that is not valid, whatever the reason; `tail.py` judges it.

    Hot loop of recovery (a million batches within seconds), hence in one piece.
    """
    view = memoryview(buf)
    size = len(buf)
    unpack, unpack_frame, crc_of = _BATCH.unpack_from, _FRAME.unpack_from, crc32
    while offset + _BATCH_BYTES <= size:
        magic, header_crc, found, length, count, table_crc, _ = unpack(buf, offset)
        table = offset + _BATCH_BYTES
        if magic != MAGIC or found != sequence or crc_of(view[offset + 8 : table], seed) != header_crc:
            return
        body, end = table + count * _FRAME_BYTES, table + length
        if end > size or crc_of(view[table:body]) != table_crc:
            return
        frames = []
        for at in range(table, body, _FRAME_BYTES):
            kind, length, crc = unpack_frame(buf, at)
            if crc_of(view[body : body + length]) != crc:
                return
            frames.append((kind, body, length, crc))
            body += length
        end = min((end + ALIGN_BYTES - 1) & -ALIGN_BYTES, size)
        yield offset, end, frames
        offset = end
        sequence += 1
