"""The client against members that say anything: what is asked again, and what is certain afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import raftkv
from raftkv.errors import CommandError, NoAnswer, NoLeader, OutcomeUnknown, Overloaded
from raftkv.machines.replies import Error
from tests.client.fake import CLOSE, SILENCE, FakeCluster, in_turn

CLUSTERDOWN = Error("CLUSTERDOWN No leader is known; the command was not carried out, try again later")
UNKNOWN = Error("UNKNOWN The leader was lost while the command was under way")


@pytest.fixture
async def one(nursery: trio.Nursery) -> FakeCluster:
    cluster = FakeCluster()
    await cluster.start(nursery)
    return cluster


@pytest.fixture
async def three(nursery: trio.Nursery) -> FakeCluster:
    cluster = FakeCluster()
    await cluster.start(nursery, 3)
    return cluster


# ---- values and the command's own errors


async def test_values_and_words(one: FakeCluster) -> None:
    one.members[0].answer = lambda argv: [argv[1], 1, None, {b"a": 1.5}]
    async with raftkv.connect(one.addresses) as client:
        assert await client.call("GET", 12) == [b"12", 1, None, {b"a": 1.5}]
        with pytest.raises(TypeError, match="not list"):
            await client.call("GET", [1])  # type: ignore[arg-type]
        assert await client.call("GET", b"x") == [b"x", 1, None, {b"a": 1.5}]


async def test_false_is_a_value(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(False, True, b"after")
    with trio.fail_after(10):
        async with raftkv.connect(one.addresses) as client:
            assert await client.call("GET", "a") is False
            assert await client.call("GET", "a") is True
            assert await client.call("GET", "a") == b"after"


async def test_an_error_reply_is_raised_and_not_asked_again(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(Error("WRONGTYPE no"), Error("NOANSWER none"))
    async with raftkv.connect(one.addresses) as client:
        with pytest.raises(CommandError, match="WRONGTYPE no") as raised:
            await client.call("GET", "a")
        assert raised.value.code == "WRONGTYPE"
        with pytest.raises(NoAnswer):
            await client.call("GET", "a")
    assert len(one.members[0].asked) == 2


async def test_many_in_one_go_have_their_errors_in_place(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(b"1", Error("ERR bad"), CLUSTERDOWN, b"3", b"late")
    async with raftkv.connect(one.addresses) as client:
        outcomes = await client.call_many([("SET", "a", 1)] * 4)
    assert outcomes[0] == b"1"
    assert isinstance(outcomes[1], CommandError)
    assert outcomes[2:] == [b"late", b"3"]


# ---- certainly not done


@pytest.mark.parametrize("error", [CLUSTERDOWN, Error("TRYAGAIN later"), Error("BUSY full"), Error("LOADING it")])
async def test_what_is_certainly_not_done_is_tried_again(one: FakeCluster, error: Error) -> None:
    one.members[0].answer = in_turn(error, error, b"done")
    async with raftkv.connect(one.addresses) as client:
        assert await client.call("SET", "a", 1) == b"done"


async def test_in_the_end_it_is_told_that_it_was_not_done(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(CLUSTERDOWN, CLUSTERDOWN, Error("BUSY full"))
    async with raftkv.connect(one.addresses, retry_for_ms=50) as client:
        with pytest.raises(Overloaded, match="BUSY full"):
            await client.call("SET", "a", 1)


async def test_nobody_there(one: FakeCluster) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with raftkv.connect([f"127.0.0.1:{port}"], retry_for_ms=50) as client:
        with pytest.raises(NoLeader, match="no member could be reached"):
            await client.call("SET", "a", 1)
    async with raftkv.connect([f"127.0.0.1:{port}", *one.addresses]) as client:
        assert await client.call("SET", "a", 1) == b"OK"


async def test_no_addresses() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        async with raftkv.connect([]):
            pass


async def test_a_wrong_password_is_told_at_once(one: FakeCluster) -> None:
    one.members[0].password = b"secret"
    async with raftkv.connect(one.addresses, password="wrong") as client:
        with pytest.raises(CommandError, match="WRONGPASS"):
            await client.call("GET", "a")
    async with raftkv.connect(one.addresses, password="secret") as client:
        assert await client.call("GET", "a") == b"OK"


# ---- in doubt


@pytest.mark.parametrize("answer", [UNKNOWN, CLOSE, b"raw:what is this\r\n"])
async def test_a_write_in_doubt_is_not_repeated(one: FakeCluster, answer: Any) -> None:
    one.members[0].answer = in_turn(answer, b"done")
    async with raftkv.connect(one.addresses) as client:
        with pytest.raises(OutcomeUnknown):
            await client.call("SET", "a", 1)
    assert len(one.members[0].asked) == 1


@pytest.mark.parametrize("answer", [UNKNOWN, CLOSE, b"raw:what is this\r\n"])
async def test_a_read_in_doubt_is_asked_again(one: FakeCluster, answer: Any) -> None:
    one.members[0].answer = in_turn(answer, b"value")
    async with raftkv.connect(one.addresses) as client:
        assert await client.call("GET", "a") == b"value"


async def test_a_member_that_falls_silent_counts_as_gone(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(SILENCE, b"value")
    async with raftkv.connect(one.addresses, silence_ms_max=50) as client:
        assert await client.call("GET", "a") == b"value"
    assert one.members[0].connections == 2


# ---- exactly once


async def test_a_write_in_doubt_is_repeated_under_its_number(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(77, CLOSE, UNKNOWN, b"first reply", b"closed")
    async with raftkv.connect(one.addresses, exactly_once=True) as client:
        assert await client.call("INCR", "a") == b"first reply"
    asked = one.members[0].asked
    assert asked[0][:2] == [b"RAFT.SESSION", b"OPEN"]
    assert asked[1:4] == [[b"RAFT.ONCE", b"77", b"1", b"INCR", b"a"]] * 3
    assert asked[4] == [b"RAFT.SESSION", b"CLOSE", b"77"]


async def test_a_session_that_has_ended_is_replaced_for_what_is_not_in_doubt(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(77, Error("NOSESSION 77"), 78, b"done", b"closed")
    async with raftkv.connect(one.addresses, exactly_once=True) as client:
        assert await client.call("INCR", "a") == b"done"
    assert one.members[0].asked[3] == [b"RAFT.ONCE", b"78", b"1", b"INCR", b"a"]


async def test_what_was_in_doubt_is_never_sent_in_another_session(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(77, CLOSE, Error("NOSESSION 77"), b"never")
    async with raftkv.connect(one.addresses, exactly_once=True) as client:
        with pytest.raises(OutcomeUnknown, match="in doubt before"):
            await client.call("INCR", "a")
    assert len(one.members[0].asked) == 3


async def test_reads_go_without_a_session(one: FakeCluster) -> None:
    async with raftkv.connect(one.addresses, exactly_once=True) as client:
        await client.call("GET", "a")
    assert one.members[0].asked == [[b"GET", b"a"]]


async def test_numbers_in_use_stay_within_what_members_remember(one: FakeCluster) -> None:
    gate = trio.Event()
    one.members[0].answer = lambda argv: 77 if argv[0] == b"RAFT.SESSION" else SILENCE
    async with raftkv.connect(one.addresses, exactly_once=True) as client, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(client.call, "INCR", "a")
        with trio.move_on_after(0.3):
            await gate.wait()
        nursery.cancel_scope.cancel()
    numbers = {int(argv[2]) for argv in one.members[0].asked if argv[0] == b"RAFT.ONCE"}
    assert numbers == set(range(1, 65))


# ---- the leader


async def test_it_goes_to_the_leader_and_knows_everybody(three: FakeCluster) -> None:
    leader = three.members[0]
    async with raftkv.connect([three.members[2].address]) as client:
        await client.call("GET", "a")
        assert client.leader == leader.address
        assert set(client.addresses) == set(three.addresses)
    assert leader.asked == [[b"GET", b"a"]]
    assert three.members[2].asked == []


async def test_moved_is_followed(three: FakeCluster) -> None:
    old, new, _ = three.members
    async with raftkv.connect([old.address]) as client:
        await client.call("GET", "a")
        three.leader = new
        old.answer = lambda argv: Error(f"MOVED 1 {new.address}")
        assert await client.call("SET", "a", 1) == b"OK"
        assert client.leader == new.address
    assert new.asked == [[b"SET", b"a", b"1"]]


async def test_a_leader_that_cannot_be_reached_is_asked_through_others(three: FakeCluster) -> None:
    leader, other, _ = three.members
    leader.listening.cancel()
    await trio.testing.wait_all_tasks_blocked()
    async with raftkv.connect([other.address]) as client:
        assert await client.call("SET", "a", 1) == b"OK"
    assert other.asked == [[b"SET", b"a", b"1"]]


# ---- many tasks


async def test_everybody_gets_their_own_reply_also_when_some_are_cancelled(one: FakeCluster) -> None:
    one.members[0].answer = lambda argv: argv[1]
    got: dict[int, Any] = {}

    async def ask(number: int) -> None:
        with trio.CancelScope() as scope:
            if number % 3 == 0:
                scope.cancel()
            got[number] = await client.call("GET", number)

    async with raftkv.connect(one.addresses) as client:
        await client.call("GET", "first")
        for _ in range(20):
            got.clear()
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(ask, number)
            assert got == {number: b"%d" % number for number in range(30) if number % 3}


async def test_a_pool_has_no_more_connections_than_said(one: FakeCluster) -> None:
    async with raftkv.connect(one.addresses, pool_size=3, requests_max=2) as client, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(client.call, "GET", "a")
    assert one.members[0].connections <= 3


async def test_the_certain_and_the_uncertain_of_one_pipeline(one: FakeCluster) -> None:
    one.members[0].answer = in_turn(b"1", CLOSE, b"again")
    async with raftkv.connect(one.addresses) as client:
        outcomes = await client.call_many([("SET", "a", 1), ("SET", "b", 1), ("GET", "a")])
    assert outcomes[0] == b"1"
    assert isinstance(outcomes[1], OutcomeUnknown)
    assert outcomes[2] == b"again"


# ---- threads


async def test_threads_call_at_the_same_time(one: FakeCluster) -> None:
    one.members[0].answer = lambda argv: argv[1]

    def work() -> list[Any]:
        with raftkv.connect_sync(one.addresses) as client:
            assert client.call_many([("GET", 1), ("GET", 2)]) == [b"1", b"2"]
            return [client.call("GET", number) for number in range(20)]

    results: list[list[Any]] = []

    async def in_thread() -> None:
        results.append(await trio.to_thread.run_sync(work))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(in_thread)
    assert results == [[b"%d" % number for number in range(20)]] * 3


def test_a_wrong_use_is_told_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="at least one address"), raftkv.connect_sync([]):
        pass
