"""Sequences made by hypothesis, on a member and on a real redis-server, in each of the modes of side_by_side.py.

`make differential` plays many more of them, see long_differential.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from raftkv.machines.redis.differences import ONLY_HERE
from raftkv.machines.redis.registry import ROWS
from tests.machines.differential import DATABASES, LINES, Argv, sequences
from tests.machines.side_by_side import MARKS, MODES, Marks, Mode, Sides
from tests.support.redis_server import start_redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server("--databases", str(DATABASES)) as port:
        yield port


def test_every_row_has_a_strategy() -> None:
    assert set(LINES) == {row.name for row in ROWS} - ONLY_HERE


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(sequence=sequences, marks=MARKS)
def test_they_agree(redis_port: int, mode: Mode, sequence: list[tuple[int, Argv]], marks: Marks) -> None:
    with Sides(redis_port, mode.at) as sides:
        sides.play(mode, sequence, marks)
