"""The bytes of a snapshot's file, and reading them.

    file   = header | frame | frame | ... | end frame
    header = magic, format version, CRC of what follows | length | msgpack of SnapshotMeta
    frame  = kind, length, CRC of both and of the data | data
    end    = a frame of kind 0: how many frames, the size of the whole file, SHA-256 of all frame headers in order

All numbers are little-endian. A frame's CRC is seeded with the header's, so that a frame of another file is never
valid here; the end frame finds frames that are missing, repeated or in another order. It has a fixed size and tells the
file's, so one look at the end shows whether a file was cut: opening does that, and leaves the rest to `slices`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from struct import Struct
from zlib import crc32

import msgspec

from raftkv.errors import BrokenInvariant, StorageCorrupt
from raftkv.storage.damage import RESTORE, corrupt
from raftkv.storage.files import Files
from raftkv.storage.interface import SnapshotMeta, SnapshotReader

VERSION = 1
_MAGIC = b"raftkvSN"
_HEADER = Struct("<8sIII")  # magic, format version, CRC of the length and the msgpack, length
_LENGTH_OFFSET = 16
_FRAME = Struct("<III")  # kind, length, CRC
_KIND_AND_LENGTH = Struct("<II")
_END_KIND = 0
_END = Struct("<QQ32s")  # frames, size of the file, SHA-256 of all frame headers
_END_FRAME_BYTES = _FRAME.size + _END.size
_LENGTH_MAX = (1 << 32) - 1

READ_BYTES = 1 << 20

SET_ASIDE = (
    "set this file aside: where an older snapshot and the log still hold everything, the member starts without it; "
    f"where it refuses to: {RESTORE}"
)
ASK_AGAIN = (
    "nothing: it is dropped, and asked for again. If that repeats itself, see to the network and the sender's disk"
)

_encode = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(SnapshotMeta).decode


class FrameEncoder:
    """Makes the bytes of one file, in order: `header`, then `frame` for each slice, then `end`."""

    def __init__(self, meta: SnapshotMeta) -> None:
        body = _encode(meta)
        self._seed = crc32(body, crc32(len(body).to_bytes(4, "little")))
        self.header = _HEADER.pack(_MAGIC, VERSION, self._seed, len(body)) + body
        self._digest, self._frames, self._size = hashlib.sha256(), 0, len(self.header)

    def frame(self, kind: int, data: bytes) -> bytes:
        """What goes before `data`. Raises BrokenInvariant for a kind or length that the format cannot hold."""
        if not _END_KIND < kind <= _LENGTH_MAX or len(data) > _LENGTH_MAX:
            raise BrokenInvariant(f"slice of kind {kind} with {len(data)} bytes, both must fit, and kind 0 is the end")
        header = self._frame_header(kind, data)
        self._digest.update(header)
        self._frames += 1
        self._size += len(header) + len(data)
        return header

    def end(self) -> bytes:
        data = _END.pack(self._frames, self._size + _END_FRAME_BYTES, self._digest.digest())
        return self._frame_header(_END_KIND, data) + data

    def _frame_header(self, kind: int, data: bytes) -> bytes:
        return _FRAME.pack(kind, len(data), _frame_crc(kind, data, self._seed))


def _frame_crc(kind: int, data: bytes, seed: int) -> int:
    return crc32(data, crc32(_KIND_AND_LENGTH.pack(kind, len(data)), seed))


class SnapshotFile(SnapshotReader):
    """A snapshot's file, open for reading; its header has been read and checked. What is read is the file as it was
    opened, also when it has lost its name or another has taken it.

    `todo`: what the errors tell the operator to do.
    """

    def __init__(self, files: Files, path: str, todo: str = SET_ASIDE) -> None:
        """Raises StorageCorrupt, and OSError when it cannot be opened."""
        self._files, self.path, self._todo = files, path, todo
        self._fd = files.open_read(path)
        try:
            self.size_bytes = files.size(self._fd)
            self.meta, self._seed, self._first_frame = self._read_header()
        except BaseException:
            self.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self._files.pread(self._fd, length, offset)
        except OSError as error:
            raise self.corrupt(offset, f"cannot be read ({error.strerror})") from error

    def slices(self) -> Iterator[tuple[int, bytes]]:
        ahead = _ReadAhead(self, self._first_frame)
        digest, frames = hashlib.sha256(), 0
        while True:
            offset = ahead.offset
            header = ahead.take(_FRAME.size)
            kind, length, crc = _FRAME.unpack(header)
            data = ahead.take(length)
            if _frame_crc(kind, data, self._seed) != crc:
                raise self.corrupt(offset, f"checksum of frame {frames + 1} is wrong")
            if kind == _END_KIND:
                break
            digest.update(header)
            frames += 1
            yield kind, data
        if data != _END.pack(frames, self.size_bytes, digest.digest()):
            raise self.corrupt(offset, "frames are missing or in another order, or something follows their end")

    def verify(self) -> None:
        """Reads all of it. Raises StorageCorrupt."""
        for _ in self.slices():
            pass

    def check_end(self) -> None:
        """Raises StorageCorrupt when the file was cut, or has grown. Does not look at what lies between."""
        offset = max(0, self.size_bytes - _END_FRAME_BYTES)
        found = self.read(offset, _END_FRAME_BYTES)
        if len(found) == _END_FRAME_BYTES:
            kind, _, crc = _FRAME.unpack_from(found)
            data = found[_FRAME.size :]
            if _frame_crc(kind, data, self._seed) == crc and _END.unpack(data)[1] == self.size_bytes:
                return
        raise self.corrupt(offset, "the end is missing or damaged")

    def drop_cached(self) -> None:
        """What is read next comes from the disk."""
        self._files.drop_cached(self._fd)

    def sync(self) -> None:
        self._files.fdatasync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.close(fd)

    def _read_header(self) -> tuple[SnapshotMeta, int, int]:
        """The meta, the seed of the frames, and where the first one begins."""
        head = self.read(0, _HEADER.size)
        if len(head) < _HEADER.size:
            raise self.corrupt(len(head), "file ends inside the header")
        magic, version, crc, length = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise self.corrupt(0, "not a snapshot of raftkv")
        if version != VERSION:
            what = f"format version {version} is unknown, this program knows {VERSION}"
            raise corrupt(self.path, len(_MAGIC), what, "use the program that wrote it")
        body = self.read(_HEADER.size, min(length, self.size_bytes))
        if len(body) < length or crc32(body, crc32(head[_LENGTH_OFFSET:])) != crc:
            raise self.corrupt(_LENGTH_OFFSET, "checksum of the header is wrong")
        try:
            return _decode_meta(body), crc, _HEADER.size + length
        except msgspec.DecodeError as error:
            raise self.corrupt(_HEADER.size, f"header cannot be decoded ({error})") from error

    def corrupt(self, offset: int, what: str) -> StorageCorrupt:
        """The error for this file."""
        return corrupt(self.path, offset, what, self._todo)


class _ReadAhead:
    """A file in pieces of any size, read about a megabyte at a time. `offset`: of the next piece."""

    def __init__(self, file: SnapshotFile, offset: int) -> None:
        self._file, self.offset = file, offset
        self._buf, self._used = b"", 0

    def take(self, length: int) -> bytes:
        """Raises StorageCorrupt when the file ends before; checked first, since a damaged length may be anything."""
        if self.offset + length > self._file.size_bytes:
            raise self._too_short()
        rest = len(self._buf) - self._used
        if rest < length:
            more = self._file.read(self.offset + rest, max(length - rest, READ_BYTES))
            self._buf, self._used = self._buf[self._used :] + more, 0
        piece = self._buf[self._used : self._used + length]
        if len(piece) < length:
            raise self._too_short()  # it was cut while it was being read
        self._used += length
        self.offset += length
        return piece

    def _too_short(self) -> StorageCorrupt:
        return self._file.corrupt(self.offset, "file ends inside a frame")
