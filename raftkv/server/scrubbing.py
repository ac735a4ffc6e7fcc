"""The scrub: now and then everything on disk is read again (storage/scrub.py), so that damage is found in time.

What is never read otherwise may be damaged for a year, and be found when the other copies are gone too. So each member
reads its own files slowly, in steps of about a megabyte in a thread of trio's, with pauses that keep to the rate.

What is found is told, by an error in the log and in INFO, and the member goes on serving: its memory is sound. With a
damaged log it will not start again, and says then what to do; so it had better be told now, while the others have
everything. A damaged snapshot is mended: a new one, of the state in memory, takes the place of all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import trio

from raftkv.errors import StorageCorrupt
from raftkv.server import driver
from raftkv.storage import scrub
from raftkv.storage.files import Files

if TYPE_CHECKING:
    from raftkv.settings import Storage
    from raftkv.storage.wal import Wal


class Scrub:
    """What the last pass has found, for INFO. `ended_ms`: Unix time; None: there was none yet. `replace_snapshots`: has
    a new one taken, behind which all others go."""

    def __init__(self, replace_snapshots: Callable[[], None]) -> None:
        self.ended_ms: int | None = None
        self.read_bytes = 0
        self.damage: list[str] = []
        self._replace_snapshots = replace_snapshots

    async def run(self, settings: Storage, data_dir: str, wal: Wal, log: Any) -> None:
        """One pass each `scrub_interval_s`, for ever. The first one comes after that time: the start has just read the
        whole log."""
        while settings.scrub_bytes_per_s:
            await trio.sleep(settings.scrub_interval_s)
            await self.read_all(settings.scrub_bytes_per_s, data_dir, wal, log)

    async def read_all(self, bytes_per_s: int, data_dir: str, wal: Wal, log: Any) -> None:
        """One pass."""
        files, progress = Files(), _Pass(bytes_per_s)
        if damage := await progress.read(lambda: scrub.log(files, wal.cold_segments())):
            log.error("scrub_found_damage", error=damage, action=REBUILD)
        if damage := await progress.read(lambda: scrub.snapshots(files, data_dir)):
            log.error("scrub_found_damage", error=damage, action=REPLACED)
            self._replace_snapshots()
        self.ended_ms, self.read_bytes, self.damage = driver.wall_ms(), progress.read_bytes, progress.damage
        log.info("scrubbed", read_bytes=self.read_bytes, damaged=len(self.damage))


class _Pass:
    def __init__(self, bytes_per_s: int) -> None:
        self.read_bytes = 0
        self.damage: list[str] = []
        self._bytes_per_s = bytes_per_s

    async def read(self, begin: Callable[[], Iterator[int]]) -> str | None:
        """To the end, or up to the first damage, which it returns."""
        steps = begin()
        try:
            while (step := await trio.to_thread.run_sync(functools.partial(next, steps, None))) is not None:
                self.read_bytes += step
                await trio.sleep(step / self._bytes_per_s)
        except (StorageCorrupt, OSError) as error:
            self.damage.append(str(error))
            return str(error)
        return None


REBUILD: Final = (
    "this member serves on from memory, but will not start from these files: stop it while the others are sound, and"
    " start it with --rebuild, which fetches everything anew"
)
REPLACED: Final = "nothing: a new snapshot is being taken, and takes the place of this one"
