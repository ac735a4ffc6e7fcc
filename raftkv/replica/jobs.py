"""Work with snapshot files, which may take long: it is described here, and done by whoever drives the replica.

A job leaves with a turn (`Turn.jobs`), is carried out by one thread, one after the other in the order given, and comes
back: `job.then(result)`, or `job.failed(error)` with the OSError or StorageCorrupt that it met. Both are called where
the replica lives, never in that thread. A failed job harms only what it belongs to: the log is whole without a
snapshot.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from raftkv.errors import Fatal


class Job(msgspec.Struct, eq=False):
    """`what` is for log lines: "create", "write", "finish" ..."""

    what: str
    run: Callable[[], Any]
    then: Callable[[Any], object]
    failed: Callable[[Exception], object]

    def carry_out(self) -> tuple[Any, Exception | None]:
        """In the job thread: the result, or the error that is to be told. Anything else that is raised is a bug."""
        try:
            return self.run(), None
        except (OSError, Fatal) as error:
            return None, error


class Abandonable(Protocol):
    def abandon(self) -> None: ...


F = TypeVar("F", bound=Abandonable)


class FileJobs(Generic[F]):
    """The jobs of one file in the making. Once it has ended, what is still under way for it comes back to nobody; so
    `on_failed` hears of the first failure only."""

    def __init__(
        self, jobs: list[Job], what: str, make: Callable[[], F], on_failed: Callable[[Exception], object]
    ) -> None:
        """`jobs`: where to put them. The first one is called `what`, and makes the file."""
        self._jobs = jobs
        self._on_failed = on_failed
        self._is_current = True
        self._file: F | None = None
        """Belongs to the job thread."""

        self._add(what, lambda: self._keep(make()), ignore)

    def _keep(self, file: F) -> None:
        self._file = file

    def add(self, what: str, work: Callable[[F], Any], then: Callable[[Any], object]) -> None:
        """Have `work(file)` done."""
        self._add(what, lambda: work(self._made()), then)

    def _made(self) -> F:
        if self._file is None:
            raise OSError(errno.ECANCELED, "its file could not be made")  # which has been told already
        return self._file

    def _add(self, what: str, run: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self._jobs.append(
            Job(
                what,
                run,
                lambda result: then(result) if self._is_current else None,
                lambda error: self._on_failed(error) if self._is_current else None,
            )
        )

    def end(self) -> None:
        self._is_current = False

    def abandon(self) -> None:
        """It is of no use any more."""
        self.end()
        self._jobs.append(Job("abandon", self._drop, ignore, ignore))

    def _drop(self) -> None:
        if self._file is not None:
            self._file.abandon()


def ignore(_what: object) -> None:
    """Nobody is waiting for it."""
