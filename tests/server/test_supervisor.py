"""What follows when a member fails: another life from the same log, within limits, and never after a failed disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import raftkv
from raftkv.errors import BrokenInvariant, MemberFailed, OutcomeUnknown, ServerStopped, StorageFailed
from raftkv.server.supervisor import RestartPolicy
from raftkv.settings import Supervision
from raftkv.storage.wal import Wal
from tests.integration.cluster import Client
from tests.support.machines import Recorder, Watched, Words

FAST = {"storage.fsync": "off", "storage.segment_bytes": 65536, "supervision.backoff_ms": 0}


@pytest.fixture
def opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    caplog.set_level(logging.WARNING, "raftkv")

    def opened(machine: Any, **settings: Any) -> Any:
        named = {f"supervision.{name}": value for name, value in settings.items()}
        return raftkv.open_server(machine, data=tmp_path / "data", settings=FAST | named)

    return opened


async def wait_for_restart(server: raftkv.EmbeddedServer, count: int = 1) -> None:
    """Until the member runs again."""
    while server._supervisor.restarts < count or server._supervisor.member is None:
        await server._supervisor.life_changed.wait()


# ---- the policy


def test_restarts_are_counted_within_the_window() -> None:
    policy = RestartPolicy(Supervision(restarts_max=2, window_ms=1000, backoff_ms=100))
    assert [policy.wait_ms(now_ms) for now_ms in (0, 10, 999, 1000, 1001)] == [100, 200, None, 200, None]


def test_each_restart_within_the_window_waits_twice_as_long() -> None:
    policy = RestartPolicy(Supervision(restarts_max=4, window_ms=1000, backoff_ms=50))
    assert [policy.wait_ms(0) for _ in range(5)] == [50, 100, 200, 400, None]
    assert policy.wait_ms(1000) == 50


@pytest.mark.parametrize("settings", [Supervision(restart="never"), Supervision(restarts_max=0)])
def test_there_may_be_none_at_all(settings: Supervision) -> None:
    assert RestartPolicy(settings).wait_ms(0) is None


# ---- a machine that raises once


async def test_a_member_goes_on_after_its_machine_failed_once(opened: Callable[..., Any]) -> None:
    recorder = Recorder(booms=1)
    async with opened(partial(Words, recorder)) as server:
        port = server.port
        await server.write("PUT", "a", 1)
        with pytest.raises(OutcomeUnknown, match="stopped while the command was under way"):
            await server.write("BOOM")
        await wait_for_restart(server)
        assert recorder.calls["made"] == 2, "a new machine"
        assert await server.read("TAKE", "a") == b"1", "which got the log's entries again"
        assert await server.write("PUT", "b", 2) == b"OK"
        assert (server.inspect()["restarts"], server.port) == (1, port)


async def test_replay_repeats_no_reply_and_no_effect(opened: Callable[..., Any]) -> None:
    recorder = Recorder(booms=1)
    answers = []

    async def write(*argv: str) -> None:
        try:
            answers.append(await server.write(*argv))
        except OutcomeUnknown as error:
            answers.append(error)

    async with opened(partial(Watched, recorder)) as server:
        await write("PUT", "a", "1")
        await write("BOOM")
        await wait_for_restart(server)
        assert await server.read("TAKE", "a") == b"1"
        assert recorder.calls["write"] == 2 + 2, "PUT and BOOM in each life"
        assert recorder.calls["effect"] == 1, "not again in the second one"
    assert [type(answer) for answer in answers] == [bytes, OutcomeUnknown]
    assert recorder.calls["init"] == 2
    assert recorder.reasons == ["ZeroDivisionError('boom')", "normal"]


async def test_the_reason_is_logged(opened: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async with opened(partial(Words, Recorder(booms=1))) as server:
        with pytest.raises(OutcomeUnknown):
            await server.write("BOOM")
        await wait_for_restart(server)
    failed, restarts = [r.getMessage() for r in caplog.records if "'member_" in r.getMessage()]
    assert "member_failed" in failed
    assert "ZeroDivisionError" in failed
    assert "Traceback" in failed
    assert "member_restarts" in restarts


async def test_connections_end_with_the_life_and_the_port_stays(opened: Callable[..., Any]) -> None:
    async with opened(partial(Words, Recorder(booms=1))) as server:

        def client() -> Any:
            with Client(server.port) as first, pytest.raises(ConnectionError):
                first("BOOM")
            with Client(server.port) as second:
                return second("BOOM")

        assert await trio.to_thread.run_sync(client) == b"OK"


async def test_calls_between_two_lives_are_certainly_not_done(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(partial(Words, Recorder(booms=1)), backoff_ms=60_000) as server:
        await server.await_leader()
        with pytest.raises(OutcomeUnknown):
            await server.write("BOOM")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ServerStopped, match="being started again"):
            await server.write("PUT", "a", 1)
        assert server.leader() is None
        # Leaving the body now must not wait for the next life.


async def test_a_leader_is_awaited_into_the_next_life(opened: Callable[..., Any]) -> None:
    async with opened(partial(Words, Recorder(booms=1))) as server:
        with pytest.raises(OutcomeUnknown):
            await server.write("BOOM")
        with trio.fail_after(20):
            assert await server.await_leader() == 1


# ---- a machine that raises always


async def always_failing(opened: Callable[..., Any], machine: Any, **settings: Any) -> Any:
    async with opened(machine, **settings) as server:
        with pytest.raises(OutcomeUnknown):
            await server.write("BOOM")
        await trio.sleep_forever()


async def test_a_machine_that_fails_at_an_entry_again_and_again_ends_the_member(opened: Callable[..., Any]) -> None:
    """E14: otherwise it would fail there for ever."""
    recorder = Recorder(booms=1000)
    with pytest.raises(MemberFailed, match=r"at entry 2: ZeroDivisionError.*; 2 restarts within 60000 ms") as raised:
        await always_failing(opened, partial(Words, recorder), restarts_max=2)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert recorder.calls["made"] == 3


async def test_the_log_of_a_member_that_gave_up_is_kept(opened: Callable[..., Any]) -> None:
    with pytest.raises(MemberFailed):
        await always_failing(opened, partial(Words, Recorder(booms=1000)), restarts_max=1)
    async with opened(Words) as server:  # the mended machine
        assert await server.write("BOOM") == b"OK"
        assert [entry["index"] for entry in server.inspect("log") if entry["kind"] == 1] == [
            2,
            server.inspect()["last"],
        ]


async def test_never_means_never(opened: Callable[..., Any]) -> None:
    recorder = Recorder(booms=1)
    with pytest.raises(MemberFailed, match=r"supervision\.restart is never"):
        await always_failing(opened, partial(Words, recorder), restart="never")
    assert recorder.calls["made"] == 1


async def test_an_instance_cannot_be_started_again(opened: Callable[..., Any]) -> None:
    """It holds a half-changed state, and the log would be applied on top of it."""
    with pytest.raises(MemberFailed, match=r"supervision\.restart is never"):
        await always_failing(opened, Words(Recorder(booms=1)))


async def test_a_factory_that_fails_later_counts_as_a_failure(opened: Callable[..., Any]) -> None:
    made = 0

    def make() -> Words:
        nonlocal made
        made += 1
        if made > 1:
            raise OSError("no more machines")
        return Words(Recorder(booms=1))

    with pytest.raises(MemberFailed, match="no more machines"):
        await always_failing(opened, make)
    assert made == 1 + 3


# ---- what must not be begun again


async def test_a_failed_disk_is_not_tried_again(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()

    def fail(self: Wal, writes: Any) -> None:
        raise OSError(5, "Input/output error")

    async def serve() -> None:
        async with opened(partial(Words, recorder)) as server:
            await server.await_leader()
            monkeypatch.setattr(Wal, "append", fail)
            await server.write("PUT", "a", 1)

    with pytest.raises(StorageFailed, match="Input/output error"):
        await serve()
    assert recorder.calls["made"] == 1


async def test_a_broken_invariant_is_not_trusted_to_the_next_life(opened: Callable[..., Any]) -> None:
    class Broken(Words):
        def handle_write(self, context: Any, commands: Any) -> Any:
            raise BrokenInvariant("two and two are five")

    recorder = Recorder()

    async def serve() -> None:
        async with opened(partial(Broken, recorder)) as server:
            await server.write("PUT", "a", 1)

    with pytest.raises(BrokenInvariant, match="five"):
        await serve()
    assert recorder.calls["made"] == 1
