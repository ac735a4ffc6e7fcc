"""What every log store promises, run against the one in memory and the one on disk in several settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raftkv.errors import BrokenInvariant, StorageFailed
from raftkv.raft.messages import Entry, HardState
from raftkv.storage.interface import LogStore, Write
from raftkv.storage.memory import MemoryLogStore
from tests.storage.disks import BYTES_ALL, Model, contents, entry, one, open_wal


class Store:
    """A store under test beside its naive twin; `reopen` starts its next life."""

    def __init__(self, make: Callable[[list[Write]], LogStore]) -> None:
        self._make, self._writes, self.model = make, list[Write](), Model()
        self.store = make([])

    def append(self, *writes: Write) -> None:
        self.store.append(writes)
        self._writes += writes
        self.model.append(writes)

    def reopen(self) -> None:
        self.store.close()
        self.store = self._make(self._writes)

    def check(self) -> None:
        """Entries can be read now; and after reopening, everything is as the twin says."""
        _, entries, _ = self.model.state()
        if entries:
            assert self.store.read(1, len(entries), BYTES_ALL) == entries
        self.reopen()
        assert contents(self.store) == self.model.state()


@pytest.fixture(params=["memory", "wal", "wal synced", "wal with helper", "wal in large segments"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    makers: dict[str, Callable[[list[Write]], LogStore]] = {
        "memory": MemoryLogStore,
        "wal": lambda _: open_wal(tmp_path),
        "wal synced": lambda _: open_wal(tmp_path, fsync=True),
        "wal with helper": lambda _: open_wal(tmp_path, fsync=True, prepare_ahead=True),
        "wal in large segments": lambda _: open_wal(tmp_path, segment_bytes=1 << 20),
    }
    made = Store(makers[request.param])
    yield made
    made.store.close()


def test_a_new_store_is_empty(store: Store):
    found = store.store.recovered
    assert (found.hard_state, found.first_index, found.last_index, found.terms) == (HardState(), 1, 0, [])


def test_entries_and_hard_state_come_back(store: Store):
    store.append(Write(HardState(3, 2, 0), []))
    store.append(Write(HardState(3, 2, 1), [entry(1, 3, b""), entry(2, 3, bytes(range(256)))]))
    store.append(one(3, 4, b"x" * 3000), one(4, 4))
    store.check()
    assert store.store.recovered.terms == [(1, 3), (3, 4)]


def test_kind_and_extreme_numbers_come_back(store: Store):
    store.append(Write(HardState((1 << 63) - 1, 1 << 40, 0), [Entry(1, 1 << 62, 0, b""), Entry(2, 1 << 62, 7, b"\0")]))
    store.check()


def test_the_newest_hard_state_wins(store: Store):
    for commit in range(5):
        store.append(Write(HardState(1, 1, commit), []), Write(HardState(2, 0, commit), []))
    store.check()
    assert store.store.recovered.hard_state == HardState(2, 0, 4)


def test_an_earlier_index_replaces_the_suffix(store: Store):
    store.append(*[one(index, 1) for index in range(1, 11)])
    store.append(Write(None, [entry(6, 2, b"new"), entry(7, 2, b"newer")]))
    store.check()
    assert store.store.recovered.last_index == 7
    assert store.store.recovered.terms == [(1, 1), (6, 2)]
    store.append(one(1, 3, b"all new"))
    store.check()


def test_replacing_within_one_append(store: Store):
    store.append(one(1, 1), one(2, 1), one(2, 2), one(3, 2), one(1, 5))
    store.check()


def test_appending_nothing_changes_nothing(store: Store):
    store.append(one(1))
    store.append()
    store.check()


def test_many_entries_over_many_appends(store: Store):
    for index in range(1, 200):
        store.append(one(index, index // 50, b"%d" % index * (index % 40)))
    store.check()
    store.append(one(200, 9))
    store.check()


def test_more_entries_in_one_append_than_the_kernel_takes_buffers(store: Store):
    store.append(Write(None, [entry(index) for index in range(1, 3001)]))
    store.check()


def test_an_append_larger_than_a_segment(store: Store):
    store.append(one(1, data=b"a" * 100))
    store.append(one(2, data=bytes(10_000)))
    store.append(one(3, data=b"c" * 100))
    store.check()


def test_reading_stops_at_the_bytes_asked_for_but_gives_one(store: Store):
    store.append(*[one(index, data=b"x" * 100) for index in range(1, 11)])
    assert store.store.read(4, 9, 0) == [entry(4, data=b"x" * 100)]
    assert [found.index for found in store.store.read(4, 9, 350)] == [4, 5, 6]
    assert [found.index for found in store.store.read(4, 9, BYTES_ALL)] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 1), (1, 4), (4, 4)])
def test_reading_what_is_not_there_is_refused(store: Store, first: int, last: int):
    store.append(one(1), one(2), one(3))
    with pytest.raises(BrokenInvariant):
        store.store.read(first, last, BYTES_ALL)


@pytest.mark.parametrize(
    "writes",
    [
        [one(3)],
        [one(0)],
        [one(2), one(4)],
        [Write(None, [entry(2), entry(4)])],
        [Write(None, [entry(2), entry(2)])],
    ],
    ids=["gap", "index 0", "gap in the batch", "gap in the write", "repeat in the write"],
)
def test_indexes_that_do_not_fit_are_refused_and_nothing_is_changed(store: Store, writes: list[Write]):
    store.append(one(1))
    with pytest.raises(BrokenInvariant):
        store.store.append(writes)
    store.append(one(2))
    store.check()


def test_a_closed_store_takes_nothing_and_closes_twice(store: Store):
    store.append(one(1))
    store.store.close()
    store.store.close()
    with pytest.raises(StorageFailed):
        store.store.append([one(2)])


def test_reading_from_another_thread_while_appending_and_replacing(store: Store):
    """Entry `index` of term `term` always holds both as data, so a mix-up of places would show."""

    def make(index: int, term: int) -> Entry:
        return entry(index, term, b"%d %d " % (index, term) * (index % 7))

    held = 20
    store.append(Write(None, [make(index, 0) for index in range(1, held + 1)]))
    done, wrong, rounds = threading.Event(), list[object](), 0

    def keep_reading() -> None:
        nonlocal rounds
        while not done.is_set() or not rounds:
            try:
                for found in store.store.read(1, held, BYTES_ALL):
                    if found != make(found.index, found.term):
                        wrong.append(found)
            except Exception as error:
                wrong.append(error)
            rounds += 1

    reader = threading.Thread(target=keep_reading)
    reader.start()
    for term in range(1, 200):
        first = 1 + term * 7 % held
        store.append(Write(None, [make(index, term) for index in range(first, held + 3)]))
    done.set()
    reader.join()
    assert not wrong
    assert rounds
    store.check()
