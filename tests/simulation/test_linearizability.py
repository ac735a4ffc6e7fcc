"""The checker itself, on small histories whose answer is plain, and against trying all orders."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.interface import Kind
from raftkv.testing.failure import RuleBroken
from raftkv.testing.history import Operation, Outcome, parse_reply
from raftkv.testing.linearizability import NEVER_US, KeyOperation, check_history, is_linearizable
from raftkv.testing.models import INITIAL, step

Told = tuple[int, int | None, bytes, object]


def history(*told: Told) -> list[KeyOperation]:
    """(invoked, returned or None for unknown, command, reply)"""
    return [
        KeyOperation(
            number,
            invoked,
            NEVER_US if returned is None else returned,
            (tuple(command.split()),),
            None if returned is None else (reply,),
        )
        for number, (invoked, returned, command, reply) in enumerate(told)
    ]


LINEARIZABLE: dict[str, list[Told]] = {
    "one after the other": [(0, 1, b"SET k <1>", b"OK"), (2, 3, b"GET k", b"<1>")],
    "overlapping, either order": [(0, 9, b"SET k <1>", b"OK"), (1, 2, b"GET k", None), (3, 4, b"GET k", b"<1>")],
    "unknown, but seen": [(0, None, b"SET k <1>", None), (5, 6, b"GET k", b"<1>")],
    "unknown, and takes effect late": [
        (0, None, b"APPEND k <1>", None),
        (2, 3, b"GET k", None),
        (4, 5, b"APPEND k <2>", 3),
        (6, 7, b"GET k", b"<2><1>"),
    ],
    "unknown, and never done": [(0, None, b"SET k <1>", None), (5, 6, b"GET k", None)],
    "unknown counters": [(0, None, b"INCR k", None), (0, None, b"INCR k", None), (3, 4, b"INCR k", 3)],
    "a key expires": [(0, 1, b"SET k <1> PX 5", b"OK"), (2, 3, b"GET k", b"<1>"), (4, 5, b"GET k", None)],
    "a key expires before an append": [(0, 1, b"SET k <1> PX 5", b"OK"), (2, 3, b"APPEND k <2>", 3)],
}

NOT_LINEARIZABLE: dict[str, list[Told]] = {
    "a stale read": [(0, 1, b"SET k <1>", b"OK"), (2, 3, b"SET k <2>", b"OK"), (4, 5, b"GET k", b"<1>")],
    "a lost write": [(0, 1, b"SET k <1>", b"OK"), (2, 3, b"GET k", None)],
    "a write done twice": [(0, None, b"APPEND k <1>", None), (2, 3, b"GET k", b"<1><1>")],
    "a value from nowhere": [(0, 1, b"GET k", b"<1>")],
    "seen and then not": [(0, None, b"SET k <1>", None), (1, 2, b"GET k", b"<1>"), (3, 4, b"GET k", None)],
    "two orders at once": [
        (0, 9, b"APPEND k <1>", 3),
        (0, 9, b"APPEND k <2>", 6),
        (10, 11, b"GET k", b"<2><1>"),
    ],
    "expired and back": [
        (0, 1, b"SET k <1> PX 5", b"OK"),
        (2, 3, b"GET k", None),
        (4, 5, b"GET k", b"<1>"),
    ],
    "another's reply": [(0, 1, b"INCR k", 1), (2, 3, b"GET k", b"OK")],
}


@pytest.mark.parametrize("name", LINEARIZABLE)
def test_what_can_be_explained(name: str) -> None:
    assert is_linearizable(history(*LINEARIZABLE[name]))


@pytest.mark.parametrize("name", NOT_LINEARIZABLE)
def test_what_cannot_be_explained(name: str) -> None:
    assert not is_linearizable(history(*NOT_LINEARIZABLE[name]))


def test_a_reply_of_false_is_whole() -> None:
    assert parse_reply(b"#f\r\n") is False
    with pytest.raises(RuleBroken, match="whole replies"):
        parse_reply(b"$3\r\nab")


def test_a_write_that_was_refused_must_not_be_seen() -> None:
    write = Operation(0, Kind.WRITE, [[b"SET", b"k", b"<1>"]], 0)
    write.outcome, write.returned_us = Outcome.NOT_DONE, 1
    read = Operation(1, Kind.READ, [[b"GET", b"k"]], 5)
    read.outcome, read.returned_us, read.replies = Outcome.OK, 6, [b"<1>"]
    with pytest.raises(RuleBroken, match="no order explains"):
        check_history([write, read])


COMMANDS = st.sampled_from([b"SET k <1>", b"APPEND k <2>", b"APPEND k <3>", b"GET k", b"DEL k", b"INCR k"])


@st.composite
def small_histories(draw: st.DrawFn) -> list[KeyOperation]:
    told: list[Told] = []
    replies = st.sampled_from([b"OK", None, 0, 1, 2, 3, 6, b"<1>", b"<2>", b"<1><2>", b"<2><3>", b"1", b"2"])
    for _ in range(draw(st.integers(1, 5))):
        invoked = draw(st.integers(0, 10))
        command = draw(COMMANDS)
        returned = draw(st.none() | st.integers(invoked + 1, 14))
        told.append((invoked, returned, command, draw(replies)))
    return history(*told)


@settings(max_examples=400, derandomize=True, database=None)
@given(small_histories())
def test_it_agrees_with_trying_every_order(operations: list[KeyOperation]) -> None:
    try:
        expected = explained_by_some_order(operations)
    except ValueError:
        return  # INCR of what is not a number: not in the model
    assert is_linearizable(operations) == expected


def explained_by_some_order(operations: list[KeyOperation]) -> bool:
    known = [op for op in operations if op.replies is not None]
    unknown = [op for op in operations if op.replies is None]
    for chosen in range(1 << len(unknown)):
        placed = known + [op for position, op in enumerate(unknown) if chosen >> position & 1]
        if any(explains(order) for order in permutations(placed)):
            return True
    return False


def explains(order: tuple[KeyOperation, ...]) -> bool:
    for position, op in enumerate(order):
        if any(later.returned_us < op.invoked_us for later in order[position:]):
            return False
    states = INITIAL
    for op in order:
        states = step(states, [list(argv) for argv in op.commands], op.replies)
    return bool(states)
