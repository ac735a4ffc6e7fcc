"""The only module of the project that makes file calls.

Everything that stores something is given a `Files` and asks it; tests give a subclass that fails the n-th
write or sync, or tears it. The methods are thin on purpose: no retries, no recovery, `OSError` goes up as it
is. What an error means is decided by the caller (`wal.py`: a failed write stops the process).

Linux only: positioned vectored writes with a sync flag, `flock`, and syncing a directory through a descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

_BUFFERS_MAX = 1024  # the kernel's own limit (IOV_MAX); more in one call is EINVAL


class Files:
    """The real file system. Holds no state; one object can serve any number of stores and threads."""

    # Opening

    def open_read(self, path: str) -> int:
        """Opens an existing file for reading; the descriptor is not inherited by child processes."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_write(self, path: str) -> int:
        """Opens an existing file for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def create(self, path: str) -> int:
        """Opens for reading and writing, makes the file when it is missing, and never empties it."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def close(self, fd: int) -> None:
        os.close(fd)

    # Bytes

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Reads `length` bytes, fewer only when the file ends before."""
        data = os.pread(fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        while data:  # one call returns at most 2 GiB, and may return less for other reasons
            length -= len(data)
            offset += len(data)
            data = os.pread(fd, length, offset)
            parts.append(data)
        return b"".join(parts)

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Writes all buffers one behind the other at `offset`, without a sync. A short write is an error."""
        self._pwritev(fd, buffers, offset, 0)

    def pwritev_dsync(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """The same and durable on return: one system call, so the interpreter lock is handed over once.
        Raises OSError with EOPNOTSUPP or EINVAL where the file system cannot do it."""
        self._pwritev(fd, buffers, offset, os.RWF_DSYNC)

    def _pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int) -> None:
        if len(buffers) > _BUFFERS_MAX:
            buffers = [b"".join(buffers)]
        written = os.pwritev(fd, buffers, offset, flags)
        expected = sum(map(len, buffers))
        if written != expected:
            raise OSError(errno.EIO, f"short write: {written} of {expected} bytes")

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def drop_cached(self, fd: int) -> None:
        """Asks the page cache to forget the file, as far as it is on disk already, so that reading asks the disk."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    # Names

    def list(self, directory: str) -> list[str]:
        """Names in a directory, sorted; empty when the directory does not exist."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def make_directory(self, directory: str) -> None:
        """Makes a directory with its parents and makes their names durable. Nothing when it exists."""
        if os.path.isdir(directory):
            return
        parent = os.path.dirname(os.path.abspath(directory))
        self.make_directory(parent)
        os.mkdir(directory, 0o750)
        self.fsync_directory(parent)

    def rename(self, source: str, target: str) -> None:
        """Replaces `target` in one step. Durable only after `fsync_directory`."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def fsync_directory(self, directory: str) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    # Locks

    def lock(self, fd: int) -> bool:
        """Takes the exclusive lock of an open file, without waiting: False when another holder has it.
        The lock ends with the descriptor, so with the process too, however it dies."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def process_id(self) -> int:
        """This process's id, which the lock file tells to whoever finds it taken."""
        return os.getpid()

    # Whole small files

    def read_whole(self, path: str) -> bytes:
        fd = self.open_read(path)
        try:
            return self.pread(fd, self.size(fd), 0)
        finally:
            self.close(fd)

    def replace_whole(self, directory: str, name: str, data: bytes) -> None:
        """Writes a small file so that after a crash either the old or the new content is there, durably."""
        path = os.path.join(directory, name)
        fd = self.create(path + ".tmp")
        try:
            self.truncate(fd, 0)
            self.pwritev(fd, [data], 0)
            self.fdatasync(fd)
        finally:
            self.close(fd)
        self.rename(path + ".tmp", path)
        self.fsync_directory(directory)
