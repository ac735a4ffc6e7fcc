"""Watched keys: how EXEC finds out, on every member alike, whether a key has changed since its WATCH.

WATCH goes through the log and enters its keys into their database's table, each with the *version* of its last change.
The version counts the changes of watched keys, all databases together, and never goes back. The client's connection
keeps the version at which it began to watch (its *stamp*), and sends it along with EXEC. A key is unchanged if and only
if it is in the table still and its version is not above the stamp.

So keys that nobody watches cost nothing, and whatever is forgotten lets a transaction fail, never succeed: an entry
ends WATCH_MS after its last WATCH, and the oldest go when there are too many. A key that is entered anew gets a new
version, above all stamps of the time before, since nobody has seen what happened to it meanwhile.

A transaction that writes takes its own watches back (`leave`), so that the table is empty again when clients behave.
`watchers` counts those that are still to come. UNWATCH and lost connections are not told to the log; their entries end
by time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

WATCH_MS: Final = 600_000
"""A transaction must come so soon after its WATCH, in log time; also when a person types it."""

WATCHED_KEYS_MAX: Final = 16_384
WATCHED_BYTES_MAX: Final = 16 * 1024 * 1024
"""So many keys, and bytes of their names, are watched at a time. Beyond that the oldest are no longer. A snapshot
copies all entries when it begins: 3 ms."""

ENDED_MAX: Final = 1000
"""So many entries one log entry lets end: less than a millisecond of work."""


class Watch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """since: the version when the key was entered. changed: that of its last change, or `since`. watchers: how many
    transactions have not come yet. ends_ms: log time. Never changed in place: a snapshot may hold it."""

    since: int
    changed: int
    watchers: int
    ends_ms: int


WatchedKey = tuple[int, bytes, Watch]
"""(database, key, its entry)"""

Table = OrderedDict[bytes, Watch]
"""In the order of the last WATCH, and so of `ends_ms`."""


class Watches:
    """The tables of all databases. version: as of the last change of a watched key."""

    def __init__(self, databases: int) -> None:
        self.version = 0
        self.tables: list[Table] = [OrderedDict() for _ in range(databases)]
        self.count = 0
        self.size_bytes = 0

    def enter(self, table: Table, key: bytes, now_ms: int) -> None:
        """The key is watched from now on, by one more."""
        ends_ms = now_ms + WATCH_MS
        before = table.get(key)
        if before is not None:
            table[key] = Watch(before.since, before.changed, before.watchers + 1, ends_ms)
            table.move_to_end(key)
            return
        self.version += 1
        table[key] = Watch(self.version, self.version, 1, ends_ms)
        self.count += 1
        self.size_bytes += len(key)
        while self.count > WATCHED_KEYS_MAX or self.size_bytes > WATCHED_BYTES_MAX:
            oldest = min(filter(None, self.tables), key=_first_end_ms)
            self._drop(oldest, next(iter(oldest)))

    def note_change(self, table: Table, key: bytes) -> None:
        """The key is in the table, and has changed."""
        before = table[key]
        self.version += 1
        table[key] = Watch(before.since, self.version, before.watchers, before.ends_ms)

    def leave(self, table: Table, key: bytes, stamp: int) -> None:
        """Who watched the key from `stamp` on does so no longer."""
        before = table.get(key)
        if before is None or before.since > stamp:  # it was entered anew, by others
            return
        if before.watchers == 1:
            self._drop(table, key)
        else:
            table[key] = Watch(before.since, before.changed, before.watchers - 1, before.ends_ms)

    def end(self, now_ms: int) -> bool:
        """Drop what has come to its end, ENDED_MAX at most; whether there was anything."""
        budget = ENDED_MAX
        for table in self.tables:
            while table and budget and _first_end_ms(table) <= now_ms:
                self._drop(table, next(iter(table)))
                budget -= 1
        return budget < ENDED_MAX

    def _drop(self, table: Table, key: bytes) -> None:
        del table[key]
        self.count -= 1
        self.size_bytes -= len(key)

    def load(self, version: int, entries: list[WatchedKey]) -> None:
        """What a snapshot had. Raises IndexError."""
        self.version = version
        for number, key, watch in entries:
            self.tables[number][key] = watch
            self.count += 1
            self.size_bytes += len(key)

    def entries(self) -> list[WatchedKey]:
        """What `load` takes."""
        return [(number, key, watch) for number, table in enumerate(self.tables) for key, watch in table.items()]


def _first_end_ms(table: Table) -> int:
    return next(iter(table.values())).ends_ms
