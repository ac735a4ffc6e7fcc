"""The disk thread with stores that wait or fail when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from raftkv.errors import StorageCorrupt, StorageFailed
from raftkv.raft.messages import HardState
from raftkv.server.disk import DiskThread
from raftkv.server.hub import Hub
from raftkv.storage.interface import Write
from raftkv.storage.memory import MemoryLogStore

WAIT_S = 10.0


class HeldStore(MemoryLogStore):
    """Each append waits for `let_one`; what has been appended, call by call, is in `groups`."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[int]] = []
        self.fails_with: BaseException | None = None
        self.begun = threading.Semaphore(0)
        self._let = threading.Semaphore(0)

    def append(self, writes: Sequence[Write]) -> None:
        self.begun.release()
        assert self._let.acquire(timeout=WAIT_S)
        if self.fails_with is not None:
            raise self.fails_with
        self.groups.append([write.hard_state.term for write in writes if write.hard_state is not None])

    def let(self, count: int) -> None:
        self._let.release(count)


class Bench:
    def __init__(self) -> None:
        self.hub = Hub()
        self.store = HeldStore()
        self.synced: list[int] = []
        self.disk = DiskThread(self.store, self.hub, self.synced.append)

    def submit(self, *sequences: int) -> None:
        for sequence in sequences:
            self.disk.submit(sequence, Write(HardState(sequence), []))

    def wait_begun(self) -> None:
        assert self.store.begun.acquire(timeout=WAIT_S)

    def wait_bell(self) -> None:
        """One pass of the hub, which waits for the bell."""
        assert self.hub._pass(WAIT_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.store.let(1000)
    bench.disk.stop()
    bench.hub.close()


def test_what_gathers_during_a_sync_is_one_group(bench: Bench) -> None:
    bench.submit(1)
    bench.wait_begun()
    bench.submit(2, 3, 4)
    bench.store.let(1)
    bench.wait_bell()
    assert bench.synced == [1]
    bench.wait_begun()
    bench.store.let(1)
    bench.wait_bell()
    assert bench.synced == [1, 4]
    assert bench.store.groups == [[1], [2, 3, 4]]


def test_nothing_is_said_to_be_synced_before_it_is(bench: Bench) -> None:
    bench.submit(1, 2)
    bench.wait_begun()
    assert not bench.hub._pass(0.0)
    assert bench.synced == []
    bench.store.let(2)


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (StorageFailed("no space left"), StorageFailed, "no space left"),
        (StorageCorrupt("damaged"), StorageCorrupt, "damaged"),
        (OSError(28, "No space left on device"), StorageFailed, "No space left on device"),
        (MemoryError("out of memory"), StorageFailed, "out of memory"),
    ],
)
def test_a_failure_is_raised_in_the_hub_and_ends_the_thread(
    bench: Bench, error: BaseException, raised: type[Exception], text: str
) -> None:
    bench.store.fails_with = error
    bench.submit(1)
    bench.wait_begun()
    bench.submit(2)
    bench.store.let(1)
    with pytest.raises(raised, match=text):
        bench.wait_bell()
    assert bench.synced == []
    bench.disk._thread.join(timeout=WAIT_S)
    assert not bench.disk._thread.is_alive()
    assert bench.store.groups == []  # what waited behind it was not written


def test_stop_finishes_what_was_submitted() -> None:
    bench = Bench()
    bench.submit(1)
    bench.wait_begun()
    bench.submit(2, 3)
    bench.store.let(10)
    bench.disk.stop()
    assert [term for group in bench.store.groups for term in group] == [1, 2, 3]
    assert not bench.disk._thread.is_alive()
    bench.hub.close()
