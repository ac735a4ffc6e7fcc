"""A chunk with commands of the connection's own, or wrong ones, or within MULTI: each is dealt with in its turn.

What is the machine's is put aside for the log or the read round, the rest is answered at once, and every reply has a
slot to wait in (`reply_slots.py`). Most of the connection's own commands must find everything before them finished. At
such a one the chunk ends, if it holds more, and the next begins; so it does behind one that is not answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, Reply
from raftkv.server.no_reply import NoReply
from raftkv.server.refusals import refusal
from raftkv.server.reply_slots import ReplySlots
from raftkv.server.staleness import max_lag_ms, read_within
from raftkv.server.transaction import Transaction, exec_abort
from raftkv.wire.resp_encode import encode

if TYPE_CHECKING:
    from raftkv.server.session import Session

IMMEDIATE: Final = frozenset({"ping", "echo", "select", "time", "lolwut", "command", "multi", "discard", "unwatch"})
"""Local commands whose answer does not depend on the commands before them, and changes nothing but the scope, or the
transaction."""

IN_ORDER: Final = frozenset({"exec", "watch"})
"""Local commands that must wait for the machine's before them alone: they go to the machine themselves."""

NOT_QUEUED: Final = frozenset({"multi", "exec", "discard", "watch", "quit", "reset"})
"""What MULTI does not put off."""

WEB_REQUEST_WORDS: Final = frozenset({b"post", b"host:"})
"""A web page can have its reader's browser send a request here. Its lines would be taken for inline commands, those of
the body too, so the first line that gives it away ends it (as in Redis)."""


class MixedChunk:
    """slots: the replies. commands, kind, scopes, system: what is for the machine, as `Replica.submit` takes it."""

    __slots__ = ("_session", "commands", "kind", "scopes", "slots", "system")

    def __init__(self, session: Session) -> None:
        self.slots = ReplySlots()
        self.commands: list[list[bytes]] = []
        self.kind = Kind.DIRTY
        self.scopes: dict[int, int] = {}
        self.system = False
        self._session = session

    def take(self, commands: list[list[bytes]]) -> int:
        """Deal with one after the other. Returns how many are done with; those behind are the next chunk's. The session
        may be closed then, or busy: what the last one's answer waits for is not at hand."""
        session = self._session
        for position, argv in enumerate(commands):
            row = session.server.lookup(argv[0])
            is_web_request = row is None and argv[0].lower() in WEB_REQUEST_WORDS
            if session.transaction is not None and not is_web_request and (row is None or row.name not in NOT_QUEUED):
                self._queue(session.transaction, row, argv)
                continue
            lag_ms = None if row is None else max_lag_ms(row, argv)
            if position and (is_web_request or self._must_find_all_done(row, lag_ms)):
                return position
            if is_web_request:
                self._end_web_request()
                break
            refused = refusal(session, row, argv)
            if refused is not None or row is None:
                self._answer(self._on_refused(row, refused))
            elif row.kind is Kind.LOCAL or lag_ms is not None:
                self._carry_out(row, argv, lag_ms)
                if session.closed or session.close_when_sent:
                    break
                if session.busy:
                    return position + 1
            else:
                self._put_aside(row, argv)
        return len(commands)

    def _queue(self, transaction: Transaction, row: Command | None, argv: list[bytes]) -> None:
        self._session.last_command = argv[0]
        self._answer(transaction.take(row, argv, refusal(self._session, row, argv)))

    def _must_find_all_done(self, row: Command | None, lag_ms: int | None) -> bool:
        """Whether no command may be under way before it, or at least none of the machine's."""
        if row is None:
            return False
        if row.name in IN_ORDER or lag_ms is not None:
            return bool(self.commands)
        return row.kind is Kind.LOCAL and row.name not in IMMEDIATE

    def _end_web_request(self) -> None:
        session = self._session
        session.server.log.warning("web_request", client=session.address, reason="its body could carry commands")
        session.close("a web request")

    def _on_refused(self, row: Command | None, refused: Error | None) -> Error | None:
        """What a refused command is answered. It breaks the transaction, and EXEC ends it even so."""
        session = self._session
        if refused is not None and row is not None and row.name == "exec":
            session.end_transaction()
            return exec_abort(refused)
        if session.transaction is not None:
            session.transaction.is_broken = True
        return refused

    def _carry_out(self, row: Command, argv: list[bytes], lag_ms: int | None) -> None:
        session = self._session
        session.last_command = argv[0]
        reply = row.handler(session, argv) if lag_ms is None else read_within(session, lag_ms, argv)
        if not session.closed and not isinstance(reply, NoReply):
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        encoded = encode(reply, self._session.resp3)
        self.slots.append(encoded if self._session.shows_next_reply() else b"")

    def _put_aside(self, row: Command, argv: list[bytes]) -> None:
        session = self._session
        session.last_command = argv[0]
        if session.db:
            self.scopes[len(self.commands)] = session.db
        self.commands.append(argv)
        self.kind = min(self.kind, row.kind)
        self.system = self.system or session.server.replica.ledger.is_system(argv)
        self.slots.expect(is_hidden=not session.shows_next_reply())
