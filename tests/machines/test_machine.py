"""The machine as a whole: it answers any argv, depends on its log alone, and tells its sizes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import ClassVar

import pytest

from raftkv.machines.interface import ReadContext
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.registry import ROWS
from raftkv.machines.redis.values import Collection
from raftkv.machines.replies import OK, Error, Simple
from tests.machines.casework import START_MS, MachineClient, context

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")


class Pair(Collection):
    """Stands for all types that are not strings."""

    type_name: ClassVar[str] = "pair"

    @property
    def encoding(self) -> str:
        return "plain"

    def size_bytes(self, samples: int) -> int:
        return len(self)

    def copy(self) -> Pair:
        return Pair()

    def digest_parts(self) -> list[bytes]:
        return [b"pair"]

    def __len__(self) -> int:
        return 2

    def pieces(self) -> list[bytes]:
        return [b"one", b"other"]

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Pair:
        return cls()


@pytest.fixture
def client() -> MachineClient:
    return MachineClient()


ONLY_STRINGS = [
    "GET a",
    "DIRTYGET a",
    "SET a 1 GET",
    "GETSET a 1",
    "GETDEL a",
    "GETEX a",
    "APPEND a 1",
    "STRLEN a",
    "SETRANGE a 0 x",
    "GETRANGE a 0 1",
    "SUBSTR a 0 1",
    "INCR a",
    "DECR a",
    "INCRBY a 1",
    "DECRBY a 1",
    "INCRBYFLOAT a 1",
]


@pytest.mark.parametrize("line", ONLY_STRINGS)
def test_string_commands_refuse_other_types(client: MachineClient, line: str) -> None:
    client.machine.space.databases[0].put(b"a", Pair())
    before = client.machine.state_hash()
    client.index, client.time_ms = 0, 0
    assert client.call(*line.encode().split()) == WRONG_TYPE
    assert client.machine.state_hash() == before


def test_other_types_where_any_type_will_do(client: MachineClient) -> None:
    client.machine.space.databases[0].put(b"a", Pair())
    assert client.call(b"TYPE", b"a") == Simple("pair")
    assert client.call(b"MGET", b"a") == [None]
    assert client.call(b"SCAN", b"0", b"TYPE", b"pair") == [b"0", [b"a"]]
    assert client.call(b"SCAN", b"0", b"TYPE", b"string") == [b"0", []]
    assert client.call(b"LCS", b"a", b"b") == Error("ERR The specified keys must contain string values")
    assert client.call(b"COPY", b"a", b"b") == 1
    assert client.machine.space.databases[0].values[b"b"] is not client.machine.space.databases[0].values[b"a"]
    assert client.call(b"SET", b"a", b"1") == OK
    assert client.call(b"SET", b"b", b"1", b"XX") == OK


def test_any_argv_is_answered() -> None:
    chance, machine = random.Random(3), RedisMachine()
    names = [row.name.encode() for row in ROWS] + [b"", b"foo", b"\xff", b"SET\0"]
    words = [
        b"a",
        b"b",
        b"0",
        b"-1",
        b"10",
        b"9223372036854775807",
        b"",
        b"\xff",
        b"EX",
        b"NX",
        b"GET",
        b"DB",
        b"MATCH",
    ]
    lines = ([chance.choice(names), *chance.choices(words, k=chance.randrange(6))] for _ in range(20_000))
    argvs = [[], *lines]
    replies = machine.handle_write(context(1, scopes={5: 3, 7: 99, 9: -1}), argvs)
    assert len(replies) == len(argvs)
    assert replies[0] == Error("ERR unknown command '', with args beginning with: ")
    assert replies[7] == replies[9] == Error("ERR DB index is out of range")


def test_unknown_commands_show_their_arguments(client: MachineClient) -> None:
    assert client.call(b"FoO", b"b\r\nr", b"x\0y") == Error(
        "ERR unknown command 'FoO', with args beginning with: 'b  r' 'x' "
    )
    shown = "'" + "y" * 120 + "' '" + "z" * 5 + "' "
    assert client.call(b"x", b"y" * 120, b"z" * 30) == Error(
        f"ERR unknown command 'x', with args beginning with: {shown}"
    )


def test_a_write_is_not_carried_out_by_read(client: MachineClient) -> None:
    [reply] = client.machine.handle_read(ReadContext(START_MS), [[b"SET", b"a", b"1"]])
    assert isinstance(reply, Error)
    assert client.call(b"DBSIZE") == 0


def test_time_never_goes_back(client: MachineClient) -> None:
    client.call(b"SET", b"a", b"1", b"PX", b"1000")
    client.machine.handle_write(context(2, START_MS + 1000), [])
    client.machine.handle_write(context(3), [[b"SET", b"b", b"1", b"PX", b"500"]])
    assert client.machine.deadline_ms() == START_MS + 1500


def test_scopes_are_databases_and_survive_a_swap_within_the_batch(client: MachineClient) -> None:
    commands = [[b"SET", b"a", b"0"], [b"SET", b"a", b"1"], [b"SWAPDB", b"0", b"1"], [b"GET", b"a"], [b"GET", b"a"]]
    replies = client.machine.handle_write(context(1, scopes={1: 1, 4: 1}), commands)
    assert replies == [OK, OK, OK, b"1", b"0"]


def test_info_shows_the_keyspace(client: MachineClient) -> None:
    assert client.machine.info() == {"Keyspace": {}}
    client.call(b"MSET", b"a", b"1", b"b", b"2", b"c", b"3")
    client.call(b"PEXPIRE", b"a", b"1000")
    client.call(b"PEXPIRE", b"b", b"3000")
    client.database = 3
    client.call(b"SET", b"a", b"1")
    assert client.machine.info() == {
        "Keyspace": {"db0": "keys=3,expires=2,avg_ttl=2000", "db3": "keys=1,expires=0,avg_ttl=0"}
    }


CHANGES = ["SET b 2", "DEL a", "EXPIRE a 100", "MOVE a 1", "SWAPDB 0 1", "SET a 2", "RENAME a b"]


@pytest.mark.parametrize("line", CHANGES)
def test_the_hash_tells_states_apart(client: MachineClient, line: str) -> None:
    client.call(b"SET", b"a", b"1")
    before = client.machine.state_hash()
    client.call(*line.encode().split())
    assert client.machine.state_hash() != before


def test_the_hash_covers_the_log_time_but_not_the_order_of_insertion() -> None:
    one, other = MachineClient(), MachineClient()
    for client, keys in ((one, b"abc"), (other, b"cba")):
        for key in keys:
            client.call(b"SET", bytes([key]), b"1", b"EX", b"100")
    assert one.machine.state_hash() == other.machine.state_hash()
    one.advance(1)
    assert one.machine.state_hash() != other.machine.state_hash()


# Determinism

_REPLAY = """
import hashlib, random
from raftkv.machines.interface import Context
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.registry import ROWS

chance, machine, seen = random.Random({seed}), RedisMachine(), hashlib.sha256()
names = [row.name.encode() for row in ROWS if row.name != "randomkey"]
keys = [b"k%d" % number for number in range(40)]
words = keys + [b"1", b"2", b"-1", b"EX", b"PX", b"NX", b"XX", b"GET", b"0.1", b"1700000001"]
time_ms = 1_700_000_000_000
for index in range(400):
    time_ms += chance.randrange(200)
    rest = [chance.choices(words, k=chance.randrange(4)) for _ in range(20)]
    batch = [[chance.choice(names), chance.choice(keys), *more] for more in rest]
    batch += [[b"SET", chance.choice(keys), b"1", b"PX", b"%d" % chance.randrange(1, 3000)] for _ in range(20)]
    replies = machine.handle_write(Context(index=index, term=1, time_ms=time_ms, seed=index, scopes={{3: 1}}), batch)
    seen.update(repr(replies).encode() + machine.state_hash())
print(seen.hexdigest())
"""


def test_same_log_same_state_and_replies_whatever_the_hash_seed() -> None:
    digests = {_replayed(hash_seed) for hash_seed in ("0", "1", "4711")}
    assert len(digests) == 1


def _replayed(hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _REPLAY.format(seed=5)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_member_with_a_rebuilt_heap_sweeps_the_same_keys() -> None:
    """As after a restore: the heap holds no stale or put-off entries there, and still the slices agree."""
    chance = random.Random(9)
    old, new = MachineClient(), MachineClient()
    for number in range(3000):
        key = b"key:%d" % number
        old.call(b"SET", key, b"1", b"PX", b"%d" % chance.randrange(1, 2000))
        deadline = chance.randrange(1, 2000)
        old.call(b"SET", key, b"1", b"PX", b"%d" % deadline)
        new.call(b"SET", key, b"1", b"PX", b"%d" % deadline)
    for client in (old, new, old, new):
        client.advance(2000 if client.time_ms == START_MS else 0)
    assert 0 < old.call(b"DBSIZE") < 3000
    assert old.machine.state_hash() == new.machine.state_hash()
