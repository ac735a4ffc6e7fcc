"""The register: small enough that its tests show how any machine is used."""

from __future__ import annotations

from raftkv.machines.interface import Context, Kind, ReadContext
from raftkv.machines.register import RegisterMachine
from raftkv.machines.replies import OK, Error

WRITE, READ = Context(index=1, term=1, time_ms=5, seed=7), ReadContext(0)


def test_writes_and_reads() -> None:
    machine = RegisterMachine()
    empty = machine.state_hash()
    assert machine.handle_read(READ, [[b"GET"]]) == [None]
    assert machine.handle_write(WRITE, [[b"SET", b"x"], [b"get"], [b"SET", b"y"]]) == [OK, b"x", OK]
    assert machine.handle_read(READ, [[b"DirtyGet"]]) == [b"y"]
    assert machine.state_hash() != empty
    assert machine.deadline_ms() is None


def test_answers_every_argv() -> None:
    machine = RegisterMachine()
    replies = machine.handle_write(WRITE, [[], [b""], [b"SET"], [b"GET", b"x"], [b"foo", b"bar"]])
    assert all(isinstance(reply, Error) for reply in replies)
    assert replies[2] == Error("ERR wrong number of arguments for 'set' command")


def test_kinds() -> None:
    kinds = {name: row.kind for name, row in RegisterMachine().commands.items() if name.islower()}
    assert kinds == {b"set": Kind.WRITE, b"get": Kind.READ, b"dirtyget": Kind.DIRTY}
