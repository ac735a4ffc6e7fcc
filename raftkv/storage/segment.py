"""Zero-filled files for future segments, made by a helper thread ahead of need.

Writing over space that is already zero-filled and synced costs a third of writing to a growing file: the
sync has only data to bring out, no new blocks and no new size. Zeros also are what `tail.py` relies on.

The helper writes and syncs in slices with small pauses, because one sync of a whole segment would hold up
the live segment's syncs for as long. When the live segment is full first, the pauses are left out and the
appending thread waits. Until it gets its header and its name, such a file ends in ".tmp" and is deleted at
the next opening.
"""

from __future__ import annotations

import threading

import msgspec

from raftkv.storage.directory import TEMPORARY
from raftkv.storage.files import Files

_SLICE_BYTES = 1 << 20
_PAUSE_S = 0.02  # with the slice: 50 MB/s at most, above what one disk thread writes in entries
_ZEROS = bytes(_SLICE_BYTES)


class Blank(msgspec.Struct):
    """An open file of `size` bytes of zeros."""

    fd: int
    path: str
    size: int


class BlankMaker:
    """Makes blanks; `prepare` and `take` are for the appending thread only.

    With `fsync` off, blanks are sparse files: there is no sync for which zeros could be written ahead.
    """

    def __init__(self, files: Files, directory: str, *, fsync: bool, ahead: bool) -> None:
        self._files, self._directory, self._fsync, self.ahead = files, directory, fsync, ahead
        self._thread: threading.Thread | None = None
        self._blank: Blank | None = None
        self._error: OSError | None = None
        self._hurry, self._stop = threading.Event(), threading.Event()

    def prepare(self, size: int) -> None:
        """Starts to make the next blank, unless one is there or under way."""
        if not self.ahead or self._thread is not None or self._blank is not None:
            return
        self._hurry.clear()
        self._thread = threading.Thread(target=self._run, args=(size,), name="raftkv-wal-blank", daemon=True)
        self._thread.start()

    def take(self, size: int, size_min: int) -> Blank:
        """The prepared blank when it has `size_min` bytes, otherwise one of `size` made on the spot.
        Raises OSError, also for what the helper met."""
        self._hurry.set()
        self._join()
        if self._error is not None:
            raise self._error
        blank, self._blank = self._blank, None
        if blank is None or blank.size < size_min:
            self._blank = blank
            blank = self._make(f"large{TEMPORARY}", max(size, size_min))
        return blank

    def close(self) -> None:
        """Stops the helper and removes what it made."""
        self._stop.set()
        self._hurry.set()
        self._join()
        if self._blank is not None:
            self._files.close(self._blank.fd)
            self._files.unlink(self._blank.path)
            self._blank = None

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, size: int) -> None:
        try:
            self._blank = self._make(f"spare{TEMPORARY}", size)
        except OSError as error:
            # Not an alarm yet: the live segment still has its room. It is raised when the blank is needed.
            self._error = error

    def _make(self, name: str, size: int) -> Blank:
        blank = Blank(0, f"{self._directory}/{name}", size)
        blank.fd = self._files.create(blank.path)
        try:
            self._fill(blank)
        except OSError:
            self._files.close(blank.fd)
            raise
        return blank

    def _fill(self, blank: Blank) -> None:
        if not self._fsync:
            self._files.truncate(blank.fd, blank.size)
            return
        for offset in range(0, blank.size, _SLICE_BYTES):
            if self._stop.is_set():
                return
            part = memoryview(_ZEROS)[: min(_SLICE_BYTES, blank.size - offset)]
            self._files.pwritev(blank.fd, [part], offset)
            self._files.fdatasync(blank.fd)
            if self._thread is not None:
                self._hurry.wait(_PAUSE_S)
