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
from queue import SimpleQueue

from raftkv.errors import Fatal, StorageFailed
from raftkv.server.hub import Hub
from raftkv.storage.interface import LogStore, Write


class DiskThread:
    def __init__(self, store: LogStore, hub: Hub, on_synced: Callable[[int], None]) -> None:
        self._store = store
        self._on_synced = on_synced
        self._queue: SimpleQueue[tuple[int, Write] | None] = SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done = 0
        self._error: BaseException | None = None
        self._hub = hub
        hub.add(self._bell, self, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def submit(self, sequence: int, write: Write) -> None:
        self._queue.put((sequence, write))

    def on_event(self, events: int) -> None:  # noqa: ARG002
        os.eventfd_read(self._bell)
        if self._error is not None:
            raise self._error if isinstance(self._error, Fatal) else StorageFailed(str(self._error)) from self._error
        self._on_synced(self._done)

    def _run(self) -> None:
        queue = self._queue
        stopping = False
        while not stopping and self._error is None:
            item = queue.get()
            writes = []
            while item is not None:
                sequence, write = item
                writes.append(write)
                if queue.empty():
                    break
                item = queue.get()
            stopping = item is None
            try:
                if writes:
                    self._store.append(writes)
                    self._done = sequence
            except BaseException as error:
                self._error = error
            os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """Finish what was submitted, and end the thread. The store stays open."""
        self._queue.put(None)
        self._thread.join()
        self._hub.remove(self._bell)
        os.close(self._bell)
