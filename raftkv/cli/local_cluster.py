"""The processes of ``raftkv dev``: started together, one log, stopped together, never left behind.

Theory of operation. Each member is a process in a process group of its own, so that Ctrl-C in the terminal
reaches only this one, which then stops all in order: SIGTERM, a while, SIGKILL. If this process dies without
being able to (kill -9), the kernel kills the members: PR_SET_PDEATHSIG. Raft makes that safe: a killed member
has lost nothing that it acknowledged.

The processes are made by `subprocess` in the main thread, not by trio in a worker thread: the kernel's
"parent" is the thread that forked, and trio's idle worker threads end after some seconds, and with them
every member would.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from raftkv.cli.status import Status, fetch_all, leader_of

SERVE = (sys.executable, "-m", "raftkv", "serve", "--log-format", "plain")
STOP_SECONDS = 10.0
POLL_SECONDS = 1.0
STYLES = ("cyan", "magenta", "yellow", "blue", "green", "bright_cyan", "bright_magenta", "bright_yellow", "bright_blue")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Member:
    """What to start; `flags` are those of ``raftkv serve``."""

    number: int
    port: int
    peer_port: int
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def style(self) -> str:
        return STYLES[(self.number - 1) % len(STYLES)]


class LocalCluster:
    """`command` is what each member's flags are appended to; tests give another."""

    def __init__(
        self, members: list[Member], console: Console, password: str = "", command: Sequence[str] = SERVE
    ) -> None:
        self._command = command
        self._members = members
        self._console = console
        self._password = password
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False
        self._live: Live | None = None
        self._shown = ""

    async def run(self) -> int:
        """Run until a signal, or until no member is left. 0: every member ended well, and because it was told to."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            try:
                self._start_all()
                with self._live_line():
                    await self._run(signals)
            finally:
                self._kill_all()
        codes = [process.returncode for process in self._processes.values()]
        return 0 if self._stopping and not any(codes) else 1

    async def _run(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_leader)
            nursery.start_soon(self._stop_on_signal, signals, nursery)
            async with trio.open_nursery() as members:
                for member in self._members:
                    members.start_soon(self._follow, member)
            nursery.cancel_scope.cancel()

    # ---- processes ----

    def _start_all(self) -> None:
        for member in self._members:
            self._processes[member.number] = subprocess.Popen(
                [*self._command, *member.flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                process_group=0,
                preexec_fn=_die_with_parent(),
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    async def _stop_on_signal(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in signals:
            if self._stopping:
                self._say("killing all members")
                self._kill_all()
                return
            self._stopping = True
            self._say(f"{signal.Signals(number).name}: stopping all members")
            for process in self._processes.values():
                _send(process, signal.SIGTERM)
            nursery.start_soon(self._kill_late)

    async def _kill_late(self) -> None:
        await trio.sleep(STOP_SECONDS)
        self._say(f"still running after {STOP_SECONDS:.0f} s: killing")
        self._kill_all()

    def _kill_all(self) -> None:
        for process in self._processes.values():
            _send(process, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    # ---- the log ----

    async def _follow(self, member: Member) -> None:
        """Print the lines of one member until it ends, and how it ended."""
        process = self._processes[member.number]
        assert process.stdout is not None
        async with trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as stream:
            rest = b""
            async for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._print(member, line.decode("utf-8", "replace"))
        if rest:
            self._print(member, rest.decode("utf-8", "replace"))
        process.stdout.close()
        await trio.to_thread.run_sync(process.wait)
        self._print(member, self._epitaph(member, process.returncode))

    def _epitaph(self, member: Member, code: int) -> str:
        how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        if self._stopping:
            return how
        return f"{how}; to start it again: raftkv serve {shlex.join(member.flags)}"

    def _print(self, member: Member, line: str) -> None:
        # The member's own colours, if any, are kept; markup in its text is not interpreted.
        prefix = (f"{member.name} ", member.style)
        self._console.print(Text.assemble(prefix, ("| ", "dim"), Text.from_ansi(line)))

    def _say(self, line: str) -> None:
        self._console.print(Text.assemble(("dev   ", "bold"), ("| ", "dim"), (line, "bold")))

    # ---- who leads ----

    async def _watch_leader(self) -> None:
        addresses = [f"127.0.0.1:{member.port}" for member in self._members]
        while True:
            fetch = partial(fetch_all, addresses, self._password, POLL_SECONDS)
            answers = await trio.to_thread.run_sync(fetch, abandon_on_cancel=True)
            leader = leader_of(answers)
            self._show(leader, sum(isinstance(each, Mapping) for each in answers.values()))
            await trio.sleep(POLL_SECONDS if leader else POLL_SECONDS / 4)

    def _show(self, leader: Status | None, up: int) -> None:
        """The live line on a terminal; elsewhere a line of the log whenever the leadership changed."""
        members = f"{up} of {len(self._members)} members answer"
        if leader is None:
            who, line = "no leader", f"no leader, {members}"
        else:
            who = f"node{leader['id']} leads in term {leader['term']}"
            line = f"{who}, {members}, {leader['commit']} entries committed"
        if self._live is not None:
            self._live.update(Text(f" {line} ", "reverse" if leader else "reverse red"), refresh=True)
        elif who != self._shown:
            self._say(line)
        self._shown = who

    def _live_line(self) -> AbstractContextManager[object]:
        if not self._console.is_terminal:
            return nullcontext()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        return self._live


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _die_with_parent() -> Callable[[], None] | None:
    """What a new process does before it becomes a member: ask the kernel to be killed along with us."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between: nobody would tell us
            os._exit(1)

    return prepare
