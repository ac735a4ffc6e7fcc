"""A fixed set of seeds; `make sim-long` runs as many others as you have time for."""

from __future__ import annotations

import pytest

from raftkv.testing.simulation import run


@pytest.mark.parametrize("seed", range(1, 201))
def test_seed(seed: int) -> None:
    report = run(seed)
    assert report.operations["ok"] > 0
