"""Linearizable reads of a leader, on their way through read rounds (`raft/reads.py` has the proof).

::

    waiting  --round begins-->  in the round  --a quorum answered-->  confirmed  --applied--> answered
                                     '--read ahead, when applied already--'

One round is under way at a time; reads that arrive meanwhile go together into the next. That begins when the confirmed
ones are answered and their clients have come back (`gathering.py`). Where so many clients have sent something that they
may all be back, it begins before that is parsed, and what had been received by then may `join` it, nothing else.

While the question is on its way, the leader reads ahead: it looks the answers up, and keeps them until the round is
confirmed. That is as good as reading afterwards, for the state was read after the reads had come, at or behind their
read index; and if the round fails, nobody sees them. Only so is the time of the round trip put to use.

By lease (`raft/reads.py`) there is no question: the answers are looked up first, and then the clock is asked whether
the lease still holds. Where it does not, the round begins after all.

A confirmed read may be answered even after this member has stepped down: that it led was certain after the read had
arrived, and the state at its read index is what a reader could have seen then.
"""

from __future__ import annotations

from collections import deque

from raftkv.machines.replies import Reply
from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from raftkv.replica.work import Work, by_age


class Rounds:
    def __init__(self) -> None:
        self.works: list[Work] = []
        """In the round under way; none: there is no round."""

        self.confirmed: deque[tuple[int, list[Work], list[Reply] | None]] = deque()
        """(read index, works, answers if they were read ahead)"""

        self._ahead: list[Reply] | None = None
        """What has been read ahead for the works in the round."""
        self._term = 0
        self._number: int | None = 0
        """None: by lease."""
        self._read_index = 0

    def begin(self, node: Node, works: list[Work], read_index: int) -> None:
        """Ask the members for `works`, which may be answered once `read_index` is applied. Not while others are under
        way."""
        self.works = works
        self._read_index = max(read_index, node.log.commit)
        self._term = node.term
        self._number = None if node.holds_lease else node.begin_read_round()

    def join(self, works: list[Work]) -> None:
        """Give works to a round that was begun without any: only such as had been received before, by the same thread,
        without a look at the network in between. For others the answers may be too old: another leader may have been
        elected since."""
        self.works = works

    @property
    def by_lease(self) -> bool:
        return self._number is None

    @property
    def has_read_by_lease(self) -> bool:
        """Whether only the clock is to be asked once more."""
        return self.by_lease and self._ahead is not None

    def reads_ahead(self, applied: int) -> bool:
        """Of a round under way: whether its works are still to be read ahead."""
        return self._ahead is None and self._read_index <= applied

    def works_to_read_ahead(self, applied: int) -> list[Work]:
        """The works in the round, when the state at index `applied` is recent enough and they were not read yet."""
        return self.works if self.reads_ahead(applied) else []

    def on_read_ahead(self, replies: list[Reply]) -> None:
        """The answers to `works_to_read_ahead`."""
        self._ahead = replies

    def settle(self, node: Node) -> list[Work]:
        """Look whether the round under way is decided. Returns works that were in vain: leadership was lost. Numbers
        begin again with every leadership, so only this one's may be compared."""
        if not self.works:
            return []
        if node.role is not Role.LEADER or node.term != self._term:
            lost, self.works = self.works, []
            self._ahead = None
            return lost
        if self.has_read_by_lease and not node.holds_lease:
            self._number = node.begin_read_round()
        if self._is_confirmed(node):
            self.confirmed.append((self._read_index, self.works, self._ahead))
            self.works, self._ahead = [], None
        return []

    def is_decided(self, node: Node) -> bool:
        """Of a round under way: whether `settle` has news of it."""
        return node.role is not Role.LEADER or node.term != self._term or self._is_confirmed(node)

    def _is_confirmed(self, node: Node) -> bool:
        return self.has_read_by_lease if self._number is None else node.confirmed_round >= self._number

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        """Works that have waited since before `since_ms`, for the quorum or for the read index: no longer wanted."""
        late, rest = by_age(self.works, since_ms)
        if late:
            self.works, self._ahead = rest, None  # what was read ahead no longer fits the works
        for position, (read_index, works, _) in enumerate(self.confirmed):
            too_late, rest = by_age(works, since_ms)
            if too_late:
                self.confirmed[position] = (read_index, rest, None)
                late += too_late
        return late

    def take_answerable(self, applied: int) -> tuple[list[Work], list[Reply] | None]:
        """Works that may be answered from the state at index `applied`, and the answers if they were read ahead."""
        if not self.confirmed or self.confirmed[0][0] > applied:
            return [], None
        _, works, replies = self.confirmed.popleft()
        return works, replies
