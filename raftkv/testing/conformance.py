"""Whether a state machine keeps the contract of `raftkv.machines.interface`: a suite for any machine.

From a test: ``check(MyMachine)``. From the command line: ``python -m raftkv.testing.conformance package.module:Class``,
with ``--seed`` and ``--entries``. A log is drawn from the seed (`machine_log`) and carried out once: that run is the
reference. Each check (`machine_checks`) then repeats it in another way, and must come to the same replies, effects and
state_hash after every entry. A failure says what differs, at which entry, and the command that shows it again. On a
terminal, a bar shows how far it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raftkv.testing.failure import RuleBroken
from raftkv.testing.machine_checks import Suite
from raftkv.testing.machine_log import Generator, make_log
from raftkv.testing.machine_run import Broken, Factory, new

ENTRIES: Final = 120


class ConformanceFailed(AssertionError):
    """`rule`, `index`: which promise is broken, and at which entry of the log (0: at none)."""

    def __init__(self, broken: Broken, repeat: str) -> None:
        super().__init__(f"{broken}\nrepeat: {repeat}")
        self.rule, self.index = broken.rule, broken.index


def check(
    factory: Factory,
    *,
    seed: int = 1,
    entries: int = ENTRIES,
    commands: Generator | None = None,
    strict: bool = True,
    processes: int = 2,
    track: Callable[[Sequence[Callable[[], None]]], Iterable[Callable[[], None]]] = iter,
) -> None:
    """Raises ConformanceFailed when a machine made by `factory` breaks a promise.

    factory: makes a new machine at each call. With `processes` it must stand at the top of a module.
    commands: makes a command line of your own from a random.Random; half of the commands then come from it.
    strict: also run under `machine.strict`.
    processes: how many fresh processes repeat the log.
    track: gets all checks and hands them out one by one, to see how far it is.
    """
    suite = Suite(factory, make_log(new(factory), seed, entries, commands), seed)
    try:
        for each in track(suite.checks(strict=strict, processes=processes)):
            each()
    except Broken as broken:
        name = f"{factory.__module__}:{factory.__qualname__}" if hasattr(factory, "__qualname__") else repr(factory)
        own = "" if commands is None else f" --commands {commands.__module__}:{commands.__qualname__}"
        repeat = f"python -m raftkv.testing.conformance {name} --seed {seed} --entries {entries}{own}"
        raise ConformanceFailed(broken, repeat + ("" if strict else " --no-strict")) from broken


def main(
    machine: Annotated[str, typer.Argument(help="package.module:Class, or a function that makes one.")],
    seed: Annotated[int, typer.Option(help="The log is drawn from it.")] = 1,
    entries: Annotated[int, typer.Option(help="How long the log is.", min=1)] = ENTRIES,
    commands: Annotated[str, typer.Option(help="package.module:function from random.Random to an argv.")] = "",
    strict: Annotated[bool, typer.Option(help="Also run with machine.strict.")] = True,
) -> None:
    """Check a state machine against the contract with the log."""
    sys.stdout.write(f"{machine}: seed {seed}, {entries} entries\n")
    generator = _named(commands) if commands else None
    try:
        with _progress(Console(stderr=True)) as progress:
            track = partial(progress.track, description="checks")
            check(_named(machine), seed=seed, entries=entries, commands=generator, strict=strict, track=track)
    except (ConformanceFailed, RuleBroken) as failed:
        sys.stdout.write(f"FAILED {failed}\n")
        raise SystemExit(1) from None
    sys.stdout.write("all promises kept\n")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Else what a machine prints or logs would draw the bar, and strict mode would see it look at the clock.
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` finds modules, also where only the project's own were asked for
    return getattr(importlib.import_module(module), attribute)


if __name__ == "__main__":
    typer.run(main)
