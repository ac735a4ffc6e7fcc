"""What `raftkv wal dump` and `raftkv wal verify` show. Read-only: takes no lock, cuts nothing, repairs nothing.

On the directory of a running member the last batch may be in the making and look torn.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from raftkv.errors import ConfigError
from raftkv.machines.interface import Batch as CommandBatch
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.directory import Owner
from raftkv.storage.files import Files
from raftkv.storage.index import EntryIndex
from raftkv.storage.interface import Position
from raftkv.storage.records import BASE, ENTRY, Frame
from raftkv.storage.recovery import Batch, Replay, Scan, base_of, entry_of, hard_state_of
from raftkv.storage.tail import Verdict

_decode_commands = msgspec.msgpack.Decoder(CommandBatch).decode


class Report(msgspec.Struct, frozen=True):
    """The result of `verify` for a log that can be used. Sizes in bytes.

    first_index, last_index: the entries that count; last is first - 1 when there are none. batches: all on disk,
    replaced entries included. bytes_used: headers and batches. torn: what opening would cut off, None when clean.
    """

    directory: str
    cluster_id: str
    member_id: int
    machine: str
    segments: int
    oldest_segment: int
    batches: int
    base: Position
    first_index: int
    last_index: int
    hard_state: HardState
    bytes_used: int
    bytes_on_disk: int
    torn: Torn | None


class Torn(msgspec.Struct, frozen=True):
    file: str
    offset: int
    bytes: int
    why: str


def verify(directory: str, files: Files | None = None) -> Report:
    """Reads and checks everything. Raises StorageCorrupt for a log that must not be used, ConfigError when
    there is none."""
    scan, index = Scan(files or Files(), directory), EntryIndex()
    hard_state = Replay(scan, index).hard_state
    owner = _owner(scan, directory)
    return Report(
        directory=directory,
        cluster_id=owner.cluster_id,
        member_id=owner.member_id,
        machine=owner.machine,
        segments=len(scan.segments),
        oldest_segment=scan.oldest,
        batches=scan.sequence - scan.first_sequence,
        base=index.base,
        first_index=index.base[0] + 1,
        last_index=index.last,
        hard_state=hard_state,
        bytes_used=sum(segment.end for segment in scan.segments),
        bytes_on_disk=sum(segment.size for segment in scan.segments),
        torn=_torn(scan),
    )


def dump(directory: str, files: Files | None = None) -> Iterator[str]:
    """One line for each segment and each frame, as they lie on disk, so replaced entries are shown too.
    Lines come until the damage; then StorageCorrupt is raised. ConfigError when there is no log."""
    scan = Scan(files or Files(), directory)
    shown = 0
    for batch in scan.batches():
        yield from _segment_lines(scan, shown)
        shown = len(scan.segments)
        buf = memoryview(batch.buf)
        for frame in batch.frames:
            yield f"  {frame[1]:>10} batch {batch.sequence} {_frame_text(batch, buf, frame)}"
    _owner(scan, directory)
    yield from _segment_lines(scan, shown)
    torn = _torn(scan)
    if torn is not None:
        yield f"  {torn.offset:>10} torn tail of {torn.bytes} bytes: {torn.why}; opening the log cuts it off"


def _segment_lines(scan: Scan, shown: int) -> Iterator[str]:
    if not shown and scan.oldest > 1:
        yield f"the log begins with segment {scan.oldest}: a snapshot stands for what was before"
    for segment in scan.segments[shown:]:
        yield f"segment {segment.number} {segment.path} {segment.size} bytes"


def _frame_text(batch: Batch, buf: memoryview, frame: Frame) -> str:
    if frame[0] == BASE:
        (index, term), keeps = base_of(batch, buf, frame)
        return f"base index={index} term={term} keeps={str(keeps).lower()} bytes={frame[2]}"
    if frame[0] != ENTRY:
        state = hard_state_of(batch, buf, frame)
        return f"hard_state term={state.term} vote={state.vote} commit={state.commit} bytes={frame[2]}"
    entry = entry_of(batch, buf, frame)
    text = f"entry index={entry.index} term={entry.term} kind={_kind(entry)} bytes={frame[2]}"
    commands = _command_count(entry)
    return text if commands is None else f"{text} commands={commands}"


def _kind(entry: Entry) -> str:
    try:
        return EntryKind(entry.kind).name
    except ValueError:
        return str(entry.kind)


def _command_count(entry: Entry) -> int | None:
    if entry.kind != EntryKind.COMMANDS:
        return None
    try:
        return len(_decode_commands(entry.data).commands)
    except msgspec.DecodeError:
        return None


def _owner(scan: Scan, directory: str) -> Owner:
    if scan.owner is None:
        raise ConfigError("wal", "directory", directory, "holds no log")
    return scan.owner


def _torn(scan: Scan) -> Torn | None:
    if scan.tail.verdict is not Verdict.TORN:
        return None
    newest = scan.segments[-1]
    return Torn(newest.path, newest.end, scan.tail.bytes, scan.tail.why)
