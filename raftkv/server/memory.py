"""How much memory this process takes up, and whether that is more than `redis.memory_bytes_max`.

Two numbers are to be had cheaply: the memory in RAM (from the system) and the number of live blocks (from Python's
allocator, large ones included). RAM alone would not do: what is freed in between stays with the process, and a server
that was full once would refuse writes for ever, whatever is deleted. So below the greatest height of RAM so far the
blocks are counted, each for what a block took on average at that height; and what RAM grows beyond it is in use::

    used = base + (used at the height - base) * (blocks - base blocks) / (blocks at the height - base blocks)
    at a new height: used = what that gives + what RAM has grown, at most all of RAM

While values are only added, that is RAM. Counting walks over all of the allocator's pools (a fraction of a millisecond
for each gigabyte), so it is done at new heights, for INFO, and while RAM alone is above the limit.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

from raftkv.storage.files import Files

PAGE_BYTES: Final = resource.getpagesize()
LOOK_INTERVAL_MS: Final = 100
"""So often the limit is looked at: a fast client writes some ten megabytes meanwhile."""

HIGHER: Final = 1.01
"""RAM that has grown by so much is a new height."""


def resident_bytes() -> int:
    """The process's memory that is in RAM now; its peak, where the system does not tell."""
    files = Files()
    try:
        fd = files.open_read("/proc/self/statm")
        try:
            return int(files.pread(fd, 256, 0).split()[1]) * PAGE_BYTES
        finally:
            files.close(fd)
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class MemoryGauge:
    """`full`: the last verdict of `look`."""

    def __init__(self) -> None:
        self._base_bytes = self._height_bytes = self._height_used_bytes = resident_bytes()
        self._base_blocks = self._height_blocks = sys.getallocatedblocks()
        self._looked_ms = 0
        self._limit_bytes = 0
        self.full = False

    def used_bytes(self) -> int:
        """About so many bytes are in use: RAM without what is free for new values."""
        resident, blocks = resident_bytes(), sys.getallocatedblocks()
        used = min(resident, self._used_for(blocks) + max(0, resident - self._height_bytes))
        if resident > self._height_bytes:
            self._height_bytes, self._height_blocks, self._height_used_bytes = resident, blocks, used
        return used

    def _used_for(self, blocks: int) -> int:
        grown = self._height_blocks - self._base_blocks
        if grown <= 0:
            return self._height_bytes
        share = max(0.0, (blocks - self._base_blocks) / grown)
        return self._base_bytes + int((self._height_used_bytes - self._base_bytes) * share)

    def look(self, limit_bytes: int, now_ms: int) -> bool:
        """Whether more than `limit_bytes` are used (0: no limit), as of not long ago."""
        if limit_bytes != self._limit_bytes or now_ms - self._looked_ms >= LOOK_INTERVAL_MS:
            self._limit_bytes, self._looked_ms = limit_bytes, now_ms
            resident = resident_bytes()
            is_above = 0 < limit_bytes < resident
            if is_above or resident > self._height_bytes * HIGHER:
                used = self.used_bytes()
            self.full = is_above and used > limit_bytes
        return self.full
