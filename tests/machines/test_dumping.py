"""DUMP and RESTORE as commands. The bytes are compared with a real server's in rdb/test_with_redis.py."""

from __future__ import annotations

import pytest

from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.redis.rdb import fields
from raftkv.machines.replies import OK, Error
from tests.machines.casework import (
    NOT_INTEGER,
    START_MS,
    SYNTAX,
    Case,
    MachineClient,
    Near,
    Steps,
    arity,
    cases,
    error,
    run_on_machine,
)
from tests.machines.rdb.made import OLD_FORMS, REFUSED, REFUSED_IF_CHECKED, payload, resealed

BUSY = Error("BUSYKEY Target key name already exists.")
BAD = error("Bad data format")
WRONG_FOOTER = error("DUMP payload version or checksum are wrong")
ONE = payload(0, b"\xc0\x01")


def quoted(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def _restore(name: str, whole: bytes, *rest: str) -> str:
    return " ".join(["RESTORE", name, "0", quoted(whole), *rest])


_TABLE: dict[str, Steps] = {
    "DUMP": [
        ("DUMP a", None),
        ("SET a 1", OK),
        ("DUMP a", ONE),
        ("SET a hello", OK),
        ("DUMP a", payload(0, b"\x05hello")),
        ("RPUSH l 1 two", 2),
        ("DUMP l", payload(18, b"\x01\x02\x0e\x0e\0\0\0\2\0\x01\x01\x83two\x04\xff")),
        ("SADD s 5 3", 2),
        ("DUMP s", payload(11, b"\x0c\2\0\0\0\2\0\0\0\3\0\5\0")),
        ("HSET h f v", 1),
        ("DUMP h", payload(16, b"\x0d\x0d\0\0\0\2\0\x81f\x02\x81v\x02\xff")),
        ("ZADD z 1.5 m", 1),
        ("DUMP z", payload(17, b"\x0f\x0f\0\0\0\2\0\x81m\x02\x831.5\x04\xff")),
        ("DUMP", arity("dump")),
        ("DUMP a b", arity("dump")),
    ],
    "DUMP of a hash keeps a field's place when its value changes": [
        ("HSET h f 1 g 2", 2),
        ("HSET h f 3", 0),
        ("DUMP h", payload(16, b"\x11\x11\0\0\0\4\0\x81f\x02\x03\x01\x81g\x02\x02\x01\xff")),
    ],
    "RESTORE": [
        (_restore("a", ONE), OK),
        ("GET a", b"1"),
        ("TTL a", -1),
        (_restore("a", ONE), BUSY),
        ("RPUSH a x", Error("WRONGTYPE Operation against a key holding the wrong kind of value")),
        (_restore("a", payload(18, b"\x01\x02\x0e\x0e\0\0\0\2\0\x01\x01\x83two\x04\xff"), "replace"), OK),
        ("LRANGE a 0 -1", [b"1", b"two"]),
        ("RESTORE a 0", arity("restore")),
    ],
    "RESTORE with a TTL": [
        (f"RESTORE a 100000 {quoted(ONE)}", OK),
        ("PTTL a", Near(100_000)),
        (f"RESTORE a 9999999999999 {quoted(ONE)} ABSTTL REPLACE", OK),
        ("PEXPIRETIME a", 9_999_999_999_999),
        (_restore("a", ONE, "REPLACE"), OK),
        ("PTTL a", -1),
        (f"RESTORE a 0 {quoted(ONE)} ABSTTL REPLACE", OK),
        ("PTTL a", -1),
    ],
    "RESTORE with a TTL that has passed": [
        (f"RESTORE a 1 {quoted(ONE)} ABSTTL", OK),
        ("EXISTS a", 0),
        (f"RESTORE a 9223372036854775807 {quoted(ONE)}", OK),
        ("EXISTS a", 0),
        ("SET a 5", OK),
        (f"RESTORE a 1 {quoted(ONE)} ABSTTL", BUSY),
        (f"RESTORE a 1 {quoted(ONE)} ABSTTL REPLACE", OK),
        ("EXISTS a", 0),
    ],
    "RESTORE with options": [
        (_restore("a", ONE, "IDLETIME 1000"), OK),
        (_restore("a", ONE, "FREQ 255", "REPLACE"), OK),
        (_restore("a", ONE, "freq 0", "FREQ 1", "Replace"), OK),
        (_restore("a", ONE, "FREQ 256"), error("Invalid FREQ value, must be >= 0 and <= 255")),
        (_restore("a", ONE, "FREQ x"), NOT_INTEGER),
        (_restore("a", ONE, "IDLETIME -1"), error("Invalid IDLETIME value, must be >= 0")),
        (_restore("a", ONE, "IDLETIME 1", "FREQ x"), SYNTAX),
        (_restore("a", ONE, "IDLETIME"), SYNTAX),
        (_restore("a", ONE, "KEEPTTL"), SYNTAX),
    ],
    "what RESTORE looks at first": [
        ("SET a 1", OK),
        ("RESTORE a x bad foo", SYNTAX),
        ("RESTORE a x bad", BUSY),
        ("RESTORE a x bad REPLACE", NOT_INTEGER),
        ("RESTORE a -1 bad REPLACE", error("Invalid TTL value, must be >= 0")),
        ("RESTORE a 1 bad REPLACE", WRONG_FOOTER),
        (f"RESTORE a 1 {quoted(REFUSED['an empty list'])} ABSTTL REPLACE", BAD),
        ("GET a", b"1"),
    ],
    "footers": [
        (_restore("a", ONE[:-1]), WRONG_FOOTER),
        (_restore("a", ONE + b"x"), WRONG_FOOTER),
        (_restore("a", b"\0" + ONE[1:-2] + b"\0" + ONE[-1:]), WRONG_FOOTER),
        (_restore("a", payload(0, b"\xc0\x01", version=11)), WRONG_FOOTER),
        (_restore("a", payload(0, b"\xc0\x01", version=0)), OK),
        (_restore("b", payload(0, b"\xc0\x01behind")), OK),
        ("MGET a b", [b"1", b"1"]),
        ('RESTORE c 0 ""', WRONG_FOOTER),
    ],
    "old forms": [step for name, whole in OLD_FORMS.items() for step in ((_restore("a", whole, "REPLACE"), OK),)],
    "refused forms": [(_restore("a", whole), BAD) for whole in REFUSED.values()],
}
CASES = cases(_TABLE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    run_on_machine(case)


@pytest.fixture
def client() -> MachineClient:
    return MachineClient()


@pytest.mark.parametrize("name", REFUSED_IF_CHECKED)
def test_what_redis_does_not_always_check(client: MachineClient, name: str) -> None:
    assert client.call(b"RESTORE", b"a", b"0", REFUSED_IF_CHECKED[name]) == BAD


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (["SADD", *map(str, range(512))], "intset"),
        (["SADD", *map(str, range(513))], "hashtable"),
        (["SADD", "a", "1"], "hashtable"),
        (["HSET", "f", "x" * 64], "listpack"),
        (["HSET", "f", "x" * 65], "hashtable"),
        (["HSET", *map(str, range(2 * 513))], "hashtable"),
        (["ZADD", "1", "x" * 64], "listpack"),
        (["ZADD", "1", "x" * 65, "2", "m", "-inf", "n"], "skiplist"),
        (["ZADD", *map(str, range(2 * 129))], "skiplist"),
        (["RPUSH", *("x" * length for length in range(0, 9000, 300))], "quicklist"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_is_dumped_is_restored(client: MachineClient, fill: list[str], expected: str) -> None:
    command, *words = (word.encode() for word in fill)
    client.call(command, b"a", *words)
    dumped = client.call(b"DUMP", b"a")
    assert client.call(b"RESTORE", b"b", b"0", dumped) == OK
    for key in (b"a", b"b"):
        assert client.call(b"OBJECT", b"ENCODING", key) == expected.encode()
    assert client.call(b"DUMP", b"b") == dumped
    values = client.machine.space.databases[0].values
    a, b = values[b"a"], values[b"b"]
    assert not isinstance(a, bytes)
    assert not isinstance(b, bytes)
    assert list(a.pieces()) == list(b.pieces()) or expected == "skiplist"  # that one comes from its end


def test_members_agree_on_the_deadline_by_the_entrys_time() -> None:
    client = MachineClient(RedisMachine(), time_ms=START_MS + 5)
    client.call(b"RESTORE", b"a", b"100", ONE)
    assert client.machine.deadline_ms() == START_MS + 105


def test_a_refused_payload_changes_nothing(client: MachineClient) -> None:
    client.call(b"SET", b"a", b"1", b"PX", b"1000")
    for whole in REFUSED.values():
        assert client.call(b"RESTORE", b"a", b"0", whole, b"REPLACE") == BAD
    assert client.call(b"GET", b"a") == b"1"
    assert client.machine.deadline_ms() == START_MS + 1000


def test_a_restored_key_is_a_changed_one_for_watchers(client: MachineClient) -> None:
    client.call(b"SET", b"a", b"1")
    db = client.machine.space.databases[0]
    db.watch(b"a")
    stamp = client.machine.space.watches.version
    client.call(b"RESTORE", b"a", b"0", REFUSED["an empty list"], b"REPLACE")
    assert db.is_unchanged(b"a", stamp)
    client.call(b"RESTORE", b"a", b"0", ONE, b"REPLACE")
    assert not db.is_unchanged(b"a", stamp)


def test_bombs(client: MachineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte for each of twelve kilobytes, again and again: refused when what may be unpacked is used up."""
    bomb = b"\x00a" + b"\xe0\xff\x00" * 4000
    unpacked = 1 + 4000 * 264
    packed = b"\xc3\x80" + len(bomb).to_bytes(4, "big") + b"\x80" + unpacked.to_bytes(4, "big") + bomb
    monkeypatch.setattr(fields, "STRING_BYTES_MAX", 3 * unpacked)
    assert client.call(b"RESTORE", b"a", b"0", payload(1, b"\x03" + packed * 3)) == OK
    assert client.call(b"RESTORE", b"b", b"0", payload(1, b"\x04" + packed * 4)) == BAD


def test_a_large_payload_is_checked_whole(client: MachineClient) -> None:
    client.call(b"SET", b"a", bytes(range(256)) * 2000)
    dumped = client.call(b"DUMP", b"a")
    assert len(dumped) > 500_000
    tampered = dumped[:300_000] + b"\0" + dumped[300_001:]
    assert client.call(b"RESTORE", b"b", b"0", tampered) == WRONG_FOOTER
    assert client.call(b"RESTORE", b"b", b"0", resealed(tampered)) == OK
    assert client.call(b"RESTORE", b"b", b"0", dumped, b"REPLACE") == OK
    assert client.call(b"GET", b"b") == client.call(b"GET", b"a")
