"""Decides what is measured when: rounds of visits, one peer at a time, each started fresh.

How it works: a visit starts one peer in an empty directory, runs all its loads, stops it and removes the
directory, so no idle neighbour takes processor time from the one that is measured. Round 1 visits A B C,
round 2 A B C again, and so on: a slow minute of the machine falls on neighbours of the same round, and ratios
are taken within rounds. Failovers are spread over the rounds in the same way (each in a cluster of its own
visit, whose members come back between trials); memory and restart come last, once.

A peer that fails is noted with its reason and that part of it (loads, failover or footprint) is left out from
then on; everything else goes on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.failover import measure_failover
from benchmarks.footprint import measure_memory, measure_restart
from benchmarks.loadgen import Generator, GeneratorFailed, LoadResult, redis_benchmark, redis_benchmark_set
from benchmarks.loads import CLIENTS, COMMANDS, KEYSPACE, LOADS, PIPELINE, Load, Plan, command_load
from benchmarks.peers import PEERS, Peer, Unavailable
from benchmarks.processes import PeerFailed
from benchmarks.samples import Sample, Samples

Progress = Callable[[str], None]
REDIS_BENCHMARK_REQUESTS_MIN = 1000


@dataclass(frozen=True)
class Visit:
    """One start of one peer. ``part`` is loads, commands, failover or footprint."""

    peer: type[Peer]
    part: str
    round: int

    @property
    def name(self) -> str:
        return f"{self.peer.name} {self.part}"


def share(total: int, parts: int, at: int) -> int:
    """Part ``at`` (from 0) of ``total`` things dealt out evenly, the first parts getting the rest."""
    return total // parts + (at < total % parts)


def schedule(peers: list[type[Peer]], only: set[str], plan: Plan) -> list[Visit]:
    """All visits of a run in order."""
    visits: list[Visit] = []
    for at in range(plan.rounds):
        if any(load.name in only for load in LOADS):
            visits += [Visit(peer, "loads", at) for peer in peers]
        if COMMANDS in only:
            visits += [Visit(peer, COMMANDS, at) for peer in peers if peer.with_redis_benchmark]
        if "failover" in only and share(plan.failovers, plan.rounds, at):
            visits += [Visit(peer, "failover", at) for peer in peers if peer.with_failover]
    if only & {"memory", "restart"}:
        visits += [Visit(peer, "footprint", 0) for peer in peers if peer.with_footprint]
    return visits


@dataclass
class Runner:
    """One run. ``samples``, ``failures`` ("peer part" -> reason) and ``warnings`` fill while it goes."""

    generator: Generator
    directory: Path
    plan: Plan
    only: set[str]
    samples: Samples = field(default_factory=Samples)
    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def run(self, visits: list[Visit], progress: Progress, advance: Callable[[], None]) -> None:
        for visit in visits:
            if visit.name not in self.failures:
                self._visit(visit, progress)
            advance()

    def _visit(self, visit: Visit, progress: Progress) -> None:
        progress(f"round {visit.round + 1}: {visit.peer.name}, starting")
        try:
            visit.peer.check_available()
            with self._started(visit.peer) as peer:
                part = {
                    "loads": self._loads,
                    COMMANDS: self._commands,
                    "failover": self._failovers,
                    "footprint": self._footprint,
                }[visit.part]
                part(peer, visit.round, progress)
        except (PeerFailed, GeneratorFailed, Unavailable, OSError) as failure:
            self.failures[visit.name] = str(failure)

    @contextlib.contextmanager
    def _started(self, kind: type[Peer]) -> Iterator[Peer]:
        directory = self.directory / kind.name
        directory.mkdir(parents=True)
        peer = kind(directory)
        try:
            peer.start()
            yield peer
        finally:
            peer.stop()
            shutil.rmtree(directory, ignore_errors=True)

    # ---- loads

    def _loads(self, peer: Peer, at: int, progress: Progress) -> None:
        loads = [load for load in LOADS if load.name in self.only]
        progress(f"round {at + 1}: {peer.name}, filling")
        keys = self._prefill(peer)
        rows = peer.rows()
        for row, port in rows.items():
            for load in loads:
                workload = peer.workload(load.kind)
                if workload is None or not applies(load, peer, row):
                    continue
                progress(f"round {at + 1}: {row}, {load.name}")
                before_s = peer.cpu_seconds()
                if load.with_redis_benchmark:
                    result = self._redis_benchmark(row, port, load)
                else:
                    result = self.generator.run(
                        port,
                        workload,
                        clients=load.clients,
                        pipeline=load.pipeline,
                        seconds=self.plan.load_s,
                        warmup_s=self.plan.warmup_s,
                        keyspace=keys if load.kind != "set" else KEYSPACE,
                        seed=at + 1,
                    )
                self.samples.add(sample_of(row, load.name, at, result, peer.cpu_seconds() - before_s))

        if peer.rows() != rows:
            # Then some figures of the leader's row are a follower's.
            self.warnings.append(f"{peer.name}, round {at + 1}: the leader changed during the loads")

    def _prefill(self, peer: Peer) -> int:
        """Keys for the reads to find, and the warm-up of a fresh server. How many there are then."""
        workload = peer.workload("set")
        assert workload is not None, "every peer can SET"
        filled = self.generator.run(
            peer.main_port,
            workload,
            clients=CLIENTS,
            pipeline=PIPELINE,
            seconds=self.plan.prefill_s_max,
            keyspace=KEYSPACE,
            requests=KEYSPACE,
            sequential=True,
        )
        if not filled.total_ops:
            raise GeneratorFailed(f"no key was written: {filled.first_error or 'no reply'}")
        return filled.total_ops

    def _redis_benchmark(self, row: str, port: int, load: Load) -> LoadResult:
        """As many requests as take about one load's time, judged by what our own generator has just reached."""
        known = self.samples.summary(row, load.name.removeprefix("rb-"), "ops_per_second")
        rate = known.median if known else 20_000
        requests = max(REDIS_BENCHMARK_REQUESTS_MIN, int(rate * self.plan.load_s))
        return redis_benchmark(
            port,
            load.kind,
            clients=load.clients,
            pipeline=load.pipeline,
            requests=requests,
            keyspace=KEYSPACE,
        )

    # ---- the rest

    def _commands(self, peer: Peer, at: int, progress: Progress) -> None:
        for pipeline in (1, PIPELINE):
            progress(f"round {at + 1}: {peer.name}, every command, -P {pipeline}")
            results = redis_benchmark_set(
                peer.main_port,
                clients=CLIENTS,
                pipeline=pipeline,
                requests=self.plan.command_requests * (1 if pipeline == 1 else 4),
                keyspace=KEYSPACE,
            )
            for test, result in results.items():
                self.samples.add(sample_of(peer.main_row, command_load(test, pipeline), at, result, 0.0))

    def _failovers(self, peer: Peer, at: int, progress: Progress) -> None:
        for trial in range(share(self.plan.failovers, self.plan.rounds, at)):
            progress(f"round {at + 1}: {peer.name}, failover {trial + 1}")
            self.samples.add(Sample(peer.main_row, "failover", at, {"seconds": measure_failover(peer)}))

    def _footprint(self, peer: Peer, at: int, progress: Progress) -> None:
        progress(f"{peer.name}: filling with {self.plan.footprint_keys:,} keys")
        keys, values = measure_memory(peer, self.generator, self.plan)
        if "memory" in self.only:
            self.samples.add(Sample(peer.main_row, "memory", at, values))
        if "restart" in self.only and peer.durable:
            progress(f"{peer.name}: restart with {keys:,} keys")
            self.samples.add(Sample(peer.main_row, "restart", at, measure_restart(peer, keys)))


def applies(load: Load, peer: Peer, row: str) -> bool:
    """Whether this row has this load: redis-benchmark and local reads are for main rows, to keep a run short."""
    is_main = row == peer.main_row
    if load.with_redis_benchmark:
        return peer.with_redis_benchmark and is_main
    return is_main or load.kind != "dirtyget"


def sample_of(row: str, load: str, at: int, result: LoadResult, cpu_s: float) -> Sample:
    """A generator's figures and the servers' processor time as one sample."""
    values = {"ops_per_second": result.ops_per_second, "p50_us": result.p50_us, "p99_us": result.p99_us}
    if result.total_ops:
        values["cpu_s_per_100k"] = cpu_s / result.total_ops * 100_000
        values["generator_cpu_share"] = result.cpu_seconds / result.wall_seconds if result.wall_seconds else 0.0
        values["nil_share"] = result.nils / result.total_ops
    return Sample(row, load, at, values, result.errors, result.first_error)


def chosen_peers(names: list[str]) -> list[type[Peer]]:
    """Raises ValueError for an unknown name."""
    if unknown := [name for name in names if name not in PEERS]:
        raise ValueError(f"unknown peer {', '.join(unknown)}; there are: {', '.join(PEERS)}")
    return [PEERS[name] for name in dict.fromkeys(names)]
