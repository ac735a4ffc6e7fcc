"""What a leader knows about one other member, and how much it may send it ahead.

PROBE      it is unknown where the logs agree: one Append at a time, until one is accepted.
REPLICATE  they agree up to `match`: Appends are sent ahead of acknowledgements (pipelined), `next` moves as they
           leave, and a window bounds how many and how much is under way.
SNAPSHOT   it lacks entries that are compacted away: no Appends until it has installed a snapshot. Heartbeats go on.

A rejection, or a link that broke, goes back to PROBE: what was under way may be lost.
"""

from __future__ import annotations

import enum
from collections import deque


class Mode(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """
    match         highest index known to be on this member's disk and equal to ours; only grows in one term
    next          the next index to send; always above `match`
    awaits_reply  PROBE: one Append is out, say nothing more until it is answered or a heartbeat is
    heard_ms      when it last answered anything in this term, for check-quorum
    round         the newest read round it has confirmed
    commit_told   the highest commit index that a message to it has carried
    idle_match    `match` at the last heartbeat, to notice Appends that vanished without a trace
    """

    __slots__ = (
        "awaits_reply",
        "commit_told",
        "heard_ms",
        "idle_match",
        "inflight",
        "inflight_bytes",
        "match",
        "mode",
        "next",
        "round",
    )

    def __init__(self, next_index: int, now_ms: int) -> None:
        self.match = 0
        self.next = next_index
        self.mode = Mode.PROBE
        self.awaits_reply = False
        self.heard_ms = now_ms
        self.round = 0
        self.commit_told = 0
        self.idle_match = -1
        self.inflight: deque[tuple[int, int]] = deque()
        self.inflight_bytes = 0

    def become_probe(self, next_index: int) -> None:
        self._begin(Mode.PROBE)
        self.next = max(next_index, self.match + 1)

    def become_snapshot(self) -> None:
        self._begin(Mode.SNAPSHOT)

    def _begin(self, mode: Mode) -> None:
        self.mode = mode
        self.awaits_reply = False
        self.inflight.clear()
        self.inflight_bytes = 0

    def on_sent(self, last_index: int, size_bytes: int) -> None:
        """An Append whose last entry is `last_index` has left."""
        if self.mode is Mode.PROBE:
            self.awaits_reply = True
            return
        self.next = last_index + 1
        self.inflight.append((last_index, size_bytes))
        self.inflight_bytes += size_bytes

    def on_accepted(self, match_index: int) -> bool:
        """An Append up to `match_index`, or a snapshot, is on its disk. Returns whether that was news."""
        while self.inflight and self.inflight[0][0] <= match_index:
            self.inflight_bytes -= self.inflight.popleft()[1]
        news = match_index > self.match
        self.match = max(self.match, match_index)
        self.next = max(self.next, self.match + 1)
        self.mode = Mode.REPLICATE
        self.awaits_reply = False
        return news
