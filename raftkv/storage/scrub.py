"""Reads again what lies on disk and is never read otherwise, so that damage is found while other members are sound.

Two iterators, for a task beside the service that rests between their steps: each step reads about STEP_BYTES (one
batch of the log, or one slice of a snapshot, when that is larger) and yields how many bytes that were. They open files
of their own and take no lock: the log may be written and cut meanwhile. What is cut is passed over.

The page cache is asked to forget a file before and after: it would give back what was written, not what has become
of it on the disk, and reading everything would push out what others need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import msgspec

from raftkv.storage.damage import corrupt
from raftkv.storage.files import Files
from raftkv.storage.records import (
    ALIGN_BYTES,
    SEGMENT_HEADER_BYTES,
    decode_segment_header,
    read_batch_header,
    read_batches,
)
from raftkv.storage.snapshot_format import SnapshotFile
from raftkv.storage.snapshots import snapshot_paths

STEP_BYTES = 1 << 20
REPLACE = "have a new snapshot taken (BGSAVE), and remove this file then"


class ColdSegment(msgspec.Struct, frozen=True):
    """A segment that is not written any more. `end`: offset behind its last batch, in bytes."""

    path: str
    end: int


def log(files: Files, segments: Iterable[ColdSegment]) -> Iterator[int]:
    """Raises StorageCorrupt for the first batch that is damaged or missing, or cannot be read."""
    for segment in segments:
        try:
            fd = files.open_read(segment.path)
        except FileNotFoundError:
            continue
        try:
            files.drop_cached(fd)
            yield from _segment(files, fd, segment)
            files.drop_cached(fd)
        except OSError as error:
            raise corrupt(segment.path, 0, f"cannot be read ({error.strerror})") from error
        finally:
            files.close(fd)


def _segment(files: Files, fd: int, segment: ColdSegment) -> Iterator[int]:
    path, end = segment.path, segment.end
    header, seed = decode_segment_header(path, files.pread(fd, SEGMENT_HEADER_BYTES, 0))
    sequence, offset, length = header.first_batch, SEGMENT_HEADER_BYTES, STEP_BYTES
    yield SEGMENT_HEADER_BYTES
    while offset < end:
        buf = files.pread(fd, min(length, end - offset), offset)
        batches = list(read_batches(buf, seed, sequence, 0))
        if batches:
            _, done, _ = batches[-1]
            sequence, offset, length = sequence + len(batches), offset + done, STEP_BYTES
            yield done
            continue
        batch = read_batch_header(buf, 0, seed)
        in_full = len(buf) == min(length, end - offset)
        if batch is None or not in_full or not len(buf) < batch.end <= end - offset:
            raise corrupt(path, offset, f"batch {sequence} is damaged or missing")
        length = batch.end + -batch.end % ALIGN_BYTES  # larger than a step: the next try reads all of it


def snapshots(files: Files, data_dir: str) -> Iterator[int]:
    """All snapshots in `data_dir`, newest first. Raises StorageCorrupt for the first damaged one."""
    for path in snapshot_paths(files, data_dir):
        try:
            file = SnapshotFile(files, path, REPLACE)
        except FileNotFoundError:
            continue
        with closing(file):
            file.drop_cached()
            read = 0
            for _, data in file.slices():
                read += len(data)
                if read >= STEP_BYTES:
                    yield read
                    read = 0
            yield read
            file.drop_cached()
