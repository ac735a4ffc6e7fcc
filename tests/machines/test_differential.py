"""Random sequences of each family, on a cluster and on a real redis-server, in each of the modes of side_by_side.py.

They are always the same few; `make differential` plays many more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.machines.redis.differences import ONLY_HERE
from raftkv.machines.redis.registry import ROWS
from tests.machines.differential import DATABASES, FAMILIES, LINES
from tests.machines.long_differential import play_drawn
from tests.machines.side_by_side import MODES, Mode
from tests.support.redis_server import start_redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server("--databases", str(DATABASES)) as port:
        yield port


def test_every_row_has_a_strategy() -> None:
    assert set(LINES) == {row.name for row in ROWS} - ONLY_HERE


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_they_agree(redis_port: int, family: str, mode: Mode) -> None:
    tally = play_drawn(redis_port, mode, FAMILIES[family], MODES.index(mode), 12)
    assert not tally.failures, "\n".join(tally.failures)
