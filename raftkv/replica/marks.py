"""RAFT.MARK entries on their way: put into the log by the leader, each member's hash of its state behind it, and back.

`Digesting` makes the hash and `Verification` compares them (`verifying.py`); this joins both with log and links.
"""

from __future__ import annotations

from raftkv.raft.messages import Entry
from raftkv.raft.node import Node
from raftkv.replica.ledger import MARK
from raftkv.replica.links import Links
from raftkv.replica.proposer import Proposer
from raftkv.replica.taking import Taking
from raftkv.replica.verifying import Digesting, Verification
from raftkv.wire.peer import StateDigest


class Marks:
    def __init__(
        self,
        node: Node,
        links: Links,
        proposer: Proposer,
        taking: Taking,
        digesting: Digesting,
        verification: Verification,
        stored_index: int,
    ) -> None:
        """`stored_index`: of the newest entry that was here at the start."""
        self._node = node
        self._links = links
        self._proposer = proposer
        self._taking = taking
        self._digesting = digesting
        self._verification = verification
        self._stored_index = stored_index

    def lead(self, now_ms: int, wall_ms: int) -> None:
        """On the leader: begin when it is time, end when all have answered."""
        node, verification = self._node, self._verification
        if verification.wants_to_begin(now_ms) and not self._taking.under_way:
            index = self._proposer.propose_system([[MARK]], wall_ms)
            verification.begin(node.term, index, {*node.members}, self._links.connected, now_ms)
        verification.settle(node.term, now_ms, wall_ms)

    def on_applied(self, entry: Entry) -> None:
        """The state behind this mark is to be compared. For one of an earlier term, or that was here at the start
        already, nobody waits."""
        if entry.term != self._node.term or entry.index <= self._stored_index:
            return
        if self._taking.under_way:
            self._tell(StateDigest(entry.term, entry.index, b""))
        else:
            self._tell(self._digesting.begin(entry.term, entry.index))

    def step(self) -> None:
        """One more part of the hash that is being made."""
        self._tell(self._digesting.step())

    def on_replacing_state(self) -> None:
        """A snapshot is about to take the place of the state."""
        self._tell(self._digesting.abandon())

    def _tell(self, digest: StateDigest | None) -> None:
        leader_id = self._node.leader_id
        if digest is None or leader_id is None:
            return
        if leader_id == self._node.id:
            self._verification.on_digest(leader_id, digest)
        elif leader_id in self._links.connected:
            self._links.send(leader_id, digest)
