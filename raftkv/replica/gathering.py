"""Works that wait to go together, into the next entry or the next read round, and for how long.

An entry costs each member about the same whatever it holds, and so does a round. Clients that were just answered mostly
ask again at once; an entry proposed for the first few of them has the rest wait for the one after it, and the clients
stay split in halves that take turns. So the next one waits until as many clients are there as may be expected: those
waiting when the last were answered, and as many again as were answered. It waits no longer than until it is *quiet*:
until nothing has come for about a millisecond, or a tick has passed. A lone client expects nobody and never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from raftkv.replica.work import Work, by_age


class Gathering:
    __slots__ = ("_expected", "_quiet", "_works", "clients")

    def __init__(self) -> None:
        self._works: deque[Work] = deque()
        self.clients = 0
        """How many wait."""

        self._expected = 0
        self._quiet = False

    def __bool__(self) -> bool:
        return bool(self._works)

    def __iter__(self) -> Iterator[Work]:
        return iter(self._works)

    def add(self, work: Work) -> None:
        self._works.append(work)
        self.clients += work.clients

    def add_all(self, works: Iterable[Work]) -> None:
        for work in works:
            self.add(work)

    @property
    def is_ripe(self) -> bool:
        """Whether what is waiting should go now."""
        clients = self.clients
        return clients > 0 and (self._quiet or clients >= self._expected)

    def is_ripe_with(self, coming: int) -> bool:
        """Whether that is so once `coming` more clients are there; only as far as is known whom to expect."""
        return 0 < self._expected <= self.clients + coming

    def expect_nobody(self) -> None:
        self._expected = 0

    def take_all(self) -> list[Work]:
        works = list(self._works)
        self._works.clear()
        self.clients = 0
        return works

    def take(self, bytes_max: int) -> list[Work]:
        """The oldest works of together `bytes_max`, but at least one if any waits."""
        works: list[Work] = []
        size_bytes = 0
        while self._works and (not works or size_bytes + self._works[0].size_bytes <= bytes_max):
            work = self._works.popleft()
            size_bytes += work.size_bytes
            self.clients -= work.clients
            works.append(work)
        return works

    def take_older_than(self, since_ms: int) -> list[Work]:
        """Those that have waited since before `since_ms`."""
        late, rest = by_age(self._works, since_ms)
        if late:
            self.take_all()
            self.add_all(rest)
        return late

    def on_answered(self, works: Iterable[Work]) -> None:
        """These were answered just now."""
        self._expected = self.clients + sum([work.clients for work in works])
        self._quiet = False

    def on_quiet(self) -> None:
        """Who has not come by now is not waited for."""
        self._quiet = True
