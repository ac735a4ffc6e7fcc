"""The keyspace: numbered databases under one log time.

A database is a dict from key to value, and a second dict from key to deadline for the keys that expire. A third
structure finds the next deadline: a heap of (deadline, key) that is allowed to be behind. Its one promise: for each
key that expires there is an entry not later than its deadline. So putting a deadline off (a session that is
renewed at each visit) touches the heap not at all; the entry is corrected when it comes to the top. Entries of keys
that are gone or no longer expire are dropped there too, or all at once when they outnumber the live ones.

Time is the log's: a key is gone if and only if its deadline <= the time of the last applied entry. Each entry removes
due keys before its commands run, at most SWEEP_KEYS_MAX of them so that a million keys of one deadline do not stop
the member; `overdue` says that some were left, and only then need look-ups compare times. Which keys a sweep
removes follows from deadlines and keys alone, never from the heap's inner state: that differs on a member that
was restored.

The rule for handlers: `peek` when the command only reads, `fetch` when it writes (it removes an overdue key). A
collection may be changed in place only if it came from `fetch`; what changed it then says so by `touch` or `settle`.

Four things must hear of changes now and then: the key index, a snapshot that is under way (`kept`, see snapshot.py),
watched keys (watches.py), and look-ups while keys are overdue. One flag, `plain`, says that none of them is there, so
that a command pays one test for all four. While a snapshot lists the keys, an `Overlay` stands in for the dict of
values (overlay.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import Any, Final, TypeVar

from raftkv.machines.interface import Context
from raftkv.machines.redis.graveyard import bury, free_some
from raftkv.machines.redis.keyindex import KeyIndex
from raftkv.machines.redis.overlay import Overlay
from raftkv.machines.redis.refusals import WRONG_TYPE, Refused
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import Collection, Value
from raftkv.machines.redis.watches import Watches
from raftkv.machines.replies import Walk

C = TypeVar("C", bound=Collection)

SWEEP_KEYS_MAX: Final = 1000
"""Due keys removed by one entry: about a millisecond of work."""

MERGE_KEYS_MAX: Final = 1000
"""Changes that one entry carries from overlays into their dicts: less than a millisecond of work."""

_STALE_SPARE: Final = 1024


class Space:
    """All databases of one machine, and the two times.

    log_time_ms: time of the last applied entry: judges whether a key exists.
    clock_ms: what "now" means in replies that tell a remaining time; never below log_time_ms.
    is_merging: whether an overlay that may be merged is there.
    entry: the entry that is being carried out, or the last one.
    """

    __slots__ = (
        "_frozen",
        "chance_counter",
        "clock_ms",
        "databases",
        "entry",
        "is_merging",
        "log_time_ms",
        "thresholds",
        "watches",
    )

    def __init__(self, databases: int) -> None:
        self.log_time_ms = 0
        self.clock_ms = 0
        self.chance_counter = 0
        self.is_merging = False
        self._frozen: dict[int, Collection] = {}
        """By their ids: those that may keep changes aside."""

        self.thresholds = Thresholds()
        self.entry: Context | None = None
        self.watches = Watches(databases)
        self.databases = [Database(self, number) for number in range(databases)]

    def advance(self, entry: Context) -> None:
        """Begin with an entry: move the log time and remove a slice of what has come due."""
        self.entry = entry
        now_ms = self.log_time_ms = self.clock_ms = max(entry.time_ms, self.log_time_ms)
        free_some()
        if self.is_merging:
            self.merge()
        if self._frozen:
            self._thaw()
        if self.watches.count and self.watches.end(now_ms):
            for database in self.databases:
                database.look_around()
        budget = SWEEP_KEYS_MAX
        for database in self.databases:
            heap = database.deadlines
            if heap and heap[0][0] <= now_ms:
                budget = database.sweep(budget)

    def merge(self) -> None:
        """Merge a slice of what thawed overlays hold."""
        budget = MERGE_KEYS_MAX
        for database in self.databases:
            budget = database.merge(budget)
        self.is_merging = any(isinstance(database.values, Overlay) for database in self.databases)

    def frozen(self, collection: C) -> C:
        """What `collection` is now, to be read only, whatever becomes of it: even a large one costs next to nothing.
        Let go of it when it is read, for meanwhile changes of the collection are kept aside."""
        self._frozen[id(collection)] = collection
        return collection.frozen()

    def walk(self, collection: C, take: Callable[[C], Iterable[Any]]) -> Walk:
        """For a reply: what `take` finds in what `collection` is now, an item for each member."""
        frozen = self.frozen(collection)
        return Walk(len(frozen), lambda: take(frozen))

    def _thaw(self) -> None:
        """Carry a slice of what they have kept aside to where it belongs."""
        for number, collection in list(self._frozen.items()):
            if collection.thaw(MERGE_KEYS_MAX):
                del self._frozen[number]

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline of any key; in the past when a sweep left something over."""
        firsts = [first for d in self.databases if d.deadlines and (first := d.first_deadline_ms()) is not None]
        return min(firsts, default=None)

    @property
    def entry_random(self) -> Random:
        """Chance for commands that change the state: the same on every member."""
        assert self.entry is not None
        return self.entry.random

    def read_random(self) -> Random:
        """Chance for commands that only read."""
        return Random(self.chance())

    def chance(self) -> int:
        """64 bits that look random (splitmix64 over a counter). For replies to reads only: the counter is not
        part of the state, so members differ in it."""
        self.chance_counter = (self.chance_counter + 0x9E3779B97F4A7C15) & _MASK64
        mixed = self.chance_counter
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK64
        return mixed ^ (mixed >> 31)


_MASK64: Final = 2**64 - 1


class Kept:
    """What keys held when a snapshot began, of those that have changed since.

    values: key -> its value; None: it is written out already.
    deadlines: key -> its deadline, where it had one.
    Two dicts, because the garbage collector would walk a dict of pairs again and again.
    """

    __slots__ = ("deadlines", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, Value | None] = {}
        self.deadlines: dict[bytes, int] = {}


class Database:
    """One numbered database. Handlers may read `values` and `expires`; they change them by the methods alone,
    except SET's fast path, which repeats `replace` in line."""

    __slots__ = (
        "deadline_sum_ms",
        "deadlines",
        "expires",
        "index",
        "kept",
        "overdue",
        "plain",
        "space",
        "values",
        "watched",
    )

    def __init__(self, space: Space, number: int) -> None:
        self.space = space
        self.watched = space.watches.tables[number]
        self._begin()

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self.watched):
            if key in self.values:
                self.touch(key)
        if self.kept is None and isinstance(self.values, dict):  # otherwise a snapshot needs it still
            bury(self.values)
            bury(self.expires)
        self._begin()

    def _begin(self) -> None:
        self.values: MutableMapping[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}
        self.deadlines: list[tuple[int, bytes]] = []
        self.deadline_sum_ms = 0
        self.overdue = False
        self.index: KeyIndex | None = None
        self.kept: Kept | None = None
        self.plain = not self.watched

    def swap_with(self, other: Database) -> None:
        """Exchange contents. The objects stay: a loop over a batch may hold one of them. Who watches a key watches what
        is under this number."""
        if self is other:
            return
        for key in (*self.watched, *other.watched):
            mine, theirs = self.fetch(key), other.fetch(key)
            if mine is not None or theirs is not None:
                self.touch(key)
                other.touch(key)
        for slot in ("values", "expires", "deadlines", "deadline_sum_ms", "overdue", "index", "kept"):
            mine, theirs = getattr(self, slot), getattr(other, slot)
            setattr(self, slot, theirs)
            setattr(other, slot, mine)
        self.look_around()
        other.look_around()

    # Keys

    def peek(self, key: bytes) -> Value | None:
        """The value, or None. Changes nothing."""
        if self.overdue and self.is_due(key):
            return None
        return self.values.get(key)

    def fetch(self, key: bytes) -> Value | None:
        """The value, or None; for commands that write, because it removes the key if it is overdue."""
        if not self.plain:
            self._keep(key)
            if self.overdue and self.is_due(key):
                self.remove(key)
                return None
        return self.values.get(key)

    def peek_as(self, key: bytes, kind: type[C]) -> C | None:
        """As `peek`; raises Refused when the key holds another type."""
        value = self.peek(key)
        if value is None or type(value) is kind:
            return value
        raise Refused(WRONG_TYPE)

    def fetch_as(self, key: bytes, kind: type[C]) -> C | None:
        """As `fetch`; raises Refused when the key holds another type."""
        value = self.fetch(key)
        if value is None or type(value) is kind:
            return value
        raise Refused(WRONG_TYPE)

    def touch(self, key: bytes) -> None:
        """To be called when a collection has been changed in place, and only then (where Redis signals a modified key).
        What `put`, `remove` and the methods for deadlines do, they tell themselves."""
        if key in self.watched:
            self.space.watches.note_change(self.watched, key)

    def settle(self, key: bytes, collection: Collection) -> None:
        """`touch`, after members have gone: an empty collection goes too."""
        if collection:
            self.touch(key)
        else:
            self.remove(key)

    def put(self, key: bytes, value: Value) -> None:
        """Store, leaving a deadline as it is: fetch the key before, or set a deadline after."""
        if not self.plain:
            self.touch(key)
            return self.put_unnoticed(key, value)
        self.values[key] = value
        return None

    def put_unnoticed(self, key: bytes, value: Value) -> None:
        """`put` that is no change for those who watch the key."""
        if not self.plain:
            self._keep(key)
            if self.index is not None and key not in self.values:
                self.index.add(key)
        self.values[key] = value

    def replace(self, key: bytes, value: Value) -> None:
        """Store as a new key without a deadline."""
        self.put(key, value)
        if key in self.expires:
            self.persist(key)

    def remove(self, key: bytes) -> bool:
        """Whether the key was there, due or not."""
        if not self.plain:
            self._keep(key)
            if key in self.values:
                if self.index is not None:
                    self.index.discard(key)
                self.touch(key)
        if self.values.pop(key, None) is None:
            return False
        if key in self.expires:
            self.persist(key)
        return True

    def is_due(self, key: bytes) -> bool:
        """Whether the key's deadline has passed in log time."""
        deadline_ms = self.expires.get(key)
        return deadline_ms is not None and deadline_ms <= self.space.log_time_ms

    def key_index(self) -> KeyIndex:
        """The order of keys for SCAN and RANDOMKEY, made at their first use and kept up from then on."""
        if self.index is None:
            self.index = KeyIndex(self.values)
            self.plain = False
        return self.index

    def walk_names(self) -> Walk | None:
        """All keys, for a reply. None: they must be listed, since some are overdue, or a snapshot walks them."""
        if self.overdue or self.kept is not None:
            return None
        if isinstance(self.values, dict):
            self.values = Overlay(self.values)
            self.space.is_merging = True
        assert isinstance(self.values, Overlay)
        names = self.values.view()
        return Walk(len(names), lambda: names)

    # Watched keys

    def watch(self, key: bytes) -> None:
        """From now on changes of the key are noted, for a while."""
        self.fetch(key)  # What is overdue is gone for who watches now: its removal must not count as a change.
        self.space.watches.enter(self.watched, key, self.space.log_time_ms)
        self.plain = False

    def unwatch(self, key: bytes, stamp: int) -> None:
        self.space.watches.leave(self.watched, key, stamp)
        self.look_around()

    def is_unchanged(self, key: bytes, stamp: int) -> bool:
        """Whether the key certainly is as it was when the version was `stamp`, and was watched from then on."""
        watch = self.watched.get(key)
        return watch is not None and watch.changed <= stamp and not self.is_due(key)

    # Snapshots

    def load(self, values: dict[bytes, Value], expires: dict[bytes, int]) -> None:
        """Replace the contents. Due keys stay: they are part of the state until a sweep takes them."""
        self.clear()
        self.values, self.expires = values, expires
        self.deadline_sum_ms = sum(expires.values())
        self._rebuild_heap()
        self.sweep(0)

    def start_keeping(self) -> tuple[dict[bytes, Value], Kept]:
        """From now on the first change of a key puts what it held before into the returned `Kept`, and the returned
        dict, all of the values, keeps its keys until `thaw`. Both belong to the contents, not to the number: SWAPDB
        takes them along, FLUSHDB leaves them to the snapshot."""
        values = self.values
        if isinstance(values, Overlay):
            if values.holders:  # a reply with all keys is still leaving
                values = dict(values)
            else:
                values.merge(len(values.base) + len(values))
                values = values.base
        assert isinstance(values, dict)
        self.kept = Kept()
        self.values = Overlay(values)
        self.values.holders = 1
        self.plain = False
        return values, self.kept

    def thaw(self) -> None:
        """The keys are listed: the changes may go into the dict."""
        if isinstance(self.values, Overlay):
            self.values.holders = 0
            self.space.is_merging = True

    def merge(self, budget: int) -> int:
        """Carry at most `budget` changes from the overlay into the dict, which takes its place back after the last of
        them; returns what is left of it."""
        values = self.values
        if isinstance(values, Overlay) and not values.holders:
            budget = values.merge(budget)
            if budget:
                self.values = values.base
        return budget

    def stop_keeping(self) -> None:
        self.kept = None
        self.thaw()
        self.look_around()

    def _keep(self, key: bytes) -> None:
        kept = self.kept
        if kept is None or key in kept.values or (value := self.values.get(key)) is None:
            return
        kept.values[key] = value if isinstance(value, bytes) else self.space.frozen(value)
        if (deadline_ms := self.expires.get(key)) is not None:
            kept.deadlines[key] = deadline_ms

    def look_around(self) -> None:
        """Find out anew whether any command must do more than its work."""
        self.plain = self.index is None and self.kept is None and not self.overdue and not self.watched

    # Deadlines

    def expire_at(self, key: bytes, deadline_ms: int) -> None:
        """Let an existing key end at `deadline_ms`; at once when that has passed already."""
        if deadline_ms <= self.space.log_time_ms:
            self.remove(key)
            return
        if not self.plain:
            self._keep(key)
            self.touch(key)
        before = self.expires.get(key)
        self.expires[key] = deadline_ms
        self.deadline_sum_ms += deadline_ms - (before or 0)
        if before is None or deadline_ms < before:
            heappush(self.deadlines, (deadline_ms, key))
            self._bound_stale()

    def persist(self, key: bytes) -> bool:
        """Take the deadline away; whether there was one."""
        if not self.plain:
            self._keep(key)
            if key in self.expires:
                self.touch(key)
        deadline_ms = self.expires.pop(key, None)
        if deadline_ms is None:
            return False
        self.deadline_sum_ms -= deadline_ms
        self._bound_stale()
        return True

    def first_deadline_ms(self) -> int | None:
        """The earliest deadline of this database, exactly. Tidies the top of the heap until it is true."""
        heap, expires = self.deadlines, self.expires
        while heap:
            queued_ms, key = heap[0]
            deadline_ms = expires.get(key)
            if deadline_ms == queued_ms:
                return queued_ms
            if deadline_ms is None or deadline_ms < queued_ms:  # gone, or an earlier entry stands for it
                heappop(heap)
            else:
                heapreplace(heap, (deadline_ms, key))
        return None

    def sweep(self, budget: int) -> int:
        """Remove due keys, earliest first (ties by key), at most `budget`; returns what is left of it. With a budget
        of 0 it only finds out whether any are due."""
        now_ms = self.space.log_time_ms
        while True:
            first_ms = self.first_deadline_ms()
            self.overdue = first_ms is not None and first_ms <= now_ms
            if not self.overdue or budget == 0:
                self.look_around()
                return budget
            self.remove(self.deadlines[0][1])
            budget -= 1

    def _bound_stale(self) -> None:
        # Without this, a key set and deleted a million times would leave a million entries until their time.
        if len(self.deadlines) > 2 * len(self.expires) + _STALE_SPARE:
            self._rebuild_heap()

    def _rebuild_heap(self) -> None:
        self.deadlines = [(deadline_ms, key) for key, deadline_ms in self.expires.items()]
        heapify(self.deadlines)
