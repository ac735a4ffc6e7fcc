"""What must be known to read a figure: machine, disk, versions, commit.

Measured or asked right now, nothing assumed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.loads import CLIENTS, KEYSPACE, PIPELINE
from benchmarks.peers.base import CHECKOUT

DISK_PROBES = 200
DISK_PROBE_BYTES = 4096
PACKAGES = ("trio", "hiredis", "msgspec", "pysyncobj")
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


def conditions(directory: Path) -> dict[str, str]:
    """Label -> text, for the table's foot and the JSON file."""
    return {
        "cpu": f"{os.cpu_count()} x {cpu_model()}",
        "load average": " ".join(f"{number:.2f}" for number in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {package_version(name)}" for name in PACKAGES),
        "redis version": first_line("redis-server", "--version"),
        "etcd version": first_line("etcd", "--version"),
        "C compiler": first_line("cc", "--version"),
        "disk": f"{file_system(directory)}, write+fsync of {DISK_PROBE_BYTES} bytes: "
        f"p50 {disk_sync_us(directory):.0f} us",
        "load": f"{CLIENTS} clients on loopback, pipeline 1 and {PIPELINE}, "
        f"16-byte keys out of {KEYSPACE:,}, 3-byte values",
        "git commit": git_commit(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def first_line(*command: str) -> str:
    """What a program says of itself; "(not on PATH)" when it is not there."""
    if shutil.which(command[0]) is None:
        return "(not on PATH)"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def git_commit() -> str:
    """The commit, with "+ changes" when tracked files differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return f"{commit} + changes" if _git("status", "--porcelain", "--untracked-files=no") else commit or "(no git)"


def _git(*words: str) -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def file_system(directory: Path) -> str:
    """Type of the file system that holds the directory, from the longest mount point above it."""
    best, kind = "", "unknown"
    real = str(directory.resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, mounted_kind, *_ = line.split()
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, mounted_kind
    return kind


def is_in_memory(directory: Path) -> bool:
    """Whether a sync here costs nothing, which would make every durable figure a lie."""
    return file_system(directory) in MEMORY_FILE_SYSTEMS


def disk_sync_us(directory: Path) -> float:
    """Median time of an append of 4 KiB and its fsync."""
    path = directory / "disk-probe"
    block = b"\xa5" * DISK_PROBE_BYTES
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        return statistics.median(_timed_sync_us(descriptor, block) for _ in range(DISK_PROBES))
    finally:
        os.close(descriptor)
        path.unlink()


def _timed_sync_us(descriptor: int, block: bytes) -> float:
    begun = time.perf_counter()
    os.write(descriptor, block)
    os.fsync(descriptor)
    return (time.perf_counter() - begun) * 1e6
