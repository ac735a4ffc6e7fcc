"""Sending a snapshot to members whose log ends before this one's begins: its file in chunks, as fast as they take it.

    offer ->            which snapshot, how many bytes
          <- offset     so many of them are here already: what a broken link had brought is not sent again
    chunk, chunk ->     a few ahead of their acknowledgements, at most so many bytes in a second
          <- offset
          <- installed  handled by the core (`raft/snapshots.py`): the log goes on behind it

One that says nothing for a while is offered it again. The file stays readable while it is being sent, also when a newer
snapshot has taken its place; the log is not cut beyond it meanwhile (`log_needed_from`), or its receiver would have to
begin with the newer one, and so for ever on a busy cluster. A link that is down releases the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raftkv.raft.messages import SnapshotChunk, SnapshotReply
from raftkv.storage.interface import SnapshotInfo, SnapshotReader, SnapshotStore

WINDOW_CHUNKS: Final = 4
SILENCE_MS_MAX: Final = 2000
"""An unanswered offer or chunk is followed by a new offer after so long."""


class _Transfer:
    """One snapshot on its way to one member. `sent` is None until the offer is answered."""

    def __init__(self, info: SnapshotInfo, reader: SnapshotReader, now_ms: int) -> None:
        self.info = info
        self.reader = reader
        self.sent: int | None = None
        self.acknowledged = 0
        self.heard_ms = now_ms
        self.offered = False


class Sending:
    """`bytes_per_s_max` is for all members together; 0: no limit."""

    def __init__(self, store: SnapshotStore, bytes_per_s_max: int, chunk_bytes: int) -> None:
        self._store = store
        self._chunk_bytes = chunk_bytes
        self._bytes_per_s_max = bytes_per_s_max
        self._transfers: dict[int, _Transfer] = {}
        self._allowance = 0.0
        self._allowed_ms = 0

    def __bool__(self) -> bool:
        return bool(self._transfers)

    @property
    def peers(self) -> dict[int, tuple[int, int]]:
        """Member -> (bytes it has, bytes in all)."""
        return {peer: (each.acknowledged, each.info.size_bytes) for peer, each in self._transfers.items()}

    def offset_of(self, peer: int) -> int:
        """Bytes that it has of the snapshot under way; 0 when none is."""
        transfer = self._transfers.get(peer)
        return 0 if transfer is None else transfer.acknowledged

    @property
    def log_needed_from(self) -> int | None:
        """The first index behind the oldest snapshot under way; None: none is."""
        return min((each.info.meta.index + 1 for each in self._transfers.values()), default=None)

    def send(self, term: int, wanting: Iterable[int], now_ms: int) -> list[tuple[int, SnapshotChunk]]:
        """What is to be sent now to those members that want a snapshot and are connected."""
        wanted = sorted(wanting)
        for peer in self._transfers.keys() - wanted:
            self._end(peer)
        sends: list[tuple[int, SnapshotChunk]] = []
        for peer in wanted:
            transfer = self._transfers.get(peer) or self._begin(peer, now_ms)
            if transfer is not None:
                sends += [(peer, chunk) for chunk in self._chunks(transfer, term, now_ms)]
        return sends

    def _begin(self, peer: int, now_ms: int) -> _Transfer | None:
        newest = self._store.list()[:1]
        try:
            readers = [(info, self._store.open(info)) for info in newest]
        except OSError:
            return None  # a newer one has just taken its place
        if not readers:
            return None
        transfer = _Transfer(*readers[0], now_ms)
        self._transfers[peer] = transfer
        return transfer

    def _chunks(self, transfer: _Transfer, term: int, now_ms: int) -> list[SnapshotChunk]:
        info = transfer.info
        meta = info.meta
        if now_ms - transfer.heard_ms > SILENCE_MS_MAX:
            transfer.offered, transfer.sent, transfer.heard_ms = False, None, now_ms
        if not transfer.offered:
            transfer.offered = True
            return [SnapshotChunk(term, meta.index, meta.term, info.size_bytes, 0, b"")]
        chunks = []
        while (
            transfer.sent is not None
            and transfer.sent < info.size_bytes
            and transfer.sent - transfer.acknowledged < WINDOW_CHUNKS * self._chunk_bytes
            and self._may_send(now_ms)
        ):
            data = transfer.reader.read(transfer.sent, self._chunk_bytes)
            chunks.append(SnapshotChunk(term, meta.index, meta.term, info.size_bytes, transfer.sent, data))
            transfer.sent += len(data)
            self._allowance -= len(data)
        return chunks

    def _may_send(self, now_ms: int) -> bool:
        """A bucket that holds a tenth of a second's bytes, and at least one chunk."""
        if not self._bytes_per_s_max:
            return True
        room = max(self._bytes_per_s_max / 10, self._chunk_bytes)
        self._allowance = min(room, self._allowance + (now_ms - self._allowed_ms) * self._bytes_per_s_max / 1000)
        self._allowed_ms = now_ms
        return self._allowance > 0

    def on_reply(self, peer: int, reply: SnapshotReply, now_ms: int) -> None:
        transfer = self._transfers.get(peer)
        if transfer is None or reply.index != transfer.info.meta.index:
            return
        if transfer.sent is None or reply.offset > transfer.sent:
            transfer.sent = reply.offset
        if reply.offset < transfer.acknowledged:
            transfer.sent = reply.offset  # it was begun anew: the receiver was restarted, or found the bytes damaged
        transfer.acknowledged = reply.offset
        transfer.heard_ms = now_ms

    def on_link_up(self, peer: int) -> None:
        """What was under way may be lost: ask where to go on."""
        transfer = self._transfers.get(peer)
        if transfer is not None:
            transfer.offered, transfer.sent = False, None

    def on_link_down(self, peer: int) -> None:
        self._end(peer)

    def close(self) -> None:
        for peer in list(self._transfers):
            self._end(peer)

    def _end(self, peer: int) -> None:
        transfer = self._transfers.pop(peer, None)
        if transfer is not None:
            transfer.reader.close()
