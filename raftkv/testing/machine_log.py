"""Logs for a state machine, made from its command table by a seeded generator.

A word is drawn by the type that the row's `arguments` state (as COMMAND DOCS names them), from small sets, so that
commands meet the same few keys again, and from the edges: numbers that almost are, empty and binary words. A row
without `arguments` gets as many words as its arity asks for. One command in eight is broken on purpose: an unknown
name, no name, words missing or too many. The time goes on by little, by nothing, and now and then by a lot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from raftkv.machines.interface import Command, Kind, StateMachine

START_MS: Final = 1_700_000_000_000
ENTRY_COMMANDS_MAX: Final = 6

Argv = list[bytes]
Generator = Callable[[Random], Argv]

_KEYS: Final = (b"a", b"b", b"c", b"key:1", b"", b"\x00\xff")
_TEXTS: Final = (b"Hello", b"x", b"1", b"-7", b"3.5", b"", b"\r\n", b"\xff\x00", b"word" * 20)
_INTEGERS: Final = (
    *(b"0", b"1", b"-1", b"2", b"10", b"100", b"5000", b"007", b"x", b"", b"1.0"),
    *(b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808"),
)
_DOUBLES: Final = (b"0.5", b"-1.25", b"3", b"1e3", b"inf", b"nan", b"x", b"")
_PATTERNS: Final = (b"*", b"?", b"key:*", b"[ab]", b"\\", b"")
_STEPS_MS: Final = (0, 0, 1, 1, 7, 250, 6000, 200_000)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What stands in one entry of a log; its index is its position in the log, from 1. members: only in a "config"
    entry, which has no commands."""

    time_ms: int
    seed: int
    commands: list[Argv]
    scopes: dict[int, int]
    members: list[int] | None = None


def make_log(machine: StateMachine, seed: int, entries: int, generator: Generator | None = None) -> list[Entry]:
    """`generator`, if there is one, makes half of the commands."""
    random = Random(seed)
    rows = list(_rows(machine, Kind.WRITE, Kind.READ, Kind.DIRTY).values())
    time_ms = START_MS
    log: list[Entry] = []
    for _ in range(entries):
        time_ms += random.choice(_STEPS_MS)
        if random.random() < 0.05:
            log.append(Entry(time_ms, random.getrandbits(63), [], {}, sorted(random.sample(range(1, 6), 3))))
            continue
        commands = [_command(random, rows, time_ms, generator) for _ in range(random.randint(0, ENTRY_COMMANDS_MAX))]
        scopes = {position: 1 for position in range(len(commands)) if random.random() < 0.1}
        log.append(Entry(time_ms, random.getrandbits(63), commands, scopes))
    return log


def make_reads(machine: StateMachine, random: Random, time_ms: int) -> list[Argv]:
    """Commands that only read, some of them with wrong counts of words; empty for a machine without any."""
    rows = list(_rows(machine, Kind.READ, Kind.DIRTY).values())
    return [_broken_or_not(random, _line(random, random.choice(rows), time_ms)) for _ in range(8)] if rows else []


def row_of(machine: StateMachine, argv: Argv) -> Command | None:
    """The row of a command line, whatever its spelling."""
    return (machine.commands.get(argv[0]) or machine.commands.get(argv[0].lower())) if argv else None


def _rows(machine: StateMachine, *kinds: Kind) -> dict[str, Command]:
    return {row.name: row for row in machine.commands.values() if row.kind in kinds}


def _command(random: Random, rows: list[Command], time_ms: int, generator: Generator | None) -> Argv:
    if generator is not None and random.random() < 0.5:
        return generator(random)
    # Reads are half of many tables, and show nothing here; one more draw makes them rarer.
    row = random.choice(rows)
    return _broken_or_not(random, _line(random, row if row.kind is Kind.WRITE else random.choice(rows), time_ms))


def _broken_or_not(random: Random, argv: Argv) -> Argv:
    if random.random() > 1 / 8:
        return argv
    return random.choice(
        [argv[:1], argv[:-1] or argv, [*argv, b"more"], [*argv, *_TEXTS], [argv[0], *[b""] * (len(argv) - 1)]]
        + ([[], [b""], [b"\xff\x00", b"x"], [b"nosuchcommand", *argv]] if random.random() < 0.5 else [])
    )


def _line(random: Random, row: Command, time_ms: int) -> Argv:
    argv = [row.name.encode().upper() if random.random() < 0.5 else row.name.encode()]
    if row.subcommands:
        sub = random.choice(row.subcommands)
        # A subcommand's row may bear the whole name ("config|get") or its own half.
        return [*argv, sub.name.rpartition("|")[2].encode(), *_words(random, sub, time_ms, 2)]
    return argv + _words(random, row, time_ms, 1)


def _words(random: Random, row: Command, time_ms: int, named: int) -> Argv:
    if row.arguments:
        return [word for argument in row.arguments for word in _argument(random, argument, time_ms)]
    count = abs(row.arity) - named + (random.randint(0, 3) if row.arity < 0 else 0)
    return [random.choice(random.choice((_KEYS, _TEXTS, _INTEGERS))) for _ in range(max(0, count))]


def _argument(random: Random, argument: Mapping[str, Any], time_ms: int) -> Argv:
    flags = argument.get("flags", ())
    if "optional" in flags and random.random() < 0.7:
        return []
    repeats = random.randint(1, 3) if "multiple" in flags or "multiple_token" in flags else 1
    token = [argument["token"].encode()] if argument.get("token") else []
    if argument["type"] == "pure-token":
        return token
    return token + [word for _ in range(repeats) for word in _value(random, argument, time_ms)]


def _value(random: Random, argument: Mapping[str, Any], time_ms: int) -> Argv:
    inner = argument.get("arguments", ())
    match argument["type"]:
        case "block":
            return [word for each in inner for word in _argument(random, each, time_ms)]
        case "oneof" if inner:
            return _argument(random, random.choice(inner), time_ms)
        case "unix-time":
            unit = random.choice((1, 1000))
            return [b"%d" % ((time_ms + random.choice((-1000, 0, 500, 5000, 10**9))) // unit)]
        case kind:
            sets = {"key": _KEYS, "integer": _INTEGERS, "double": _DOUBLES, "pattern": _PATTERNS}
            return [random.choice(sets.get(kind, (*_TEXTS, *_INTEGERS)))]
