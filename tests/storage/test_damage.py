"""Files that were cut, flipped, torn, removed or swapped: nothing acknowledged is ever dropped silently."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from raftkv.errors import StorageCorrupt
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.interface import Write
from tests.storage.disks import Model, contents, entry, one, open_wal, reopened, segments

SMALL = [
    [Write(HardState(1, 1, 0), [entry(1, 1, b"first")])],
    [one(2, 1, b"second" * 20), one(3, 1, b"")],
    [Write(HardState(2, 0, 1), [])],
    [one(3, 2, b"replaced" * 70)],
    [one(4, 2, bytes(1200)), one(5, 2, b"last")],
]
"""Five batches; the fourth replaces an entry, the last contains whole sectors of zeros by right."""


def build(directory: Path, batches: list[list[Write]], **settings: Any) -> tuple[list[int], list[Any]]:
    """Writes a log; returns the end of each batch in its segment, and the state after each one, also after none."""
    wal, model = open_wal(directory, **settings), Model()
    ends, states = list[int](), [model.state()]
    for writes in batches:
        wal.append(writes)
        model.append(writes)
        ends.append(wal._live.end)
        states.append(model.state())
    wal.close()
    return ends, states


def whole(data: bytes, end: int) -> int:
    """The end of a batch without the padding behind its end mark."""
    return len(data[:end].rstrip(b"\0"))


def test_cut_at_every_byte_leaves_exactly_the_whole_batches(tmp_path: Path):
    ends, states = build(tmp_path, SMALL)
    [path] = map(Path, segments(tmp_path))
    data = path.read_bytes()
    ends = [whole(data, end) for end in ends]
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        if cut < 512:
            with pytest.raises(StorageCorrupt, match=rf"{path} at byte {cut}.*What to do"):
                open_wal(tmp_path)
        else:
            state = states[sum(end <= cut for end in ends)]
            assert reopened(tmp_path) == state, cut
            if cut % 16 == 0:
                assert reopened(tmp_path) == state, "cutting is done once"


def test_cut_tail_is_told_and_the_log_goes_on_behind_it(tmp_path: Path):
    ends, states = build(tmp_path, SMALL)
    [path] = segments(tmp_path)
    Path(path).write_bytes(Path(path).read_bytes()[: ends[-1] - 100])
    events = list[tuple[str, dict[str, Any]]]()
    wal = open_wal(tmp_path, fsync=True, on_event=lambda name, fields: events.append((name, fields)))
    [(name, fields)] = [event for event in events if event[0] == "wal_tail_cut"]
    assert (name, fields["file"], fields["offset"]) == ("wal_tail_cut", path, ends[-2])
    assert 0 < fields["bytes"] <= ends[-1] - 100 - ends[-2]
    assert contents(wal) == states[-2]
    assert Path(path).stat().st_size == ends[-2]
    wal.append([one(4, 3, b"after")])
    wal.close()
    assert len(segments(tmp_path)) == 2, "space that is not zero-filled is not written to"
    hard_state, entries, _ = reopened(tmp_path)
    assert (hard_state, entries[-1]) == (states[-2][0], entry(4, 3, b"after"))


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_flip_every_byte_is_refused_or_harmless(tmp_path: Path, bits: int):
    ends, states = build(tmp_path, SMALL)
    [path] = map(Path, segments(tmp_path))
    data = path.read_bytes()
    accepted = 0
    covered = set(range(512))
    for start, end in zip([512, *ends], ends, strict=False):
        covered |= set(range(start, whole(data, end) - 1))  # all but the end mark and the padding
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])
        try:
            found = reopened(tmp_path)
        except StorageCorrupt as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert found == states[-1], at
            assert at not in covered, at
            accepted += 1
    assert accepted


@pytest.mark.parametrize("bits", [0x01, 0xFF])
def test_flip_every_byte_while_open_is_found_by_reading(tmp_path: Path, bits: int):
    build(tmp_path, SMALL)
    [path] = map(Path, segments(tmp_path))
    wal = open_wal(tmp_path)
    good = contents(wal)
    data, refused = path.read_bytes(), 0
    with path.open("r+b", buffering=0) as file:
        for at in range(512, len(data)):
            file.seek(at)
            file.write(bytes([data[at] ^ bits]))
            try:
                assert contents(wal) == good, at
            except StorageCorrupt as error:
                assert str(path) in str(error)  # noqa: PT017
                refused += 1
            file.seek(at)
            file.write(data[at : at + 1])
    wal.close()
    assert refused > sum(len(found.data) for found in good[1])


def test_flips_in_an_older_segment_are_refused_or_harmless(tmp_path: Path):
    _, states = build(tmp_path, [[one(index, 1, b"x" * 700)] for index in range(1, 12)])
    paths = [Path(path) for path in segments(tmp_path)]
    assert len(paths) == 3
    data = paths[0].read_bytes()
    for at in range(0, len(data), 7):
        paths[0].write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        try:
            assert reopened(tmp_path) == states[-1], at
        except StorageCorrupt as error:
            assert "What to do" in str(error)  # noqa: PT017


def test_a_cut_in_an_older_segment_is_refused(tmp_path: Path):
    ends, states = build(tmp_path, [[one(index, 1, b"x" * 700)] for index in range(1, 12)])
    path = Path(segments(tmp_path)[0])
    data = path.read_bytes()
    last = whole(data, max(ends[:5]))
    for cut in (0, 511, 512, 600, 1300, last - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(StorageCorrupt, match=str(path)):
            open_wal(tmp_path)
    path.write_bytes(data[:last])
    assert reopened(tmp_path) == states[-1]


def sectors_of(start: int, end: int) -> list[tuple[int, int]]:
    """The parts of the 512-byte sectors between two offsets."""
    edges = [start, *range(start - start % 512 + 512, end, 512), end]
    return list(itertools.pairwise(edges))


LAST_BATCHES = {
    "text": b"v" * 2000,
    "zeros": bytes(2000),
    "zeros and text": bytes(700) + b"v" * 600 + bytes(700),
    "short": b"v",
}


@pytest.mark.parametrize("data", LAST_BATCHES.values(), ids=LAST_BATCHES.keys())
@pytest.mark.parametrize("lead", [0, 37, 400, 470])
def test_every_subset_of_sectors_of_the_last_batch(tmp_path: Path, data: bytes, lead: int):
    """A crash in the last write leaves any of its sectors: before it everything is kept, and it is whole or cut."""
    ends, states = build(tmp_path, [[one(1, 1, b"a" * lead)], [one(2, 1, data)]])
    [path] = map(Path, segments(tmp_path))
    full = path.read_bytes()
    end_mark = whole(full, ends[1]) - 1
    parts = sectors_of(ends[0], end_mark + 1)
    for mask in range(1 << len(parts)):
        torn = bytearray(full)
        for number, (start, end) in enumerate(parts):
            if not mask >> number & 1:
                torn[start:end] = bytes(end - start)
        path.write_bytes(torn)
        arrived = torn[:end_mark] == full[:end_mark]
        assert reopened(tmp_path) == states[2 if arrived else 1], mask


def test_a_flip_beside_zeros_by_right_is_not_taken_for_torn(tmp_path: Path):
    """The value contains zero sectors; a flip elsewhere in the batch must not make it look unfinished."""
    build(tmp_path, [[one(1)], [one(2, 1, b"head" + bytes(2000) + b"tail")]])
    [path] = map(Path, segments(tmp_path))
    path.write_bytes(path.read_bytes().replace(b"tail", b"tai1"))
    with pytest.raises(StorageCorrupt, match="checksum of batch 2"):
        open_wal(tmp_path)


@pytest.mark.parametrize("batch", [0, 1, 2, 3])
def test_a_lost_sector_before_a_later_batch_is_refused(tmp_path: Path, batch: int):
    """Zeros where a batch was are only unfinished work when nothing follows."""
    ends, _ = build(
        tmp_path, [[one(index, 1, b"x" * 900)] for index in range(1, 4)] + [[one(4)], [one(5)]], segment_bytes=8192
    )
    [path] = map(Path, segments(tmp_path))
    data = bytearray(path.read_bytes())
    start, end = ([512, *ends])[batch], ends[batch]
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(StorageCorrupt, match=f"{path} at byte {start}"):
        open_wal(tmp_path)


def test_garbage_of_every_kind_behind_the_last_batch(tmp_path: Path):
    """Random bytes in random places behind the end: refused, or cut with everything before it kept."""
    ends, states = build(tmp_path, SMALL[:3])
    [path] = map(Path, segments(tmp_path))
    data = path.read_bytes()
    chance = random.Random(5)
    for _ in range(200):
        start = chance.randrange(ends[-1], len(data) - 1)
        junk = chance.randbytes(chance.randrange(1, len(data) - start))
        path.write_bytes(data[:start] + junk + data[start + len(junk) :])
        try:
            assert reopened(tmp_path) == states[-1]
        except StorageCorrupt as error:
            assert f"{path} at byte {ends[-1]}" in str(error)  # noqa: PT017


def test_a_batch_of_another_log_is_not_valid_here(tmp_path: Path):
    """Same sequence number, same place, same length: only the seed tells that it belongs elsewhere."""
    ends, _ = build(tmp_path / "a", [[one(1)], [one(2, data=b"here")]])
    build(tmp_path / "b", [[one(1)], [one(2, data=b"else")]], member_id=2)
    [mine], [other] = segments(tmp_path / "a"), segments(tmp_path / "b")
    data, foreign = Path(mine).read_bytes(), Path(other).read_bytes()
    Path(mine).write_bytes(data[: ends[0]] + foreign[ends[0] : ends[1]] + data[ends[1] :])
    with pytest.raises(StorageCorrupt, match="damaged batch header"):
        open_wal(tmp_path / "a")


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_segment_is_refused(tmp_path: Path, missing: int):
    build(tmp_path, [[one(index, 1, b"x" * 700)] for index in range(1, 12)])
    path = Path(segments(tmp_path)[missing - 1])
    path.unlink()
    with pytest.raises(StorageCorrupt, match=rf"{path}.*missing.*What to do"):
        open_wal(tmp_path)


def test_all_segments_missing_is_not_a_new_log(tmp_path: Path):
    build(tmp_path, SMALL)
    Path(segments(tmp_path)[0]).unlink()
    with pytest.raises(StorageCorrupt, match="missing"):
        open_wal(tmp_path)


def test_segments_in_each_others_place_are_refused(tmp_path: Path):
    build(tmp_path, [[one(index, 1, b"x" * 700)] for index in range(1, 12)])
    first, second, _ = segments(tmp_path)
    keep = Path(first).read_bytes()
    shutil.copy(second, first)
    Path(second).write_bytes(keep)
    with pytest.raises(StorageCorrupt, match="is segment 2 by its header, not 1"):
        open_wal(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("cluster_id", "other"), ("member_id", 9), ("machine", "register")])
@pytest.mark.parametrize("identity", [True, False], ids=["", "without IDENTITY"])
def test_a_foreign_log_is_refused(tmp_path: Path, field: str, value: Any, identity: bool):
    _, states = build(tmp_path, SMALL)
    if not identity:
        (tmp_path / "IDENTITY").unlink()
    with pytest.raises(StorageCorrupt, match=rf"'?{value}'?.*correct the settings"):
        open_wal(tmp_path, **{field: value})
    assert reopened(tmp_path) == states[-1]


def test_unknown_versions_are_refused(tmp_path: Path):
    build(tmp_path, SMALL)
    path = Path(segments(tmp_path)[0])
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\x02" + data[9:])
    with pytest.raises(StorageCorrupt, match="format version 2 is unknown"):
        open_wal(tmp_path)
    path.write_bytes(data)
    identity = tmp_path / "IDENTITY"
    identity.write_text(identity.read_text().replace('"format_version":1', '"format_version":3'))
    with pytest.raises(StorageCorrupt, match="format version 3 is unknown"):
        open_wal(tmp_path)


def test_every_flip_in_the_identity_is_refused_or_harmless(tmp_path: Path):
    _, states = build(tmp_path, SMALL)
    path = tmp_path / "IDENTITY"
    data = path.read_bytes()
    for at in range(len(data)):
        for bits in (0x01, 0x04, 0x80):
            path.write_bytes(data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])
            try:
                assert reopened(tmp_path) == states[-1]
            except StorageCorrupt as error:
                assert str(tmp_path) in str(error)  # noqa: PT017
    for cut in range(len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(StorageCorrupt, match="unreadable identity"):
            open_wal(tmp_path)


def test_a_checksummed_entry_that_cannot_follow_is_refused(tmp_path: Path):
    """Cannot be written through the store, so its memory is forged first: a gap on disk is never replayed."""
    wal = open_wal(tmp_path)
    wal.append([one(1)])
    wal._index.add(2, 1, 0, 0, 0)
    wal.append([one(3)])
    wal.close()
    with pytest.raises(StorageCorrupt, match="entry 3 follows entry 1"):
        open_wal(tmp_path)


def test_numbers_of_entries_are_found_by_their_own_checksum(tmp_path: Path):
    wal = open_wal(tmp_path)
    wal.append([one(1, data=b"a" * 100), one(2, data=b"b" * 100)])
    path = Path(segments(tmp_path)[0])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"bbb", b"bab", 1))
    assert wal.read(1, 1, 10) == [Entry(1, 1, 1, b"a" * 100)]
    with pytest.raises(StorageCorrupt, match=rf"{path} at byte \d+: checksum of entry 2"):
        wal.read(1, 2, 1000)
    path.write_bytes(data[:600])
    with pytest.raises(StorageCorrupt, match="checksum of entry 1"):
        wal.read(1, 2, 1000)
    wal.close()
