"""The scrub: now and then everything on disk is read again (storage/scrub.py), so that damage is found in time.

What is never read otherwise may be damaged for a year, and be found when the other copies are gone too. So each member
reads its own files slowly, in steps of about a megabyte in a thread of trio's, with pauses that keep to the rate.

What is found is told, by an error in the log and in INFO, and the member goes on serving: its memory is sound. It will
not start again with that log, and says then what to do; so it had better be told now, while the others have everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import trio

from raftkv.errors import StorageCorrupt
from raftkv.server import driver
from raftkv.storage import scrub
from raftkv.storage.files import Files

if TYPE_CHECKING:
    from raftkv.settings import Storage
    from raftkv.storage.wal import Wal


class Scrub:
    """What the last pass has found, for INFO. `ended_ms`: Unix time; None: there was none yet."""

    def __init__(self) -> None:
        self.ended_ms: int | None = None
        self.read_bytes = 0
        self.damage: list[str] = []

    async def run(self, settings: Storage, data_dir: str, wal: Wal, log: Any) -> None:
        """One pass each `scrub_interval_s`, for ever. The first one comes after that time: the start has just read the
        whole log."""
        while settings.scrub_bytes_per_s:
            await trio.sleep(settings.scrub_interval_s)
            await self._pass(settings.scrub_bytes_per_s, data_dir, wal, log)

    async def _pass(self, bytes_per_s: int, data_dir: str, wal: Wal, log: Any) -> None:
        files, damage, read_bytes = Files(), list[str](), 0
        parts: tuple[Callable[[], Iterator[int]], ...] = (
            lambda: scrub.log(files, wal.cold_segments()),
            lambda: scrub.snapshots(files, data_dir),
        )
        for make in parts:
            steps = make()
            try:
                while (step := await trio.to_thread.run_sync(functools.partial(next, steps, None))) is not None:
                    read_bytes += step
                    await trio.sleep(step / bytes_per_s)
            except (StorageCorrupt, OSError) as error:
                damage.append(str(error))
        for found in damage:
            log.error("scrub_found_damage", error=found, action=WHAT_TO_DO)
        self.ended_ms, self.read_bytes, self.damage = driver.wall_ms(), read_bytes, damage
        log.info("scrubbed", read_bytes=read_bytes, damaged=len(damage))


WHAT_TO_DO = (
    "this member serves on from memory, but will not start from these files: stop it while the others are sound, and"
    " start it with --rebuild, which fetches everything anew"
)
