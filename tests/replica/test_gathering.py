"""How long works gather, counted in the clients that wait for them."""

from __future__ import annotations

from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.replica.gathering import Gathering
from raftkv.replica.work import Work, apart
from tests.replica.alone import Catch, Together


def work(clients: int, since_ms: int = 0, size_bytes: int = 10) -> Work:
    return Work(Kind.READ, [[b"GET"]] * clients, NO_SCOPES, size_bytes, Catch(), since_ms, clients=clients)


def test_nobody_is_expected_at_first() -> None:
    gathering = Gathering()
    assert not gathering
    assert not gathering.is_ripe
    gathering.add(work(1))
    assert gathering
    assert gathering.is_ripe


def test_as_many_clients_as_were_answered_are_waited_for() -> None:
    gathering = Gathering()
    gathering.add(work(2))
    gathering.on_answered([work(3), work(1)])
    assert not gathering.is_ripe, "two of six"
    gathering.add(work(3))
    assert not gathering.is_ripe, "five of six"
    assert gathering.is_ripe_with(1)
    assert not gathering.is_ripe_with(0)
    gathering.add(work(1))
    assert gathering.is_ripe
    assert [each.clients for each in gathering.take_all()] == [2, 3, 1]
    gathering.add(work(5))
    assert not gathering.is_ripe
    gathering.on_quiet()
    assert gathering.is_ripe, "who has not come by now does not come"


def test_with_nobody_expected_nothing_is_foreseen() -> None:
    gathering = Gathering()
    assert not gathering.is_ripe_with(5)
    gathering.on_answered([work(5)])
    assert gathering.is_ripe_with(5)
    gathering.expect_nobody()
    assert not gathering.is_ripe_with(5)


def test_what_is_taken_no_longer_counts() -> None:
    gathering = Gathering()
    gathering.on_answered([work(4)])
    for _ in range(3):
        gathering.add(work(2, size_bytes=10))
    assert len(gathering.take(20)) == 2
    assert not gathering.is_ripe, "two of four are left"
    assert len(gathering.take(5)) == 1, "one at least"
    assert gathering.take(5) == []


def test_the_oldest_are_given_up() -> None:
    gathering = Gathering()
    for since_ms in (1, 5, 3, 9):
        gathering.add(work(1, since_ms))
    gathering.on_answered([])
    assert [each.since_ms for each in gathering.take_older_than(5)] == [1, 3]
    assert [each.since_ms for each in gathering] == [5, 9]
    assert gathering.take_older_than(5) == []
    gathering.on_answered([])
    gathering.add(work(1))
    assert gathering.is_ripe, "three of two"


def test_a_work_of_several_clients_taken_apart() -> None:
    sink = Together(3)
    refusal = {1: "no"}
    whole = Work(Kind.WRITE, [[b"a"], [b"b"], [b"c"]], {2: 7}, 30, sink, 5, refusals=refusal, clients=3)  # type: ignore[arg-type]
    parts = apart(whole)
    assert [part.commands for part in parts] == [[[b"a"]], [[b"b"]], [[b"c"]]]
    assert [part.scopes for part in parts] == [{}, {}, {0: 7}]
    assert [part.refusals for part in parts] == [None, {0: "no"}, None]
    assert [part.sink for part in parts] == sink.sinks
    alone = work(1)
    assert apart(alone) == [alone]
