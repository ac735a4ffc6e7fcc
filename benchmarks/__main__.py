"""``python -m benchmarks``: the command line, the progress bar, and what happens on Ctrl-C.

Data directories lie under the output directory, thus on the disk of the checkout, and are removed at the end,
also when the run is interrupted; what was measured until then is shown and written.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.conditions import conditions, is_in_memory
from benchmarks.loadgen import Generator, GeneratorFailed, build
from benchmarks.loads import NAMES, QUICK, Plan
from benchmarks.peers import PEERS
from benchmarks.plot import write_plot
from benchmarks.report import print_report, write_json
from benchmarks.runner import Runner, Visit, chosen_peers, schedule
from benchmarks.targets import judge

RESULTS = Path(__file__).with_name("results")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of about two minutes.")] = False,
    only: Annotated[str, typer.Option(help=f"Comma separated, of: {', '.join(NAMES)}.")] = ",".join(NAMES),
    peers: Annotated[str, typer.Option(help=f"Comma separated, of: {', '.join(PEERS)}.")] = ",".join(PEERS),
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of all peers; 0: the plan's own number.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="Length of one load; 0: the plan's own.")] = 0.0,
    keys: Annotated[int, typer.Option(min=0, help="Keys for memory and restart; 0: the plan's own.")] = 0,
    out: Annotated[Path, typer.Option(help="Where data directories, JSON and PNG go.")] = RESULTS,
) -> None:
    """Measure raftkv beside its neighbours on this machine: table, JSON, PNG."""
    # A terminated run must stop its servers as an interrupted one does.
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(width=None if sys.stdout.isatty() else 170)
    plan = QUICK if quick else Plan()
    plan = replace(
        plan,
        rounds=rounds or plan.rounds,
        load_s=seconds or plan.load_s,
        footprint_keys=keys or plan.footprint_keys,
    )
    wanted = set(filter(None, only.split(",")))
    if unknown := wanted - set(NAMES):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    try:
        visits = schedule(chosen_peers(peers.split(",")), wanted, plan)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    raise typer.Exit(_run(console, plan, wanted, visits, out))


def _run(console: Console, plan: Plan, wanted: set[str], visits: list[Visit], out: Path) -> int:
    """Exit code: 0, 1 when a peer failed or the generator cannot be built, 130 when interrupted."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        console.print(f"{failure}: choose another --out", style="red", markup=False)
        return 1
    if not os.access(out, os.W_OK):
        console.print(f"{out} cannot be written to: choose another --out", style="red", markup=False)
        return 1
    if is_in_memory(out):
        console.print(f"{out} is in memory, where a sync costs nothing: choose a directory on a disk", style="red")
        return 1
    try:
        generator = Generator(build(out / "cache"))
    except GeneratorFailed as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    about = conditions(out)
    about["plan"] = ", ".join(f"{name} {value:g}" for name, value in vars(plan).items())
    for peer in dict.fromkeys(visit.peer for visit in visits):
        about[f"peer {peer.name}"] = peer.about
    begun = time.monotonic()
    interrupted, runner = _measure(console, generator, plan, wanted, visits, out)
    about["took"] = f"{time.monotonic() - begun:.0f} s{', INTERRUPTED' if interrupted else ''}"
    _show(console, runner, about, out)
    return 130 if interrupted else int(bool(runner.failures))


def _measure(
    console: Console, generator: Generator, plan: Plan, wanted: set[str], visits: list[Visit], out: Path
) -> tuple[bool, Runner]:
    directory = Path(tempfile.mkdtemp(prefix="data-", dir=out)).resolve()
    runner = Runner(generator, directory, plan, wanted)
    columns = (TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=len(visits))
            runner.run(
                visits,
                lambda text: progress.update(task, description=text),
                lambda: progress.advance(task),
            )
    except KeyboardInterrupt:
        console.print("interrupted: this is what was measured until then", style="yellow")
        return True, runner
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return False, runner


def _show(console: Console, runner: Runner, about: dict[str, str], out: Path) -> None:
    verdicts = judge(runner.samples)
    print_report(console, runner.samples, verdicts, about, runner.failures, runner.warnings)
    stem = out / time.strftime("benchmark-%Y%m%d-%H%M%S")
    write_json(stem.with_suffix(".json"), runner.samples, verdicts, about, runner.failures, runner.warnings)
    console.print(f"raw numbers: {stem.with_suffix('.json')}", soft_wrap=True)
    title = f"{about['cpu']}, {about['disk']}, commit {about['git commit']}, {about['time']}"
    if write_plot(stem.with_suffix(".png"), runner.samples, title):
        console.print(f"plot: {stem.with_suffix('.png')}", soft_wrap=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)
