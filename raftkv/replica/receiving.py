"""Receiving a snapshot: its bytes are written aside by the job thread; complete and verified, it is installed.

Only the newest one that a leader announces is received (the next leader may have an older one only). What a broken link
has brought stays, so that the same or another leader goes on where it ended, as long as it is the same file (index,
term and size; the checksums tell at the end).

Nothing is acknowledged before it is written, which is what holds the sender back; and nothing is installed before the
whole file has been read, checked, synced and has its name. A file that does not hold is dropped, and begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raftkv.raft.messages import SnapshotChunk
from raftkv.replica.jobs import FileJobs, Job
from raftkv.storage.interface import SnapshotInfo, SnapshotReceiver, SnapshotStore

Key = tuple[int, int, int]
"""index, term, size in bytes"""


class _Reception(FileJobs[SnapshotReceiver]):
    """One snapshot on its way here."""

    def __init__(
        self, jobs: list[Job], store: SnapshotStore, key: Key, on_failed: Callable[[Key, Exception], None]
    ) -> None:
        super().__init__(jobs, "receive", lambda: store.receive(*key), lambda error: on_failed(key, error))
        self.key = key
        self.leaders_term = 0
        self.queued = 0
        """Bytes handed to the job thread."""
        self.written = 0


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
            if reception is not None and key < reception.key and chunk.term == reception.leaders_term:
                return  # overtaken by a newer one of the same leader
            reception = self._begin(key)
        reception.leaders_term = chunk.term
        if not chunk.data:
            self._tell(chunk.index, reception.written)
        elif chunk.offset == reception.queued and chunk.offset + len(chunk.data) <= chunk.size_bytes:
            self._take(reception, chunk.data)
        # Anything else is a repeat, or has lost what came before it: the answers under way say where to go on.

    def _begin(self, key: Key) -> _Reception:
        self.abandon()
        self._reception = _Reception(self.jobs, self._store, key, self._on_failed)
        return self._reception

    def _take(self, reception: _Reception, data: bytes) -> None:
        def written(_result: Any) -> None:
            reception.written += len(data)
            self._tell(reception.key[0], reception.written)

        reception.queued += len(data)
        reception.add("write", lambda receiver: receiver.write(data), written)
        if reception.queued == reception.key[2]:
            reception.add("verify", lambda receiver: receiver.finish(), self._on_finished)

    def _on_finished(self, info: SnapshotInfo) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.end()
        self._tell_received(info)

    def abandon(self) -> None:
        """It is of no use any more."""
        if self._reception is not None:
            self._reception.abandon()
            self._reception = None

    def _on_failed(self, key: Key, error: Exception) -> None:
        self._report("receiving a snapshot", error)
        self.abandon()
        self._tell(key[0], 0)
