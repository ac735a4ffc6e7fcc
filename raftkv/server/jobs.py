"""The job thread: work with snapshot files, beside the disk thread, so that no sync of the log waits behind it.

One thread, one job after the other. What a job returns, or the OSError or Fatal that it raises, comes back through a
bell in the hub. Anything else that is raised is a bug, and leaves the hub.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from raftkv.errors import Fatal
from raftkv.replica.jobs import Job
from raftkv.server.hub import Hub


class JobThread:
    def __init__(self, hub: Hub, on_done: Callable[[Job, object, Exception | None], None]) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[tuple[Job, Any, Exception | None]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._hub = hub
        self._on_done = on_done
        self._thread: threading.Thread | None = None
        hub.add(self._bell, self, select.EPOLLIN)

    def submit(self, jobs: list[Job]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
            self._thread.start()
        for job in jobs:
            self._queue.put(job)

    def on_event(self, events: int) -> None:  # noqa: ARG002
        os.eventfd_read(self._bell)
        while self._done:
            job, result, error = self._done.popleft()
            if error is not None and not isinstance(error, OSError | Fatal):
                raise error
            self._on_done(job, result, error)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            result, raised = None, None
            try:
                result = job.run()
            except Exception as error:
                raised = error
            self._done.append((job, result, raised))
            os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """Finish what was submitted, and end the thread. Nobody hears of it any more."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._hub.remove(self._bell)
        os.close(self._bell)
