"""The smallest useful machine: one register, three commands. An example to copy, and the tests' plainest machine.

``SET value`` writes it, ``GET`` reads it linearizably, ``DIRTYGET`` reads what this member happens to have. The
handlers get (machine, argv) and return a reply value; `handle_write` must answer every argv, however malformed,
because a log entry cannot be refused any more once it is committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from raftkv.machines.interface import Command, Context, Kind, ReadContext, StateMachine, command_table
from raftkv.machines.replies import OK, Reply, unknown_command, wrong_arity


class RegisterMachine(StateMachine):
    """Holds one value: bytes, or None before the first SET."""

    name = "register"

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.commands = command_table(_ROWS)

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:  # noqa: ARG002
        return [self._answer(argv) for argv in commands]

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:  # noqa: ARG002
        return [self._answer(argv) for argv in commands]

    def state_hash(self) -> bytes:
        return hashlib.sha256(self._encoded()).digest()

    def snapshot(self) -> Iterator[bytes]:
        yield self._encoded()

    def restore(self, slices: Iterator[bytes]) -> None:
        content = b"".join(slices)
        self.value = None if content == b"none" else content.removeprefix(b"some")

    def _encoded(self) -> bytes:
        return b"none" if self.value is None else b"some" + self.value

    def _answer(self, argv: list[bytes]) -> Reply:
        row = self.commands.get(argv[0].lower()) if argv else None
        if row is None:
            return unknown_command(argv)
        return row.handler(self, argv) if len(argv) == row.arity else wrong_arity(row.name)


def _set(machine: RegisterMachine, argv: list[bytes]) -> Reply:
    machine.value = argv[1]
    return OK


def _get(machine: RegisterMachine, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return machine.value


_ROWS = (
    Command(name="set", arity=2, kind=Kind.WRITE, handler=_set, flags=("write",), summary="Writes the value"),
    Command(name="get", arity=1, kind=Kind.READ, handler=_get, flags=("readonly",), summary="Reads the value"),
    Command(name="dirtyget", arity=1, kind=Kind.DIRTY, handler=_get, flags=("readonly",), summary="Reads, maybe stale"),
)
