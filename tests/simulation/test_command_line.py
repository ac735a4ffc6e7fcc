"""python -m raftkv.testing"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from raftkv.raft.node import Node
Node.promise = lambda self, peer, message, needs_entries=True: self.send(peer, message)
sys.argv = ["raftkv.testing", *sys.argv[1:]]
import runpy
runpy.run_module("raftkv.testing", run_name="__main__")
"""


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_a_seed_that_breaks_no_rule() -> None:
    done = call("-m", "raftkv.testing", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 seeds, 0 failed")


def test_several_seeds() -> None:
    done = call("-m", "raftkv.testing", "--seed", "1", "--seeds", "5", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 seeds, 0 failed")


def test_a_failure_names_the_seed_the_rule_and_the_command_that_shows_it_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = call("-c", PROGRAM, "3", "--trace", str(trace))
    assert done.returncode == 1
    assert "seed 3" in done.stderr
    assert "durable before promised" in done.stderr
    assert "python -m raftkv.testing 3" in done.stderr
    assert "VoteReply" in trace.read_text() or "VoteRequest" in trace.read_text()
