"""Random appends, replacements, reads, crashes and torn tails, compared with a naive twin after every step."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftkv.raft.messages import HardState
from raftkv.storage.files import Files
from raftkv.storage.interface import Write
from raftkv.storage.records import Held, encode_batch
from tests.storage.disks import BYTES_ALL, Model, contents, entry, open_wal

DATA = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 3000).map(bytes),
    st.builds(lambda a, n, b: a + bytes(n) + b, st.binary(max_size=9), st.integers(0, 2500), st.binary(max_size=9)),
)
SHAPES = st.lists(
    st.tuples(
        st.booleans(),  # with a hard state
        st.integers(0, 5),  # how far it goes back
        st.lists(DATA, max_size=4),
    ),
    min_size=1,
    max_size=3,
)


class Twin(RuleBasedStateMachine):
    @initialize(segment_bytes=st.sampled_from([1024, 4096, 1 << 16]))
    def begin(self, segment_bytes: int) -> None:
        self.directory = tempfile.mkdtemp(prefix="raftkv-twin-")
        self.settings: dict[str, Any] = {"segment_bytes": segment_bytes}
        self.model, self.term = Model(), 1
        self.wal = open_wal(self.directory, **self.settings)

    def writes(self, shapes: list[tuple[bool, int, list[bytes]]]) -> list[Write]:
        made, last = list[Write](), len(self.model.entries)
        for with_state, back, data in shapes:
            self.term += back > 0
            first = max(1, last + 1 - back)
            state = HardState(self.term, 1, last) if with_state or not data else None
            made.append(Write(state, [entry(index, self.term, each) for index, each in enumerate(data, first)]))
            last = first + len(data) - 1 if data else last
        return made

    @rule(shapes=SHAPES)
    def append(self, shapes: list[tuple[bool, int, list[bytes]]]) -> None:
        made = self.writes(shapes)
        self.wal.append(made)
        self.model.append(made)

    @rule()
    def reopen(self) -> None:
        self.wal.close()
        self.wal = open_wal(self.directory, **self.settings)
        assert contents(self.wal) == self.model.state()

    @rule(shapes=SHAPES, arrived=st.lists(st.booleans(), min_size=1, max_size=40))
    def crash_in_an_append(self, shapes: list[tuple[bool, int, list[bytes]]], arrived: list[bool]) -> None:
        """Some sectors of one more batch reach the disk; then the member starts again."""
        made, live = self.writes(shapes), self.wal._live
        last = len(self.model.entries)
        buffers, size, _ = encode_batch(made, self.wal._sequence, live.seed, live.end, Held(0, last))
        fits = live.end + size <= live.size
        if fits:
            scatter(live.path, b"".join(buffers), live.end, arrived)
        self.wal.close()
        self.wal = open_wal(self.directory, **self.settings)
        before = self.model.state()
        if fits:
            self.model.append(made)
        after, found = self.model.state(), contents(self.wal)
        assert found in (before, after)
        self.model.hard_state, self.model.entries = found[0], found[1]

    @precondition(lambda self: self.model.entries)
    @rule(chance=st.randoms(use_true_random=False), bytes_max=st.integers(0, 5000))
    def read(self, chance: Any, bytes_max: int) -> None:
        last = len(self.model.entries)
        first = chance.randint(1, last)
        last = chance.randint(first, last)
        found = self.wal.read(first, last, bytes_max)
        assert found
        assert found == self.model.entries[first - 1 : first - 1 + len(found)]
        if len(found) <= last - first:
            assert sum(len(each.data) + 32 for each in self.model.entries[first - 1 : first + len(found)]) > bytes_max

    @invariant()
    def everything_can_be_read(self) -> None:
        if self.model.entries:
            assert self.wal.read(1, len(self.model.entries), BYTES_ALL) == self.model.entries

    def teardown(self) -> None:
        self.wal.close()
        shutil.rmtree(self.directory)


def scatter(path: str, data: bytes, offset: int, arrived: list[bool]) -> None:
    """Writes those 512-byte sectors of `data` that `arrived` says, which is repeated as needed."""
    files, at, step, number = Files(), 0, 512 - offset % 512, 0
    fd = files.open_write(path)
    while at < len(data):
        if arrived[number % len(arrived)]:
            files.pwritev(fd, [data[at : at + step]], offset + at)
        at, step, number = at + step, 512, number + 1
    files.close(fd)


Twin.TestCase.settings = settings(max_examples=60, stateful_step_count=25, derandomize=True)
TestTwin = Twin.TestCase
