"""How long to gather before the next entry, or the next read round.

An entry costs each member about the same whatever it holds, and so does a round. Clients that were just answered mostly
ask again at once; an entry proposed for the first few of them has the rest wait for the one after it, and the clients
stay split in halves that take turns. So the next one waits until as many works are there as may be expected: those
waiting when the last were answered, and as many again as were answered. It waits no longer than until it is *quiet*:
until nothing has come for about a millisecond, or a tick has passed. A lone client expects nobody and never waits.
"""

from __future__ import annotations


class Gathering:
    __slots__ = ("_expected", "_quiet")

    def __init__(self) -> None:
        self._expected = 0
        self._quiet = False

    def on_answered(self, waiting: int, answered: int) -> None:
        """So many works were answered just now, while so many others were waiting already."""
        self._expected = waiting + answered
        self._quiet = False

    def on_quiet(self) -> None:
        """Who has not come by now is not waited for."""
        self._quiet = True

    def is_ripe(self, waiting: int) -> bool:
        """Whether what is waiting should go now."""
        return waiting > 0 and (self._quiet or waiting >= self._expected)
