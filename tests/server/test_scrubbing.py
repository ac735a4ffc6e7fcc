"""The scrub of a member: its rate, what it tells of damage, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from raftkv.server.scrubbing import Scrub
from raftkv.settings import Storage
from raftkv.storage.wal import Wal
from tests.storage.disks import open_wal, segments
from tests.storage.snapshots import open_store, take
from tests.storage.test_base import long_log

SETTINGS: Any = SimpleNamespace(scrub_bytes_per_s=1000, scrub_interval_s=3600)


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    info = error


class Bench:
    """A data directory with a log of several segments and two snapshots, and its scrub."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wal: Wal = open_wal(directory, segment_bytes=1024)
        for write in long_log(8):
            self.wal.append([write])
        store = open_store(directory)
        self.snapshots = [store.path((take(store, index).meta.index, 1)) for index in (3, 5)]
        self.log, self.replaced = Log(), 0
        self.scrub = Scrub(self._replace)

    def _replace(self) -> None:
        self.replaced += 1

    async def read_all(self) -> list[dict[str, Any]]:
        """What the log says of damage."""
        self.log.lines.clear()
        await self.scrub.read_all(SETTINGS.scrub_bytes_per_s, str(self.directory), self.wal, self.log)
        return [fields for event, fields in self.log.lines if event == "scrub_found_damage"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.wal.close()


def flip(path: str, at: int) -> None:
    data = bytearray(Path(path).read_bytes())
    data[at] ^= 1
    Path(path).write_bytes(data)


async def test_a_pass_reads_all_at_the_rate_that_is_set(bench: Bench, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await bench.read_all() == []
    cold = sum(segment.end for segment in bench.wal.cold_segments())
    assert bench.scrub.read_bytes > cold + 200
    assert trio.current_time() - began == pytest.approx(bench.scrub.read_bytes / 1000)
    assert (bench.scrub.damage, bench.replaced) == ([], 0)


async def test_damage_of_the_log_is_told_and_the_snapshots_are_read_all_the_same(
    bench: Bench, autojump_clock: MockClock
) -> None:
    damaged = segments(bench.directory)[1]
    flip(damaged, 200)
    flip(bench.snapshots[0], -30)
    in_log, in_snapshot = await bench.read_all()
    assert f"{damaged} at byte" in in_log["error"]
    assert "--rebuild" in in_log["action"]
    assert bench.snapshots[0] in in_snapshot["error"]
    assert len(bench.scrub.damage) == 2


async def test_a_damaged_snapshot_is_replaced(bench: Bench, autojump_clock: MockClock) -> None:
    flip(bench.snapshots[1], 150)
    [told] = await bench.read_all()
    assert (bench.replaced, told["action"].split(":")[0]) == (1, "nothing")


async def test_the_first_pass_comes_after_the_interval_and_none_when_it_is_off(
    bench: Bench, autojump_clock: MockClock
) -> None:
    off: Storage = SimpleNamespace(scrub_bytes_per_s=0)  # type: ignore[assignment]
    await bench.scrub.run(off, str(bench.directory), bench.wal, bench.log)
    with trio.move_on_after(3599):
        await bench.scrub.run(SETTINGS, str(bench.directory), bench.wal, bench.log)
    assert bench.scrub.ended_ms is None
