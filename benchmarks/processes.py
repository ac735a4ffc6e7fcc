"""Server processes of a run: started in their own directory, watched through /proc, and never left behind.

How it works: every child is its own session (Ctrl-C reaches only the benchmark, which then stops the children
in order) and asks the kernel to be killed when the benchmark dies, however it dies. Output goes to a file,
whose end is quoted when the process ends unexpectedly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_WAIT_S = 5.0
PR_SET_PDEATHSIG = 1

# Below the kernel's range for outgoing connections: a member that is started again must find its port free.
PORT_MIN, PORT_MAX = 12000, 32000

_libc = ctypes.CDLL(None, use_errno=True)


class PeerFailed(Exception):
    """A server did not start, or ended on its own; the message quotes the end of its output."""


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ServerProcess:
    """One server: its command line can be started, killed and started again on the same data."""

    def __init__(self, argv: list[str], log: Path, working_directory: Path) -> None:
        self.argv = argv
        self.log = log
        self.working_directory = working_directory
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.working_directory,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for one that does not end."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def check_alive(self) -> None:
        """Raises PeerFailed when the process has ended."""
        if not self.alive:
            code = self._child.returncode if self._child else "not started"
            raise PeerFailed(f"{self.argv[0]} ended ({code}): {tail(self.log)}")

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def tail(path: Path, characters: int = 400) -> str:
    """The end of a text file on one line, for an error message."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return " | ".join(text[-characters:].split("\n")).strip() or "(no output)"


def stop_all(processes: Iterable[ServerProcess]) -> None:
    """Ask all to end first, so that they end beside each other and not one after another."""
    ours = list(processes)
    for process in ours:
        if process.alive:
            os.kill(process.pid, signal.SIGTERM)
    for process in ours:
        process.stop()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address on which nothing listens now, all different."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(PORT_MIN, PORT_MAX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def wait_until(
    condition: Callable[[], bool],
    processes: Iterable[ServerProcess],
    what: str,
    timeout_s: float = 30.0,
    period_s: float = 0.02,
) -> None:
    """Poll until the condition holds. Raises PeerFailed when a process ends or the time is over."""
    watched = list(processes)
    deadline = time.monotonic() + timeout_s
    while not condition():
        for process in watched:
            process.check_alive()
        if time.monotonic() > deadline:
            logs = "; ".join(tail(process.log, 200) for process in watched[:1])
            raise PeerFailed(f"not within {timeout_s:.0f} s: {what} ({logs})")
        time.sleep(period_s)
