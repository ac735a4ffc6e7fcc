"""A command of the machine that a connection asks for a client that waits: WATCH, EXEC, CONFIG SET of a threshold.

Unlike the client's plain commands, which lie in the session's batch, it goes alone, and its reply is looked at before
the client gets it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.replies import Error, Reply
from raftkv.server.no_reply import NoReply
from raftkv.server.redirects import moved

if TYPE_CHECKING:
    from raftkv.server.session import Session


class Asked(ABC):
    """One command of the machine, for one client that waits (replica.work.Sink)."""

    remote = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self.resp3 = session.resp3
        self.readonly = session.readonly

    def ask(self, kind: Kind, argv: list[bytes], size_bytes: int) -> NoReply:
        """`session` reads nothing more until it is answered."""
        session = self.session
        session.received_bytes = 0  # they are accounted for
        scopes = {0: session.db} if session.db else NO_SCOPES
        session.server.replica.submit(kind, [argv], scopes, size_bytes, self)
        return session.wait_for_answer()

    @abstractmethod
    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None: ...

    @abstractmethod
    def on_encoded(self, replies: Sequence[bytes]) -> None: ...

    def fail(self, error: Error) -> None:
        """Nothing has come of it, or nobody knows."""
        self.session.answer(error, self.resp3)

    @abstractmethod
    def argv(self) -> list[bytes]:
        """The client's command that tells by its key which slot it is about."""

    def on_redirect(self, leader_id: int) -> None:
        self.fail(moved(self.session.server, self.argv(), leader_id))

    def on_not_done(self, error: Error) -> None:
        self.session.server.stats.commands_not_done += 1
        self.fail(error)

    def on_unknown(self, error: Error) -> None:
        self.session.server.stats.commands_unknown += 1
        self.fail(error)
