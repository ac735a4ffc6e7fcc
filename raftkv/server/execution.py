"""EXEC and WATCH under way: sinks that carry one internal command to the leader, and then answer the client.

EXEC's reply is the machine's array as it comes, mostly. Where commands of the connection's own were queued, they are
carried out here once it is certain that the transaction was, and their replies stand between the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.transactions import exec_command, watch_command
from raftkv.machines.replies import OK, Encoded, Error, Reply
from raftkv.replica.forwarding import REPLY_TOO_LARGE
from raftkv.replica.work import LEADERSHIP_LOST
from raftkv.server.asking import Asked
from raftkv.server.no_reply import NoReply
from raftkv.server.refusals import TOO_LARGE
from raftkv.server.transaction import Transaction, exec_abort
from raftkv.wire.resp_encode import encode
from raftkv.wire.resp_split import interleaved

if TYPE_CHECKING:
    from raftkv.server.session import Session

NOT_WATCHED: Final = LEADERSHIP_LOST
"""Whether the log has it or not: the connection watches nothing by a WATCH whose stamp it does not know."""

_NULL_ARRAYS: Final = (b"*-1\r\n", b"_\r\n")
_REPLY_TOO_LARGE: Final = encode(REPLY_TOO_LARGE, False)
"""The one error for a transaction that was carried out."""


class Watching(Asked):
    def __init__(self, session: Session, keys: list[bytes]) -> None:
        super().__init__(session)
        self._keys = keys

    def begin(self) -> Reply | NoReply:
        return self.ask(Kind.WRITE, watch_command(self._keys), sum(map(len, self._keys)))

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        reply = replies[start]
        if isinstance(reply, int):
            reply = self._note(reply)
        self.session.answer(reply, self.resp3)

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        [encoded] = replies
        stamp = parse_integer(encoded[1:-2]) if encoded.startswith(b":") else None
        self.session.answer(Encoded(encoded) if stamp is None else self._note(stamp), self.resp3)

    def _note(self, stamp: int) -> Reply:
        session = self.session
        session.watched |= {(session.db, key): stamp for key in self._keys}
        return OK

    def on_unknown(self, error: Error) -> None:  # noqa: ARG002
        self.on_not_done(NOT_WATCHED)

    def argv(self) -> list[bytes]:
        return [b"watch", *self._keys]


class Execution(Asked):
    """One EXEC. The transaction stays the session's until it is answered."""

    def __init__(self, session: Session, transaction: Transaction) -> None:
        super().__init__(session)
        self._transaction = transaction

    def begin(self) -> Reply | NoReply:
        session, transaction = self.session, self._transaction
        session.server.stats.commands += len(transaction.queue)
        planned = transaction.plan()
        watched = [(database, key, stamp) for (database, key), stamp in session.watched.items()]
        if not planned.commands and not watched:
            replies = [self._own_reply(row, argv) for row, argv in transaction.queue]
            session.end_transaction()
            return replies
        argv = exec_command(planned.commands, planned.scopes, watched)
        if len(argv[1]) > session.server.command_bytes_max:
            session.end_transaction()
            return exec_abort(TOO_LARGE)
        return self.ask(Kind.READ if planned.only_reads else Kind.WRITE, argv, len(argv[1]))

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        reply = replies[start]
        if isinstance(reply, Error):
            self.fail(exec_abort(reply))
        elif isinstance(reply, list) and self._transaction.has_own_commands:
            self._answer_together(reply)
        else:
            self._answer(reply)

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        [encoded] = replies
        if encoded == _REPLY_TOO_LARGE:
            self._carry_out_own()
            self._answer(Encoded(encoded))
        elif encoded.startswith(b"-"):
            self.fail(exec_abort(Error(encoded[1:-2].decode(errors="replace"))))
        elif encoded not in _NULL_ARRAYS and self._transaction.has_own_commands:
            self._answer_interleaved(encoded)
        else:
            self._answer(Encoded(encoded))

    def fail(self, error: Error) -> None:
        self._answer(error)

    def argv(self) -> list[bytes]:
        return next((argv for row, argv in self._transaction.queue if row.key_specs), [b"exec"])

    def _answer(self, reply: Reply) -> None:
        self.session.end_transaction()
        self.session.answer(reply, self.resp3)

    def _answer_together(self, elements: Sequence[Reply]) -> None:
        """`elements` are the machine's replies."""
        if not self.session.closed:
            machine = iter(elements)
            self._answer([next(machine) if own is None else Encoded(own) for own in self._carry_out_own()])

    def _answer_interleaved(self, encoded: bytes) -> None:
        """`encoded` are the machine's replies."""
        if self.session.closed:
            return
        pieces = interleaved(encoded, self._carry_out_own())
        start = list(islice(pieces, 2))
        if len(start) == 1:
            self._answer(Encoded(start[0]))
        else:
            self.session.end_transaction()
            self.session.answer_in_pieces(chain(start, pieces))

    def _carry_out_own(self) -> list[bytes | None]:
        """The transaction has been carried out: so now are the connection's own commands in it. Returns their replies,
        and None in the places of the machine's. Encoded one by one, since one of them may change how."""
        return [
            encode(self._own_reply(row, argv), self.session.resp3) if row.kind is Kind.LOCAL else None
            for row, argv in self._transaction.queue
        ]

    def _own_reply(self, row: Command, argv: list[bytes]) -> Reply:
        reply: Reply | NoReply = row.handler(self.session, argv)
        return None if isinstance(reply, NoReply) else reply
