"""The conformance suite passes good machines, and catches each bug of faulty.py by the promise that it breaks."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from random import Random

import pytest

from examples.bank import Bank
from examples.counter import Counter
from examples.jobs import Jobs
from examples.locks import Locks
from raftkv.machines.interface import Kind
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.register import RegisterMachine
from raftkv.testing.conformance import ConformanceFailed, check
from raftkv.testing.machine_log import make_log, make_reads
from raftkv.testing.machine_run import Factory, run, run_elsewhere
from tests.testing import faulty


@pytest.mark.parametrize("factory", [RegisterMachine, RedisMachine, partial(RedisMachine, databases=2), faulty.Table])
@pytest.mark.parametrize("seed", [1, 2])
def test_good_machines_pass(factory: Factory, seed: int) -> None:
    check(factory, seed=seed)


def test_many_logs_of_the_redis_machine() -> None:
    for seed in range(3, 11):
        check(RedisMachine, seed=seed, processes=0, strict=False)


SAME = "the same log gives the same"
ELSEWHERE = "a fresh process does the same"
OUTSIDE = "nothing from outside"
BATCH = "a batch equals its commands one by one"
READS = "reads change nothing"


@pytest.mark.parametrize(
    ("factory", "rule"),
    [
        (faulty.AsksTheClock, OUTSIDE),
        (faulty.DrawsChance, OUTSIDE),
        (faulty.ShowsASet, ELSEWHERE),
        (faulty.ForgetsAField, "a restored machine is the same"),
        (faulty.KeepsWhatWasThere, "a restored machine is the same"),
        (faulty.DigestsTheOrder, "a restored machine is the same"),
        (faulty.SlicesMoveOn, "writes between slices do not show"),
        (faulty.CountsReads, READS),
        (faulty.RemembersReads, READS),
        (faulty.ChangesInIsCommand, READS),
        (faulty.CountsBatches, BATCH),
        (faulty.AnswersByPosition, BATCH),
        (faulty.ForgetsEffects, BATCH),
        (faulty.Raises, "every argv is answered"),
        (faulty.SkipsSilentWrites, "wants_replies changes nothing"),
        (faulty.ChangesBeforeAnError, "an error leaves the state as it was"),
        (faulty.AnswersASet, "replies are encodable"),
        (faulty.AnswersTooLittle, "one reply for each command"),
        (faulty.NeverSweeps, "deadlines pass"),
    ],
)
def test_each_bug_is_caught_by_its_promise(factory: Factory, rule: str) -> None:
    with pytest.raises(ConformanceFailed) as caught:
        check(factory)
    assert caught.value.rule == rule
    assert caught.value.index > 0
    assert f"tests.testing.faulty:{factory.__name__} --seed 1 --entries 120" in str(caught.value)


@pytest.mark.parametrize(("factory", "rule"), [(faulty.AsksTheClock, ELSEWHERE), (faulty.DrawsChance, SAME)])
def test_without_strict_mode_the_clock_and_chance_show_too(factory: Factory, rule: str) -> None:
    with pytest.raises(ConformanceFailed) as caught:
        check(factory, strict=False)
    assert caught.value.rule == rule


def test_a_machine_without_snapshots_is_checked_for_the_rest() -> None:
    class Plain(faulty.Table):
        snapshot = faulty.StateMachine.snapshot
        restore = faulty.StateMachine.restore

    check(Plain, processes=0)
    with pytest.raises(TypeError, match="top of a module"):
        check(Plain)


# Logs


def test_a_log_follows_from_its_seed_and_meets_every_command_well_and_badly_formed() -> None:
    machine = RedisMachine()
    log = make_log(machine, 5, 1500)
    assert log == make_log(machine, 5, 1500)
    assert log[:100] != make_log(machine, 6, 100)
    names = {argv[0].lower().decode(errors="replace") for entry in log for argv in entry.commands if argv}
    assert {row.name for row in machine.commands.values() if row.kind is not Kind.LOCAL} <= names
    assert any(argv == [] for entry in log for argv in entry.commands)
    assert [entry.time_ms for entry in log] == sorted(entry.time_ms for entry in log)
    assert {type(entry.members) for entry in log} == {list, type(None)}


def test_most_commands_are_taken() -> None:
    log = make_log(RedisMachine(), 5, 300)
    replies = [reply for outcome in run(RedisMachine(), log) for reply in outcome.replies]
    assert sum(reply.startswith("b'-") for reply in replies) < len(replies) * 0.6


def test_reads_are_made_of_rows_that_read() -> None:
    assert make_reads(faulty.Table(), Random(1), 1)


def test_ones_own_generator_makes_half_of_the_commands() -> None:
    log = make_log(faulty.Table(), 1, 100, faulty.own_command)
    commands = [argv for entry in log for argv in entry.commands]
    assert 0.3 < sum(b"mine" in argv for argv in commands) / len(commands) < 0.7


def test_a_fresh_process_really_is_another() -> None:
    log = make_log(faulty.Table(), 1, 20)
    here, there = run(faulty.AsksTheClock(), log), run_elsewhere(faulty.AsksTheClock, log, 1)
    assert len(here) == len(there) == 20
    assert here[-1].state != there[-1].state
    assert run(faulty.Table(), log) == run_elsewhere(faulty.Table, log, 1)


# The command line


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "raftkv.testing.conformance", *arguments]
    return subprocess.run(line, capture_output=True, check=False, text=True)


def test_the_command_line_passes_and_tells_the_seed() -> None:
    done = call("tests.testing.faulty:Table", "--seed", "7", "--entries", "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "tests.testing.faulty:Table: seed 7, 30 entries\nall promises kept\n"


@pytest.mark.parametrize(
    ("machine", "lines"),
    [("tests.machines.declared_examples:Counter", 2), ("tests.testing.faulty:CountsBatches", 3)],
    ids=["kept, and logs on the way", "broken"],
)
def test_on_a_terminal_a_bar_tells_how_far_it_is(machine: str, lines: int) -> None:
    """On the error output; what it found stays alone on the other. A bar that took over the error output drew itself
    whenever the machine logged, and was caught by strict mode, as if the machine had asked the clock."""
    terminal, its_end = os.openpty()
    line = [sys.executable, "-m", "raftkv.testing.conformance", machine, "--entries", "20"]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=its_end, env=environment) as ran:
        os.close(its_end)
        shown = b"".join(iter(partial(_read_terminal, terminal), b""))
        assert ran.stdout is not None
        found = ran.stdout.read().decode()
    os.close(terminal)
    assert b"checks" in shown
    assert b"0/34" in shown
    assert b"\x1b" not in found.encode()
    assert len(found.splitlines()) == lines


def _read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end was closed: how Linux tells it
        return b""


def test_the_command_line_fails_with_the_command_that_repeats_it() -> None:
    own = ("--commands", "tests.testing.faulty:own_command", "--no-strict")
    done = call("tests.testing.faulty:CountsBatches", *own)
    assert done.returncode == 1
    assert "FAILED a batch equals its commands one by one: at entry " in done.stdout
    repeat = "repeat: python -m raftkv.testing.conformance tests.testing.faulty:CountsBatches --seed 1 --entries 120 "
    assert done.stdout.endswith(repeat + " ".join(own) + "\n")


@pytest.mark.parametrize("factory", [Counter, Bank, Jobs, Locks])
def test_the_examples_pass(factory: Factory) -> None:
    check(factory, entries=40, processes=1)
