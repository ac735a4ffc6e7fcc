"""A good machine, and the same with one bug each: what the conformance suite must catch.

`Table` keeps numbers by name, with deadlines, effects and chance, so that each promise has something to be broken at.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from raftkv.machines.digests import part_hash
from raftkv.machines.interface import Command, Context, Effect, Kind, ReadContext, StateMachine, command_table
from raftkv.machines.replies import OK, Error, Reply, unknown_command, wrong_arity


class State(msgspec.Struct, array_like=True):
    numbers: dict[str, int] = {}
    deadlines_ms: dict[str, int] = {}
    writes: int = 0
    members: list[int] = []


def _row(name: str, arity: int, kind: Kind, **more: Any) -> Command:
    return Command(name=name, arity=arity, kind=kind, handler=print, **more)


KEY = {"name": "key", "type": "key"}
ROWS = (
    _row("add", 3, Kind.WRITE, arguments=(KEY, {"name": "by", "type": "integer"})),
    _row("end", 2, Kind.WRITE, arguments=(KEY,)),
    _row("roll", 2, Kind.WRITE, arguments=(KEY,)),
    _row("writes", 1, Kind.READ),
    _row("names", 1, Kind.READ),
    _row("get", 2, Kind.DIRTY, arguments=(KEY,)),
)


class Table(StateMachine):
    """ADD name by, END name (in half a second), ROLL name (a die), WRITES, NAMES, GET name."""

    name = "table"
    commands = command_table(ROWS)

    def __init__(self) -> None:
        self.state = State()

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        self.advance(context.time_ms)
        return [self.answer(context, position, argv) for position, argv in enumerate(commands)]

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        return [self.answer(None, position, argv) for position, argv in enumerate(commands)]

    def handle_system_write(self, kind: str, content: Any, context: Context) -> None:
        self.state.members = list(content)

    def advance(self, time_ms: int) -> None:
        for key in [key for key, deadline_ms in self.state.deadlines_ms.items() if deadline_ms <= time_ms]:
            del self.state.numbers[key], self.state.deadlines_ms[key]

    def answer(self, context: Context | None, position: int, argv: list[bytes]) -> Reply:
        row = self.commands.get(argv[0].lower()) if argv else None
        if row is None:
            return unknown_command(argv)
        if len(argv) != row.arity:
            return wrong_arity(row.name)
        if context is None or row.kind is not Kind.WRITE:
            return self.read(row.name, argv)
        return self.write(row.name, argv[1].hex(), argv, context, position)

    def write(self, name: str, key: str, argv: list[bytes], context: Context, position: int) -> Reply:
        state = self.state
        if name == "add":
            if not argv[2].isdigit() or len(argv[2]) > 6:
                return Error("ERR not a number")
            state.numbers[key] = state.numbers.get(key, 0) + int(argv[2])
        elif name == "roll":
            state.numbers[key] = context.random.randint(1, 6)
            context.add_effect(position, Effect(name="rolled", arguments=(key,)))
        elif key in state.numbers:
            state.deadlines_ms[key] = context.time_ms + 500
        else:
            return Error("ERR no such name")
        state.writes += 1
        return OK

    def read(self, name: str, argv: list[bytes]) -> Reply:
        if name == "writes":
            return self.state.writes
        if name == "names":
            return [key.encode() for key in sorted(self.state.numbers)]
        return self.state.numbers.get(argv[1].hex())

    def deadline_ms(self) -> int | None:
        return min(self.state.deadlines_ms.values(), default=None)

    def snapshot(self) -> Iterator[bytes]:
        whole = msgspec.msgpack.encode(self.state)
        yield whole[:5]
        yield whole[5:]

    def restore(self, slices: Iterator[bytes]) -> None:
        self.state = msgspec.msgpack.decode(b"".join(slices), type=State)

    def state_hash(self) -> bytes:
        state = self.state
        parts = [sorted(state.numbers.items()), sorted(state.deadlines_ms.items()), state.writes, state.members]
        return hashlib.sha256(msgspec.json.encode(parts)).digest()


def own_command(chance: Random) -> list[bytes]:
    return [b"ADD", b"mine", b"%d" % chance.randrange(9)]


class AsksTheClock(Table):
    def advance(self, time_ms: int) -> None:
        self.state.writes = int(time.time()) // 3600


class DrawsChance(Table):
    def advance(self, time_ms: int) -> None:
        self.state.writes = random.randrange(10**6)


class ShowsASet(Table):
    def read(self, name: str, argv: list[bytes]) -> Reply:
        return list({key.encode() for key in self.state.numbers}) if name == "names" else super().read(name, argv)


class ForgetsAField(Table):
    """Not in the hash either: only what follows shows it."""

    def restore(self, slices: Iterator[bytes]) -> None:
        super().restore(slices)
        self.state.deadlines_ms = {}

    def state_hash(self) -> bytes:
        return hashlib.sha256(msgspec.json.encode(sorted(self.state.numbers.items()))).digest()


class KeepsWhatWasThere(Table):
    def restore(self, slices: Iterator[bytes]) -> None:
        before = self.state.numbers
        super().restore(slices)
        self.state.numbers = before | self.state.numbers


class DigestsTheOrder(Table):
    """A snapshot sorts what its digest goes through as it stands."""

    def restore(self, slices: Iterator[bytes]) -> None:
        super().restore(slices)
        self.state.numbers = dict(sorted(self.state.numbers.items()))

    def digests(self) -> Iterator[int]:
        yield part_hash(msgspec.json.encode(self.state.numbers))


class SlicesMoveOn(Table):
    def snapshot(self) -> Iterator[bytes]:
        yield b""
        yield msgspec.msgpack.encode(self.state)


class CountsReads(Table):
    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        self.state.writes += 1
        return super().handle_read(context, commands)


class RemembersReads(Table):
    """The hash does not know what the read has changed."""

    last: bytes = b""

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        self.last = b"".join(commands[0])
        return super().handle_read(context, commands)

    def read(self, name: str, argv: list[bytes]) -> Reply:
        return self.last if name == "writes" else super().read(name, argv)


class ChangesInIsCommand(Table):
    def is_command(self, argv: list[bytes]) -> bool:
        self.state.writes += 1
        return True


class CountsBatches(Table):
    def advance(self, time_ms: int) -> None:
        super().advance(time_ms)
        self.state.writes += 1


class AnswersByPosition(Table):
    """The last command of a batch alone is answered in full."""

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        replies = super().handle_write(context, commands)
        return [None for _ in replies[:-1]] + replies[-1:]


class Raises(Table):
    def answer(self, context: Context | None, position: int, argv: list[bytes]) -> Reply:
        self.commands[argv[0].lower()]
        return super().answer(context, position, argv)


class SkipsSilentWrites(Table):
    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        if not context.wants_replies:
            commands = [argv for argv in commands if argv[:1] != [b"ROLL"]]
        return super().handle_write(context, commands)


class ChangesBeforeAnError(Table):
    def write(self, name: str, key: str, argv: list[bytes], context: Context, position: int) -> Reply:
        self.state.numbers.setdefault(key, 0)
        return super().write(name, key, argv, context, position)


class AnswersASet(Table):
    def read(self, name: str, argv: list[bytes]) -> Reply:
        return {1, 2} if name == "names" else super().read(name, argv)  # type: ignore[return-value]


class AnswersTooLittle(Table):
    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        return super().handle_write(context, commands)[:1]


class NeverSweeps(Table):
    def advance(self, time_ms: int) -> None:
        return


class ForgetsEffects(Table):
    sent: bool = False

    def write(self, name: str, key: str, argv: list[bytes], context: Context, position: int) -> Reply:
        reply = super().write(name, key, argv, context, position)
        if self.sent:
            context.effects.clear()
        self.sent = name == "roll"
        return reply

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        self.sent = False
        return super().handle_write(context, commands)
