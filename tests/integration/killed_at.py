"""``python -m tests.integration.killed_at "before the rename of a snapshot" serve ...``: raftkv, which ends itself by
SIGKILL at a named step of its work on disk, the first time it gets there.

The steps are calls of raftkv's own code that are wrapped from outside, in this process alone: nothing in raftkv knows.
They cover what a snapshot goes through: it is taken (create, write, finish) or comes from the leader (receive, verify),
it is installed, the log is cut behind it (base, IDENTITY, segments), and older ones go (prune).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from raftkv.replica.jobs import Job
from raftkv.replica.replica import Replica
from raftkv.storage.files import Files
from raftkv.storage.snapshots import SnapshotFiles, _Receiver
from raftkv.storage.wal import Wal


class Step(NamedTuple):
    """The call of `owner.method` for which `counts` says so. It gets the call's arguments, `self` first."""

    owner: type
    method: str
    counts: Callable[..., bool]


def _job(what: str) -> Step:
    return Step(Job, "carry_out", lambda job: job.what == what)


def _any(*_args: Any) -> bool:
    return True


def _is_of_a_snapshot(_files: Files, fd: int) -> bool:
    path = os.readlink(f"/proc/self/fd/{fd}")
    return "/snapshots/" in path and path.endswith(".tmp")


def _removes_segments(*_args: Any) -> bool:
    return threading.current_thread().name == "raftkv-wal-remove"


TAKING = {
    "the making of the file": _job("create"),
    "the writing of a slice": _job("write"),
    "the finishing": _job("finish"),
    "the sync of a snapshot": Step(Files, "fdatasync", _is_of_a_snapshot),
    "the rename of a snapshot": Step(Files, "rename", lambda _files, _old, new: new.endswith(".snap")),
    "the sync of the name": Step(SnapshotFiles, "_sync_directory", _any),
}
CUTTING = {
    "the base in the log": Step(Wal, "_append", lambda _wal, writes: bool(writes) and writes[0].base is not None),
    "the new IDENTITY": Step(Wal, "_store_identity", _removes_segments),
    "the rename of IDENTITY": Step(
        Files, "rename", lambda _files, _old, new: new.endswith("IDENTITY") and _removes_segments()
    ),
    "the removal of a segment": Step(Files, "unlink", lambda _files, path: path.endswith(".wal")),
}
PRUNING = {
    "the pruning": _job("prune"),
    "the removal of a snapshot": Step(Files, "unlink", lambda _files, path: path.endswith(".snap")),
}
INSTALLING = {
    "the making of a file for the leader's": _job("receive"),
    "the writing of a chunk": Step(_Receiver, "write", _any),
    "the verification": _job("verify"),
    "the rename of a received one": TAKING["the rename of a snapshot"],
    "the restoring of the state": Step(Replica, "_restore", _any),
    "the base behind it": CUTTING["the base in the log"],
}
STEPS = TAKING | CUTTING | PRUNING | INSTALLING


def kill_at(name: str) -> None:
    """Have this process end at "before ..." or "after ..." one of STEPS."""
    when, _, what = name.partition(" ")
    owner, method, counts = STEPS[what]
    call = getattr(owner, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        is_it = counts(*args)
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **kwargs)
        if is_it and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, wrapped)


if __name__ == "__main__":
    from raftkv.cli.main import main

    kill_at(sys.argv.pop(1))
    main()
