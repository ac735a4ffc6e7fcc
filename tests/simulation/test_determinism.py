"""A seed stands for one run: the same again, in another process, whatever the salt of its hashes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raftkv.testing.simulation import run

PROGRAM = "import sys; from raftkv.testing.simulation import run; print(run(int(sys.argv[1])).digest)"


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_run_repeats_itself(seed: int) -> None:
    assert run(seed) == run(seed)


@pytest.mark.parametrize("salt", ["0", "12345"])
def test_a_run_repeats_itself_in_another_process(salt: str) -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, "3"],
        env={**os.environ, "PYTHONHASHSEED": salt},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == run(3).digest


def test_other_seeds_are_other_runs() -> None:
    assert len({run(seed).digest for seed in range(1, 6)}) == 5
