"""Reads of the machine's present state: as of the log's time, or the clock's where that is ahead.

Whether that state is recent enough is for others to say (`rounds.py`, `follower_reads.py`). A machine that raises
stops nobody: the commands are asked one by one then, and the one that it was gets an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raftkv.errors import Fatal
from raftkv.machines.interface import ReadContext, StateMachine
from raftkv.machines.replies import Reply
from raftkv.replica.callbacks import Report
from raftkv.replica.log_time import LogTime
from raftkv.replica.screen import Screen, internal_error, read_one_by_one
from raftkv.replica.work import Work, join


class Reader:
    def __init__(self, machine: StateMachine, screen: Screen, time: LogTime, report: Report) -> None:
        self._machine = machine
        self._screen = screen
        self._time = time
        self._report = report

    def read_works(self, works: Sequence[Work], wall_ms: int) -> list[Reply]:
        return self.read(*join(works), wall_ms)

    def read(self, commands: list[list[bytes]], scopes: Mapping[int, int], wall_ms: int) -> list[Reply]:
        context = ReadContext(max(wall_ms, self._time.newest_ms), scopes)
        if self._screen.version_check is None:
            return self._handle(context, commands)
        return self._screen.read_admitted(self._handle, context, commands)

    def _handle(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        try:
            return self._machine.handle_read(context, commands)
        except (Fatal, MemoryError):
            raise
        except Exception as error:
            if len(commands) == 1:
                self._report("read", error)
                return [internal_error(commands[0], error)]
        return read_one_by_one(self._handle, context, commands)
