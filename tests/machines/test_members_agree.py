"""Members that come by their state in different ways have the same, to the order of every collection's members.

Sequences of all families become entries of a log: alone, packed together, as transactions with watched keys, with
thresholds changed and time passing between them. One member applies everything, while snapshots are taken of it. One
begins with such a snapshot and goes on from there. One replays the whole log with its entries packed in another way.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.machines.interface import Kind
from raftkv.machines.redis import database, snapshot, watches
from raftkv.machines.redis.keyed import Keyed
from raftkv.machines.redis.lists import List
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.registry import ROWS
from raftkv.machines.redis.thresholds import Thresholds, configure_command
from raftkv.machines.redis.transactions import Watched, exec_command, watch_command
from raftkv.machines.redis.values import Value
from tests.machines.casework import START_MS, context
from tests.machines.differential import KEYS, LINES, Argv, sequences
from tests.machines.words import key, line

Lines = list[tuple[int, Argv]]

PASSING_MS = (1, 100, 10_000, watches.WATCH_MS)
SHORT = line("pexpire", key, st.sampled_from([b"1", b"50", b"5000", b"20000"]))
"""Deadlines that come to pass here: a real server's clock runs by itself, so `LINES` have none."""

TURNS = line("swapdb", b"0", b"1") | st.sampled_from([[b"flushall"], [b"flushdb"]])


class Entry(NamedTuple):
    """scopes: as in `Context`."""

    time_ms: int
    commands: list[Argv]
    scopes: dict[int, int]


class Leader:
    """A member that makes the log, by `chance`: only who applies entries knows the versions of watched keys."""

    def __init__(self, chance: Random) -> None:
        self.machine = RedisMachine()
        self.log: list[Entry] = []
        self._chance = chance
        self._time_ms = START_MS
        self._watched: list[Watched] = []

    def take(self, lines: Lines) -> None:
        """Append them to the log, in some way, and apply."""
        rest = list(lines)
        while rest:
            taken, rest = rest[: (most := self._chance.choice([1, 1, 1, 2, 5]))], rest[most:]
            what = self._chance.random()
            commands, databases = [argv for _, argv in taken], {at: number for at, (number, _) in enumerate(taken)}
            if what < 0.2:
                self._append([exec_command(commands, databases, self._watched)], {})
                self._watched = []
            else:
                self._append(commands, databases)
            if what > 0.9:
                self._time_ms += self._chance.choice(PASSING_MS)
            elif what > 0.8:
                self._watch()
            elif what > 0.75:
                name = self._chance.choice(Thresholds.__struct_fields__)
                self._append([configure_command({name: self._chance.choice([0, 2, 6, 600])})], {})

    def _watch(self) -> None:
        key, number = self._chance.choice(KEYS), self._chance.randrange(2)
        [stamp] = self._append([watch_command([key])], {0: number})
        self._watched.append((number, key, stamp))

    def _append(self, commands: list[Argv], scopes: dict[int, int]) -> Any:
        self.log.append(Entry(self._time_ms, commands, scopes))
        return apply(self.machine, [self.log[-1]], len(self.log))


def apply(machine: RedisMachine, entries: list[Entry], first_index: int) -> Any:
    """The replies of the last."""
    replies: Any = None
    for index, entry in enumerate(entries, first_index):
        replies = machine.handle_write(context(index, entry.time_ms, entry.scopes), entry.commands)
    return replies


def packed(log: list[Entry]) -> list[Entry]:
    """As few entries as there may be: the time is an entry's, and so is what SPOP draws by."""
    made: list[Entry] = []
    for entry in log:
        if made and made[-1].time_ms == entry.time_ms and not _draws(entry) and not _draws(made[-1]):
            offset = len(made[-1].commands)
            scopes = {offset + at: number for at, number in entry.scopes.items()}
            made[-1] = Entry(entry.time_ms, made[-1].commands + entry.commands, made[-1].scopes | scopes)
        else:
            made.append(entry)
    return made


def _draws(entry: Entry) -> bool:
    return any(b"spop" in b" ".join(argv).lower() for argv in entry.commands)


def contents(machine: RedisMachine) -> dict[tuple[int, bytes], Any]:
    return {
        (number, key): (each.expires.get(key), _inside(value))
        for number, each in enumerate(machine.space.databases)
        for key, value in each.values.items()
    }


def _inside(value: Value) -> Any:
    """Not by `pieces`: what a snapshot leaves out would be missing on both sides."""
    if isinstance(value, bytes):
        return value
    members = value.members.items() if isinstance(value, Keyed) else value.elements if isinstance(value, List) else None
    assert members is not None, f"how is a {value.type_name} compared?"
    return value.type_name, value.encoding, list(members)


def check_alike(one: RedisMachine, *others: RedisMachine) -> None:
    for other in others:
        assert contents(one) == contents(other)
        assert one.space.thresholds == other.space.thresholds
        assert one.state_hash() == other.state_hash()
        assert one.info() == other.info()


def restored(slices: list[bytes], *, has_index: bool) -> RedisMachine:
    machine = RedisMachine()
    machine.restore(iter(slices))
    if has_index:
        machine.space.databases[0].key_index()
    return machine


def test_every_command_that_writes_takes_part() -> None:
    assert {row.name for row in ROWS if row.kind is Kind.WRITE} <= set(LINES)


LOTS = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), SHORT | TURNS | st.one_of(list(LINES.values()))), max_size=40)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(before=sequences, between=sequences, mixed=LOTS, after=sequences, seed=st.integers(0, 1 << 32))
def test_members_agree_however_they_came_by_the_state(
    before: Lines, between: Lines, mixed: Lines, after: Lines, seed: int
) -> None:
    chance = Random(seed)
    leader = Leader(chance)
    between = chance.sample(between + mixed, len(between + mixed))
    leader.take([*before, (0, [b"set", b"always there", b"1"])])
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (snapshot, "SLICE_KEYS_MAX"),
            (snapshot, "SLICE_LISTED_MAX"),
            (database, "MERGE_KEYS_MAX"),
        ):
            patch.setattr(module, name, chance.randint(1, 3))
        whole, cut = list(leader.machine.snapshot()), len(leader.log)
        slices = []
        for slice_ in leader.machine.snapshot():
            slices.append(slice_)
            some = chance.randrange(8)
            leader.take(between[:some])
            between = between[some:]
    check_alike(restored(whole, has_index=False), restored(slices, has_index=True))
    leader.take(between + after)
    members = [restored(whole, has_index=True), restored(slices, has_index=False)]
    for machine in members:
        apply(machine, leader.log[cut:], cut + 1)
    newcomer = RedisMachine()
    apply(newcomer, packed(leader.log), 1)
    check_alike(leader.machine, *members, newcomer)
    assert all(db.plain or db.index or db.overdue or db.watched for db in leader.machine.space.databases)
