"""Cases as readable tables, run on the machine directly and on anything that speaks RESP.

A case is a name and steps; a step is a command line and the reply it must get. Words are split at spaces; "double
quotes" keep spaces together; backslash escapes are Python's. Three lines are for the runner and take None as reply:
`@select 1` changes the database, `@advance 1500` moves the log time by ms (such a case is for the machine alone),
`@sorted` lets the next reply be compared as a sorted list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raftkv.machines.interface import NO_SCOPES, Context, Kind, ReadContext
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.registry import COMMANDS
from raftkv.machines.replies import Error
from tests.support.redis_server import RespConnection, as_resp2, as_resp3

START_MS = 1_700_000_000_000

Steps = list[tuple[str, Any]]


@dataclass(frozen=True)
class Near:
    """A number that may be smaller by `slack`: what remains of a time, on a server whose clock runs."""

    value: int
    slack: int = 5000

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and self.value - self.slack <= other <= self.value

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Case:
    name: str
    steps: Steps

    @property
    def needs_own_clock(self) -> bool:
        return any(line.startswith("@advance") for line, _ in self.steps)

    @property
    def commands(self) -> set[str]:
        return {words(line)[0].decode().lower() for line, _ in self.steps if not line.startswith("@")}


def cases(table: dict[str, Steps]) -> list[Case]:
    return [Case(name, steps) for name, steps in table.items()]


def words(line: str) -> list[bytes]:
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return [(quoted or bare).encode().decode("unicode_escape").encode("latin-1") for quoted, bare in found]


def context(index: int, time_ms: int = START_MS, scopes: Mapping[int, int] = NO_SCOPES) -> Context:
    """An entry's surroundings, seeded by its index."""
    return Context(index=index, term=1, time_ms=time_ms, seed=index, scopes=scopes)


class MachineClient:
    """Sends each command to a machine as its own batch or read, as a server would."""

    def __init__(self, machine: RedisMachine | None = None, time_ms: int = START_MS) -> None:
        self.machine = machine or RedisMachine()
        self.time_ms = time_ms
        self.index = 0
        self.database = 0

    def call(self, *argv: bytes) -> Any:
        scopes = {0: self.database} if self.database else {}
        row = COMMANDS.get(argv[0].lower()) if argv else None
        if row is not None and row.kind in (Kind.READ, Kind.DIRTY):
            [reply] = self.machine.handle_read(ReadContext(self.time_ms, scopes), [list(argv)])
        else:
            self.index += 1
            [reply] = self.machine.handle_write(context(self.index, self.time_ms, scopes), [list(argv)])
        return reply

    def advance(self, milliseconds: int) -> None:
        """Let the log time pass by an empty batch."""
        self.time_ms += milliseconds
        self.index += 1
        self.machine.handle_write(context(self.index, self.time_ms), [])


def run_on_machine(case: Case) -> None:
    client = MachineClient()
    ordered = False
    for line, expected in case.steps:
        argv = words(line)
        if argv[0] == b"@advance":
            client.advance(int(argv[1]))
        elif argv[0] == b"@select":
            client.database = int(argv[1])
        elif argv[0] == b"@sorted":
            ordered = True
        else:
            _compare(case, line, client.call(*argv), expected, ordered)
            ordered = False


def run_on_connection(case: Case, connection: RespConnection, protocol: int = 2) -> None:
    """The databases are flushed first, and 0 is selected."""
    connection.call(b"FLUSHALL")
    connection.call(b"SELECT", b"0")
    ordered = False
    for line, expected in case.steps:
        argv = words(line)
        if argv[0] == b"@select":
            connection.call(b"SELECT", argv[1])
        elif argv[0] == b"@sorted":
            ordered = True
        else:
            _compare(
                case, line, connection.call(*argv), as_resp2(expected) if protocol == 2 else as_resp3(expected), ordered
            )
            ordered = False


def _compare(case: Case, line: str, reply: Any, expected: Any, ordered: bool) -> None:
    if ordered:
        reply, expected = _sorted(reply), _sorted(expected)
    # Near must be asked, not the int: int.__eq__ gives way to it only in this order.
    assert type(expected) is Near or type(reply) is type(expected), (case.name, line, reply, expected)
    assert expected == reply, (case.name, line, reply)


def _sorted(reply: Any) -> Any:
    return sorted(map(_sorted, reply), key=repr) if isinstance(reply, list) else reply


def error(text: str) -> Error:
    """The commonest code word."""
    return Error(f"ERR {text}")


def arity(name: str) -> Error:
    return error(f"wrong number of arguments for '{name}' command")


SYNTAX = error("syntax error")
NOT_INTEGER = error("value is not an integer or out of range")
