"""How old what this member has may be: for DIRTYGET with MAXLAG, and for RAFT.STALENESS.

What is promised. A staleness of S ms means: every write that was acknowledged to any client more than S ms ago is in
what this member has. It may have newer ones too.

How it is known. The member asks the leader for its read index, as a linearizable read without commands
(`raft/reads.py`): the leader first confirms with a quorum that it leads, and answers with an index at or above
everything that was committed before the question came. Once that index is applied here, all that was acknowledged
before the question was *asked* is here. So S is the time since the newest question was asked whose answer is applied,
by this member's own clock; no two clocks are compared, and messages may be as late as they like.

What would not do is the time since the leader was last heard. Its word may have waited in a socket while this process
stood still; it may be deposed and not know yet; and to a follower that is behind it tells no commit index beyond what
that follower has, so one that is a million entries behind would count as up to date.

Questions are asked while somebody wants to know, and for a while after; otherwise this costs nothing. One is under way
at a time: while the member catches up, S grows until it has caught up with the last question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import NO_SCOPES, Command, Kind
from raftkv.machines.numbers import parse_integer
from raftkv.machines.replies import Error, Reply
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

WANTED_MS: Final = 10_000
"""So long after the last wish to know the member goes on asking, so that the next wish finds an answer ready."""


class Staleness:
    """The sink of its own questions (replica.work.Sink)."""

    resp3 = False
    remote = False
    readonly = True

    def __init__(self, server: Server) -> None:
        self._server = server
        self._wanted_until_ms = 0
        self._asked_ms = 0
        self._is_asking = False
        self._index: int | None = None
        """The answer to the newest question, until it is applied."""

        self._fresh_ms: int | None = None

    @property
    def fresh_ms(self) -> int | None:
        """The moment (of `Server.now_ms`) before which every acknowledged write is applied here; None: not known."""
        self._is_applied()
        return self._fresh_ms

    def _is_applied(self) -> bool:
        """Whether the last answer is, if there was any."""
        if self._index is not None and self._server.replica.applied >= self._index:
            self._fresh_ms, self._index = self._asked_ms, None
        return self._index is None

    @property
    def ms(self) -> int | None:
        """The staleness now, rounded up; None: not known."""
        fresh_ms = self.fresh_ms
        return None if fresh_ms is None else self._server.now_ms() - fresh_ms + 1

    def is_within(self, lag_ms: int) -> bool:
        known_ms = self.ms
        return known_ms is not None and known_ms <= lag_ms

    def refusal(self, lag_ms: int) -> Error:
        """The answer to a read that nothing here is new enough for."""
        known_ms = self.ms
        known = "it has not heard from a leader yet" if known_ms is None else f"it may be {known_ms} ms old"
        return Error(
            f"STALE What this member has is not certainly at most {lag_ms} ms old: {known}; nothing was read, try"
            " another member, or GET"
        )

    # ---- asking

    def want(self) -> None:
        """Somebody wants to know."""
        self._wanted_until_ms = self._server.now_ms() + WANTED_MS
        self.on_tick()

    def on_tick(self) -> None:
        now_ms = self._server.now_ms()
        is_due = now_ms - self._asked_ms >= self._server.settings.client.staleness_interval_ms
        if now_ms < self._wanted_until_ms and is_due and not self._is_asking and self._is_applied():
            self._asked_ms = now_ms
            self._is_asking = True
            self._server.replica.submit(Kind.READ, [], NO_SCOPES, 0, self)

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        """This member leads: what it has applied by now is at or above the read index."""
        self._on_answer(self._server.replica.applied)

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self._on_answer(int(replies[0]))

    def _on_answer(self, index: int) -> None:
        self._is_asking = False
        self._index = index

    def on_redirect(self, leader_id: int) -> None:  # noqa: ARG002
        self._is_asking = False

    def on_not_done(self, error: Error) -> None:  # noqa: ARG002
        self._is_asking = False

    def on_unknown(self, error: Error) -> None:  # noqa: ARG002
        self._is_asking = False


def max_lag_ms(row: Command, argv: list[bytes]) -> int | None:
    """What a dirty read asks for by MAXLAG at its end. None: nothing, or not well, which the machine will say."""
    if row.kind is not Kind.DIRTY or not row.takes(len(argv) - 2) or argv[-2].lower() != b"maxlag":
        return None
    if not any(argument.get("token") == "MAXLAG" for argument in row.arguments):
        return None
    lag_ms = parse_integer(argv[-1])
    return lag_ms if lag_ms is not None and lag_ms >= 0 else None


def read_within(session: Session, lag_ms: int, argv: list[bytes]) -> Reply | NoReply:
    """A dirty read that must not be older than `lag_ms`. When that is not known at once it waits for the leader's
    word, but not for longer than what it would take."""
    server = session.server
    due_ms = server.now_ms() + min(lag_ms, server.settings.raft.no_leader_wait_ms)
    scopes = {0: session.db} if session.db else NO_SCOPES
    server.staleness.want()

    def poll() -> Reply | NoReply:
        if server.staleness.is_within(lag_ms):
            return server.replica.read_dirty([argv], scopes, server.wall_ms())[0]
        is_late = server.stopping or server.now_ms() >= due_ms
        return server.staleness.refusal(lag_ms) if is_late else NO_REPLY

    return session.park(poll)
