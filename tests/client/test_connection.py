"""One connection: each caller gets the replies to its own requests, however they are mixed and cut on their way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hiredis
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.client.connection import Connection, Lost, NotSent, ReplyError
from raftkv.machines.replies import NULL_ARRAY, OK, Error, Reply
from raftkv.wire.resp_encode import encode

SHAPES: list[tuple[Reply, Any]] = [
    (None, None),
    (False, False),
    (True, True),
    (b"", b""),
    (b"a\r\nb", b"a\r\nb"),
    (OK, b"OK"),
    (1.5, 1.5),
    ([], []),
    (NULL_ARRAY, None),
    ({b"k": [b"v", None, False]}, {b"k": [b"v", None, False]}),
]
"""(what a member answers, what a caller sees)"""


class FakeStream:
    """Takes requests, and answers as many bytes at a time as a test says."""

    def __init__(self, cuts: list[int], answers_at_most: int) -> None:
        self.socket = SimpleNamespace(close=self._on_close)
        self._parser = hiredis.Reader()
        self._due = bytearray()
        self._cuts = cuts
        self._answers = answers_at_most
        self._news = trio.Event()
        self._closed = False
        self.is_held = False

    def _on_close(self) -> None:
        self._closed = True
        self._news.set()

    def release(self) -> None:
        self.is_held = False
        self._news.set()

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._parser.feed(data)
        while (argv := self._parser.gets()) is not False:
            if self._answers:
                self._answers -= 1
                self._due += encode(answer(int(argv[1])), True)
        self._news.set()

    async def receive_some(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while self.is_held or not self._due:
            if self._closed or not (self._answers or self._due):
                return b""
            self._news = trio.Event()
            await self._news.wait()
        size = self._cuts.pop(0) if self._cuts else most
        taken, self._due = bytes(self._due[:size]), self._due[size:]
        return taken


def answer(number: int) -> Reply:
    if number % 11 == 10:
        return Error(f"ERR {number}")
    return [number, SHAPES[number % len(SHAPES)][0]] if number % 2 else SHAPES[number // 2 % len(SHAPES)][0]


def seen(number: int) -> Any:
    if number % 11 == 10:
        return f"ERR {number}"
    return [number, SHAPES[number % len(SHAPES)][1]] if number % 2 else SHAPES[number // 2 % len(SHAPES)][1]


@settings(max_examples=150, derandomize=True, database=None)
@given(
    pipelines=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 40), max_size=60),
    answers_at_most=st.one_of(st.just(1000), st.integers(1, 30)),
)
def test_each_caller_gets_its_own(pipelines: list[tuple[int, bool]], cuts: list[int], answers_at_most: int) -> None:
    """Some callers are cancelled while they wait; the member goes away after some answers."""
    clock = trio.testing.MockClock(autojump_threshold=0)  # who would wait for ever waits no longer than silence_ms_max
    trio.run(_check, pipelines, cuts, answers_at_most, clock=clock)


async def _check(pipelines: list[tuple[int, bool]], cuts: list[int], answers_at_most: int) -> None:
    stream: Any = FakeStream(cuts, answers_at_most)
    connection = Connection(stream, "fake:1", silence_ms_max=10_000, requests_max=5)
    told: dict[int, list[Any]] = {}
    lost: list[int] = []

    async def ask(first: int, count: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                replies = await connection.ask([("ASK", number) for number in range(first, first + count)])
            except Lost as error:
                lost.append(first)
                replies = error.replies
            except NotSent:
                return
            told[first] = replies

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        async with trio.open_nursery() as callers:
            first = 0
            for count, cancelled in pipelines:
                scope = trio.CancelScope()
                callers.start_soon(ask, first, count, scope)
                if cancelled:  # while nothing is answered: it surely waits
                    stream.is_held = True
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
                    await trio.testing.wait_all_tasks_blocked()
                    stream.release()
                elif first % 3:
                    await trio.testing.wait_all_tasks_blocked()
                first += count
        connection.close("the test is over")
    for first, replies in told.items():
        numbers = range(first, first + len(replies))
        assert [str(each) if isinstance(each, ReplyError) else each for each in replies] == list(map(seen, numbers))
    if answers_at_most == 1000:
        assert not lost
        assert len(told) == sum(not cancelled for _, cancelled in pipelines)
