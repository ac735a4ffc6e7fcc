"""Reads by lease when a leader is deposed that does not know it: never an old value.

In each story member 1 leads, 2 has just answered it, and 3 has not heard it for long, so 3 would vote; then another is
made leader in some way and given a write, and 1 is asked. Each of these stories ends badly for some bug put back
(`BUGS`), which chance finds too seldom.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from raftkv.machines.interface import Kind
from raftkv.raft import reads
from raftkv.raft.messages import HeartbeatReply, TimeoutNow
from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from raftkv.raft.settings import RaftSettings
from raftkv.testing.history import Operation
from tests.simulation.directing import directed, elect

SHORTEST_MS, LONGEST_MS = 1000, 5000
BY_LEASE = RaftSettings(
    election_timeout_ms_min=SHORTEST_MS,
    election_timeout_ms_max=LONGEST_MS,
    heartbeat_interval_ms=20,
    lease_drift_percent_max=10,
)
APPEND, GET = [[b"APPEND", b"a1", b"<new>"]], [[b"GET", b"a1"]]


class Story:
    def __init__(self) -> None:
        self.simulation = directed(3, BY_LEASE)
        self.simulation.run_for(SHORTEST_MS)  # who has just started does not vote
        leader = elect(self.simulation, 1)
        self.simulation.ask_until_done(leader, Kind.WRITE, [[b"APPEND", b"a1", b"<old>"]], 1000)
        self.simulation.run_until(self.simulation.is_whole, 1000, "the first write")
        self.cut(1, 3)
        self.simulation.run_for(SHORTEST_MS + 100)
        assert self.node(1).holds_lease
        assert not self.node(3).owes_lease

    def node(self, member_id: int) -> Node:
        replica = self.simulation.members[member_id].replica
        assert replica is not None
        return replica.node

    def cut(self, a: int, b: int) -> None:
        self.simulation.network.cut(a, b)
        self.simulation.network.cut(b, a)

    def read_at_1(self) -> list[object]:
        """What 1 answers now; empty: nothing for the moment."""
        operation = self.ask(1, Kind.READ, GET)
        self.simulation.run_for(30)
        return list(operation.replies or [])

    def write_at(self, member_id: int) -> bool:
        """Whether it leads and has the write."""
        operation = self.ask(member_id, Kind.WRITE, APPEND)
        self.simulation.run_for(30)
        return bool(operation.replies)

    def elected(self, member_id: int, within_ms: int = 500) -> bool:
        """Whether it is, standing for election again and again."""
        for _ in range(0, within_ms, 50):
            self.simulation.members[member_id].campaign()
            self.simulation.run_for(50)
            if self.simulation.members[member_id].leads:
                return self.write_at(member_id)
        return False

    def ask(self, member_id: int, kind: Kind, commands: list[list[bytes]]) -> Operation:
        return self.simulation.clients.ask(self.simulation.members[member_id], kind, commands, lambda operation: None)


def cut_off() -> bool:
    """1 is cut off from 2 as well. While its lease lasts nobody else is elected, and then it is over."""
    story = Story()
    story.cut(1, 2)
    return story.elected(3, within_ms=2 * SHORTEST_MS) and story.read_at_1() == [b"<old>"]


def cut_off_before_an_answer_that_comes_late() -> bool:
    """An answer of 2 waits on its way until another leads. (It is given to 1 by hand.)"""
    story = Story()
    story.simulation.network.cut(2, 1)
    story.simulation.run_for(50)
    late = HeartbeatReply(story.node(1).term, story.node(1).round)
    story.cut(1, 2)
    assert story.elected(3, within_ms=2 * SHORTEST_MS)
    assert story.node(1).role is Role.LEADER
    story.simulation.members[1].on_datagram(2, late)
    return story.read_at_1() == [b"<old>"]


def handed_over_by_a_word_that_comes_late() -> bool:
    """1 has given the hand-over up, and leads on; then its word arrives at 3, whose election waits for nothing. (It is
    given to 3 by hand.)"""
    story = Story()
    story.node(1).transfer_leadership(3)
    story.simulation.run_for(LONGEST_MS + 100)
    node = story.node(1)
    assert (node.role, node.transferring, node.confirmed_round > 0) == (Role.LEADER, None, True)
    story.cut(1, 2)
    story.simulation.members[3].on_datagram(1, TimeoutNow(node.term))
    story.simulation.run_for(50)
    assert story.write_at(3)
    assert node.role is Role.LEADER
    return story.read_at_1() == [b"<old>"]


def stood_for_election_at_an_operators_word() -> bool:
    story = Story()
    story.cut(1, 2)
    story.simulation.members[2].trigger_election()
    return story.elected(2) and story.read_at_1() == [b"<old>"]


def started_anew() -> bool:
    """2 falls right after its answer and comes back: it remembers nobody."""
    story = Story()
    story.cut(1, 2)
    story.simulation.members[2].crash()
    story.simulation.members[2].start()
    return story.elected(3) and story.read_at_1() == [b"<old>"]


def learnt_of_a_higher_term() -> bool:
    """By an answer from a candidate that nobody elected, to a question of before."""
    story = Story()
    story.cut(1, 2)
    story.simulation.members[2].on_datagram(3, HeartbeatReply(story.node(2).term + 1, 0))
    return story.elected(3) and story.read_at_1() == [b"<old>"]


def counted_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A lease begins when its round is answered, not when it was sent."""
    count = reads._count

    def late(node: Node) -> None:
        before = node.confirmed_round
        count(node)
        if node.confirmed_round > before:
            node.lease_from_ms = node.now_ms

    patch.setattr(reads, "_count", late)


def as_long_as_the_longest_timeout(patch: pytest.MonkeyPatch) -> None:
    holds = reads.holds_lease

    def longer(node: Node) -> bool:
        settings = node.settings
        node.settings = msgspec.structs.replace(settings, election_timeout_ms_min=settings.election_timeout_ms_max)
        held = holds(node)
        node.settings = settings
        return held

    patch.setattr(reads, "holds_lease", longer)


def not_ended_by_handing_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "lease_is_over", property(lambda node: False, lambda node, value: None), raising=False)


def kept_by_nobody(patch: pytest.MonkeyPatch) -> None:
    """Voters owe nothing: they refuse their vote only while they know whom they hear."""
    patch.setattr(Node, "owes_lease", False)


BUGS = [
    (cut_off, as_long_as_the_longest_timeout),
    (cut_off_before_an_answer_that_comes_late, counted_from_the_answer),
    (handed_over_by_a_word_that_comes_late, not_ended_by_handing_over),
    (stood_for_election_at_an_operators_word, kept_by_nobody),
    (started_anew, kept_by_nobody),
    (learnt_of_a_higher_term, kept_by_nobody),
]
STORIES = [story for story, _ in BUGS]
Bug = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("story", STORIES)
def test_no_old_value_is_read(story: Callable[[], bool]) -> None:
    assert not story()


@pytest.mark.parametrize(("story", "bug"), BUGS)
def test_a_bug_put_back_is_found(story: Callable[[], bool], bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    assert story()
