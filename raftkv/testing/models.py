"""What one key should do, in so few lines that they can be believed: the sequential specification of the workload.

A state is (value or None, whether it has a time to live). Such a key may be gone at any moment, once and for all;
what time it is, is not judged here. So a command leads from one state to several, and the checker keeps them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.replica.forwarding import REPLY_TOO_LARGE

State = tuple[bytes | None, bool]
States = frozenset[State]
ABSENT: State = (None, False)
INITIAL: States = frozenset({ABSENT})

TOO_LARGE = ("error", REPLY_TOO_LARGE.text)
"""Carried out, but its reply did not fit into a frame: explains nothing and contradicts nothing."""


def key_of(argv: list[bytes]) -> bytes:
    """The key that a command is about; the register machine's commands have none, and its one value is b""."""
    name = argv[0].lower()
    has_key = len(argv) > (2 if name == b"set" else 1)
    return argv[1] if has_key else b""


def step(states: States, commands: Sequence[list[bytes]], replies: Sequence[object] | None) -> States:
    """The states after `commands` of one key, carried out without anything between, that explain their `replies`
    (None: nobody saw them). Empty when nothing explains them."""
    for position, argv in enumerate(commands):
        after = set()
        for state in states:
            for start in (state, ABSENT) if state[1] else (state,):
                end, reply = _run(start, argv)
                if replies is None or replies[position] == reply or replies[position] == TOO_LARGE:
                    after.add(end)
        states = frozenset(after)
    return states


def _run(state: State, argv: list[bytes]) -> tuple[State, object]:
    value, expires = state
    match argv[0].lower():
        case b"get":
            return state, value
        case b"strlen":
            return state, len(value or b"")
        case b"set":
            return (argv[2] if len(argv) > 2 else argv[1], len(argv) > 3), b"OK"
        case b"getset":
            return (argv[2], False), value
        case b"setnx":
            return ((argv[2], False), 1) if value is None else (state, 0)
        case b"append":
            whole = (value or b"") + argv[2]
            return (whole, expires), len(whole)
        case b"incr":
            number = int(value or b"0") + 1
            return (b"%d" % number, expires), number
        case b"del":
            return ABSENT, int(value is not None)
        case name:
            raise ValueError(f"no model of {name!r}")
