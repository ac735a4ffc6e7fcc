"""What is left of a reply that is too long to be encoded at once, and whether its client still takes any of it.

A session sends one piece in a pass of the hub, for others have their turn between them, and none before the client has
taken the last. So little of it is kept at any time, but that little for as long as the client likes: whoever takes
nothing at all for STALLED_MS is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator

STALLED_MS = 10_000
"""Who takes nothing of a huge reply for so long is cut off: what is in it would be kept for ever."""


class Pieces:
    """Times are the driver's milliseconds. untaken_bytes: what the client had not taken when it was last looked at."""

    __slots__ = ("_pieces", "_taken_ms", "untaken_bytes")

    def __init__(self, pieces: Iterator[bytes], now_ms: int) -> None:
        self.untaken_bytes = 0
        self._pieces = pieces
        self._taken_ms = now_ms

    def next(self, now_ms: int) -> bytes | None:
        """The next one, as the client has taken all before it. None: it has all."""
        self._taken_ms = now_ms
        return next(self._pieces, None)

    def is_stalled(self, untaken_bytes: int, now_ms: int) -> bool:
        """Whether the client has taken nothing for too long; `untaken_bytes` are left of the last piece."""
        if untaken_bytes != self.untaken_bytes:
            self._taken_ms, self.untaken_bytes = now_ms, untaken_bytes
        return now_ms - self._taken_ms > STALLED_MS
