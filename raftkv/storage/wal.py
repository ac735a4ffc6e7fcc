"""The write-ahead log: a directory of numbered segments, written by one thread, one sync for an append.

    LOCK  IDENTITY  000000000001.wal  000000000002.wal  ...  spare.tmp

`append` turns its writes into one batch (`records.py`) and writes it behind the last one, over zeros that are
already on disk (`segment.py`), with a single call that returns when the batch is durable. Afterwards it
notes in memory where each entry lies (`index.py`), which is what `read` goes by. A segment that is full is left
as it is; the next gets its header first and its name then, so a named segment always has a valid header.

Opening reads everything (`recovery.py`), cuts a torn tail by shortening the file, and makes durable again
what it found, before anybody is promised anything that rests on it.

Segments are never changed once another has followed. A write with a base (`Write.base`) says that a snapshot stands for
all entries up to there; it begins a batch of its own, and takes the newest hard state along. When that is durable, a
thread of its own removes the segments in which nothing counts any more, oldest first, after IDENTITY has said so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from raftkv.errors import BrokenInvariant, StorageFailed
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.damage import corrupt, failed
from raftkv.storage.directory import TEMPORARY, DirectoryLock, Owner, store_identity
from raftkv.storage.files import Buffer, Files
from raftkv.storage.index import OFFSET_BITS, OFFSET_MASK, EntryIndex, Place
from raftkv.storage.interface import LogStore, Position, Recovered, Write, check_base
from raftkv.storage.records import (
    SEGMENT_HEADER_BYTES,
    Held,
    SegmentHeader,
    decode_entry,
    encode_batch,
    encode_segment_header,
)
from raftkv.storage.recovery import SUFFIX, Replay, Scan, segment_path
from raftkv.storage.scrub import ColdSegment
from raftkv.storage.segment import BlankMaker
from raftkv.storage.tail import Verdict

SEGMENT_BYTES = 64 << 20
FIRST_SEGMENT_BYTES = 4 << 20  # zero-filled while opening a new directory, so kept small; each next one doubles
_SPAN_BYTES_MAX = 1 << 20  # entries that lie together are read with one call of at most about this
_SPAN_GAP_MAX = 4 << 10  # what may lie between two of them: batch headers, replaced entries

OnEvent = Callable[[str, dict[str, Any]], None]


class OpenSegment(msgspec.Struct):
    """A segment with its descriptor. `end`: offset of the next batch. `size`: of the file."""

    number: int
    path: str
    seed: int
    size: int
    end: int
    fd: int


class Wal(LogStore):
    """See the module's text. Made by `Wal.open` only.

    Events given to `on_event`, for the log: "wal_tail_cut" {file, offset, bytes, why}; "wal_segment" {file,
    bytes} when one is begun; "wal_segment_removed" {file}; "wal_dsync_unsupported" {directory}: writes need a second
    call for the sync.
    They come from the thread that opens or appends, or from the one that removes.
    """

    recovered: Recovered

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        cluster_id: str,
        member_id: int,
        machine: str,
        fsync: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
        files: Files | None = None,
        on_event: OnEvent | None = None,
        prepare_ahead: bool = True,
    ) -> Wal:
        """Opens the log in `directory`, which is made when it is missing.

        Without `fsync` an append survives the end of the process but not of the machine. With
        `prepare_ahead` off there is no helper thread: segments are made when they are needed.

        Raises StorageCorrupt for a log that must not be used (damaged, incomplete, foreign, in use), and
        StorageFailed when the operating system refuses a call.
        """
        owner = Owner(cluster_id, member_id, machine)
        wal = cls(files or Files(), directory, owner, fsync=fsync, segment_bytes=segment_bytes)
        wal._on_event = on_event or wal._on_event
        wal._blanks = BlankMaker(wal._files, directory, fsync=fsync, ahead=prepare_ahead)
        try:
            wal._open()
        except OSError as error:
            wal.close()
            raise failed(str(error.filename or directory), 0, "opening the log", error) from error
        except BaseException:
            wal.close()
            raise
        return wal

    def __init__(self, files: Files, directory: str, owner: Owner, *, fsync: bool, segment_bytes: int) -> None:
        self._files, self._directory, self._owner = files, directory, owner
        self._fsync, self._segment_bytes = fsync, segment_bytes
        self._on_event: OnEvent = lambda _name, _fields: None
        self._write: Callable[[int, Sequence[Buffer], int], None] = files.pwritev
        self._lock: DirectoryLock | None = None
        self._blanks = BlankMaker(files, directory, fsync=fsync, ahead=False)
        self._segments: dict[int, OpenSegment] = {}
        self._live = OpenSegment(0, directory, 0, 0, 0, -1)  # full from the start: the first append replaces it
        self._sequence = 1
        self._prepare_from = 0  # offset in the live segment at which the next one is to be made
        self._unusable: str | None = None
        self._oldest = 1
        self._hard_state = HardState()
        self._remover: threading.Thread | None = None
        self._index = EntryIndex()
        self._index_guard = threading.Lock()  # `read` comes from another thread
        self._no_readers = threading.Condition(self._index_guard)
        self._readers = 0
        self._identity_guard = threading.Lock()

    # Opening

    def _open(self) -> None:
        self._files.make_directory(self._directory)
        self._lock = DirectoryLock(self._files, self._directory)
        self._choose_write(self._lock)
        for name in self._files.list(self._directory):
            if name.endswith(TEMPORARY):
                self._files.unlink(f"{self._directory}/{name}")
        scan = Scan(self._files, self._directory, self._owner)
        replay, index = Replay(scan, self._index), self._index
        self._sequence = scan.sequence
        self._oldest = scan.oldest
        self._hard_state = replay.hard_state
        self._remove_segments_before(scan.oldest)
        self._take_over(scan)
        self.recovered = Recovered(
            replay.hard_state, index.base[0] + 1, index.last, list(index.runs), index.base, replay.memberships
        )
        self._prepare_next()

    def _choose_write(self, lock: DirectoryLock) -> None:
        supported = lock.write_holder(dsync=self._fsync)
        if self._fsync:
            self._write = self._files.pwritev_dsync if supported else self._write_then_sync
        if not supported:
            self._on_event("wal_dsync_unsupported", {"directory": self._directory})

    def _write_then_sync(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self._files.pwritev(fd, buffers, offset)
        self._files.fdatasync(fd)

    def _take_over(self, scan: Scan) -> None:
        for found in scan.segments:
            fd = self._files.open_write(found.path)
            segment = OpenSegment(found.number, found.path, found.seed, found.size, found.end, fd)
            self._segments[found.number] = self._live = segment
        if not scan.segments:
            self._begin_segment(0)
            return
        if scan.tail.verdict is Verdict.TORN:
            self._cut_tail(scan)
        if self._fsync:
            self._make_durable(scan)
        if scan.newest_recorded != self._live.number:
            self._store_identity()

    def _store_identity(self) -> None:
        """For the thread that appends and the one that removes: what the last of them writes is true."""
        with self._identity_guard:
            store_identity(self._files, self._directory, self._owner, self._live.number, self._oldest)

    def _cut_tail(self, scan: Scan) -> None:
        live, tail = self._live, scan.tail
        self._files.truncate(live.fd, live.end)
        live.size = live.end  # the next append begins a new segment
        fields = {"file": live.path, "offset": live.end, "bytes": tail.bytes, "why": tail.why}
        self._on_event("wal_tail_cut", fields)

    def _make_durable(self, scan: Scan) -> None:
        """What was read may be in the page cache only. The last batch is even written once more: when its
        sync failed before, the kernel takes the cached page for clean, and syncing alone would do nothing."""
        if scan.last_batch:
            self._write(self._live.fd, [scan.last_batch], scan.last_offset)
        for segment in self._segments.values():
            self._files.fdatasync(segment.fd)
        self._files.fsync_directory(self._directory)

    # Appending

    def append(self, writes: Sequence[Write]) -> None:
        """Makes `writes` durable with one sync, wholly or not at all; one with a base begins another batch, with a sync
        of its own. Blocks. For one thread only.

        Raises StorageFailed, and then again on every later call; BrokenInvariant when indexes do not fit,
        with nothing written.
        """
        if self._unusable is not None:
            raise StorageFailed(self._unusable)
        first = 0
        for position, write in enumerate(writes):
            if write.base is not None:
                self._append(writes[first:position])
                first = position
        self._append(writes[first:])

    def _append(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        live, base, known = self._live, writes[0].base, self._index
        held = Held(known.base[0], known.last)
        if base is not None:
            writes, held = self._with_base(writes, base)
        buffers, size, placed = encode_batch(writes, self._sequence, live.seed, live.end, held)
        try:
            if live.end + size > live.size:
                self._begin_segment(SEGMENT_HEADER_BYTES + size)
                live = self._live
                buffers, size, placed = encode_batch(writes, self._sequence, live.seed, live.end, held)
            self._write(live.fd, buffers, live.end)
        except OSError as error:
            raise self._failed("appending to the log", error) from error
        live.end += size
        self._sequence += 1
        for write in writes:
            self._hard_state = write.hard_state or self._hard_state
        place, add = live.number << OFFSET_BITS, known.add
        with self._index_guard:
            if base is not None:
                known.begin_behind(base)
            for index, term, offset, length, crc in placed:
                add(index, term, place | offset, length, crc)
        if live.end > self._prepare_from:
            self._prepare_next()
        if base is not None:
            self._remove_needless()

    def _with_base(self, writes: Sequence[Write], base: Position) -> tuple[list[Write], Held]:
        """The same writes, with the newest hard state: segments that hold older ones may go afterwards."""
        index = self._index
        check_base(base, index.base)
        first = Write(writes[0].hard_state or self._hard_state, writes[0].entries, base)
        keeps = index.has(base)
        return [first, *writes[1:]], Held(base[0], index.last if keeps else base[0], keeps)

    def _failed(self, what: str, error: OSError) -> StorageFailed:
        """The log must not be used any more."""
        reason = failed(self._live.path, self._live.end, what, error)
        self._unusable = str(reason)
        return reason

    # Removing

    def _remove_needless(self) -> None:
        """Removes the segments in which nothing counts any more."""
        needed = self._index.segment_of_first() or self._live.number
        if needed == self._oldest:
            return
        self._join_remover()
        self._oldest = needed
        gone = [self._segments[number] for number in sorted(self._segments) if number < needed]
        self._remover = threading.Thread(target=self._remove, args=(gone,), name="raftkv-wal-remove", daemon=True)
        self._remover.start()
        if not self._blanks.ahead:
            self._join_remover()
            if self._unusable is not None:
                raise StorageFailed(self._unusable)

    def _join_remover(self) -> None:
        if self._remover is not None:
            self._remover.join()
            self._remover = None

    def _remove(self, segments: list[OpenSegment]) -> None:
        """In a thread of its own, since no write should wait for it: IDENTITY takes two syncs, and to give back 64 MB
        takes a file system milliseconds. When it fails, the next append says so.

        A reader may have got its places before the log was cut. Closed under it, the descriptor would be of no file, or
        of another by then; and that would look like damage, which stops the member.
        """
        try:
            self._store_identity()
        except OSError as error:
            self._failed("removing segments", error)
            return
        with self._no_readers:
            self._no_readers.wait_for(lambda: not self._readers)
            for segment in segments:
                del self._segments[segment.number]
                self._files.close(segment.fd)
        for segment in segments:
            try:
                self._files.unlink(segment.path)
            except OSError:
                continue  # it does not count any more, and goes at the next opening
            self._on_event("wal_segment_removed", {"file": segment.path})

    def _remove_segments_before(self, oldest: int) -> None:
        """What a crash has left of segments that were to be removed."""
        for name in self._files.list(self._directory):
            stem = name.removesuffix(SUFFIX)
            if name.endswith(SUFFIX) and stem.isdecimal() and int(stem) < oldest:
                self._files.unlink(f"{self._directory}/{name}")

    def _begin_segment(self, size_min: int) -> None:
        """Makes a new segment the live one, with room for at least `size_min` bytes."""
        number = self._live.number + 1
        path = segment_path(self._directory, number)
        header = encode_segment_header(SegmentHeader(self._owner, number, self._sequence))
        blank = self._blanks.take(self._next_size(), size_min)
        seed = int.from_bytes(header[12:16], "little")
        segment = OpenSegment(number, path, seed, blank.size, SEGMENT_HEADER_BYTES, blank.fd)
        self._segments[number] = segment  # from here on `close` sees to the descriptor
        self._write(blank.fd, [header], 0)
        self._files.rename(blank.path, path)
        self._files.fsync_directory(self._directory)
        self._live = segment
        self._store_identity()
        self._on_event("wal_segment", {"file": path, "bytes": blank.size})
        self._prepare_next()

    def _next_size(self) -> int:
        return min(self._segment_bytes, max(FIRST_SEGMENT_BYTES, 2 * self._live.size))

    def _prepare_next(self) -> None:
        """Has the next segment made, once this one is half full: not at every start of a member."""
        if self._live.end > self._live.size // 2:
            self._blanks.prepare(self._next_size())
            self._prepare_from = self._live.size
        else:
            self._prepare_from = self._live.size // 2

    # Reading

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """See LogStore. Raises StorageCorrupt also when the disk cannot read what it holds, and
        BrokenInvariant for entries that are not there."""
        with self._index_guard:
            places = self._index.places(first, last, bytes_max)
            self._readers += 1
        try:
            entries: list[Entry] = []
            start = 0
            while start < len(places):
                stop = _span(places, start)
                self._read_span(places[start:stop], entries, first + start)
                start = stop
            return entries
        finally:
            with self._index_guard:
                self._readers -= 1
                self._no_readers.notify_all()

    def cold_segments(self) -> list[ColdSegment]:
        """Those that are not written any more, for `scrub.log`. May be called from any thread."""
        with self._index_guard:
            live, segments = self._live, list(self._segments.values())
        return [ColdSegment(segment.path, segment.end) for segment in segments if segment.number < live.number]

    def _read_span(self, span: list[Place], entries: list[Entry], index: int) -> None:
        segment = self._segments.get(span[0][0] >> OFFSET_BITS)
        if segment is None:
            raise BrokenInvariant("read from a closed log")
        base = span[0][0] & OFFSET_MASK
        length = (span[-1][0] & OFFSET_MASK) + span[-1][1] - base
        try:
            buf = memoryview(self._files.pread(segment.fd, length, base))
        except OSError as error:
            raise corrupt(segment.path, base, f"cannot be read ({error.strerror})") from error
        for number, (place, size, crc) in enumerate(span, index):
            at = (place & OFFSET_MASK) - base
            body = buf[at : at + size]
            if crc32(body) != crc:
                raise corrupt(segment.path, base + at, f"checksum of entry {number} is wrong")
            entries.append(decode_entry(body))

    def close(self) -> None:
        """Gives up the directory. Nothing is lost by not calling it. Twice is harmless."""
        self._unusable = self._unusable or "the log is closed"
        self._blanks.close()
        self._join_remover()
        segments, self._segments = self._segments, {}
        for segment in segments.values():
            self._files.close(segment.fd)
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _span(places: list[Place], start: int) -> int:
    """The end of the run of entries from `start` on that is worth reading with one call."""
    base = places[start][0]
    end = base + places[start][1]
    stop = start + 1
    while stop < len(places):
        place, length, _ = places[stop]
        # Entries of the next segment are far behind in this numbering, so the gap excludes them.
        if place - end > _SPAN_GAP_MAX or place + length - base > _SPAN_BYTES_MAX:
            break
        end = place + length
        stop += 1
    return stop
