"""The command table. A row stands in the file of its type, at the end; a new type's file is added here.

To add a command: handler and row in the file of its type, cases in the test file of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from raftkv.machines.interface import Command, command_table
from raftkv.machines.redis import (
    bitmaps,
    counters,
    dumping,
    expiry,
    geo,
    geo_search,
    hashes,
    hyperloglog,
    keys,
    keyspace,
    lcs,
    lists,
    objects,
    ranges,
    scan,
    set_algebra,
    sets,
    sort,
    strings,
    zset_algebra,
    zset_ranges,
    zsets,
)

ROWS: Final[tuple[Command, ...]] = (
    *strings.ROWS,
    *ranges.ROWS,
    *counters.ROWS,
    *lcs.ROWS,
    *hashes.ROWS,
    *sets.ROWS,
    *set_algebra.ROWS,
    *lists.ROWS,
    *zsets.ROWS,
    *zset_ranges.ROWS,
    *zset_algebra.ROWS,
    *bitmaps.ROWS,
    *sort.ROWS,
    *hyperloglog.ROWS,
    *geo.ROWS,
    *geo_search.ROWS,
    *keys.ROWS,
    *objects.ROWS,
    *scan.ROWS,
    *expiry.ROWS,
    *keyspace.ROWS,
    *dumping.ROWS,
)

COMMANDS: Final[Mapping[bytes, Command]] = command_table(ROWS)
