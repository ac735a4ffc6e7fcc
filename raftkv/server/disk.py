"""The disk thread: writes to the log in the order given, one sync for all that has gathered, and rings a bell.

While a sync runs the next writes gather by themselves: group commit without a timer. The thread does one system
call for a batch (the store's `append`), and between taking the batch and ringing holds the interpreter lock only
for a few lines, so it hardly disturbs the hub.

A failed write ends the process (see errors.StorageFailed): the hub raises what `error` holds.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from raftkv.errors import Fatal, StorageFailed
from raftkv.server.hub import Hub
from raftkv.storage.interface import LogStore, Write


class DiskThread:
    def __init__(self, store: LogStore, hub: Hub, on_synced: Callable[[int], None]) -> None:
        self._store = store
        self._on_synced = on_synced
        self._queue: list[tuple[int, Write]] = []
        self._gathered = threading.Semaphore(0)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done = 0
        self._error: BaseException | None = None
        self._hub = hub
        hub.add(self._bell, self, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def submit(self, sequence: int, write: Write) -> None:
        self._queue.append((sequence, write))
        self._gathered.release()

    def on_event(self, events: int) -> None:  # noqa: ARG002
        os.eventfd_read(self._bell)
        if self._error is not None:
            raise self._error if isinstance(self._error, Fatal) else StorageFailed(str(self._error)) from self._error
        self._on_synced(self._done)

    def _run(self) -> None:
        while True:
            self._gathered.acquire()
            batch, self._queue = self._queue, []
            if not batch:
                continue  # an earlier round took it along
            sequence = batch[-1][0]
            if sequence < 0:
                batch.pop()
            try:
                if batch:
                    self._store.append([write for _, write in batch])
                    self._done = batch[-1][0]
            except BaseException as error:
                self._error = error
            if sequence < 0 or self._error is not None:
                os.eventfd_write(self._bell, 1)
                return
            os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """Finish what was submitted, and end the thread. The store stays open."""
        self._queue.append((-1, Write(None, ())))
        self._gathered.release()
        self._thread.join()
        self._hub.remove(self._bell)
        os.close(self._bell)
