"""Many seeds, one after the other or on several processors; a failure is a result like any other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

import msgspec

from raftkv.testing.failure import SimulationFailed
from raftkv.testing.simulation import Report, run


class Failure(msgspec.Struct, frozen=True):
    """A seed whose run broke a rule. `text` says which, and how to see it again; `trace` are the last events."""

    seed: int
    rule: str
    text: str
    trace: list[str]


def run_seed(seed: int) -> Report | Failure:
    try:
        return run(seed)
    except SimulationFailed as failed:
        return Failure(seed, failed.rule, str(failed), failed.trace)


def run_seeds(seeds: range, jobs: int = 0) -> Iterator[Report | Failure]:
    """In order of the seeds, whatever the number of processes (`jobs`; 0: one for each processor)."""
    if len(seeds) == 1 or jobs == 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs or len(os.sched_getaffinity(0))) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=4)
