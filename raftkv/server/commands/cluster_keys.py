"""Keys by their slot: CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT, from this member's memory.

Redis keeps an index of them, which every write pays for. Here they are looked for when somebody asks, which is rare: a
walk over all keys in slices of some milliseconds, one slice a tick, one walk at a time in a member, so that it delays
nobody by more than a slice. A million keys take about a second and a half.

A walk is over the keys that there were when it began; those that are gone when its slice comes are left out. Noting
them down is one pause (some 20 ms for a million). The index that SCAN uses needs no list, but the first one to use it
would wait thirty times as long for it to be made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import Error, Reply
from raftkv.server.commands.rows import NOT_AN_INTEGER
from raftkv.server.no_reply import NO_REPLY, NoReply
from raftkv.server.slots import SLOTS, hash_slot

if TYPE_CHECKING:
    from raftkv.machines.redis.database import Database
    from raftkv.server.server import Server
    from raftkv.server.session import Session

SLICE_KEYS: Final = 8192
"""About three milliseconds."""

INVALID_SLOT: Final = Error("ERR Invalid slot")
INVALID_SLOT_OR_COUNT: Final = Error("ERR Invalid slot or number of keys")


def count_keys_in_slot(session: Session, argv: list[bytes]) -> Reply | NoReply:
    slot = parse_integer(argv[2])
    if slot is None:
        return NOT_AN_INTEGER
    if not 0 <= slot < SLOTS:
        return INVALID_SLOT
    walk = Walk(session, slot, None)
    return walk.begin(lambda: len(walk.found))


def get_keys_in_slot(session: Session, argv: list[bytes]) -> Reply | NoReply:
    slot, count = parse_integer(argv[2]), parse_integer(argv[3])
    if slot is None or count is None:
        return NOT_AN_INTEGER
    if not 0 <= slot < SLOTS or count < 0:
        return INVALID_SLOT_OR_COUNT
    walk = Walk(session, slot, count)
    return walk.begin(lambda: list(walk.found))


class Walk:
    """Looks for the keys of `slot`, at most `limit` of them (None: all)."""

    def __init__(self, session: Session, slot: int, limit: int | None) -> None:
        self.session = session
        self.found: list[bytes] = []
        self._slot = slot
        self._limit = limit
        self._left: list[bytes] = []

    def begin(self, answer: Callable[[], Reply]) -> Reply | NoReply:
        """`answer()` once the walk is over; to be returned by a handler."""

        def poll() -> Reply | NoReply:
            return answer() if self._go_on() else NO_REPLY

        return self.session.park(poll)

    def _go_on(self) -> bool:
        """Look through one slice. Returns whether it was the last."""
        server = self.session.server
        database = _database(server)
        if database is None:
            return True
        if server.key_walk is not self:
            if server.key_walk is not None and not server.key_walk.session.closed:
                return False
            server.key_walk = self
            self._left = list(database.values)
        # From the end, so that the list is given back in slices too.
        self._look_at(database, self._left[-SLICE_KEYS:])
        del self._left[-SLICE_KEYS:]
        is_over = not self._left or len(self.found) == self._limit
        if is_over:
            server.key_walk = None
        return is_over

    def _look_at(self, database: Database, keys: list[bytes]) -> None:
        slot = self._slot
        for key in keys:
            if hash_slot(key) == slot and database.peek(key) is not None:
                if len(self.found) == self._limit:
                    return
                self.found.append(key)


def _database(server: Server) -> Database | None:
    """Database 0: the only one that a Redis Cluster has."""
    machine = server.replica.machine
    return machine.space.databases[0] if isinstance(machine, RedisMachine) else None
