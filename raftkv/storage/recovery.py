"""Reading a whole log directory: in order, checking everything, changing nothing.

`Scan.batches` yields every valid batch of every segment. On the way it refuses what must not be used: a
missing segment, a foreign one, a batch that is not there although a later segment says that it was. What
follows the last batch of the newest segment is judged by `tail.py` and left in `Scan.tail` for the caller
to cut. `Replay` builds from the batches what the store keeps in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.damage import corrupt
from raftkv.storage.directory import Owner, check_owner, load_identity, missing_segment, owner_of
from raftkv.storage.files import Files
from raftkv.storage.index import OFFSET_BITS, EntryIndex
from raftkv.storage.interface import Position
from raftkv.storage.records import (
    BASE,
    ENTRY,
    HARD_STATE,
    SEGMENT_HEADER_BYTES,
    Frame,
    decode_base,
    decode_entry,
    decode_hard_state,
    decode_segment_header,
    read_batches,
)
from raftkv.storage.tail import Tail, Verdict, judge_tail

SUFFIX = ".wal"


class Segment(msgspec.Struct):
    """A segment as found. `size`: of the file. `end`: offset behind its last batch. All in bytes."""

    number: int
    path: str
    seed: int
    size: int
    end: int = SEGMENT_HEADER_BYTES


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One valid batch: `buf` is the whole segment, into which the offsets of the frames point."""

    segment: Segment
    buf: bytes
    offset: int
    sequence: int
    frames: list[Frame]


def segment_path(directory: str, number: int) -> str:
    return f"{directory}/{number:012d}{SUFFIX}"


class Scan:
    """One pass over a directory. Fields are complete when `batches` is exhausted.

    owner: whose log it is, None for an empty directory. sequence: the number the next batch will have.
    newest_recorded: the newest segment according to IDENTITY, 0 without one. oldest: the first one that still counts.
    last_batch: the bytes of the newest segment's last batch, empty when it has none; `last_offset` where.
    """

    def __init__(self, files: Files, directory: str, owner: Owner | None = None) -> None:
        """With `owner`, a log of anybody else is refused."""
        self._files, self._directory, self.owner = files, directory, owner
        self.segments: list[Segment] = []
        self.sequence = self.first_sequence = 1
        self.newest_recorded = 0
        self.oldest = 1
        self.tail = Tail(Verdict.CLEAN)
        self.last_batch, self.last_offset = b"", 0

    def batches(self) -> Iterator[Batch]:
        """Raises StorageCorrupt where the log must not be used."""
        numbers = self._numbers()
        for number in numbers:
            yield from self._segment(number, newest=number == numbers[-1])

    def _numbers(self) -> list[int]:
        """The segments there are, checked to be all that there should be."""
        names = [name for name in self._files.list(self._directory) if name.endswith(SUFFIX)]
        stems = [name.removesuffix(SUFFIX) for name in names]
        numbers = sorted(int(stem) for stem in stems if stem.isdecimal())
        identity = load_identity(self._files, self._directory)
        if identity is not None:
            found, path = owner_of(identity), f"{self._directory}/IDENTITY"
            self.owner = self.owner or found
            check_owner(path, found, self.owner)
            self.newest_recorded, self.oldest = identity.newest_segment, identity.oldest_segment
        newest = max(self.newest_recorded, *numbers, 0)
        present = set(numbers)
        for number in range(self.oldest, newest + 1):
            if number not in present:
                why = f"the log consists of segments {self.oldest} to {newest}"
                raise missing_segment(segment_path(self._directory, number), why)
        return [number for number in numbers if number >= self.oldest]

    def _segment(self, number: int, *, newest: bool) -> Iterator[Batch]:
        path = segment_path(self._directory, number)
        try:
            buf = self._files.read_whole(path)
        except OSError as error:
            raise corrupt(path, 0, f"cannot be read ({error.strerror})") from error
        segment = self._open(path, number, buf)
        offset = segment.end
        for offset, end, frames in read_batches(buf, segment.seed, self.sequence):
            segment.end = end
            yield Batch(segment, buf, offset, self.sequence, frames)
            self.sequence += 1
        if newest:
            self.tail = judge_tail(buf, segment.end, self.sequence, segment.seed)
            self.last_batch, self.last_offset = buf[offset : segment.end], offset
            if self.tail.verdict is Verdict.CORRUPT:
                raise corrupt(path, segment.end, self.tail.why)

    def _open(self, path: str, number: int, buf: bytes) -> Segment:
        header, seed = decode_segment_header(path, buf)
        self.owner = self.owner or header.owner
        check_owner(path, header.owner, self.owner)
        if header.number != number:
            raise corrupt(path, 0, f"is segment {header.number} by its header, not {number}")
        if not self.segments and number > 1:
            self.sequence = self.first_sequence = header.first_batch
        if header.first_batch != self.sequence:
            what = f"batch {self.sequence} is damaged or missing, the next segment begins with"
            before = self.segments[-1] if self.segments else None
            where = (before.path, before.end) if before else (path, 0)
            raise corrupt(*where, f"{what} batch {header.first_batch}")
        segment = Segment(number, path, seed, len(buf))
        self.segments.append(segment)
        return segment


class Replay:
    """Runs through a scan and keeps what counts: `index`, the newest `hard_state`, the `memberships` in the log.

    Segments that a base has made needless are gone, and with them perhaps what their successors refer to. So the first
    entry of a log that was cut may have any index, until a base says where the log begins.
    """

    def __init__(self, scan: Scan, index: EntryIndex) -> None:
        """Raises StorageCorrupt."""
        self.hard_state = HardState()
        self.memberships: list[tuple[int, bytes]] = []
        self._index = index
        self._scan = scan
        self._begun = False
        """Whether a base has said where the log begins."""
        self._pending: Position | None = None
        """The newest base that refers to what is gone."""
        for batch in scan.batches():
            buf = memoryview(batch.buf)
            for frame in batch.frames:
                if frame[0] == ENTRY:
                    self._on_entry(batch, buf, frame)
                elif frame[0] == BASE:
                    self._on_base(batch, frame, *base_of(batch, buf, frame))
                else:
                    self.hard_state = hard_state_of(batch, buf, frame)
        self._end()

    def _end(self) -> None:
        scan, index = self._scan, self._index
        if self._pending is not None and not self._begun and self._pending[0] >= index.last:
            self._begin(self._pending)
        if index.base != (0, 0) and not self._begun:
            oldest = scan.segments[0]
            raise corrupt(oldest.path, 0, f"the log begins with entry {index.base[0] + 1}, and nothing says why")

    def _on_entry(self, batch: Batch, buf: memoryview, frame: Frame) -> None:
        index = self._index
        _, offset, length, crc = frame
        entry = entry_of(batch, buf, frame)
        was_cut = self._scan.oldest > 1 and not self._begun
        if was_cut and (index.last == index.base[0] or entry.index <= index.base[0]):
            # The first one, or one that replaces it: only a base can tell what came before.
            index.forget_all((entry.index - 1, -1))
            self.memberships.clear()
            if self._pending is not None and self._pending[0] == entry.index - 1:
                self._begin(self._pending)
        if not index.base[0] < entry.index <= index.last + 1:
            raise corrupt(batch.segment.path, offset, f"entry {entry.index} follows entry {index.last}")
        if self.memberships and entry.index <= self.memberships[-1][0]:
            self.memberships = [each for each in self.memberships if each[0] < entry.index]
        if entry.kind == EntryKind.MEMBERSHIP:
            self.memberships.append((entry.index, entry.data))
        place = batch.segment.number << OFFSET_BITS | offset
        index.add(entry.index, entry.term, place, length, crc)

    def _on_base(self, batch: Batch, frame: Frame, base: Position, keeps: bool) -> None:
        index, was_cut = self._index, self._scan.oldest > 1 and not self._begun
        if not keeps:
            index.forget_all(base)
            self.memberships.clear()
        elif was_cut and base[0] != index.base[0] and not index.has(base):
            # What it refers to is gone, so it is of an earlier cut than the last, or nothing is left behind it.
            self._pending = base
            return
        elif not was_cut and not index.has(base):
            what = f"entry {base[0]} of term {base[1]}, behind which the log begins, is not in the log"
            raise corrupt(batch.segment.path, frame[1], what)
        self._begin(base)

    def _begin(self, base: Position) -> None:
        """It is certain now that the log begins behind `base`."""
        index = self._index
        if base[0] == index.base[0]:
            index.base = base
        self._begun = True
        index.begin_behind(base)
        self.memberships = [each for each in self.memberships if each[0] > base[0]]


def base_of(batch: Batch, buf: memoryview, frame: Frame) -> tuple[Position, bool]:
    """The base in a frame, and whether the log behind it was kept. Raises StorageCorrupt."""
    _, offset, length, _ = frame
    try:
        index, term, keeps = decode_base(buf[offset : offset + length])
    except msgspec.DecodeError as error:
        raise corrupt(batch.segment.path, offset, f"base cannot be decoded ({error})") from error
    return (index, term), keeps


def entry_of(batch: Batch, buf: memoryview, frame: Frame) -> Entry:
    """The entry in a frame. Raises StorageCorrupt when it is not one, although its checksum is right."""
    _, offset, length, _ = frame
    try:
        return decode_entry(buf[offset : offset + length])
    except msgspec.DecodeError as error:
        raise corrupt(batch.segment.path, offset, f"entry cannot be decoded ({error})") from error


def hard_state_of(batch: Batch, buf: memoryview, frame: Frame) -> HardState:
    """The hard state in a frame. Raises StorageCorrupt, also for a kind of frame that is not known."""
    kind, offset, length, _ = frame
    if kind != HARD_STATE:
        todo = "use the program that wrote it"
        raise corrupt(batch.segment.path, offset, f"frame of unknown kind {kind}", todo)
    try:
        return decode_hard_state(buf[offset : offset + length])
    except msgspec.DecodeError as error:
        raise corrupt(batch.segment.path, offset, f"hard state cannot be decoded ({error})") from error
