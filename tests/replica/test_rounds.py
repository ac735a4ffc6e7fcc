"""Read rounds that are read ahead: the answers always belong to the works that get them."""

from __future__ import annotations

from random import Random

from raftkv.machines.interface import Kind
from raftkv.raft.log import Log
from raftkv.raft.membership import Membership
from raftkv.raft.messages import HardState
from raftkv.raft.node import Node
from raftkv.raft.settings import RaftSettings
from raftkv.replica.rounds import Rounds
from raftkv.replica.work import Work


def lone_leader() -> Node:
    log = Log(last_index=0, terms=[], commit=0, read_stored=lambda first, last, size: [], cache_bytes_max=1)
    node = Node(
        1, Membership((1,)), hard_state=HardState(), log=log, settings=RaftSettings(), random=Random(1), now_ms=0
    )
    node.on_tick(1000)
    for _ in ("its vote", "its first entry"):
        node.on_synced(node.take_output().sequence)
    assert node.leads_and_is_ready
    return node


def read(key: bytes, since_ms: int = 0) -> Work:
    return Work(Kind.READ, [[b"GET", key]], {}, 0, None, since_ms)  # type: ignore[arg-type]


def test_what_was_read_ahead_is_the_answer_once_the_round_is_confirmed() -> None:
    rounds, node, works = Rounds(), lone_leader(), [read(b"a"), read(b"b")]
    rounds.begin(node, works, 0)
    assert rounds.works_to_read_ahead(1) == works
    rounds.on_read_ahead([b"1", b"2"])
    assert rounds.works_to_read_ahead(1) == [], "once is enough"
    assert rounds.take_answerable(1) == ([], None), "not confirmed yet"
    assert rounds.settle(node) == []
    assert rounds.take_answerable(1) == (works, [b"1", b"2"])


def test_nothing_is_read_ahead_of_the_read_index() -> None:
    rounds, node = Rounds(), lone_leader()
    rounds.begin(node, [read(b"a")], 7)
    assert rounds.works_to_read_ahead(6) == []
    assert rounds.works_to_read_ahead(7)


def test_after_one_was_given_up_the_others_are_read_again() -> None:
    """Otherwise each would get the answer of the one before it."""
    rounds, node, late, other = Rounds(), lone_leader(), read(b"a", 0), read(b"b", 50)
    rounds.begin(node, [late, other], 0)
    rounds.on_read_ahead([b"1", b"2"])
    assert rounds.give_up_older_than(10) == [late]
    assert rounds.works_to_read_ahead(1) == [other]
    rounds.settle(node)
    assert rounds.take_answerable(1) == ([other], None)


def test_a_confirmed_one_that_was_given_up_too() -> None:
    rounds, node, late, other = Rounds(), lone_leader(), read(b"a", 0), read(b"b", 50)
    rounds.begin(node, [late, other], 9)
    rounds.on_read_ahead([b"1", b"2"])
    rounds.settle(node)
    assert rounds.give_up_older_than(10) == [late]
    assert rounds.take_answerable(9) == ([other], None)


def test_answers_of_a_lost_leadership_are_forgotten() -> None:
    rounds, node, works = Rounds(), lone_leader(), [read(b"a")]
    rounds.begin(node, works, 0)
    rounds.on_read_ahead([b"1"])
    node.term += 1
    assert rounds.settle(node) == works
    rounds.begin(node, works, 0)
    assert rounds.works_to_read_ahead(1) == works
