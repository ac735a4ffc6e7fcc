"""Exactly-once sessions: which numbered commands of a client have been applied, and what they were answered.

A session is opened for a time to live, which each of its commands renews. Its client numbers its commands, and repeats
one, with its number, as long as it does not know what became of it. For each number (*seq*) that arrives, one of:

    its reply is kept            that reply again; nothing is applied
    applied, reply not kept      REPLYGONE; nothing is applied
    settled (<= `settled`)       REPLYGONE; nothing is applied
    otherwise                    applied, now and never again, and the reply is kept

Bounded. Of a session the newest `replies_max` applied numbers are remembered; when there is one more, the lowest is
forgotten, and with it everything up to it is *settled*: whatever of that has not been applied never will be. Their
replies take at most `reply_bytes_max`: above that the replies of the lowest numbers go first, and a reply that alone
is larger is not kept; their numbers stay known as applied.

Why never twice. A command is applied only when its number is neither remembered nor settled. In that moment it is
remembered; it stays so until it is forgotten, and then it is settled, for ever, since `settled` only grows. So there is
no second moment. This holds for the life of the session; after it every number is refused (NOSESSION), and
the id is never given out again: `last_id` only grows. All of it is in the log's order and in snapshots, so it
holds on every member, across failover and restart.

Why a client that keeps to the window gets its reply: the lowest number is forgotten only for `replies_max` higher ones.

Expiry is judged by the time of entries alone, before anything else of the entry is done; a session found in the
table is therefore alive on every member.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

import msgspec

from raftkv.machines.replies import Error, Reply
from raftkv.replica.packing import NO_REPLY, pack, unpack

NEW: Final = object()
"""From `Session.find`: this number is to be applied."""

REPLY_GONE: Final = Error(
    "REPLYGONE This number has been applied or passed over before, and its reply is not kept (session.replies_max,"
    " session.reply_bytes_max); it was not applied now and will not be"
)
_HEAP_SLACK: Final = 64


def no_session(session_id: int) -> Error:
    return Error(
        f"NOSESSION Session {session_id} is not open: it expired, was closed, or never was; the command was not"
        " applied now. What was sent by it before may have been"
    )


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """What all members must agree on. The leader's own become everybody's, by an entry (RAFT.LIMITS)."""

    sessions_max: int = 10_000
    ttl_ms: int = 60_000
    ttl_ms_max: int = 86_400_000
    replies_max: int = 128
    reply_bytes_max: int = 64 * 1024


class Session(msgspec.Struct, array_like=True):
    """
    ttl_ms, expires_ms: it lives until log time `expires_ms`, which is renewed to `ttl_ms` from now.
    settled: every number up to this is past.
    applied: the remembered numbers, ascending.
    replies: number -> packed reply, where it is kept; `reply_bytes` in all.
    """

    ttl_ms: int
    expires_ms: int
    settled: int = 0
    applied: list[int] = []
    replies: dict[int, bytes] = {}
    reply_bytes: int = 0

    def find(self, seq: int) -> Reply | object:
        """What number `seq` was answered, REPLY_GONE, or NEW."""
        packed = self.replies.get(seq)
        if packed is not None:
            return unpack(packed)
        if seq <= self.settled:
            return REPLY_GONE
        at = bisect_left(self.applied, seq)
        return REPLY_GONE if at < len(self.applied) and self.applied[at] == seq else NEW

    def keep(self, seq: int, packed: bytes, limits: Limits) -> None:
        """`seq` was NEW, and was applied just now; `packed` is its reply."""
        insort(self.applied, seq)
        if len(packed) <= limits.reply_bytes_max:
            self.replies[seq] = packed
            self.reply_bytes += len(packed)
        while len(self.applied) > limits.replies_max:
            self.settled = self.applied.pop(0)
            self._drop_reply(self.settled)
        while self.reply_bytes > limits.reply_bytes_max:
            self._drop_reply(min(self.replies))

    def _drop_reply(self, seq: int) -> None:
        self.reply_bytes -= len(self.replies.pop(seq, b""))


class Sessions:
    """The table. `limits` as of now."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.last_id = 0
        self.table: dict[int, Session] = {}
        self._due: list[tuple[int, int]] = []
        """A heap of (time, id): no session expires before its time in here. Made from `table`, so not replicated."""

    def open(self, now_ms: int, ttl_ms: int | None) -> int | Error:
        limits = self.limits
        ttl_ms = limits.ttl_ms if ttl_ms is None else ttl_ms
        if ttl_ms > limits.ttl_ms_max:
            return Error(f"ERR a session's TTL may be at most {limits.ttl_ms_max} ms (session.ttl_ms_max)")
        if len(self.table) >= limits.sessions_max:
            return Error(
                f"SESSIONSFULL {limits.sessions_max} sessions are open (session.sessions_max); none was opened, close"
                " some or wait until some expire"
            )
        self.last_id += 1
        self.table[self.last_id] = Session(ttl_ms, now_ms + ttl_ms)
        heappush(self._due, (now_ms + ttl_ms, self.last_id))
        return self.last_id

    def renew(self, session_id: int, now_ms: int) -> Session | None:
        session = self.table.get(session_id)
        if session is not None:
            session.expires_ms = now_ms + session.ttl_ms
        return session

    def close(self, session_id: int) -> bool:
        """Whether it was open."""
        found = self.table.pop(session_id, None) is not None
        if len(self._due) > 2 * len(self.table) + _HEAP_SLACK:
            self._rebuild()  # or sessions that are closed long before their time would pile up here
        return found

    def keep(self, session: Session, seq: int, reply: Reply) -> Reply:
        """Remember what `seq` was answered; returns it."""
        try:
            packed = pack(reply)
        except TypeError:
            # Raising would stop every member, now and again at each restart, when the log is replayed.
            reply = NO_REPLY
            packed = pack(reply)
        session.keep(seq, packed, self.limits)
        return reply

    # ---- expiry

    def has_expired(self, now_ms: int) -> bool:
        """Whether some session's time is over at `now_ms`. Changes nothing but the order of looking."""
        due = self._due
        while due and due[0][0] <= now_ms:
            time_ms, session_id = due[0]
            session = self.table.get(session_id)
            if session is None:
                heappop(due)
            elif session.expires_ms > time_ms:
                heapreplace(due, (session.expires_ms, session_id))
            else:
                return True
        return False

    def expire(self, now_ms: int) -> None:
        """Remove all whose time is over: at most `sessions_max`, at about a microsecond each."""
        while self.has_expired(now_ms):
            del self.table[heappop(self._due)[1]]

    # ---- the whole

    def restore(self, limits: Limits, last_id: int, table: dict[int, Session]) -> None:
        self.limits, self.last_id, self.table = limits, last_id, table
        self._rebuild()

    def _rebuild(self) -> None:
        self._due = [(session.expires_ms, session_id) for session_id, session in self.table.items()]
        heapify(self._due)
