"""Where the figures must come out, and whether they did. The figures come from the samples, the bounds are set
here.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.samples import Samples

OURS = "raftkv"
RESTART_KEYS = 1_000_000


@dataclass(frozen=True)
class Target:
    """One bound. With ``other`` it is on the ratio raftkv : other, else on raftkv's own median."""

    about: str
    load: str
    value: str
    bound: float
    at_least: bool = True
    other: str = ""
    # The sample must have at least this many keys, or it says nothing about the target.
    keys_min: int = 0


@dataclass(frozen=True)
class Verdict:
    """A target beside its figure; no figure when the run did not measure it."""

    target: Target
    figure: float | None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """None when nothing was measured."""
        if self.figure is None:
            return None
        return self.figure >= self.target.bound if self.target.at_least else self.figure <= self.target.bound


RATE = "ops_per_second"
LOADS_OF_50 = ("set", "get", "set-p16", "get-p16")

TARGETS = [
    Target("SET, 50 clients, to redis + WAIT 1", "set", RATE, 1.0, other="redis-wait"),
    Target("SET, 50 clients, to etcd", "set", RATE, 3.0, other="etcd"),
    Target("SET, -P 16, to redis + WAIT 1", "set-p16", RATE, 0.9, other="redis-wait"),
    Target("SET, -P 16, to etcd", "set-p16", RATE, 5.0, other="etcd"),
    Target("GET, 50 clients, to a single redis", "get", RATE, 0.6, other="redis"),
    Target("GET, -P 16, to a single redis", "get-p16", RATE, 0.3, other="redis"),
    Target("SET p50, 1 client, to redis + WAIT 1", "set-c1", "p50_us", 1.3, at_least=False, other="redis-wait"),
    Target("failover, median, seconds", "failover", "seconds", 1.0, at_least=False),
    Target("RSS per member and key, bytes", "memory", "bytes_per_key", 300, at_least=False),
    Target(
        "restart with a million keys, seconds",
        "restart",
        "seconds",
        15,
        at_least=False,
        keys_min=RESTART_KEYS,
    ),
    *(Target(f"{load}, to PySyncObj as it comes", load, RATE, 3.0, other="pysyncobj") for load in LOADS_OF_50),
    *(Target(f"{load}, to PySyncObj tuned", load, RATE, 3.0, other="pysyncobj-tuned") for load in LOADS_OF_50),
]


def judge(samples: Samples, targets: list[Target] = TARGETS) -> list[Verdict]:
    """All targets, in their order."""
    return [_judge_one(samples, target) for target in targets]


def _judge_one(samples: Samples, target: Target) -> Verdict:
    ours = samples.of(OURS, target.load)
    if target.keys_min and any(sample.values.get("keys", 0) < target.keys_min for sample in ours):
        return Verdict(target, None, f"measured with fewer than {target.keys_min:,} keys")
    # A figure among errors is no figure: what was not answered was not done.
    if errors := sum(samples.errors(row, target.load) for row in (OURS, target.other) if row):
        return Verdict(target, None, f"{errors} operations were answered with errors")
    if target.other:
        summary = samples.ratio(OURS, target.other, target.load, target.value)
    else:
        summary = samples.summary(OURS, target.load, target.value)
    return Verdict(target, summary.median if summary else None, "" if summary else "not measured")
