"""Every table of cases, against a real redis-server: the tables themselves are thereby right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.machines.redis.registry import ROWS
from tests.machines import (
    test_bitmaps,
    test_counters,
    test_dumping,
    test_expiry,
    test_geo,
    test_hashes,
    test_hyperloglog,
    test_keys,
    test_keyspace,
    test_lcs,
    test_lists,
    test_objects,
    test_ranges,
    test_scan,
    test_sets,
    test_sort,
    test_strings,
    test_zsets,
)
from tests.machines.casework import Case, run_on_connection
from tests.support.redis_server import RespConnection, start_redis_server

pytestmark = pytest.mark.redis

MODULES = (
    test_bitmaps,
    test_counters,
    test_dumping,
    test_expiry,
    test_geo,
    test_hashes,
    test_hyperloglog,
    test_keys,
    test_keyspace,
    test_lcs,
    test_lists,
    test_objects,
    test_ranges,
    test_scan,
    test_sets,
    test_sort,
    test_strings,
    test_zsets,
)
CASES = [case for module in MODULES for case in module.CASES]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with start_redis_server() as port:
        yield port


@pytest.fixture(scope="module", params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, port: int, protocol: int) -> None:
    with RespConnection(port, protocol=protocol) as connection:
        run_on_connection(case, connection, protocol)


def test_every_command_has_a_case() -> None:
    tried = {name for case in [*CASES, *test_strings.MACHINE_CASES] for name in case.commands}
    assert tried >= {row.name for row in ROWS}
