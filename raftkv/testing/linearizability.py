"""Is there an order that explains what the clients saw? (Wing and Gong's search, with Lowe's memory of what failed.)

A history is linearizable if every operation can be given one moment between its call and its answer, so that in this
order one single copy would have given the same replies. Keys are independent of each other, so each is judged alone.

The search places one operation after the other. Candidates are those that were called before the first answer still
outstanding. An operation of unknown outcome has no answer: it may be placed anywhere after its call, or not at all.
Those are tried last, for most never mattered; and of several that are alike only the oldest is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from raftkv.machines.interface import Kind
from raftkv.testing.failure import RuleBroken
from raftkv.testing.history import Operation, Outcome
from raftkv.testing.models import INITIAL, States, key_of, step

NEVER_US = 1 << 62
SEARCH_MAX = 300_000
"""So many placements are tried before the search gives up; a failure then says so."""


class KeyOperation(msgspec.Struct, frozen=True):
    """The part of an operation that concerns one key. `replies` None and `returned_us` NEVER_US: outcome unknown."""

    number: int
    invoked_us: int
    returned_us: int
    commands: tuple[tuple[bytes, ...], ...]
    replies: tuple[object, ...] | None


def check_history(operations: Sequence[Operation]) -> None:
    """Raises RuleBroken when the replies of some key cannot be explained."""
    for key, of_key in sorted(split_by_key(operations).items()):
        if not is_linearizable(of_key):
            raise RuleBroken("linearizability", f"key {key!r}: no order explains\n{_table(of_key)}")


def split_by_key(operations: Sequence[Operation]) -> dict[bytes, list[KeyOperation]]:
    keys: dict[bytes, list[KeyOperation]] = {}
    for operation in operations:
        if operation.is_part:
            continue  # of what once.py or transactions.py tells as a whole
        known = operation.outcome is Outcome.OK
        if operation.outcome is Outcome.NOT_DONE or (not known and operation.kind is not Kind.WRITE):
            continue
        positions: dict[bytes, list[int]] = {}
        for position, argv in enumerate(operation.commands):
            positions.setdefault(b"%d/%b" % (operation.scope, key_of(argv)), []).append(position)
        for key, at in positions.items():
            part = KeyOperation(
                operation.number,
                operation.invoked_us,
                operation.returned_us if known else NEVER_US,
                tuple(tuple(operation.commands[p]) for p in at),
                tuple(operation.replies[p] for p in at) if known else None,
            )
            keys.setdefault(key, []).append(part)
    return keys


def is_linearizable(operations: Sequence[KeyOperation]) -> bool:
    """First without those unknown ones that left no trace in any reply: leaving them out is always allowed."""
    seen = b"\n".join(repr(op.replies).encode() for op in operations if op.replies is not None)
    traced = [op for op in operations if op.replies is not None or _left_a_trace(op, seen)]
    return _search(traced) or (len(traced) < len(operations) and _search(operations))


def _left_a_trace(operation: KeyOperation, seen: bytes) -> bool:
    """Tokens are unique and longer than two bytes; commands without one (INCR, DEL) always count."""
    tokens = [argv[-1] if argv[0] != b"SET" else argv[min(2, len(argv) - 1)] for argv in operation.commands]
    return any(len(argv) < 3 and argv[0] != b"SET" for argv in operation.commands) or any(t in seen for t in tokens)


class _Search:
    def __init__(self, operations: Sequence[KeyOperation]) -> None:
        self.known = sorted((op for op in operations if op.replies is not None), key=lambda op: op.invoked_us)
        self.unknown = sorted((op for op in operations if op.replies is None), key=lambda op: op.invoked_us)
        self.operations = [*self.known, *self.unknown]
        self.all_known = (1 << len(self.known)) - 1
        self._final_read = self._find_final_read()

    def _find_final_read(self) -> tuple[int, bytes]:
        """Where a key is only appended to: the last read of it and what it saw. Until then every value is a beginning
        of that, which cuts the search short where many appends are of unknown outcome."""
        names = {argv[0] for op in self.operations for argv in op.commands}
        if names <= {b"APPEND", b"GET", b"STRLEN"}:
            for position in range(len(self.known) - 1, -1, -1):
                op = self.known[position]
                if op.commands[-1][0] == b"GET" and op.replies is not None and isinstance(op.replies[-1], bytes):
                    return position, op.replies[-1]
        return -1, b""

    def leads_nowhere(self, placed: int, states: States) -> bool:
        position, value = self._final_read
        if position < 0 or placed >> position & 1:
            return False
        return not any(value.startswith(held or b"") for held, expires in states if not expires)

    def candidates(self, placed: int) -> Iterator[int]:
        """Positions in `operations` of what may come next when those in the bit set `placed` have been placed."""
        first_answer_us = NEVER_US
        open_now = []
        missing = self.all_known & ~placed
        position = (missing & -missing).bit_length() - 1
        while position < len(self.known):
            op = self.known[position]
            if op.invoked_us > first_answer_us:
                break
            if not placed >> position & 1:
                open_now.append(position)
                first_answer_us = min(first_answer_us, op.returned_us)
            position += 1
        yield from (p for p in open_now if self.known[p].invoked_us <= first_answer_us)
        tried = set()
        for position, op in enumerate(self.unknown, len(self.known)):
            if op.invoked_us > first_answer_us:
                break
            if not placed >> position & 1 and op.commands not in tried:
                tried.add(op.commands)
                yield position


def _search(operations: Sequence[KeyOperation]) -> bool:
    search = _Search(operations)
    failed: set[tuple[int, States]] = set()
    stack = [(0, INITIAL, search.candidates(0))] if search.all_known else []
    tries = 0
    while stack:
        placed, states, candidates = stack[-1]
        for position in candidates:
            op = search.operations[position]
            after = step(states, [list(argv) for argv in op.commands], op.replies)
            now_placed = placed | 1 << position
            if not after or (now_placed, after) in failed or search.leads_nowhere(now_placed, after):
                continue
            if now_placed & search.all_known == search.all_known:
                return True
            tries += 1
            if tries > SEARCH_MAX:
                raise RuleBroken("linearizability", f"undecided after {SEARCH_MAX} placements\n{_table(operations)}")
            failed.add((now_placed, after))
            stack.append((now_placed, after, search.candidates(now_placed)))
            break
        else:
            stack.pop()
    return not search.all_known


def _table(operations: Sequence[KeyOperation]) -> str:
    lines = []
    for op in sorted(operations, key=lambda op: op.invoked_us):
        until = "?" if op.replies is None else f"{op.returned_us / 1e6:.6f}"
        commands = "; ".join(b" ".join(argv).decode() for argv in op.commands)
        answer = "unknown" if op.replies is None else ", ".join(map(repr, op.replies))
        lines.append(f"  #{op.number:<5} {op.invoked_us / 1e6:.6f} .. {until:>10}  {commands} -> {answer}")
    return "\n".join(lines)
