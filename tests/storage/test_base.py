"""A log that begins behind a base: what is forgotten, what stays, which segments go, and crashes in between."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftkv.errors import BrokenInvariant, StorageCorrupt, StorageFailed
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage import inspect
from raftkv.storage.interface import LogStore, Recovered, Write
from raftkv.storage.memory import MemoryLogStore
from tests.storage.disks import BYTES_ALL, FailingFiles, entry, open_wal, segments

State = tuple[Recovered, list[Entry]]


def state_of(store: LogStore) -> State:
    """What a store gives after opening."""
    found = store.recovered
    held = found.last_index >= found.first_index
    return found, store.read(found.first_index, found.last_index, BYTES_ALL) if held else []


def expected(writes: Sequence[Write]) -> State:
    return state_of(MemoryLogStore(writes))


def reopened(directory: object, **more: Any) -> State:
    wal = open_wal(directory, segment_bytes=1024, **more)
    try:
        return state_of(wal)
    finally:
        wal.close()


def run(directory: object, writes: Sequence[Write], **more: Any) -> None:
    wal = open_wal(directory, segment_bytes=1024, **more)
    try:
        for write in writes:
            wal.append([write])
    finally:
        wal.close()


def long_log(count: int = 40) -> list[Write]:
    """About a segment for every third entry."""
    return [
        Write(HardState(1, 1, index - 1), [entry(index, 1, bytes([65 + index % 26]) * 300)])
        for index in range(1, count + 1)
    ]


def test_segments_behind_the_base_go_and_the_rest_is_as_before(tmp_path: Path) -> None:
    load = [*long_log(), Write(None, [], (30, 1))]
    run(tmp_path, load[:-1])
    before = len(segments(tmp_path))
    run(tmp_path, load[-1:])
    assert len(segments(tmp_path)) < before / 2
    found, entries = reopened(tmp_path)
    assert (found, entries) == expected(load)
    assert (found.base, found.first_index, found.last_index) == ((30, 1), 31, 40)
    assert found.hard_state == HardState(1, 1, 39), "the newest one, though its segment may be gone"


def test_what_is_forgotten_cannot_be_read(tmp_path: Path) -> None:
    wal = open_wal(tmp_path, segment_bytes=1024)
    wal.append(long_log())
    wal.append([Write(None, [], (30, 1))])
    with pytest.raises(BrokenInvariant, match=r"31\.\.40 are held"):
        wal.read(30, 31, BYTES_ALL)
    assert [each.index for each in wal.read(31, 40, BYTES_ALL)] == list(range(31, 41))
    wal.close()


def test_a_base_that_the_log_does_not_have_empties_it(tmp_path: Path) -> None:
    """A snapshot of another, committed history has come: behind the end, or with another term in the middle."""
    for base in ((100, 3), (20, 2)):
        directory = tmp_path / str(base[0])
        load = [*long_log(), Write(HardState(3), [entry(base[0] + 1, 3)], base), Write(None, [entry(base[0] + 2, 3)])]
        run(directory, load)
        found, entries = reopened(directory)
        assert (found, entries) == expected(load)
        assert [each.index for each in entries] == [base[0] + 1, base[0] + 2]
        assert len(segments(directory)) <= 2


def test_entries_replaced_across_a_cut(tmp_path: Path) -> None:
    """The oldest segment kept may begin with entries that were replaced: they lie behind their successors' index."""
    load = [*long_log(40), Write(HardState(2), [entry(index, 2, b"x" * 200) for index in range(35, 45)])]
    load.append(Write(None, [], (36, 2)))
    load.append(Write(None, [entry(45, 2)]))
    run(tmp_path, load)
    assert reopened(tmp_path) == expected(load)


def test_memberships_above_the_base_are_recovered(tmp_path: Path) -> None:
    def membership(index: int, term: int, data: bytes) -> Write:
        return Write(None, [Entry(index, term, EntryKind.MEMBERSHIP, data)])

    load = [membership(1, 1, b"a"), membership(2, 1, b"b"), membership(3, 1, b"c"), membership(2, 2, b"d")]
    load += [Write(None, [], (1, 1)), Write(None, [entry(3, 2)])]
    run(tmp_path, load)
    found, _ = reopened(tmp_path)
    assert found.memberships == [(2, b"d")]
    assert found == expected(load)[0]


def test_a_base_never_goes_back(tmp_path: Path) -> None:
    for store in (open_wal(tmp_path, segment_bytes=1024), MemoryLogStore()):
        store.append([*long_log(), Write(None, [], (30, 1))])
        with pytest.raises(BrokenInvariant, match="begins behind"):
            store.append([Write(None, [], (29, 1))])
        store.close()


def test_a_segment_that_is_missing_behind_the_base_is_noticed(tmp_path: Path) -> None:
    run(tmp_path, [*long_log(), Write(None, [], (20, 1))])
    oldest = segments(tmp_path)[0]
    Path(oldest).unlink()
    with pytest.raises(StorageCorrupt, match="segment is missing"):
        open_wal(tmp_path, segment_bytes=1024)


def test_left_over_segments_go_at_the_next_opening(tmp_path: Path) -> None:
    run(tmp_path, long_log())
    kept = {name: Path(name).read_bytes() for name in segments(tmp_path)}
    run(tmp_path, [Write(None, [], (30, 1))])
    for name in sorted(kept)[:3]:
        Path(name).write_bytes(kept[name])
    assert reopened(tmp_path) == expected([*long_log(), Write(None, [], (30, 1))])
    assert not {*sorted(kept)[:3]} & {*segments(tmp_path)}


def test_verify_and_dump_know_the_base(tmp_path: Path) -> None:
    run(tmp_path, [*long_log(), Write(None, [], (30, 1))])
    report = inspect.verify(str(tmp_path))
    assert (report.first_index, report.last_index) == (31, 40)
    assert any("base index=30 term=1" in line for line in inspect.dump(str(tmp_path)))


# ---- crashes

LOAD: list[Write] = [
    *long_log(12),
    Write(None, [], (6, 1)),
    Write(HardState(2, 1), [entry(10, 2, b"y" * 400), entry(11, 2, b"z" * 400)]),
    Write(None, [entry(12, 2, b"w" * 400)], (11, 2)),
    Write(HardState(3), [entry(51, 3)], (50, 3)),
    Write(None, [entry(52, 3, b"v" * 900)]),
]


class CuttingFails(FailingFiles):
    def unlink(self, path: str) -> None:
        self._check()
        super().unlink(path)


def test_a_crash_at_any_call_leaves_the_state_before_or_after(tmp_path: Path) -> None:
    states = [expected(LOAD[:count]) for count in range(len(LOAD) + 1)]
    for fail_at in range(1, 400):
        directory, files, acknowledged = tmp_path / str(fail_at), CuttingFails(fail_at, errno.EIO, fail_at), 0
        try:
            wal = open_wal(directory, segment_bytes=1024, files=files)
        except StorageFailed:
            continue
        try:
            for write in LOAD:
                wal.append([write])
                acknowledged += 1
        except StorageFailed:
            pass
        except OSError as error:
            raise AssertionError(f"call {fail_at}: {error} is not a StorageFailed") from error
        files.fail_at = 1 << 30
        wal.close()
        found = reopened(directory)
        assert found in states[acknowledged : acknowledged + 2], f"call {fail_at}, {acknowledged} acknowledged"
        if acknowledged == len(LOAD):
            assert files.calls < fail_at
            return
    raise AssertionError("the load never came to its end")


# ---- twin


class Twin(RuleBasedStateMachine):
    """Random writes with and without a base, and reopenings, compared with the store in memory."""

    @initialize(segment_bytes=st.sampled_from([1024, 4096]))
    def begin(self, segment_bytes: int) -> None:
        self.directory = tempfile.mkdtemp(prefix="raftkv-base-")
        self.segment_bytes = segment_bytes
        self.wal = open_wal(self.directory, segment_bytes=segment_bytes)
        self.done: list[Write] = []
        self.term = 1

    @property
    def twin(self) -> MemoryLogStore:
        return MemoryLogStore(self.done)

    def _append(self, *writes: Write) -> None:
        self.wal.append(list(writes))
        self.done += writes

    @rule(back=st.integers(0, 4), sizes=st.lists(st.integers(0, 500), min_size=1, max_size=4), state=st.booleans())
    def append(self, back: int, sizes: list[int], state: bool) -> None:
        found = self.twin.recovered
        self.term += back > 0
        first = max(found.base[0] + 1, found.last_index + 1 - back)
        entries = [
            Entry(index, self.term, 1 + index % 2, b"%d" % index + bytes(size))
            for index, size in enumerate(sizes, first)
        ]
        self._append(Write(HardState(self.term, 1, found.base[0]) if state else None, entries))

    @rule(part=st.floats(0, 1), together=st.booleans())
    def compact(self, part: float, together: bool) -> None:
        found, entries = state_of(self.twin)
        if entries:
            at = entries[int(part * (len(entries) - 1))]
            more = [Write(None, [Entry(found.last_index + 1, self.term, 1, b"after")])] if together else []
            self._append(*more, Write(None, [], (at.index, at.term)), *[])

    @rule(ahead=st.integers(0, 5), with_entry=st.booleans())
    def install(self, ahead: int, with_entry: bool) -> None:
        found = self.twin.recovered
        self.term += 1
        base = (found.last_index + ahead, self.term) if ahead else (found.last_index + 1, self.term)
        entries = [Entry(base[0] + 1, self.term, 1, b"new")] if with_entry else []
        self._append(Write(HardState(self.term), entries, base))

    @rule()
    def reopen(self) -> None:
        self.wal.close()
        self.wal = open_wal(self.directory, segment_bytes=self.segment_bytes)
        assert state_of(self.wal) == state_of(self.twin)

    @invariant()
    def everything_can_be_read(self) -> None:
        found, entries = state_of(self.twin)
        if entries:
            assert self.wal.read(found.first_index, found.last_index, BYTES_ALL) == entries

    def teardown(self) -> None:
        self.reopen()
        self.wal.close()
        shutil.rmtree(self.directory)


Twin.TestCase.settings = settings(max_examples=60, stateful_step_count=25, derandomize=True)
TestTwin = Twin.TestCase
