"""The tables and the JSON file of a run, made from its samples alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.loads import LOADS, OTHER_MEASUREMENTS, PIPELINE, command_load
from benchmarks.samples import Samples, Summary
from benchmarks.targets import OURS, RATE, Verdict

# Above this share of one core the generator itself may be what limits a figure.
GENERATOR_SHARE_WARNING = 0.9


def with_spread(summary: Summary | None, decimals: int = 0) -> str:
    """Median and range, "12,345 (11,000 - 13,000)"; the median alone of one number; "-" of none."""
    if summary is None:
        return "-"
    median, low, high = (f"{number:,.{decimals}f}" for number in (summary.median, summary.low, summary.high))
    return median if summary.count == 1 else f"{median} ({low} - {high})"


def median_text(summary: Summary | None, decimals: int, scale: float = 1.0) -> str:
    return "-" if summary is None else f"{summary.median * scale:,.{decimals}f}"


def ratio_text(summary: Summary | None) -> str:
    return "-" if summary is None else with_spread(summary, 2)


def load_rows(samples: Samples, load: str) -> list[list[str]]:
    """One line for each row of the table: name, ops/s, raftkv : it, p50, p99 (ms), CPU s per 100,000, remarks."""
    lines: list[list[str]] = []
    for row in samples.rows(load):
        ratio = None if row == OURS else samples.ratio(OURS, row, load, "ops_per_second")
        lines.append(
            [
                row,
                with_spread(samples.summary(row, load, "ops_per_second")),
                ratio_text(ratio),
                median_text(samples.summary(row, load, "p50_us"), 3, 1e-3),
                median_text(samples.summary(row, load, "p99_us"), 3, 1e-3),
                median_text(samples.summary(row, load, "cpu_s_per_100k"), 2),
                remarks(samples, row, load),
            ]
        )
    return lines


def remarks(samples: Samples, row: str, load: str) -> str:
    """What a reader must know beside the figures: errors, missed keys, a generator at its limit."""
    found: list[str] = []
    if errors := samples.errors(row, load):
        first = next(sample.note for sample in samples.of(row, load) if sample.note)
        found.append(f"{errors} errors ({first[:60]})")
    missed = samples.summary(row, load, "nil_share")
    if missed and missed.high > 0.05 and "get" in load:
        found.append(f"{missed.median:.0%} of the keys not there")
    busy = samples.summary(row, load, "generator_cpu_share")
    if busy and busy.high > GENERATOR_SHARE_WARNING:
        found.append(f"generator at {busy.median:.0%} of a core")
    return ", ".join(found)


def loads_table(samples: Samples) -> Table:
    table = Table(title="Loads: median (min - max) of the rounds", title_justify="left")
    for heading in ("load", "peer", "ops/s", "raftkv : it", "p50 ms", "p99 ms", "CPU s / 100k", "remarks"):
        table.add_column(heading, justify="left" if heading in ("load", "peer", "remarks") else "right")
    for load in LOADS:
        for at, line in enumerate(load_rows(samples, load.name)):
            table.add_row("" if at else load.about, *line, style="bold" if line[0] == OURS else "")
        table.add_section()
    return table


def commands_table(samples: Samples) -> Table:
    """Each command beside redis-server's, and beside our own SET."""
    title = "redis-benchmark's default set: raftkv's operations/s, raftkv : redis, and the command : SET (both raftkv)"
    table = Table(title=title, title_justify="left")
    table.add_column("command")
    for pipeline in (1, PIPELINE):
        for heading in ("ops/s", ": redis", ": SET"):
            table.add_column(f"-P {pipeline} {heading}", justify="right")
    prefix = command_load("", 1)
    for test in (load.removeprefix(prefix) for load in samples.loads() if load.startswith(prefix)):
        cells: list[str] = []
        for pipeline in (1, PIPELINE):
            load = command_load(test, pipeline)
            cells += [
                median_text(samples.summary(OURS, load, RATE), 0),
                median_text(samples.ratio(OURS, "redis", load, RATE), 2),
                median_text(samples.ratio_of_loads(OURS, load, command_load("SET", pipeline), RATE), 2),
            ]
        table.add_row(test, *cells)
    return table


def others_table(samples: Samples) -> Table:
    """Failover, memory, restart."""
    units = {
        "failover": ("seconds", "s", 3),
        "memory": ("bytes_per_key", "MB", 0),
        "restart": ("seconds", "s", 2),
    }
    table = Table(title="Failover, memory, restart", title_justify="left")
    for heading in ("measurement", "peer", "median (min - max)", "unit", "count", "keys"):
        table.add_column(heading, justify="left" if heading in ("measurement", "peer", "unit") else "right")
    for load, (value, unit, decimals) in units.items():
        for at, row in enumerate(samples.rows(load)):
            summary = samples.summary(row, load, value)
            keys = median_text(samples.summary(row, load, "keys"), 0)
            count = str(summary.count) if summary else "-"
            about = "" if at else OTHER_MEASUREMENTS[load]
            table.add_row(about, row, with_spread(summary, decimals), unit, count, keys)
        table.add_section()
    return table


def targets_table(verdicts: list[Verdict]) -> Table:
    table = Table(title="Targets (ratios: median of the rounds, raftkv : the other)", title_justify="left")
    for heading in ("target", "bound", "figure", "verdict"):
        table.add_column(heading, justify="right" if heading in ("bound", "figure") else "left")
    for verdict in verdicts:
        bound = f"{'>=' if verdict.target.at_least else '<='} {verdict.target.bound:g}"
        figure = "-" if verdict.figure is None else f"{verdict.figure:.3g}"
        table.add_row(verdict.target.about, bound, figure, verdict_text(verdict))
    return table


def verdict_text(verdict: Verdict) -> str:
    if verdict.reached is None:
        return f"[dim]{verdict.note}[/dim]"
    return "[green]reached[/green]" if verdict.reached else "[red]NOT reached[/red]"


def print_report(
    console: Console,
    samples: Samples,
    verdicts: list[Verdict],
    conditions: dict[str, str],
    failures: dict[str, str],
    warnings: Sequence[str] = (),
) -> None:
    for table in (loads_table(samples), commands_table(samples), others_table(samples), targets_table(verdicts)):
        if table.row_count:
            console.print(table)
    about = Table(title="Conditions", title_justify="left", show_header=False)
    for label, text in conditions.items():
        about.add_row(label, text)
    console.print(about)
    for name, reason in failures.items():
        console.print(f"{name}: not (fully) measured: {reason}", style="red", markup=False)
    for warning in warnings:
        console.print(warning, style="yellow", markup=False)


def write_json(
    path: Path,
    samples: Samples,
    verdicts: list[Verdict],
    conditions: dict[str, str],
    failures: dict[str, str],
    warnings: Sequence[str] = (),
) -> None:
    """All raw numbers: the tables can be made again from this file."""
    document = {
        "conditions": conditions,
        "samples": [dataclasses.asdict(sample) for sample in samples.all],
        "targets": [{**dataclasses.asdict(verdict), "reached": verdict.reached} for verdict in verdicts],
        "failures": failures,
        "warnings": list(warnings),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
