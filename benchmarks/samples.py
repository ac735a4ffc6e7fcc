"""Raw numbers of a run and what is said about them: medians, spread, ratios. Pure functions, nothing measured
here.

A sample is one measurement in one round: the row (a peer, or one member of it), the load, and named numbers.
Everything in the tables is computed from the list of samples alone, so the JSON file is enough to make the
tables again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """One measurement. ``values`` have their unit in the name (ops_per_second, p50_us, cpu_s_per_100k ...)."""

    row: str
    load: str
    round: int
    values: dict[str, float] = field(default_factory=dict)
    errors: int = 0
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """Median and range of some numbers."""

    median: float
    low: float
    high: float
    count: int


def summarize(numbers: Iterable[float]) -> Summary | None:
    """None when there are no numbers."""
    ours = sorted(numbers)
    return Summary(statistics.median(ours), ours[0], ours[-1], len(ours)) if ours else None


class Samples:
    """All samples of a run, by row and load."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.all = list(samples)

    def add(self, sample: Sample) -> None:
        self.all.append(sample)

    def of(self, row: str, load: str) -> list[Sample]:
        return [sample for sample in self.all if sample.row == row and sample.load == load]

    def rows(self, load: str) -> list[str]:
        """Rows that have this load, in the order in which they came."""
        return list(dict.fromkeys(sample.row for sample in self.all if sample.load == load))

    def loads(self) -> list[str]:
        return list(dict.fromkeys(sample.load for sample in self.all))

    def errors(self, row: str, load: str) -> int:
        return sum(sample.errors for sample in self.of(row, load))

    def summary(self, row: str, load: str, value: str) -> Summary | None:
        return summarize(sample.values[value] for sample in self.of(row, load) if value in sample.values)

    def ratio(self, row: str, other: str, load: str, value: str) -> Summary | None:
        """How many times the other's number this row's is.

        The numbers of one round are divided by each other before the median is taken: a slow minute of the
        machine falls on both. Rounds that only one of them has are left out; None when no round has both.
        """
        return _divided(*(self._by_round(each, load, value) for each in (row, other)))

    def ratio_of_loads(self, row: str, load: str, other: str, value: str) -> Summary | None:
        """As `ratio`, of two loads of one row."""
        return _divided(*(self._by_round(row, each, value) for each in (load, other)))

    def _by_round(self, row: str, load: str, value: str) -> dict[int, float]:
        """One number for each round: the median of that round's samples (failover has several)."""
        rounds: dict[int, list[float]] = {}
        for sample in self.of(row, load):
            if value in sample.values:
                rounds.setdefault(sample.round, []).append(sample.values[value])
        return {at: statistics.median(numbers) for at, numbers in rounds.items()}


def _divided(ours: dict[int, float], theirs: dict[int, float]) -> Summary | None:
    return summarize(ours[at] / theirs[at] for at in sorted(ours.keys() & theirs.keys()) if theirs[at] > 0)
