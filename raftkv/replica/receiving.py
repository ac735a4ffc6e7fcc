"""Receiving a snapshot: its bytes are written aside by the job thread; complete and verified, it is installed.

Only the newest one announced is received. What a broken link has brought stays, so that the same or another leader
goes on where it ended, as long as it is the same file (index, term and size; the checksums tell at the end).

Nothing is acknowledged before it is written, which is what holds the sender back; and nothing is installed before the
whole file has been read, checked, synced and has its name. A file that does not hold is dropped, and begins again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from raftkv.raft.messages import SnapshotChunk
from raftkv.replica.jobs import Job
from raftkv.storage.interface import SnapshotInfo, SnapshotReceiver, SnapshotStore

Key = tuple[int, int, int]
"""index, term, size in bytes"""


class _Reception:
    """One snapshot on its way here. `receiver` belongs to the job thread."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.queued = 0
        """Bytes handed to the job thread."""
        self.written = 0
        self.receiver: SnapshotReceiver | None = None

    def write(self, data: bytes) -> None:
        self._created().write(data)

    def finish(self) -> SnapshotInfo:
        return self._created().finish()

    def _created(self) -> SnapshotReceiver:
        if self.receiver is None:
            raise OSError(errno.ECANCELED, "its file could not be made")  # which has been told already
        return self.receiver

    def drop(self) -> None:
        if self.receiver is not None:
            self.receiver.abandon()


class Receiving:
    """`on_received(info)`: it can be installed. `tell(index, offset)`: the leader is to hear how far it is."""

    def __init__(
        self,
        store: SnapshotStore,
        on_received: Callable[[SnapshotInfo], None],
        tell: Callable[[int, int], None],
        report: Callable[[str, Exception], None],
    ) -> None:
        self.jobs: list[Job] = []
        self._store = store
        self._tell_received = on_received
        self._tell = tell
        self._report = report
        self._reception: _Reception | None = None

    @property
    def progress(self) -> tuple[int, int] | None:
        """(bytes here, bytes in all) of the one that is being received."""
        reception = self._reception
        return None if reception is None else (reception.written, reception.key[2])

    def on_chunk(self, chunk: SnapshotChunk) -> None:
        key = (chunk.index, chunk.last_term, chunk.size_bytes)
        reception = self._reception
        if reception is None or reception.key != key:
            if reception is not None and key < reception.key:
                return  # of a leader that knew less
            reception = self._begin(key)
        if not chunk.data:
            self._tell(chunk.index, reception.written)
        elif chunk.offset == reception.queued and chunk.offset + len(chunk.data) <= chunk.size_bytes:
            self._take(reception, chunk.data)
        # Anything else is a repeat, or has lost what came before it: the answers under way say where to go on.

    def _begin(self, key: Key) -> _Reception:
        self.abandon()
        self._reception = reception = _Reception(key)

        def receive() -> None:
            reception.receiver = self._store.receive(*key)

        self._job("receive", reception, receive)
        return reception

    def _take(self, reception: _Reception, data: bytes) -> None:
        def written(_result: Any) -> None:
            reception.written += len(data)
            self._tell(reception.key[0], reception.written)

        reception.queued += len(data)
        self._job("write", reception, lambda: reception.write(data), written)
        if reception.queued == reception.key[2]:
            self._job("verify", reception, reception.finish, self._on_finished)

    def _on_finished(self, info: SnapshotInfo) -> None:
        self._reception = None
        self._tell_received(info)

    def abandon(self) -> None:
        """It is of no use any more."""
        if self._reception is not None:
            self.jobs.append(Job("abandon", self._reception.drop, _ignore, _ignore))
            self._reception = None

    def _on_failed(self, reception: _Reception, error: Exception) -> None:
        self._report("receiving a snapshot", error)
        self.abandon()
        self._tell(reception.key[0], 0)

    def _job(
        self,
        what: str,
        reception: _Reception,
        run: Callable[[], Any],
        then: Callable[[Any], None] = lambda _result: None,
    ) -> None:
        self.jobs.append(
            Job(
                what,
                run,
                lambda result: then(result) if reception is self._reception else None,
                lambda error: self._on_failed(reception, error) if reception is self._reception else None,
            )
        )


def _ignore(_what: object) -> None:
    return
