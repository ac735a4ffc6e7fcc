"""The links to the other members, as the replica knows them: which are up, and what is to leave by them.

A message waits here for the end of the turn; a promise of the core (`raft/node.py`) for the disk, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from raftkv.raft.messages import RaftMessage
from raftkv.raft.node import Output
from raftkv.wire.peer import PeerMessage


class Links:
    def __init__(self) -> None:
        self.connected: set[int] = set()
        self.sends: list[tuple[int, PeerMessage]] = []
        """What is to leave with the next turn: (peer, message)."""

        self._numbers: dict[int, int] = {}
        """Peer -> how many links to it there have been."""

        self._held: deque[tuple[int, list[tuple[int, RaftMessage]]]] = deque()
        self._synced = 0

    def on_up(self, peer: int) -> None:
        self.connected.add(peer)
        self._numbers[peer] = self._numbers.get(peer, 0) + 1

    def on_down(self, peer: int) -> None:
        self.connected.discard(peer)
        self.sends = [addressed for addressed in self.sends if addressed[0] != peer]

    def on_synced(self, sequence: int) -> None:
        """Disk writes up to number `sequence` are durable: promises that waited for them may leave."""
        self._synced = sequence
        while self._held and self._held[0][0] <= sequence:
            self.sends += self._held.popleft()[1]

    def number_of(self, peer: int) -> int:
        """Tells the present link to `peer` from those before and after it."""
        return self._numbers.get(peer, 0)

    def send(self, peer: int, message: PeerMessage) -> None:
        self.sends.append((peer, message))

    def send_on(self, peer: int, number: int, message: PeerMessage) -> bool:
        """Send it if that is still the link to `peer`; returns whether it is."""
        is_same = self.number_of(peer) == number and peer in self.connected
        if is_same:
            self.send(peer, message)
        return is_same

    def take(self, output: Output, chunks: Sequence[tuple[int, PeerMessage]]) -> list[tuple[int, PeerMessage]]:
        """What is to leave now, with what the core sends and the `chunks` of a snapshot."""
        sends, self.sends = self.sends, []
        sends += output.now
        sends += chunks
        if output.after_sync:
            if output.sequence <= self._synced:
                sends += output.after_sync
            else:
                self._held.append((output.sequence, output.after_sync))
        return sends
