"""A large file that is written aside, in pieces, by one thread, and is complete once it is renamed.

Whatever goes wrong, the file is removed, and what is asked of it afterwards is refused. Nothing is retried: after a
failed sync nobody knows what is on disk.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from raftkv.storage.files import Files

UNWRITTEN_BYTES_MAX = 1 << 20
"""Written, and synced, after so much: one sync at the end would bring out everything at once, and hold up the log's
syncs, which go to the same disk, for as long. With 4 MiB the log waited 10 to 15 ms at the longest, with 1 MiB 4 to 8.
"""


class AsideFile:
    """A file in the making. `size`: bytes appended; at most UNWRITTEN_BYTES_MAX of them wait in memory."""

    def __init__(self, files: Files, path: str, *, fsync: bool) -> None:
        """`path` must not exist. Raises OSError."""
        self._files, self.path, self._fsync = files, path, fsync
        self._fd = files.create(path)
        self._ended = False
        self.size = 0
        self._waiting = list[memoryview]()
        self._waiting_bytes = 0

    def append(self, data: bytes) -> None:
        with self.dropped_on_error():
            view = memoryview(data)
            while view:
                part = view[: UNWRITTEN_BYTES_MAX - self._waiting_bytes]
                self._waiting.append(part)
                self._waiting_bytes += len(part)
                self.size += len(part)
                view = view[len(part) :]
                if self._waiting_bytes == UNWRITTEN_BYTES_MAX:
                    self.write_out()

    def write_out(self) -> None:
        """Leaves nothing waiting in memory, and all on disk. To be called under `dropped_on_error`."""
        self._files.pwritev(self._fd, self._waiting, self.size - self._waiting_bytes)
        self._waiting, self._waiting_bytes = [], 0
        if self._fsync:
            self._files.fdatasync(self._fd)

    def rename(self, path: str) -> None:
        """Ends it: everything goes to disk first, then it has its name (durable with the sync of the directory)."""
        with self.dropped_on_error():
            self.write_out()
            self._close()
            self._files.rename(self.path, path)
            self._ended = True

    def drop(self) -> None:
        """Removes it, unless it has its name. Never fails: what cannot be removed is at the next opening."""
        if self._ended:
            return
        self._ended = True
        self._waiting = []
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._files.unlink(self.path)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1  # first: a number that is closed twice may be somebody else's by then
        if fd >= 0:
            self._files.close(fd)

    @contextlib.contextmanager
    def dropped_on_error(self) -> Iterator[None]:
        """What fails inside ends the file. Raises OSError when it has ended before."""
        if self._ended:
            raise OSError(errno.EBADF, "this snapshot was finished or given up before", self.path)
        try:
            yield
        except BaseException as error:
            if isinstance(error, OSError):
                error.filename = error.filename or self.path
            self.drop()
            raise
