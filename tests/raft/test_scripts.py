"""Runs `scripts/*.txt` (their language: `script.py`) and compares what they print with what stands in them.

``RAFTKV_REWRITE=1 pytest tests/raft/test_scripts.py`` writes the present output into the files. Do so only for a new
script, or for a change of behaviour that was intended; then read the difference line by line, for each line is
a claim about the protocol, and say in the commit why it changed. A difference that cannot be explained is a defect.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.raft.script import carry_out

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_script(path: Path) -> None:
    expected = path.read_text()
    printed = carry_out(expected)
    if os.environ.get("RAFTKV_REWRITE") == "1":
        path.write_text(printed)
    else:
        assert printed == expected


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 12


def test_a_wrong_expectation_is_seen() -> None:
    script = "> new 3\n> campaign 1\n  1 is leader in term 7\n"
    assert carry_out(script) == "> new 3\n> campaign 1\n  1 is pre-candidate in term 0\n"
