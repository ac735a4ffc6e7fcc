"""One member as a process: tunes it, serves until a signal, and says with its exit code why it ended.

    0  stopped as asked (SIGTERM, SIGINT)
    2  a setting is wrong
    3  had to stop: the disk failed, the log is damaged, an invariant is broken, or the machine fails again and again

On SIGTERM: no new clients, answer what is under way as far as it can be, finish the disk's queue, leave. Starting and
stopping are those of an embedded member (`embed.py`); only what concerns the whole process is here.
"""

from __future__ import annotations

import gc
import resource
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import trio

from raftkv.errors import ConfigError, Fatal
from raftkv.server.embed import run_server
from raftkv.server.hub import Hub
from raftkv.server.loading import make_machine
from raftkv.server.logs import open_log
from raftkv.settings import Settings

SWITCH_INTERVAL_S = 0.0005
"""How long the hub may keep the interpreter lock from the disk thread that came back from a sync. CPython's 5 ms
would be several times the sync itself."""


def run(settings: Settings) -> int:
    """Serve one member until it is told to stop. Returns the process's exit code."""
    log = open_log(settings.log, settings.node.id)
    try:
        trio.run(_serve, settings, log, strict_exception_groups=True)
    except (ConfigError, Fatal, OSError) as error:
        return _exit_code(error, log)
    log.info("stopped", reason="as asked")
    return 0


async def _serve(settings: Settings, log: Any) -> None:
    _tune_process()
    # From here on, so that a member which is told to stop while it reads its log stops as well, and says so.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with run_server(settings, lambda: make_machine(settings), log=log, make_hub=Hub):
            await _wait_for_signal(signals, log)


def _exit_code(error: ConfigError | Fatal | OSError, log: Any) -> int:
    if isinstance(error, ConfigError):
        log.error("wrong_setting", reason=str(error))
        return 2
    log.critical("stopped", family=type(error).__name__, reason=str(error))
    return 3


def _tune_process() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # What lives as long as the process need not be walked by every collection; the data itself holds no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _wait_for_signal(signals: AsyncIterator[int], log: Any) -> None:
    async for number in signals:
        log.info("stopping", signal=signal.Signals(number).name)
        return
