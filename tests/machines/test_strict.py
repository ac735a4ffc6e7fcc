"""Strict mode: each forbidden call is stopped before it is made, and what is allowed goes through."""

from __future__ import annotations

import copy
import datetime
import gc
import logging
import os
import random
import secrets
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import raftkv
from raftkv.errors import Fatal, NonDeterministic
from raftkv.machines.interface import Context, ReadContext
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.register import RegisterMachine
from raftkv.machines.replies import Error
from raftkv.machines.strict import watch
from raftkv.server.loading import make_machine
from raftkv.settings import Machine, Settings
from tests.machines.declared_examples import Counter


@dataclass(frozen=True)
class Point:
    x: str


class Calling(RegisterMachine):
    """Calls `what` in every method that is guarded."""

    def __init__(self, what: Callable[[Context], Any]) -> None:
        super().__init__()
        self.what: Callable[[Any], Any] = what

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Any]:
        self.what(context)
        return super().handle_write(context, commands)

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Any]:
        self.what(context)
        return super().handle_read(context, commands)

    def is_command(self, argv: list[bytes]) -> bool:
        self.what(None)
        return True

    def handle_system_write(self, kind: str, content: Any, context: Context) -> None:
        self.what(context)


def write(machine: RegisterMachine) -> list[Any]:
    return machine.handle_write(Context(index=1, term=1, time_ms=1, seed=1), [[b"SET", b"x"]])


FORBIDDEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "time.time": (lambda _: time.time(), "time_ms"),
    "monotonic": (lambda _: time.monotonic_ns(), "time_ms"),
    "sleep": (lambda _: time.sleep(0), "effect"),
    "datetime.now": (lambda _: datetime.datetime.now(datetime.UTC), "time_ms"),
    "date.today": (lambda _: datetime.date.today(), "time_ms"),
    "random": (lambda _: random.random(), "context.random"),
    "randint": (lambda _: random.randint(1, 6), "context.random"),
    "shuffle": (lambda _: random.shuffle([1, 2, 3]), "context.random"),
    "seed": (lambda _: random.seed(1), "context.random"),
    "Random()": (lambda _: random.Random(), "context.random"),
    "SystemRandom": (lambda _: random.SystemRandom().random(), "context.random"),
    "secrets": (lambda _: secrets.token_bytes(3), "context.random"),
    "urandom": (lambda _: os.urandom(1), "context.random"),
    "uuid4": (lambda _: uuid.uuid4(), "context.random"),
    "uuid1": (lambda _: uuid.uuid1(), "context."),
    "environ": (lambda _: os.environ.get("HOME"), "machine.options"),
    "environ[]": (lambda _: os.environ["PATH"], "machine.options"),
    "getenv": (lambda _: os.getenv("HOME"), "machine.options"),
    "getpid": (lambda _: os.getpid(), "machine.options"),
    "hash": (lambda _: hash("text"), "zlib.crc32"),
    "id": (lambda _: id("text"), "counter"),
    "open": (lambda _: open(__file__).close(), "effect"),
    "Path.open": (lambda _: Path(__file__).read_bytes(), "effect"),
    "os.open": (lambda _: os.open(__file__, os.O_RDONLY), "effect"),
    "socket": (lambda _: socket.socket().close(), "effect"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_call_is_stopped(name: str) -> None:
    what, instead = FORBIDDEN[name]
    machine = watch(Calling(what))
    with pytest.raises(NonDeterministic, match=r"Calling\.handle_write called .*; use ") as caught:
        write(machine)
    assert instead in caught.value.instead
    assert machine.value is None
    assert sys.getprofile() is None


def test_each_of_the_four_methods_is_guarded() -> None:
    machine = watch(Calling(lambda _: time.time()))
    context = Context(index=1, term=1, time_ms=1, seed=1)
    for method, arguments in {
        "handle_write": (context, []),
        "handle_read": (ReadContext(1), []),
        "is_command": ([b"SET"],),
        "handle_system_write": ("config", [1], context),
    }.items():
        with pytest.raises(NonDeterministic) as caught:
            getattr(machine, method)(*arguments)
        assert caught.value.method == f"Calling.{method}"
        assert caught.value.call == "time.time()"


def test_a_machine_that_swallows_it_does_not_get_away() -> None:
    def swallow(_: Any) -> None:
        try:
            time.time()
        except Exception:
            machine.value = b"swallowed"

    machine = watch(Calling(swallow))
    with pytest.raises(NonDeterministic):
        write(machine)
    assert issubclass(NonDeterministic, Fatal)


@pytest.mark.parametrize(
    "what",
    [
        lambda context: context.random.randint(1, 6),
        lambda context: random.Random(7).random(),
        lambda context: {Point("x"): 1},
        lambda context: copy.deepcopy({"a": [1, 2]}),
        lambda context: logging.getLogger("machine").error("a line"),
        lambda context: datetime.datetime.fromtimestamp(context.time_ms / 1000, datetime.UTC),
        lambda context: time.gmtime(context.time_ms),
    ],
)
def test_what_is_the_same_everywhere_goes_through(what: Callable[[Context], Any]) -> None:
    machine = watch(Calling(what))
    write(machine)
    assert machine.value == b"x"


def test_exceptions_and_an_outer_profiler_are_left_as_they_are() -> None:
    def fail(_: Any) -> None:
        raise KeyError("mine")

    def profiler(*_: Any) -> None: ...

    sys.setprofile(profiler)
    try:
        with pytest.raises(KeyError, match="mine"):
            write(watch(Calling(fail)))
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def test_what_the_collector_is_watched_with_is_not_the_machines_doing() -> None:
    timed = []

    def time_it(phase: str, info: dict[str, int]) -> None:
        timed.append(time.perf_counter())

    gc.callbacks.append(time_it)
    try:
        write(watch(Calling(lambda _: gc.collect())))
    finally:
        gc.callbacks.remove(time_it)
    assert timed


def test_the_setting_decides() -> None:
    plain = make_machine(Settings())
    assert isinstance(plain, RedisMachine)
    assert "handle_write" not in vars(plain)
    assert "handle_write" in vars(make_machine(Settings(machine=Machine(strict=True))))


def test_a_declared_machine_is_watched_and_may_log_what_goes_wrong() -> None:
    machine = watch(Counter())
    machine.init()
    context = Context(index=1, term=1, time_ms=1, seed=1)
    [reply] = machine.handle_write(context, [[b"INCR", b"a", b"13"]])
    assert reply == Error("ERR internal error in 'incr': ZeroDivisionError; nothing was changed")
    machine = watch(Clocked())
    with pytest.raises(NonDeterministic, match=r"Clocked.handle_write.*time\.time\(\)"):
        machine.handle_write(context, [[b"NOW"]])


class Clocked(raftkv.Machine):
    @raftkv.write
    def now(self) -> float:
        return time.time()
