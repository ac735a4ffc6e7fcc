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
is larger is not kept; their numbers stay known as applied. The same where the replies of all sessions would take
more than `reply_bytes_total_max`: the session at hand gives up its own first, never another's.

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
from collections.abc import Iterator
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
SLICE_SESSIONS: Final = 500
SLICE_BYTES: Final = 512 * 1024
_encode: Final = msgspec.msgpack.Encoder().encode


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
    reply_bytes_total_max: int = 64 * 1024 * 1024


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
        """`seq` was NEW, and was applied just now; `packed` is its reply. `limits.reply_bytes_max` may be lower than
        before, and then counts."""
        insort(self.applied, seq)
        if len(packed) <= limits.reply_bytes_max:
            self.replies[seq] = packed
            self.reply_bytes += len(packed)
        surplus = len(self.applied) - limits.replies_max
        if surplus > 0:
            forgotten = self.applied[:surplus]
            del self.applied[:surplus]
            self.settled = forgotten[-1]
            for each in forgotten:
                self._drop_reply(each)
        if self.reply_bytes > limits.reply_bytes_max:
            self._drop_replies_above(limits.reply_bytes_max)

    def _drop_replies_above(self, bytes_max: int) -> None:
        for each in self.applied:
            self._drop_reply(each)
            if self.reply_bytes <= bytes_max:
                return

    def _drop_reply(self, seq: int) -> None:
        self.reply_bytes -= len(self.replies.pop(seq, b""))


class SessionWalk:
    """The sessions as they were at its begin, in slices, while they go on changing: what changes ahead of the walk is
    kept, encoded, as it was."""

    def __init__(self, table: dict[int, Session], walks: list[SessionWalk]) -> None:
        self._table = table
        self._walks = walks
        self._ids = list(table)
        self._at = 0
        self._kept: dict[int, msgspec.Raw] = {}

    def keep(self, session_id: int, session: Session) -> None:
        ids = self._ids
        if self._at < len(ids) and ids[self._at] <= session_id <= ids[-1] and session_id not in self._kept:
            self._kept[session_id] = msgspec.Raw(_encode(session))

    def slices(self) -> Iterator[list[tuple[int, Session | msgspec.Raw]]]:
        """Each some sessions, with their ids: about so many bytes that encoding them takes a millisecond."""
        while self._at < len(self._ids):
            part: list[tuple[int, Session | msgspec.Raw]] = []
            size_bytes = 0
            while self._at < len(self._ids) and len(part) < SLICE_SESSIONS and size_bytes < SLICE_BYTES:
                session_id = self._ids[self._at]
                kept = self._kept.pop(session_id, None)
                session = self._table[session_id] if kept is None else kept
                size_bytes += session.reply_bytes if isinstance(session, Session) else len(session)
                part.append((session_id, session))
                self._at += 1
            yield part

    def close(self) -> None:
        if self in self._walks:
            self._walks.remove(self)


class Sessions:
    """The table. `limits` as of now."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.last_id = 0
        self.table: dict[int, Session] = {}
        """Ascending by id, since ids only grow."""

        self.reply_bytes = 0
        """Kept replies of all sessions."""

        self._walks: list[SessionWalk] = []
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
            self._keep_for_walks(session_id, session)
            session.expires_ms = now_ms + session.ttl_ms
        return session

    def close(self, session_id: int) -> bool:
        """Whether it was open."""
        found = session_id in self.table
        if found:
            self._remove(session_id)
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
        before = session.reply_bytes
        limits = self.limits
        room = limits.reply_bytes_total_max - self.reply_bytes + before
        if room < limits.reply_bytes_max:
            limits = msgspec.structs.replace(limits, reply_bytes_max=max(0, room))
        session.keep(seq, packed, limits)
        self.reply_bytes += session.reply_bytes - before
        return reply

    def _remove(self, session_id: int) -> None:
        session = self.table.pop(session_id)
        self._keep_for_walks(session_id, session)
        self.reply_bytes -= session.reply_bytes

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
            self._remove(heappop(self._due)[1])

    # ---- the whole

    def walk(self) -> SessionWalk:
        """All sessions as they are now, for a snapshot. Close it."""
        walk = SessionWalk(self.table, self._walks)
        self._walks.append(walk)
        return walk

    def _keep_for_walks(self, session_id: int, session: Session) -> None:
        """The session is about to change, or to go."""
        for walk in self._walks:
            walk.keep(session_id, session)

    def restore(self, limits: Limits, last_id: int, table: dict[int, Session]) -> None:
        self.limits, self.last_id, self.table = limits, last_id, table
        self.reply_bytes = sum(session.reply_bytes for session in table.values())
        self._rebuild()

    def _rebuild(self) -> None:
        self._due = [(session.expires_ms, session_id) for session_id, session in self.table.items()]
        heapify(self._due)
