"""Transactions inside the machine: what EXEC carries out, what counts as a change of a watched key, and that watches
are state like any other: restored, replayed, bounded, ended by log time.
"""

from __future__ import annotations

from typing import Any

import pytest

from raftkv.machines.interface import ReadContext
from raftkv.machines.redis import snapshot, watches
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.transactions import MALFORMED, Watched, commands_in, exec_command
from raftkv.machines.replies import NULL_ARRAY, OK, Error
from tests.machines.casework import NOT_INTEGER, START_MS, MachineClient, context, words


class Client(MachineClient):
    """Speaks the two internal commands, as a connection does for its client."""

    def watch(self, *keys: bytes) -> list[Watched]:
        stamp = self.call(b"WATCH", *keys)
        return [(self.database, key, stamp) for key in keys]

    def exec(self, *lines: str, watched: list[Watched] | None = None, scopes: dict[int, int] | None = None) -> Any:
        return self.call(*exec_command([words(line) for line in lines], scopes or {}, watched or []))

    def fails(self, watched: list[Watched]) -> bool:
        """Whether a transaction with these keys is not carried out."""
        reply = self.exec("PERSIST nothing", watched=watched)
        assert reply in (NULL_ARRAY, [0])
        return bool(reply == NULL_ARRAY)


@pytest.fixture
def client() -> Client:
    return Client()


# What EXEC does


def test_commands_run_in_order_and_errors_are_elements(client: Client) -> None:
    replies = client.exec("SET a x", "INCR a", "NOSUCH", "GET", "APPEND a y", "GET a")
    assert replies[:2] == [OK, NOT_INTEGER]
    assert all(isinstance(reply, Error) for reply in replies[2:4])
    assert replies[4:] == [2, b"xy"]


def test_each_command_has_its_database(client: Client) -> None:
    assert client.exec("SET a zero", "SET a three", "GET a", "GET a", scopes={1: 3, 2: 3}) == [
        OK,
        OK,
        b"three",
        b"zero",
    ]


def test_reads_alone_can_go_without_the_log(client: Client) -> None:
    client.call(b"SET", b"a", b"1")
    watched = client.watch(b"a")
    before = client.machine.state_hash()
    asked = exec_command([[b"GET", b"a"], [b"SET", b"a", b"2"]], {}, watched)
    [reply] = client.machine.handle_read(ReadContext(START_MS, {}), [asked])
    assert reply == [b"1", Error("ERR 'set' writes and must go through the log")]
    assert client.machine.state_hash() == before
    client.call(b"SET", b"a", b"1")
    assert client.machine.handle_read(ReadContext(START_MS, {}), [asked]) == [NULL_ARRAY]


def test_what_is_no_transaction_is_answered(client: Client) -> None:
    assert client.call(b"EXEC", b"\xff\xff") == MALFORMED
    assert client.call(b"EXEC", b"") == MALFORMED
    assert client.exec("SET a 1", watched=[(99, b"a", 1)]) == NULL_ARRAY
    nested = exec_command([exec_command([[b"SET", b"a", b"1"]], {}, [])], {}, [])
    assert isinstance(client.call(*nested)[0], Error)
    assert client.call(b"GET", b"a") is None


def test_the_parts_can_be_judged_beforehand() -> None:
    lines = [[b"GET", b"a"], [b"SET", b"a", b"1"]]
    assert commands_in(exec_command(lines, {}, [])) == lines
    assert commands_in([b"SET", b"a", b"1"]) == [[b"SET", b"a", b"1"]]
    assert commands_in([b"EXEC", b"?"]) == []
    assert commands_in([]) == [[]]


# What is a change, beside the tables in test_watched_changes.py


def test_a_change_from_another_database(client: Client) -> None:
    client.call(*words("SET a 1"))
    client.database = 1
    watched = client.watch(b"a")
    client.database = 0
    client.call(*words("SET a 2"))
    assert not client.fails(watched)
    watched = client.watch(b"a")
    client.database = 1
    watched += client.watch(b"a")
    client.call(*words("SET a 3"))
    assert client.fails(watched)
    for line in ("MOVE a 1", "COPY a a DB 1", "FLUSHALL"):
        client.call(b"FLUSHALL")
        client.database = 0
        client.call(*words("SET a 1"))
        client.database = 1
        if line == "FLUSHALL":
            client.call(*words("SET a 1"))
        watched = client.watch(b"a")
        client.database = 0
        client.call(*words(line))
        assert client.fails(watched), line


def test_swapdb_touches_what_exists_in_either(client: Client) -> None:
    client.database = 1
    client.call(*words("SET there 1"))
    client.database = 0
    here, there, neither = client.watch(b"here"), client.watch(b"there"), client.watch(b"neither")
    client.call(*words("SWAPDB 0 1"))
    assert client.fails(there)
    assert not client.fails(here)
    assert not client.fails(neither)
    client.database = 1
    assert client.machine.space.databases[0].plain
    client.call(b"SET", b"x", b"1")
    assert client.machine.space.databases[1].plain


@pytest.mark.parametrize("before", ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SWAPDB 0 0"])
def test_changes_are_seen_behind_what_exchanges_all(client: Client, before: str) -> None:
    watched = client.watch(b"missing")
    client.call(*words(before))
    client.call(*words("SET missing 1"))
    assert client.fails(watched)


def test_swapdb_takes_the_duties_of_the_contents_along(client: Client) -> None:
    """The index of keys goes with them, and who takes the hot path must know."""
    client.call(*words("SET a 1"))
    client.call(*words("SCAN 0"))
    client.call(*words("SWAPDB 0 1"))
    client.call(*words("SET here 1"))
    client.database = 1
    client.call(*words("SET b 1"))
    assert sorted(client.call(*words("SCAN 0"))[1]) == [b"a", b"b"]


def test_a_key_that_was_due_before_watch_may_go(client: Client) -> None:
    client.call(*words("SET a 1 PX 5"))
    client.time_ms += 5
    watched = client.watch(b"a")
    client.advance(1000)
    assert not client.fails(watched)


def test_a_key_that_is_due_and_that_no_sweep_has_reached(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overdue counts as gone, whether or not it was removed; and what is overdue at WATCH is removed by it."""
    monkeypatch.setattr("raftkv.machines.redis.database.SWEEP_KEYS_MAX", 0)
    client.call(*words("SET a 1 PX 5"))
    watched = client.watch(b"a")
    client.advance(5)
    asked = exec_command([[b"GET", b"a"]], {}, watched)
    assert client.machine.handle_read(ReadContext(client.time_ms, {}), [asked]) == [NULL_ARRAY]
    late = client.watch(b"a")
    assert client.fails(watched)
    assert not client.fails(late)
    client.call(*words("SET b 1 PX 5"))
    client.advance(5)
    client.database = 1
    other = client.watch(b"b")
    client.call(*words("SWAPDB 0 1"))
    assert not client.fails(other)


def test_its_own_changes_do_not_hinder_a_transaction_but_the_next(client: Client) -> None:
    first, second = client.watch(b"a"), client.watch(b"a")
    assert client.exec("SET a 1", "SET a 2", watched=first) == [OK, OK]
    assert client.exec("SET a 3", watched=second) == NULL_ARRAY
    assert client.call(b"GET", b"a") == b"2"


def test_all_in_one_entry(client: Client) -> None:
    """WATCH, the change and EXEC may come in one batch; order decides."""
    stamp = client.call(b"WATCH", b"a")
    batch = [[b"SET", b"b", b"1"], exec_command([[b"SET", b"a", b"1"]], {}, [(0, b"a", stamp)]), [b"WATCH", b"a"]]
    batch += [[b"SET", b"a", b"2"], exec_command([[b"SET", b"a", b"3"]], {}, [(0, b"a", stamp + 9)])]
    replies = client.machine.handle_write(context(9), batch)
    assert replies[1] == [OK]
    assert client.call(b"GET", b"a") == b"3"  # nobody can know a stamp of the future; it is believed


# How long a key is watched


def test_watches_of_transactions_that_wrote_leave_nothing(client: Client) -> None:
    database = client.machine.space.databases[0]
    assert database.plain
    first, second = client.watch(b"a", b"b"), client.watch(b"b")
    assert not database.plain
    client.exec("SET x 1", watched=first)
    assert list(database.watched) == [b"b"]
    assert not client.fails(second)
    assert database.plain
    assert client.machine.space.watches.count == client.machine.space.watches.size_bytes == 0


def test_a_watch_ends(client: Client) -> None:
    watched = client.watch(b"a")
    client.advance(watches.WATCH_MS - 1)
    renewed = client.watch(b"b")
    client.advance(1)
    assert client.fails(watched)
    assert not client.fails(renewed)
    client.watch(b"c")
    client.advance(watches.WATCH_MS)
    assert client.machine.space.databases[0].plain


def test_who_watched_before_the_end_is_not_helped_by_others(client: Client) -> None:
    """The change happened while nobody watched: a new WATCH by somebody else must not bring the old stamp to life,
    and the old one's end must not take the new one away."""
    old = client.watch(b"a")
    client.advance(watches.WATCH_MS)
    client.call(*words("SET a changed"))
    new = client.watch(b"a")
    assert client.fails(old)
    assert not client.fails(new)


def test_too_many_keys_push_the_oldest_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "WATCHED_KEYS_MAX", 3)
    watched = {key: client.watch(key) for key in (b"a", b"b", b"c")}
    client.watch(b"a")
    client.database = 1
    client.watch(b"d")
    assert client.fails(watched[b"b"])
    assert not client.fails(watched[b"a"])
    assert not client.fails(watched[b"c"])
    monkeypatch.setattr(watches, "WATCHED_BYTES_MAX", 10)
    client.watch(b"12345")
    long = client.watch(b"123456789")
    assert not client.fails(long)
    assert client.fails(client.watch(b"12345678901"))


def test_few_end_with_one_entry(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "ENDED_MAX", 2)
    client.watch(b"a", b"b", b"c")
    client.advance(watches.WATCH_MS)
    assert client.machine.space.watches.count == 1
    client.advance(0)
    assert client.machine.space.watches.count == 0


# Watches are state


def restored(machine: RedisMachine) -> RedisMachine:
    again = RedisMachine()
    again.restore(iter(list(machine.snapshot())))
    return again


def test_a_restored_member_judges_as_the_others(client: Client) -> None:
    client.call(*words("MSET a 1 b 1"))
    changed, same, missing = client.watch(b"a"), client.watch(b"b"), client.watch(b"missing")
    client.call(*words("SET a 2"))
    before = client.machine.state_hash()
    held = client.machine.space.watches
    client.machine = restored(client.machine)
    assert client.machine.state_hash() == before
    again = client.machine.space.watches
    assert (again.count, again.size_bytes) == (held.count, held.size_bytes) == (3, 9)
    assert not client.machine.space.databases[0].plain
    assert client.fails(changed)
    assert not client.fails(same)
    client.call(*words("SET missing 1"))
    assert client.fails(missing)


def test_a_snapshot_has_the_watches_of_its_begin(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SLICE_KEYS_MAX", 2)
    watched = client.watch(b"a", b"b", b"c")
    before = client.machine.state_hash()
    slices = client.machine.snapshot()
    head = next(slices)
    client.call(*words("MSET a 1 b 1"))
    client.exec("GET a", watched=watched)
    client.watch(b"new")
    again = RedisMachine()
    again.restore(iter([head, *slices]))
    assert again.state_hash() == before


def test_the_hash_tells_watches_apart(client: Client) -> None:
    other = Client()
    assert client.machine.state_hash() == other.machine.state_hash()
    client.call(b"WATCH", b"a")
    other.call(b"WATCH", b"b")
    assert client.machine.state_hash() != other.machine.state_hash()
    assert sum(client.machine.digests()) != sum(other.machine.digests())
    again = restored(client.machine)
    assert sum(client.machine.digests()) == sum(again.digests())
