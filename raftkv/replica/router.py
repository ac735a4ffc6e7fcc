"""What becomes of works on a member that does not lead: each turn sends on all that has gathered.

reads of its own clients       kept here, where members answer reads themselves (`follower_reads.py`)
works of another member        back to it: they are sent on once, never twice
the leader is known, and up    one Forward to it (`forwarding.py`), or its clients are told where it is
otherwise                      they wait for one, as long as `no_leader_wait_ms`
"""

from __future__ import annotations

from raftkv.machines.interface import Kind
from raftkv.raft.node import Node
from raftkv.replica.follower_reads import FollowerReads
from raftkv.replica.forwarding import Forwarder
from raftkv.replica.intake import Intake
from raftkv.replica.links import Links
from raftkv.replica.settings import ReplicaSettings
from raftkv.replica.work import LEADERSHIP_LOST, REMOVED, Work


class Router:
    def __init__(
        self,
        node: Node,
        intake: Intake,
        follower_reads: FollowerReads,
        forwarder: Forwarder,
        links: Links,
        settings: ReplicaSettings,
    ) -> None:
        self.settings = settings
        self._node = node
        self._intake = intake
        self._follower_reads = follower_reads
        self._forwarder = forwarder
        self._links = links

    def route(self, now_ms: int) -> None:
        """Send what has gathered to the leader, tell clients where it is, or let it wait for one."""
        intake = self._intake
        if intake.reads and self.settings.reads_locally:
            self._keep_reads()
        if self._follower_reads.wants_turn:
            intake.reads.add(self._follower_reads.ask(now_ms))
        if not intake:
            return
        mine = _without_remote(intake.take_all())
        if self._node.is_removed:
            # Nobody will hear this member again, and its clients should not find that out by waiting.
            for work in mine:
                work.sink.on_not_done(REMOVED)
            return
        leader_id = self._node.leader_id
        if leader_id is not None and not self.settings.forwards:
            mine = _redirect(mine, leader_id)
        if leader_id is None or leader_id not in self._links.connected:
            intake.take_back(mine)
            return
        for message in self._forwarder.forward(mine, leader_id, now_ms, self.settings.entry_bytes_max):
            self._links.send(leader_id, message)

    def _keep_reads(self) -> None:
        """Those that this member is to answer itself: of its own clients, and for the machine. Questions for the read
        index go to the leader."""
        for work in self._intake.reads.take_all():
            is_ours = work.commands and not work.system and not work.sink.remote
            is_welcome = self.settings.forwards or work.sink.readonly  # others are told who leads
            if is_ours and is_welcome:
                self._follower_reads.take(work)
            else:
                self._intake.reads.add(work)


def _without_remote(works: list[Work]) -> list[Work]:
    """This member's own; the others' are told that it does not lead."""
    mine = []
    for work in works:
        if work.sink.remote:
            work.sink.on_not_done(LEADERSHIP_LOST)
        else:
            mine.append(work)
    return mine


def _redirect(works: list[Work], leader_id: int) -> list[Work]:
    """Tell the clients of `works` who leads. Returns what is carried there all the same: reads of READONLY
    connections, and what operators ask for."""
    carried = []
    for work in works:
        if work.kind is Kind.ADMIN or (work.sink.readonly and work.kind is not Kind.WRITE):
            carried.append(work)
        else:
            work.sink.on_redirect(leader_id)
    return carried
