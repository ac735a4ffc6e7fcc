"""Random snapshots taken, given up, sent, pruned and read late: the stores on disk and in memory agree always."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftkv.errors import StorageCorrupt
from raftkv.storage.interface import SnapshotReader, SnapshotStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from tests.storage.snapshots import Slices, content, meta, open_store, raw

SLICES = st.lists(
    st.tuples(st.integers(1, 3), st.one_of(st.binary(max_size=30), st.integers(0, 9000).map(bytes))), max_size=6
)
INDEX, TERM = st.integers(1, 5), st.integers(1, 3)


class Twin(RuleBasedStateMachine):
    """Two members, each with a store on disk and one in memory."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="raftkv-twin-"))
        self.disk = [self.opened(member) for member in (0, 1)]
        self.memory = [MemorySnapshotStore(), MemorySnapshotStore()]
        self.readers = list[tuple[SnapshotReader, SnapshotReader]]()
        self.taken = 0

    def opened(self, member: int) -> Any:
        return open_store(self.directory / str(member))

    def both(self, call: Callable[[SnapshotStore, SnapshotStore], Any], member: int) -> None:
        """`call` with a member's own store and the other member's, on disk and in memory."""
        disk, memory = (self.outcome(call, stores[member], stores[1 - member]) for stores in (self.disk, self.memory))
        assert disk == memory

    def outcome(
        self, call: Callable[[SnapshotStore, SnapshotStore], Any], own: SnapshotStore, other: SnapshotStore
    ) -> Any:
        try:
            return call(own, other)
        except (OSError, StorageCorrupt) as error:
            return type(error)

    @rule(member=st.integers(0, 1), index=INDEX, term=TERM, slices=SLICES, finish=st.booleans())
    def take(self, member: int, index: int, term: int, slices: Slices, finish: bool) -> None:
        self.taken += 1

        def call(own: SnapshotStore, _: SnapshotStore) -> Any:
            writer = own.create(meta(index, term, time_ms=self.taken))
            for kind, data in slices:
                writer.write(kind, data)
            if finish:
                return writer.finish().meta
            return writer.abandon()

        self.both(call, member)

    @precondition(lambda self: self.memory[0].files or self.memory[1].files)
    @rule(
        member=st.integers(0, 1),
        which=st.integers(0, 9),
        chunk_bytes=st.integers(500, 5000),
        wrong_index=st.sampled_from([0, 0, 0, 1]),
        missing=st.sampled_from([0, 0, 0, 1]),
        more=st.sampled_from([0, 0, 0, 1]),
    )
    def send(self, member: int, which: int, chunk_bytes: int, wrong_index: int, missing: int, more: int) -> None:
        def call(own: SnapshotStore, other: SnapshotStore) -> Any:
            if not other.list():
                return None
            info = other.list()[which % len(other.list())]
            data = raw(other, info)
            receiver = own.receive(info.meta.index + wrong_index, info.meta.term, len(data))
            data = data[: len(data) - missing] + bytes(more)
            for at in range(0, len(data), chunk_bytes):
                receiver.write(data[at : at + chunk_bytes])
            return receiver.finish().meta

        self.both(call, member)

    @rule(member=st.integers(0, 1), keep=st.integers(0, 3))
    def prune(self, member: int, keep: int) -> None:
        self.both(lambda own, _: own.prune(keep), member)

    @precondition(lambda self: self.memory[0].files)
    @rule(which=st.integers(0, 9))
    def begin_reading(self, which: int) -> None:
        at = which % len(self.disk[0].list())
        self.readers.append(
            (self.disk[0].open(self.disk[0].list()[at]), self.memory[0].open(self.memory[0].list()[at]))
        )

    @precondition(lambda self: self.readers)
    @rule()
    def read(self) -> None:
        disk, memory = self.readers.pop(0)
        assert list(disk.slices()) == list(memory.slices())
        disk.close()

    @rule(member=st.integers(0, 1))
    def reopen(self, member: int) -> None:
        before = self.disk[member].list()
        self.disk[member] = self.opened(member)
        assert self.disk[member].list() == before

    @invariant()
    def they_agree(self) -> None:
        for disk, memory in zip(self.disk, self.memory, strict=True):
            assert [info.meta for info in disk.list()] == [info.meta for info in memory.list()]
            for one, other in zip(disk.list(), memory.list(), strict=True):
                assert content(disk, one) == content(memory, other)

    def teardown(self) -> None:
        for disk, _ in self.readers:
            disk.close()
        shutil.rmtree(self.directory)


TestTwin = Twin.TestCase
TestTwin.settings = settings(max_examples=60, stateful_step_count=20, derandomize=True)
