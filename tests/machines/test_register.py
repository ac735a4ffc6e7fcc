"""The register: small enough that its tests show how any machine is used."""

from __future__ import annotations

from raftkv.machines.interface import Batch, Kind
from raftkv.machines.register import RegisterMachine
from raftkv.machines.replies import OK, Error


def test_writes_and_reads() -> None:
    machine = RegisterMachine()
    empty = machine.state_hash()
    assert machine.read([[b"GET"]], {}, 0) == [None]
    assert machine.apply(1, Batch(5, 7, [[b"SET", b"x"], [b"get"], [b"SET", b"y"]]), True) == [OK, b"x", OK]
    assert machine.read([[b"DirtyGet"]], {}, 0) == [b"y"]
    assert machine.state_hash() != empty
    assert machine.deadline_ms() is None


def test_answers_every_argv() -> None:
    machine = RegisterMachine()
    replies = machine.apply(1, Batch(5, 7, [[], [b""], [b"SET"], [b"GET", b"x"], [b"foo", b"bar"]]), True)
    assert all(isinstance(reply, Error) for reply in replies)
    assert replies[2] == Error("ERR wrong number of arguments for 'set' command")


def test_kinds() -> None:
    kinds = {name: row.kind for name, row in RegisterMachine().commands.items() if name.islower()}
    assert kinds == {b"set": Kind.WRITE, b"get": Kind.READ, b"dirtyget": Kind.DIRTY}
