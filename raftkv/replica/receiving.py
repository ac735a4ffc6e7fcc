"""Receiving a snapshot: its bytes are written aside by the job thread; complete and verified, it is installed.

Only the newest one announced is received. What a broken link has brought stays, so that the same or another leader
goes on where it ended, as long as it is the same file (index, term and size; the checksums tell at the end).

Nothing is acknowledged before it is written, which is what holds the sender back; and nothing is installed before the
whole file has been read, checked, synced and has its name. A file that does not hold is dropped, and begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raftkv.raft.messages import SnapshotChunk
from raftkv.replica.jobs import Job
from raftkv.storage.interface import SnapshotInfo, SnapshotReceiver, SnapshotStore

Key = tuple[int, int, int]
"""index, term, size in bytes"""


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
        self._on_received = on_received
        self._tell = tell
        self._report = report
        self._key: Key | None = None
        self._receiver: SnapshotReceiver | None = None
        self._queued = 0
        """Bytes handed to the job thread."""
        self._written = 0

    @property
    def progress(self) -> tuple[int, int] | None:
        """(bytes here, bytes in all) of the one that is being received."""
        return None if self._key is None else (self._written, self._key[2])

    def on_chunk(self, chunk: SnapshotChunk) -> None:
        key = (chunk.index, chunk.last_term, chunk.size_bytes)
        if key != self._key:
            if self._key is not None and key < self._key:
                return  # of a leader that knew less
            self._begin(key)
        if not chunk.data:
            self._tell(chunk.index, self._written)
        elif chunk.offset == self._queued and chunk.offset + len(chunk.data) <= chunk.size_bytes:
            self._queued += len(chunk.data)
            self._write(key, chunk.data)
            if self._queued == chunk.size_bytes:
                self._job(key, "verify", self._finish, self._on_finished)
        # Anything else is a repeat, or has lost what came before it: the answers under way say where to go on.

    def _begin(self, key: Key) -> None:
        self.abandon()
        self._key = key
        self._queued = self._written = 0
        self._job(key, "receive", lambda: self._open(key), self._on_opened)

    def _open(self, key: Key) -> None:
        self._receiver = self._store.receive(*key)
        if self._receiver.offset:
            self._receiver.abandon()
            self._receiver = self._store.receive(*key)

    def _on_opened(self, _result: Any) -> None:
        return

    def _write(self, key: Key, data: bytes) -> None:
        def written(_result: Any) -> None:
            self._written += len(data)
            self._tell(key[0], self._written)

        self._job(key, "receive", lambda: self._required_receiver.write(data), written)

    @property
    def _required_receiver(self) -> SnapshotReceiver:
        assert self._receiver is not None
        return self._receiver

    def _finish(self) -> SnapshotInfo:
        return self._required_receiver.finish()

    def _on_finished(self, info: SnapshotInfo) -> None:
        self._key, self._receiver = None, None
        self._on_received(info)

    def abandon(self) -> None:
        """It is of no use any more."""
        if self._key is not None:
            self._key = None
            self.jobs.append(Job("abandon", self._drop, lambda _result: None, lambda _error: None))

    def _drop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.abandon()

    def _on_failed(self, key: Key, error: Exception) -> None:
        self._report("receiving a snapshot", error)
        self.abandon()
        self._tell(key[0], 0)

    def _job(self, key: Key, what: str, run: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self.jobs.append(
            Job(
                what,
                run,
                lambda result: then(result) if key == self._key else None,
                lambda error: self._on_failed(key, error) if key == self._key else None,
            )
        )
