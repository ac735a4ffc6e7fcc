"""The load generator from Python: build ``loadgen.c`` once, run it, read its JSON; and the same for
redis-benchmark.

The binary lies in a cache directory under a name made from the source's hash, so a changed source is built
again. A C compiler is needed (``cc`` or ``gcc`` on PATH); without one ``find_compiler`` returns None and the
run ends with that.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("loadgen.c")


class GeneratorFailed(Exception):
    """The generator could not be built, or a run of it ended with an error (a lost connection, for one)."""


@dataclass(frozen=True)
class Workload:
    """What one operation is for one peer: RESP words, or a method of etcd.

    ``suffix`` is a command that ends each batch of RESP operations.
    """

    request: str = ""
    suffix: str = ""
    grpc_method: str = ""

    def arguments(self) -> list[str]:
        if self.grpc_method:
            return ["--grpc", self.grpc_method]
        return ["--request", self.request, *(["--suffix", self.suffix] if self.suffix else [])]


@dataclass(frozen=True)
class LoadResult:
    """One run of a generator. Times as the names say; operations answered with an error are not in ops."""

    ops_per_second: float
    p50_us: float
    p99_us: float
    ops: int = 0
    total_ops: int = 0
    errors: int = 0
    nils: int = 0
    first_error: str = ""
    seconds: float = 0.0
    p999_us: float = 0.0
    max_us: float = 0.0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


def find_compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def build(cache: Path) -> Path:
    """The generator's binary, built if this source was not yet. Raises GeneratorFailed."""
    binary = cache / f"loadgen-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    if binary.exists():
        return binary
    compiler = find_compiler()
    if compiler is None:
        raise GeneratorFailed("a C compiler (cc or gcc) is needed to build benchmarks/loadgen.c")
    cache.mkdir(parents=True, exist_ok=True)
    # Built aside and renamed: two runs that start together must not run each other's half-written binary.
    aside = binary.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(aside), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GeneratorFailed(f"{' '.join(command)}: {done.stderr[-500:]}")
    aside.rename(binary)
    return binary


@dataclass(frozen=True)
class Generator:
    """The built generator."""

    binary: Path

    def run(
        self,
        port: int,
        workload: Workload,
        *,
        clients: int,
        pipeline: int,
        seconds: float,
        warmup_s: float = 0.0,
        keyspace: int,
        requests: int = 0,
        sequential: bool = False,
        seed: int = 1,
    ) -> LoadResult:
        """One load for a time, or until ``requests`` are answered when that comes first. Raises GeneratorFailed."""
        numbers = {
            "port": port,
            "clients": clients,
            "pipeline": pipeline,
            "seconds": seconds,
            "warmup": warmup_s,
            "keyspace": keyspace,
            "requests": requests,
            "sequential": int(sequential),
            "seed": seed,
        }
        options = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
        output = _output([str(self.binary), *options, *workload.arguments()], seconds + warmup_s + 60)
        return LoadResult(**json.loads(output))


def redis_benchmark(port: int, kind: str, *, clients: int, pipeline: int, requests: int, keyspace: int) -> LoadResult:
    """One test (``set`` or ``get``) of redis-benchmark itself. Raises GeneratorFailed."""
    command = _redis_benchmark(port, clients, pipeline, requests, keyspace)
    return parse_redis_benchmark(_output([*command, "-t", kind], 120))


def parse_redis_benchmark(text: str) -> LoadResult:
    """The figures of the first line under the heading of ``redis-benchmark --csv``."""
    return next(iter(parse_redis_benchmark_set(text).values()))


def redis_benchmark_set(
    port: int, *, clients: int, pipeline: int, requests: int, keyspace: int
) -> dict[str, LoadResult]:
    """Its whole default set: test -> figures. Raises GeneratorFailed, also when a reply was an error."""
    return parse_redis_benchmark_set(_output(_redis_benchmark(port, clients, pipeline, requests, keyspace), 600))


def _redis_benchmark(port: int, clients: int, pipeline: int, requests: int, keyspace: int) -> list[str]:
    numbers = {"-p": port, "-c": clients, "-P": pipeline, "-n": requests, "-r": keyspace}
    options = [word for name, number in numbers.items() for word in (name, str(number))]
    return ["redis-benchmark", "-h", "127.0.0.1", *options, "--csv"]


def parse_redis_benchmark_set(text: str) -> dict[str, LoadResult]:
    """The figures of all lines, by the test's name without what stands in brackets. "LPUSH (needed ...)" is none."""
    rows = csv.reader(line for line in text.splitlines() if line.startswith('"'))
    heading = next(rows, [])
    results: dict[str, LoadResult] = {}
    for row in rows:
        values = dict(zip(heading, row, strict=False))
        p50_us, p99_us = (float(values[f"{name}_latency_ms"]) * 1000 for name in ("p50", "p99"))
        if "(needed" not in row[0]:
            results[row[0].split()[0]] = LoadResult(float(values["rps"]), p50_us=p50_us, p99_us=p99_us)
    if not results:
        raise GeneratorFailed(f"redis-benchmark printed no figures: {text[-300:]}")
    return results


def _output(command: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise GeneratorFailed(f"{command[0]}: {failure}") from failure
    if done.returncode:
        raise GeneratorFailed((done.stderr or done.stdout).strip()[-300:])
    return done.stdout
