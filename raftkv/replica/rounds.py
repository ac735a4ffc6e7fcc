"""Linearizable reads of a leader, on their way through read rounds (`raft/reads.py` has the proof).

::

    waiting  --round begins-->  in the round  --a quorum answered-->  confirmed  --applied--> answered

One round is under way at a time; reads that arrive meanwhile go together into the next. That begins when the confirmed
ones are answered and their clients have come back (`gathering.py`).

A confirmed read may be answered even after this member has stepped down: that it led was certain after the read had
arrived, and the state at its read index is what a reader could have seen then.
"""

from __future__ import annotations

from collections import deque

from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from raftkv.replica.work import Work


class Rounds:
    def __init__(self) -> None:
        self._in_round: list[Work] = []
        self._term = 0
        self._number = 0
        self._read_index = 0
        self._confirmed: deque[tuple[int, list[Work]]] = deque()

    @property
    def under_way(self) -> bool:
        return bool(self._in_round)

    @property
    def has_confirmed(self) -> bool:
        return bool(self._confirmed)

    def begin(self, node: Node, works: list[Work], read_index: int) -> None:
        """Ask the members for `works`, which may be answered once `read_index` is applied."""
        self._in_round = works
        self._read_index = max(read_index, node.log.commit)
        self._term = node.term
        self._number = node.begin_read_round()

    def settle(self, node: Node) -> list[Work]:
        """Look whether the round under way is decided. Returns works that were in vain: leadership was lost. Numbers
        begin again with every leadership, so only this one's may be compared."""
        if not self._in_round:
            return []
        if node.role is not Role.LEADER or node.term != self._term:
            lost, self._in_round = self._in_round, []
            return lost
        if node.confirmed_round >= self._number:
            self._confirmed.append((self._read_index, self._in_round))
            self._in_round = []
        return []

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Works that have waited since before `since_ms`, for the quorum or for the read index: no longer wanted."""
        late = []
        for works in (self._in_round, *(works for _, works in self._confirmed)):
            late += [work for work in works if work.since_ms < since_ms]
            works[:] = [work for work in works if work.since_ms >= since_ms]
        return late

    def take_answerable(self, applied: int) -> list[Work]:
        """Works that may be answered from the state at index `applied`."""
        if not self._confirmed or self._confirmed[0][0] > applied:
            return []
        _, works = self._confirmed.popleft()
        while self._confirmed and self._confirmed[0][0] <= applied:
            works += self._confirmed.popleft()[1]
        return works
