"""The picture of a run: operations per second by load and peer, with the range of the rounds as whiskers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.loads import LOADS
from benchmarks.samples import Samples

COLUMNS = 2


def write_plot(path: Path, samples: Samples, title: str) -> bool:
    """Write a PNG; False when matplotlib is not installed or nothing was measured that it could show."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    loads = [load for load in LOADS if samples.rows(load.name) and not load.with_redis_benchmark]
    if not loads:
        return False
    lines = -(-len(loads) // COLUMNS)
    figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(12, 2.6 * lines + 0.6), squeeze=False)
    for at, axis in enumerate(axes.flat):
        if at >= len(loads):
            axis.set_axis_off()
            continue
        _draw(axis, samples, loads[at].name, loads[at].about)
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _draw(axis, samples: Samples, load: str, about: str) -> None:  # type: ignore[no-untyped-def]
    """One load: a bar for each row, raftkv's own in another colour, scale from zero."""
    rows = samples.rows(load)[::-1]
    found = [(row, summary) for row in rows if (summary := samples.summary(row, load, "ops_per_second"))]
    names = [row for row, _ in found]
    medians = [summary.median for _, summary in found]
    highs = [summary.high for _, summary in found]
    whiskers = [[s.median - s.low for _, s in found], [s.high - s.median for _, s in found]]
    colours = ["#c0392b" if name.startswith("raftkv") else "#7f8c9a" for name in names]
    axis.barh(names, medians, xerr=whiskers, color=colours, capsize=3)
    for at, median in enumerate(medians):
        axis.annotate(f"  {median:,.0f}", (highs[at], at), va="center", fontsize=8)
    axis.set_title(f"{about}: operations per second", fontsize=9)
    # Room at the right for the figure of the longest bar.
    axis.set_xlim(0, max(highs, default=1) * 1.18)
    axis.ticklabel_format(axis="x", style="plain")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
