"""Work with snapshot files, which may take long: it is described here, and done by whoever drives the replica.

A job leaves with a turn (`Turn.jobs`), is carried out by one thread, one after the other in the order given, and comes
back: `job.then(result)`, or `job.failed(error)` with the OSError or StorageCorrupt that it met. Both are called where
the replica lives, never in that thread. A failed job harms only what it belongs to: the log is whole without a
snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Job(msgspec.Struct, eq=False):
    """`what` is for log lines: "take", "write", "finish" ..."""

    what: str
    run: Callable[[], Any]
    then: Callable[[Any], object]
    failed: Callable[[Exception], object]
