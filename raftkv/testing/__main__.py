"""Run simulated clusters: ``python -m raftkv.testing SEED`` one, with ``--seeds COUNT`` that many from there on.

Prints what each seed came to only when something is wrong; the last events before a failure go to a file with
``--trace FILE``, or to the terminal when just one seed is run. Exit code 1 when any rule was broken.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from raftkv.testing.seeds import Failure, run_seeds
from raftkv.testing.simulation import Report

TRACE_LINES = 60


def main(
    seed: Annotated[int | None, typer.Argument(help="The seed to run, or to begin with.")] = None,
    first: Annotated[int, typer.Option("--seed", help="The same as an option.")] = 1,
    seeds: Annotated[int, typer.Option(help="How many seeds to run, counting up.", min=1)] = 1,
    jobs: Annotated[int, typer.Option(help="Processes to use; 0: one for each processor.", min=0)] = 0,
    trace: Annotated[Path | None, typer.Option(help="Where the events before the first failure go.")] = None,
) -> None:
    """Run whole clusters of raftkv in simulated time, with faults, and check what they promise."""
    start = first if seed is None else seed
    console = Console(stderr=True)
    totals: Counter[str] = Counter()
    failures: list[Failure] = []
    with _progress(console, seeds) as progress:
        task = progress.add_task("seeds", total=seeds)
        for result in run_seeds(range(start, start + seeds), jobs):
            if isinstance(result, Report):
                _add(totals, result)
            else:
                failures.append(result)
                progress.console.print(result.text, markup=False, highlight=False, soft_wrap=True)
            progress.advance(task)
    if failures:
        _show_trace(failures[0], trace, to_terminal=seeds == 1)
    _summary(seeds, len(failures), totals)
    raise SystemExit(1 if failures else 0)


def _progress(console: Console, seeds: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=seeds == 1 or not console.is_terminal)


def _add(totals: Counter[str], report: Report) -> None:
    totals.update(report.operations)
    totals["entries committed"] += report.committed
    totals["leaders"] += report.terms
    totals["simulated seconds"] += report.simulated_ms // 1000
    totals["events"] += report.events


def _show_trace(failure: Failure, path: Path | None, *, to_terminal: bool) -> None:
    lines = failure.trace
    if path is not None:
        path.write_text("\n".join(lines) + "\n", "utf-8")
    elif to_terminal:
        sys.stdout.write("\n".join(lines[-TRACE_LINES:]) + "\n")


def _summary(seeds: int, failed: int, totals: Counter[str]) -> None:
    parts = ", ".join(f"{count} {name}" for name, count in totals.items())
    sys.stdout.write(f"{seeds} seeds, {failed} failed; {parts}\n")


if __name__ == "__main__":
    typer.run(main)
