"""A reply that is too long to be encoded at once, on its way to a client piece by piece.

One piece leaves in a pass of the hub, for others have their turn between them, and none before the client has taken the
last. So little of it is kept at any time, but that little for as long as the client likes: whoever takes nothing at all
for STALLED_MS is to be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from raftkv.server.connection import Connection

STALLED_MS = 10_000
"""Who takes nothing of a huge reply for so long is cut off: what is in it would be kept for ever."""


class Pieces:
    """Sends `pieces` to `connection`, and then calls `on_sent`; not if it is closed before."""

    __slots__ = ("_connection", "_is_scheduled", "_on_sent", "_pieces", "_taken_ms", "_untaken_bytes")

    def __init__(self, connection: Connection, pieces: Iterator[bytes], on_sent: Callable[[], None]) -> None:
        self._connection = connection
        self._pieces = pieces
        self._on_sent = on_sent
        self._is_scheduled = False
        self._taken_ms = connection.hub.pass_ms
        """When the client last took something, as far as is known ..."""

        self._untaken_bytes = 0
        """... and what was kept for it then."""

    def go_on(self) -> None:
        """Send the next one, if its time has come. Called at the beginning, and by the hub."""
        connection = self._connection
        self._is_scheduled = False
        if connection.closed:
            return
        if connection.has_kept:
            self._untaken_bytes = connection.out_bytes
            return  # until the client has taken it, and `schedule` is called
        piece = next(self._pieces, None)
        if piece is None:
            self._on_sent()
            return
        self._taken_ms = connection.hub.pass_ms
        connection.send_soon(piece)
        self.schedule()

    def schedule(self) -> None:
        """Go on in the next pass."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._connection.hub.call_soon(self)

    def on_moved(self) -> None:
        """The connection has another hub now; the former one calls nobody any more."""
        self._is_scheduled = False
        self.schedule()

    def is_stalled(self, now_ms: int) -> bool:
        """Whether the client has taken nothing for too long. To be asked every now and then."""
        untaken_bytes = self._connection.out_bytes
        if untaken_bytes != self._untaken_bytes:
            self._taken_ms, self._untaken_bytes = now_ms, untaken_bytes
        return now_ms - self._taken_ms > STALLED_MS
