"""The job thread: work with snapshot files, beside the disk thread, so that no sync of the log waits behind it.

One thread, one job after the other. What a job returns, or the OSError or Fatal that it raises, comes back through a
bell in the hub. Anything else that is raised is a bug, and leaves the hub.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from raftkv.replica.jobs import Job
from raftkv.server.bell import Bell
from raftkv.server.hub import Hub


class JobThread:
    def __init__(self, hub: Hub, on_done: Callable[[Job, object, Exception | None], None]) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[tuple[Job, Any, Exception | None]] = deque()
        self._bug: Exception | None = None
        self._bell = Bell(hub, self._on_rung)
        self._on_done = on_done
        self._thread: threading.Thread | None = None

    def submit(self, jobs: list[Job]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
            self._thread.start()
        for job in jobs:
            self._queue.put(job)

    def _on_rung(self) -> None:
        while self._done:
            self._on_done(*self._done.popleft())
        if self._bug is not None:
            raise self._bug

    def _run(self) -> None:
        while self._bug is None and (job := self._queue.get()) is not None:
            try:
                self._done.append((job, *job.carry_out()))
            except Exception as bug:
                self._bug = bug
            self._bell.ring()

    def stop(self) -> None:
        """Finish what was submitted, and end the thread. Nobody hears of it any more."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._bell.close()
