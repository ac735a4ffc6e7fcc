"""Snapshots of the Redis machine: writes between any two slices, and yet the state of the first.

Most tests run with slices of one to three keys, so that a handful of keys has many moments between slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings

from raftkv.errors import BrokenInvariant, ConfigError, StorageCorrupt
from raftkv.machines.digests import HASH_MODULUS
from raftkv.machines.interface import ReadContext
from raftkv.machines.redis import database, snapshot
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.values import Collection
from tests.machines.casework import START_MS, MachineClient, context
from tests.machines.differential import Argv, sequences

READ = ReadContext(START_MS)


class Bag(Collection):
    """The door for types that are not strings, with as little as they need behind it."""

    type_name: ClassVar[str] = "bag"

    def __init__(self, *members: bytes) -> None:
        self.members = list(members)
        self.copies = 0

    @property
    def encoding(self) -> str:
        return "plain"

    def size_bytes(self, samples: int) -> int:
        return len(self)

    def copy(self) -> Bag:
        self.copies += 1
        return Bag(*self.members)

    def digest_parts(self) -> list[bytes]:
        return sorted(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def pieces(self) -> Iterator[bytes]:
        return iter(self.members)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Bag:
        return cls(*pieces)


@pytest.fixture(autouse=True)
def bags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(snapshot._TYPES, "bag", Bag)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SLICE_KEYS_MAX", 2)
    monkeypatch.setattr(snapshot, "SLICE_LISTED_MAX", 4)
    monkeypatch.setattr(database, "MERGE_KEYS_MAX", 2)


@pytest.fixture
def client() -> MachineClient:
    return MachineClient()


def restored(slices: list[bytes]) -> RedisMachine:
    machine = RedisMachine()
    machine.restore(iter(slices))
    return machine


def check_kept(client: MachineClient, *lines: str) -> RedisMachine:
    """`lines` run behind the first slice; the snapshot must be as before them."""
    before = client.machine.state_hash()
    slices = client.machine.snapshot()
    head = next(slices)
    for line in lines:
        client.call(*line.encode().split())
    again = restored([head, *slices])
    assert again.state_hash() == before
    return again


def test_an_empty_machine_and_a_full_one(client: MachineClient) -> None:
    assert restored(list(client.machine.snapshot())).state_hash() == client.machine.state_hash()
    client.call(b"MSET", b"a", b"1", b"", b"\0\xff")
    client.call(b"SET", b"b", b"2", b"PX", b"1500")
    client.database = 15
    client.call(b"SET", b"a", b"other")
    again = restored(list(client.machine.snapshot()))
    assert again.state_hash() == client.machine.state_hash()
    assert again.deadline_ms() == START_MS + 1500
    assert again.info() == client.machine.info()


@pytest.mark.parametrize(
    "line",
    [
        *("SET a 9", "SET a 9 EX 9", "SET a 9 XX GET", "SETEX a 9 9", "MSET a 9 b 9 new 9", "APPEND a 9"),
        *("DEL a", "GETDEL a", "EXPIRE a 9", "PEXPIRE b 1", "PERSIST b", "GETEX b PERSIST", "EXPIREAT a 1"),
        *("RENAME a b", "RENAME a new", "RENAMENX b new", "COPY a b REPLACE", "COPY a c DB 1", "MOVE a 1"),
        *("FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "INCR a", "SETRANGE a 3 x"),
    ],
)
def test_each_way_to_change_a_key(client: MachineClient, line: str) -> None:
    for setup in ("MSET a 1 b 2", "PEXPIRE b 5000"):
        client.call(*setup.encode().split())
    check_kept(client, line, "SET a later", "DEL b", "SET new later")


def test_contents_are_followed_through_exchanges_and_clearing(client: MachineClient) -> None:
    client.call(b"SET", b"a", b"zero")
    client.database = 1
    client.call(b"SET", b"a", b"one")
    check_kept(client, "SWAPDB 0 1", "SET a changed", "FLUSHALL", "SET a fresh", "SWAPDB 1 2")


def test_keys_that_a_sweep_removes(client: MachineClient) -> None:
    for number in range(20):
        client.call(b"SET", b"k%d" % number, b"1", b"PX", b"%d" % (1 + number))
    before = client.machine.state_hash()
    slices = client.machine.snapshot()
    head = next(slices)
    client.advance(10)
    again = restored([head, *slices])
    assert again.state_hash() == before
    again.handle_write(context(99, client.time_ms), [])
    assert again.state_hash() == client.machine.state_hash()


def test_keys_that_are_overdue_stay_so(client: MachineClient) -> None:
    for number in range(1500):  # more than one sweep removes
        client.call(b"SET", b"k%d" % number, b"1", b"PX", b"1")
    client.advance(10)
    again = check_kept(client, "SET k1400 fresh", "GETEX k1401", "INCR k1402")
    assert again.handle_read(READ, [[b"GET", b"k1400"], [b"DBSIZE"]]) == [None, 500]
    assert again.deadline_ms() == START_MS + 1


@pytest.mark.usefixtures("small")
def test_what_was_written_after_its_slice_does_not_matter(client: MachineClient) -> None:
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    before = client.machine.state_hash()
    slices: list[bytes] = []
    for number, slice_ in enumerate(client.machine.snapshot()):
        slices.append(slice_)
        client.call(b"SET", b"%d" % (2 * number), b"changed")
        client.call(b"SET", b"new%d" % number, b"changed")
    assert sum(slice_ != snapshot._NOTHING for slice_ in slices) == 7
    assert restored(slices).state_hash() == before


def test_scan_goes_on_at_its_cursor_on_a_restored_member(client: MachineClient) -> None:
    for number in range(300):
        client.call(b"SET", b"key:%d" % number, b"1")
    [(cursor, page)] = client.machine.handle_read(READ, [[b"SCAN", b"0", b"COUNT", b"20"]])
    again = check_kept(client, "DEL " + page[0].decode(), "SET another 1")
    client.call(b"DEL", b"another")
    go_on = [[b"SCAN", cursor, b"COUNT", b"50"]]
    assert again.handle_read(READ, go_on) == client.machine.handle_read(READ, go_on)


# The keys are listed some at a time


@pytest.mark.usefixtures("small")
def test_no_slice_lists_more_than_some_keys(client: MachineClient) -> None:
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    carry_nothing = [slice_ == snapshot._NOTHING for slice_ in client.machine.snapshot()]
    assert carry_nothing[:4] == [False, True, True, False]  # the head, 4 keys, 4 keys, 2 keys and the first values


@pytest.mark.usefixtures("small")
def test_while_keys_are_listed_and_changes_merged_every_reply_is_as_ever(client: MachineClient) -> None:
    twin = MachineClient()
    for each in (client, twin):
        each.call(b"MSET", *(b"%d" % number for number in range(40)))
        each.call(b"SCAN", b"0")
    lines = ("SET new 1", "DEL 2", "SET 2 again", "DEL 4", "SET 4 again", "DEL 4", "SET 6 x EX 9", "RENAME 8 renamed")
    reads = ("DBSIZE", "GET 2", "GET 4", "GET gone", "SCAN 0 COUNT 100", "EXISTS new 2 4", "MGET 6 8 renamed")
    slices = client.machine.snapshot()
    next(slices)
    for line in (*lines, *reversed(lines), "FLUSHDB", *lines):
        for command in (line, *reads):
            assert client.call(*command.encode().split()) == twin.call(*command.encode().split()), command
        assert sorted(client.call(b"KEYS", b"*")) == sorted(twin.call(b"KEYS", b"*"))
        assert client.machine.state_hash() == twin.machine.state_hash()
        next(slices, None)


# Sizes


def test_a_slice_is_bounded_in_keys_and_in_bytes(client: MachineClient) -> None:
    for number in range(10_000):
        client.call(b"SET", b"key:%d" % number, b"1")
    assert sum(slice_ != snapshot._NOTHING for slice_ in client.machine.snapshot()) == 1 + 20 + 1
    client.machine = RedisMachine()
    for number in range(40):
        client.call(b"SET", b"key:%d" % number, b"x" * 100_000)
    assert max(map(len, client.machine.snapshot())) < snapshot.SLICE_BYTES_MAX + 200_000


def test_long_strings_go_out_in_pieces(client: MachineClient) -> None:
    client.call(b"SET", b"long", bytes(range(256)) * 20_000, b"EX", b"100")
    client.call(b"SET", b"longer", b"x" * (2 * snapshot.SLICE_BYTES_MAX))
    client.call(b"SET", b"short", b"1")
    check_kept(client, "SET longer 1")
    assert max(map(len, client.machine.snapshot())) < snapshot.SLICE_BYTES_MAX + 1000


# Types that are not strings


@pytest.mark.usefixtures("small")
def test_a_collection_that_changes_in_place_before_or_during_its_slices(client: MachineClient) -> None:
    db = client.machine.space.databases[0]
    for name in (b"x", b"y"):
        db.put(name, Bag(*(b"%d" % number for number in range(7))))
    before = client.machine.state_hash()
    slices = client.machine.snapshot()
    taken = [next(slices), next(slices)]  # the first part of x
    for name in (b"x", b"y"):
        bag = db.fetch(name)
        assert isinstance(bag, Bag)
        bag.members.append(b"changed")
    assert restored([*taken, *slices]).state_hash() == before


@pytest.mark.parametrize(
    "fill",
    [
        ["HSET", "h", *(f"{number}" for number in range(1400))],
        ["HSET", "h", *("x" * 100_000 + str(n) for n in range(8))],
    ],
    ids=["many-pieces", "long-pieces"],
)
def test_a_collection_of_few_members_whose_slices_are_several(client: MachineClient, fill: list[str]) -> None:
    """It changes between them, for the first time since the snapshot began."""
    client.call(*(word.encode() for word in fill))
    before = client.machine.state_hash()
    slices = client.machine.snapshot()
    taken = [next(slices), next(slices)]
    client.call(b"HSET", b"h", fill[-2].encode(), b"changed", b"new", b"1")
    taken += slices
    assert len(taken) > 3
    assert restored(taken).state_hash() == before


def test_a_collection_is_copied_only_while_its_slice_is_to_come(client: MachineClient) -> None:
    db, bag = client.machine.space.databases[0], Bag(b"1")
    db.put(b"x", bag)
    db.fetch(b"x")
    assert bag.copies == 0
    slices = client.machine.snapshot()
    next(slices)
    next(slices)
    db.fetch(b"x")
    assert bag.copies == 0
    for _ in slices:
        pass
    for _ in client.machine.snapshot():
        db.peek(b"x")
        db.fetch(b"x")
        db.fetch(b"x")
    assert bag.copies == 1


# Ends


def check_nothing_is_left(client: MachineClient) -> None:
    for db in client.machine.space.databases:
        assert db.kept is None
        assert type(db.values) is dict
        assert db.plain
    assert not client.machine.space.is_merging


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("taken", range(14))
def test_a_snapshot_that_is_given_up_leaves_nothing_behind(client: MachineClient, taken: int) -> None:
    twin = MachineClient()
    slices = client.machine.snapshot()
    for each in (client, twin):
        each.call(b"MSET", *(b"%d" % number for number in range(20)))
    for number, _ in zip(range(taken), slices, strict=False):
        for each in (client, twin):
            each.call(b"MSET", b"%d" % number, b"1", b"new%d" % number, b"1")
            each.call(b"SWAPDB", b"0", b"1")
    slices.close()  # type: ignore[attr-defined]
    assert client.machine.state_hash() == twin.machine.state_hash()
    second = client.machine.snapshot()
    head = next(second)
    client.call(b"FLUSHALL")
    assert restored([head, *second]).state_hash() == twin.machine.state_hash()
    for _ in range(20):
        client.advance(1)
        client.call(b"SET", b"a", b"1")
    check_nothing_is_left(client)


@pytest.mark.usefixtures("small")
def test_changes_left_by_a_close_are_merged_by_the_next_entries(client: MachineClient) -> None:
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    slices = client.machine.snapshot()
    next(slices)
    client.call(b"MSET", *(b"new%d" % number for number in range(20)))
    del slices
    entries = 0
    while client.machine.space.is_merging:
        client.call(b"DBSIZE")
        client.machine.handle_write(context(entries + 100, client.time_ms), [])
        entries += 1
    assert entries == 5
    check_nothing_is_left(client)


@pytest.mark.usefixtures("small")
def test_a_kept_value_is_dropped_when_it_is_written_out(client: MachineClient) -> None:
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    slices = client.machine.snapshot()
    next(slices)
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    kept = client.machine.space.databases[0].kept
    assert kept is not None
    sizes = [sum(value is not None for value in kept.values.values()) for _ in slices]
    assert sizes[:8] == [10, 10, 8, 6, 4, 2, 0, 0]
    assert not kept.values


def test_contents_that_were_flushed_are_freed_as_the_walk_goes_on(
    client: MachineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SLICE_KEYS_MAX", 2)
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    values = client.machine.space.databases[0].values
    slices = client.machine.snapshot()
    next(slices)
    client.call(b"FLUSHALL")
    assert [len(values) for _ in slices] == [10, 8, 6, 4, 2, 2]


def test_one_snapshot_at_a_time(client: MachineClient) -> None:
    first = client.machine.snapshot()
    next(first)
    with pytest.raises(BrokenInvariant, match="under way"):
        next(client.machine.snapshot())
    assert len(list(first)) == 1


def test_what_is_no_whole_snapshot_is_refused(client: MachineClient) -> None:
    client.call(b"SET", b"a", b"1")
    slices = list(client.machine.snapshot())
    before = client.machine.state_hash()
    unknown = snapshot._encode([snapshot.Head(9, START_MS, 16)])
    wrong_database = snapshot._encode([snapshot.Strings(16, [b"a"], [b"1"], {})])
    strange = snapshot._encode([snapshot.Pieces(0, b"a", "tree", None, [], more=False)])
    for broken in (
        *([], slices[:-1], slices[1:], [slices[0], slices[2]], slices + slices[1:2], [b"x"], [slices[0][:-1]]),
        *([unknown], [slices[0], wrong_database], [slices[0], strange]),
    ):
        with pytest.raises(StorageCorrupt, match="snapshot"):
            client.machine.restore(iter(broken))
    with pytest.raises(ConfigError, match=r"redis\.databases"):
        RedisMachine(databases=4).restore(iter(slices))
    assert client.machine.state_hash() == before


# Digests, for RAFT.VERIFY


def digest(machine: RedisMachine) -> int:
    return sum(machine.digests()) % HASH_MODULUS


@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=sequences)
def test_a_digest_is_of_its_first_moment_and_knows_no_order(sequence: list[tuple[int, Argv]]) -> None:
    """However much is written between its parts."""
    before, other = MachineClient(), MachineClient()
    half = len(sequence) // 2
    for client in (before, other):
        for number, argv in sequence[:half]:
            client.database = number
            client.call(*argv)
    again = restored(list(other.machine.snapshot()))
    expected = digest(other.machine)
    assert digest(again) == expected
    total = 0
    parts = before.machine.digests()
    rest = iter(sequence[half:])
    for part in parts:
        total += part
        if (following := next(rest, None)) is not None:
            before.database = following[0]
            before.call(*following[1])
    assert total % HASH_MODULUS == expected


def test_a_part_of_a_digest_is_bounded(client: MachineClient) -> None:
    """Whatever there is much of: members of one collection, small collections, long strings, a very long one."""
    db = client.machine.space.databases[0]
    db.put(b"bag", Bag(*(b"%d" % number for number in range(10_000))))
    assert len(list(client.machine.digests())) > 10_000 // 1024
    for number in range(100):
        db.put(b"bag:%d" % number, Bag(*(b"%d" % each for each in range(500))))
    assert len(list(client.machine.digests())) > (10_000 + 100 * 500) // 1024
    client.call(b"FLUSHALL")
    for number in range(50):
        db.put(b"long:%d" % number, b"x" * 100_000)
    assert len(list(client.machine.digests())) > 50 * 100_000 // (256 * 1024 + 100_000)
    client.call(b"FLUSHALL")
    db.put(b"very long", b"x" * 5_000_000)
    assert len(list(client.machine.digests())) > 5_000_000 // (256 * 1024)


def test_a_digest_sees_each_byte_of_a_collection_and_where_it_is(client: MachineClient) -> None:
    seen = set()
    for line in (
        "HSET h a 1 b 2",
        "HSET h a 1 b 3",
        "HSET h a 1 b2",
        "HSET h b 2 a 1",
        "HSET i a 1 b 2",
        "SADD h a 1 b 2",
    ):
        client.call(b"FLUSHALL")
        client.call(*line.encode().split())
        seen.add(digest(client.machine))
    client.call(b"PEXPIRE", b"h", b"1000")
    assert len({*seen, digest(client.machine)}) == 7


def test_writes_between_the_parts_of_one_collection(client: MachineClient) -> None:
    client.call(b"HSET", b"h", *(b"%d" % number for number in range(1400)))
    expected = digest(client.machine)
    parts = client.machine.digests()
    total = next(parts) + next(parts)
    for number, part in enumerate(parts):
        total += part
        client.call(b"HSET", b"h", b"0", b"changed", b"new:%d" % number, b"1")
    assert total % HASH_MODULUS == expected


def test_contents_that_were_flushed_are_freed_while_they_are_digested(
    client: MachineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "DIGEST_MEMBERS_MAX", 2)
    client.call(b"MSET", *(b"%d" % number for number in range(20)))
    values = client.machine.space.databases[0].values
    parts = client.machine.digests()
    next(parts)
    client.call(b"FLUSHALL")
    sizes = [len(values) for _ in parts]
    assert sizes[0] == 10
    assert sizes[-1] == 2
