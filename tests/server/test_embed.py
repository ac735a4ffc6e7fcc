"""A member inside of a trio program: starting, calling and stopping it (exraft.md's functions, row by row)."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

import raftkv
from raftkv import config
from raftkv.errors import (
    CommandError,
    ConfigError,
    DirtyReadDisabled,
    LastServer,
    MemberFailed,
    NoLeader,
    NotDone,
    OutcomeUnknown,
    Removed,
    ServerStopped,
    StorageCorrupt,
    StorageFailed,
    UnstableLeader,
    YourFault,
)
from raftkv.machines.register import RegisterMachine
from raftkv.server.member import Member
from raftkv.storage.wal import Wal
from tests.integration.cluster import Client
from tests.support.machines import Recorder, Words

FAST = {"storage.fsync": "off", "storage.segment_bytes": 65536}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "raftkv")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Any]:
    """`open_server` with a directory of the test's own, and no syncs."""

    def opened(machine: Any = Words, **arguments: Any) -> Any:
        settings = FAST | arguments.pop("settings", {})
        return raftkv.open_server(machine, **{"data": tmp_path / "data"} | arguments, settings=settings)

    return opened


# ---- commands


async def test_a_write_is_carried_out_and_read(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        assert await server.write("PUT", "a", 1) == b"OK"
        assert await server.read("TAKE", "a") == b"1"
        assert await server.read_dirty("DIRTYTAKE", b"a") == b"1"
        assert await server.read_dirty("TAKE", "a") == b"1", "any read can be answered from this member's memory"
        assert await server.read("take", "missing") is None


async def test_it_is_served_to_redis_clients_as_well(opened: Callable[..., Any]) -> None:
    async with opened("redis") as server:
        await server.write("SET", "a", "b")
        assert await trio.to_thread.run_sync(_get, server.port, "a") == b"b"


def _get(port: int, key: str) -> Any:
    with Client(port) as client:
        return client("GET", key)


async def test_values_are_those_of_resp3(opened: Callable[..., Any]) -> None:
    async with opened("redis") as server:
        assert await server.write("INCR", "n") == 1
        assert await server.write("INCRBYFLOAT", "f", 1.5) == b"1.5"
        await server.write("MSET", "x", b"\x00\xff", "y", "ü")
        assert await server.read("MGET", "x", "y", "z") == [b"\x00\xff", "ü".encode(), None]


@pytest.mark.parametrize("word", [True, None, ["a"]])
async def test_a_word_without_an_obvious_spelling_is_refused(opened: Callable[..., Any], word: Any) -> None:
    async with opened() as server:
        with pytest.raises(TypeError, match="bytes, str, int or float"):
            await server.write("PUT", "a", word)


async def test_an_error_reply_is_raised_with_its_code(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        with pytest.raises(CommandError, match="always wrong") as raised:
            await server.write("WRONG")
        assert raised.value.code == "WORDS"
        assert isinstance(raised.value, YourFault)


@pytest.mark.parametrize(
    ("method", "argv", "reason"),
    [
        ("write", ["TAKE", "a"], r"not for write\(\): call read\(\)"),
        ("write", ["DIRTYTAKE", "a"], r"call read_dirty\(\)"),
        ("read", ["PUT", "a", "b"], r"not for read\(\): call write\(\)"),
        ("read", ["DIRTYTAKE", "a"], r"call read_dirty\(\)"),
        ("read_dirty", ["PUT", "a", "b"], r"call write\(\)"),
        ("write", ["NOSUCH"], "unknown command 'NOSUCH'"),
        ("write", ["PUT", "a"], "wrong number of arguments for 'put'"),
        ("write", ["PING"], "connection's own command"),
        ("write", [], "unknown command"),
    ],
)
async def test_a_wrong_call_is_refused_before_anything_is_sent(
    opened: Callable[..., Any], method: str, argv: list[str], reason: str
) -> None:
    recorder = Recorder()
    async with opened(partial(Words, recorder)) as server:
        with pytest.raises(CommandError, match=reason):
            await getattr(server, method)(*argv)
        assert recorder.calls["write"] == recorder.calls["read"] == 0


async def test_many_commands_in_one_go_have_their_errors_in_place(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.await_leader()
        last = server.inspect()["last"]
        replies = await server.write_many([["PUT", "a", 1], ["WRONG"], ["TAKE", "a"], ["PUT", "b", 2]])
        assert [replies[0], *replies[2:]] == [b"OK", b"1", b"OK"]
        assert isinstance(replies[1], CommandError)
        assert server.inspect()["last"] == max(last, 1) + 1, "they are one entry"
        assert await server.write_many([["TAKE", "a"], ["TAKE", "b"]]) == [b"1", b"2"]
        assert server.inspect()["last"] == max(last, 1) + 1, "reads alone need none"
        assert await server.write_many([]) == []


async def test_a_list_that_is_too_long_for_one_entry_goes_in_parts(opened: Callable[..., Any]) -> None:
    async with opened(settings={"client.turn_commands_max": 10}) as server:
        assert await server.write_many([["PUT", f"w{i}", i] for i in range(95)]) == [b"OK"] * 95
        assert await server.read("TAKE", "w94") == b"94"


async def test_writes_of_many_tasks_share_log_entries(opened: Callable[..., Any]) -> None:
    async with opened("redis") as server:
        await server.write("SET", "n", 0)
        before = server.inspect()["last"]
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(server.write, "INCR", "n")
        assert await server.read("GET", "n") == b"100"
        assert server.inspect()["last"] - before < 20


async def test_a_command_larger_than_a_frame_is_refused(opened: Callable[..., Any]) -> None:
    small = {"peer.frame_bytes_max": 1 << 20, "raft.append_bytes_max": 1 << 16}
    async with opened(settings=small) as server:
        with pytest.raises(CommandError, match="too large"):
            await server.write("PUT", "a", b"x" * (1 << 20))
        with pytest.raises(CommandError, match="too large"):
            await server.write_many([["PUT", "b", 1], ["PUT", "a", b"x" * (1 << 20)]])
        assert await server.read("TAKE", "b") is None, "nothing of the list was sent"
        assert await server.write("PUT", "a", "x") == b"OK"


async def test_dirty_reads_can_be_disabled(opened: Callable[..., Any]) -> None:
    async with opened(settings={"client.dirty_reads": False}) as server:
        with pytest.raises(DirtyReadDisabled):
            await server.read_dirty("DIRTYTAKE", "a")


async def test_a_dirty_read_may_ask_for_something_not_too_old(opened: Callable[..., Any]) -> None:
    """It answers at once. Where nothing is known yet the leader is asked, and a later call knows."""
    async with opened("redis") as server:
        await server.write("SET", "a", "b")
        with pytest.raises(NotDone, match="STALE"):
            await server.read_dirty("DIRTYGET", "a", "MAXLAG", 10_000)
        while True:
            with contextlib.suppress(NotDone):
                assert await server.read_dirty("DIRTYGET", "a", "MAXLAG", 10_000) == b"b"
                break
            await server.read("GET", "a")


async def test_calls_do_not_wait_for_a_tick(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member, "_tick", lambda self: trio.sleep_forever())
    async with opened() as server:
        with trio.fail_after(10):
            for number in range(20):
                await server.write("PUT", "a", number)
                assert await server.read("TAKE", "a") == b"%d" % number


async def test_calls_work_from_a_thread(opened: Callable[..., Any]) -> None:
    async with opened() as server:

        def in_a_thread() -> Any:
            assert threading.current_thread() is not threading.main_thread()
            trio.from_thread.run(server.write, "PUT", "a", "from a thread")
            with pytest.raises(CommandError):
                trio.from_thread.run(server.write, "WRONG")
            return trio.from_thread.run(server.read, "TAKE", "a")

        assert await trio.to_thread.run_sync(in_a_thread) == b"from a thread"


# ---- without a majority


LONELY = {1: "127.0.0.1:1", 2: "127.0.0.1:2", 3: "127.0.0.1:3"}


async def test_without_a_leader_a_call_is_certainly_not_done(opened: Callable[..., Any]) -> None:
    with raftkv.local_members(3) as members:
        async with opened(members=members, settings={"raft.no_leader_wait_ms": 50}) as server:
            with pytest.raises(NoLeader, match="not carried out"):
                await server.write("PUT", "a", 1)
            with pytest.raises(NoLeader):
                await server.read("TAKE", "a")
            assert await server.read_dirty("TAKE", "a") is None
            assert server.leader() is None
            assert server.role in ("follower", "candidate")
            with pytest.raises(NoLeader):
                await server.add_server(4, "127.0.0.1:4")
            replies = await server.write_many([["PUT", "a", 1], ["PUT", "a", 2]])
            assert [type(reply) for reply in replies] == [NoLeader, NoLeader]


async def test_a_time_limit_is_a_cancel_scope(opened: Callable[..., Any]) -> None:
    with raftkv.local_members(3) as members:
        async with opened(members=members) as server:
            with trio.move_on_after(0.02) as scope:
                await server.write("PUT", "a", 1)
            assert scope.cancelled_caught
            with trio.move_on_after(0.02) as scope:
                await server.await_leader()
            assert scope.cancelled_caught


# ---- who leads, and members


async def test_a_lone_member_leads(opened: Callable[..., Any]) -> None:
    async with opened(id=7) as server:
        assert await server.await_leader() == 7
        assert (server.id, server.leader(), server.role) == (7, 7, "leader")
        assert await server.await_leader() == 7, "at once"


async def test_a_triggered_election_begins_a_new_term(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        term = server.inspect()["term"]
        await server.trigger_election()
        assert server.inspect()["term"] == term + 1
        assert await server.read("TAKE", "a") == b"1"


async def test_adding_a_member_and_removing_a_stranger_returns_at_once(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        await server.add_server(1, server.members[1])
        await server.remove_server(2)


async def test_a_wrong_address_cannot_be_added(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        with pytest.raises(YourFault, match="host:port"):
            await server.add_server(2, "nowhere")


async def test_the_only_member_cannot_be_removed(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.await_leader()
        with pytest.raises(LastServer):
            await server.remove_server(1)


async def test_a_member_that_never_comes_is_waited_for_and_can_be_taken_out_again(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        with trio.move_on_after(0.1) as scope:
            await server.add_server(2, "127.0.0.1:2")
        assert scope.cancelled_caught, "a voter only when it has the log"
        assert server.inspect()["learners"] == [2]
        assert await server.write("PUT", "a", 2) == b"OK", "a learner counts in no quorum"
        await server.remove_server(2)
        assert list(server.members) == [1]
        with pytest.raises(CommandError, match="was removed once"):
            await server.add_server(2, "127.0.0.1:2")


async def test_a_lone_member_grows_and_shrinks(opened: Callable[..., Any], tmp_path: Path) -> None:
    with raftkv.local_members(2) as addresses:
        async with opened(members={1: addresses[1]}) as first:
            await first.write("PUT", "a", 1)
            join = {"cluster.join": f"127.0.0.1:{first.port}"}
            port = int(addresses[2].rpartition(":")[2])

            async def come_and_go() -> None:
                async with opened(id=2, data=tmp_path / "second", peer_port=port, settings=join) as second:
                    await first.add_server(2, addresses[2])
                    assert await second.read("TAKE", "a") == b"1"
                    assert dict(first.members) == dict(second.members) == addresses
                    await first.remove_server(2)
                    await trio.sleep_forever()

            with pytest.raises(Removed, match="member 2 was removed"):
                await come_and_go()
            assert await first.write("PUT", "a", 2) == b"OK"


async def test_a_leader_without_an_entry_of_its_own_term_changes_no_members(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        node = server._member.replica.node
        node.term_start = node.log.last_index + 1  # as in the moment after an election
        with pytest.raises(UnstableLeader):
            await server.remove_server(2)
        with pytest.raises(LastServer):
            await server.remove_server(1)  # is looked at first, as in ExRaft 0.2


# ---- this member


async def test_inspect_tells_status_and_log(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        status = server.inspect()
        assert (status["id"], status["role"], status["leader"], status["restarts"]) == (1, "leader", 1, 0)
        assert [(entry["index"], entry["kind"]) for entry in server.inspect("log")] == [(1, 0), (2, 1)]


async def test_the_shown_log_is_its_end(opened: Callable[..., Any]) -> None:
    async with opened(settings={"storage.log_cache_bytes_max": 0}) as server:
        for number in range(120):
            await server.write("PUT", "a", number)
        assert [entry["index"] for entry in server.inspect("log")] == list(range(22, 122))


async def test_ping_comes_back_from_the_member(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        assert await server.ping() == "pong"


# ---- starting


async def test_what_was_written_is_there_at_the_next_start(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
    async with opened() as server:
        assert await server.read("TAKE", "a") == b"1"


async def test_an_instance_may_be_given(opened: Callable[..., Any]) -> None:
    machine = RegisterMachine()
    async with opened(machine) as server:
        await server.write("SET", "x")
        assert machine.value == b"x"


async def test_a_class_can_be_named(opened: Callable[..., Any]) -> None:
    async with opened("tests.support.machines:Words") as server:
        assert await server.write("PUT", "a", 1) == b"OK"


@pytest.mark.parametrize(
    ("arguments", "key", "reason"),
    [
        ({"settings": {"raft.heartbeat_ms": 5}}, "raft.heartbeat_ms", "no such setting; did you mean"),
        ({"settings": {"raft.heartbeat_interval_ms": 0}}, "raft.heartbeat_interval_ms", "a whole number, 1 or more"),
        ({"settings": {"raft.heartbeat_interval_ms": "50"}}, "raft.heartbeat_interval_ms", "a whole number"),
        ({"port": 70_000}, "client.port", "from 0 to 65535"),
        ({"id": 4, "members": LONELY}, "node.id", "not in cluster.members"),
        ({"members": {1: "nowhere"}}, "cluster.members", "not host:port"),
        ({"restart": "always"}, "supervision.restart", "on-failure or never"),
        ({"machine": "nosuch.module:Machine"}, "machine.class", "No module named"),
        ({"machine": "no class"}, "machine.class", "package.module:Class"),
        ({"machine": dict}, "machine", "no raftkv.StateMachine"),
    ],
)
async def test_a_wrong_setting_is_named(
    opened: Callable[..., Any], arguments: dict[str, Any], key: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        async with opened(**arguments):
            pytest.fail("started")
    assert raised.value.key == key


async def test_a_settings_object_may_be_given(tmp_path: Path) -> None:
    flags = {"port": "0", "peer-port": "0", "id": "3", "data": str(tmp_path), "storage-fsync": "off"}
    async with raftkv.open_server(Words, settings=config.load(None, {}, flags)) as server:
        assert server.id == 3


async def test_a_port_that_is_taken_is_named(opened: Callable[..., Any], tmp_path: Path) -> None:
    async with opened() as server:
        with pytest.raises(ConfigError, match="cannot listen there"):
            async with opened(port=server.port, data=tmp_path / "other"):
                pytest.fail("started")


async def test_a_directory_in_use_is_refused(opened: Callable[..., Any]) -> None:
    async with opened():
        with pytest.raises(StorageCorrupt, match="in use"):
            async with opened():
                pytest.fail("started")


async def test_a_machine_that_cannot_be_made_stops_the_start(opened: Callable[..., Any]) -> None:
    def make() -> raftkv.StateMachine:
        raise ValueError("no such file")

    with pytest.raises(MemberFailed, match=r"could not start.*no such file") as raised:
        async with opened(make):
            pytest.fail("started")
    assert isinstance(raised.value.__cause__, ValueError)


async def test_the_process_is_left_as_it_is(opened: Callable[..., Any]) -> None:
    def state() -> tuple[Any, ...]:
        return (
            [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
            gc.get_threshold(),
            gc.get_freeze_count(),
            sys.getswitchinterval(),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            structlog.get_config(),
            logging.getLogger().handlers,
        )

    before = state()
    async with opened():
        assert state() == before
    assert state() == before


def test_importing_raftkv_for_a_machine_does_not_import_the_server() -> None:
    code = "import raftkv, sys; raftkv.StateMachine; sys.exit('trio' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


# ---- stopping


async def test_after_stop_calls_are_refused_and_the_body_goes_on(opened: Callable[..., Any]) -> None:
    async with opened() as server:
        await server.write("PUT", "a", 1)
        await server.stop("maintenance")
        for call in (server.write("PUT", "a", 2), server.read("TAKE", "a"), server.ping(), server.await_leader()):
            with pytest.raises(ServerStopped, match="has been stopped"):
                await call
        assert server.leader() is None
        await server.stop()  # twice does no harm


async def test_the_reason_of_a_stop_is_told_to_the_machine_and_logged(
    opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    for reason, lines in (("normal", 0), ("no more electricity", 1)):
        caplog.clear()
        recorder = Recorder()
        async with opened(partial(Words, recorder)) as server:
            await server.stop(reason)
        assert recorder.reasons == [reason]
        assert sum(reason in record.getMessage() for record in caplog.records) == lines


async def test_stop_answers_what_is_under_way(opened: Callable[..., Any]) -> None:
    replies = []

    async def write(server: Any, number: int) -> None:
        replies.append(await server.write("PUT", "a", number))

    async with opened() as server:
        await server.await_leader()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(write, server, number)
            await trio.testing.wait_all_tasks_blocked()
            await server.stop()
    assert replies == [b"OK"] * 10


async def test_what_cannot_be_answered_any_more_is_told_so(opened: Callable[..., Any]) -> None:
    outcome: list[BaseException] = []

    async def write(server: Any) -> None:
        try:
            await server.write("PUT", "a", 1)
        except OutcomeUnknown as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        with raftkv.local_members(3) as members, trio.CancelScope() as scope:
            async with opened(members=members) as server:
                nursery.start_soon(write, server)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert len(outcome) == 1


async def test_what_the_body_raises_leaves_as_it_is(opened: Callable[..., Any]) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with opened():
            raise KeyError("mine")


async def test_a_cancelled_body_stops_the_member_at_once(opened: Callable[..., Any]) -> None:
    with trio.CancelScope() as scope:
        async with opened():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with opened() as server:
        assert await server.await_leader() == 1


async def test_a_start_can_be_cancelled(opened: Callable[..., Any]) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with opened():
            pytest.fail("started")
    async with opened() as server:
        assert await server.ping() == "pong"


async def test_everything_is_closed_at_the_end(opened: Callable[..., Any]) -> None:
    async with opened():
        pass
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        async with opened() as server:
            await server.write("PUT", "a", 1)
    assert len(os.listdir("/proc/self/fd")) == files
    assert threading.active_count() <= threads + 1, "trio keeps a worker thread for a while"


async def test_a_failed_disk_cancels_the_body_and_is_raised(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome: list[BaseException] = []

    async def write(server: Any) -> None:
        try:
            await server.write("PUT", "a", 1)
        except OutcomeUnknown as error:
            outcome.append(error)

    def fail(self: Wal, writes: Any) -> None:
        raise OSError(5, "Input/output error")

    async def serve(nursery: trio.Nursery) -> None:
        async with opened() as server:
            await server.write("PUT", "a", 0)
            monkeypatch.setattr(Wal, "append", fail)
            nursery.start_soon(write, server)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with pytest.raises(StorageFailed, match="Input/output error"):
            await serve(nursery)
    assert len(outcome) == 1, "whoever else waits hears of it as well"


# ---- the page


@pytest.mark.parametrize(("number", "shown"), [(0, "b'hello'\nredis-cli -p"), (1, "leads; b'1'")])
def test_the_examples_of_the_page_can_be_pasted(tmp_path: Path, number: int, shown: str) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "embedding.md").read_text("utf-8")
    example = page.split("```python\n")[number + 1].split("```")[0]
    ran = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert shown in ran.stdout, ran.stderr


async def test_what_is_sent_behind_a_parked_command_is_answered_though_nothing_else_happens(
    opened: Callable[..., Any],
) -> None:
    """Nobody wakes a lone member's hub."""
    async with opened("redis") as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"WAIT 1 20\r\nPING\r\nPING\r\n")
        received = b""
        with trio.fail_after(5):
            while received != b":0\r\n+PONG\r\n+PONG\r\n":
                received += await stream.receive_some(100)
