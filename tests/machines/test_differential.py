"""Sequences made by hypothesis, on the machine and on a real redis-server, reply for reply."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from raftkv.machines.redis.differences import ONLY_HERE, OVERDUE_COUNTED
from raftkv.machines.redis.registry import ROWS
from tests.machines.casework import MachineClient
from tests.machines.differential import DATABASES, KEYS, LINES, Argv, same_reply, sequences
from tests.support.redis_server import RespConnection, as_resp2, start_redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def redis() -> Iterator[RespConnection]:
    with start_redis_server("--databases", str(DATABASES)) as port, RespConnection(port) as connection:
        yield connection


def test_every_row_has_a_strategy() -> None:
    assert set(LINES) == {row.name for row in ROWS} - ONLY_HERE


@settings(max_examples=250, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(sequence=sequences)
def test_replies_agree(redis: RespConnection, sequence: list[tuple[int, Argv]]) -> None:
    redis.call(b"FLUSHALL")
    redis.call(b"SELECT", b"0")
    client = MachineClient(time_ms=_server_time_ms(redis))
    for database, argv in sequence:
        if database != client.database:
            redis.call(b"SELECT", b"%d" % database)
            client.database = database
        if argv[0].decode().lower() in OVERDUE_COUNTED:
            redis.call(b"EXISTS", *KEYS)  # looking at them removes those that are overdue
        theirs, ours = redis.call(*argv), as_resp2(client.call(*argv))
        assert same_reply(argv, ours, theirs), (argv, ours, theirs)


def _server_time_ms(redis: RespConnection) -> int:
    seconds, microseconds = redis.call(b"TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000
