"""What a member refuses before anything else hears of it: commands that are unknown or wrong in themselves, that the
state of the connection forbids, or that this member does not serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, unknown_command, wrong_arity

if TYPE_CHECKING:
    from raftkv.server.session import Session

ALLOWED_WITHOUT_AUTH: Final = frozenset({"auth", "hello", "quit", "reset"})
ALLOWED_WHILE_SUBSCRIBED: Final = frozenset(
    {"subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ping", "quit", "reset"}
)
"""In RESP2, where a client could not tell a reply from a message."""

NOAUTH: Final = Error("NOAUTH Authentication required.")
DIRTY_READS_DISABLED: Final = Error("ERR Dirty reads are disabled on this member (client.dirty_reads)")
TOO_LARGE: Final = Error("ERR the command is too large to be replicated (peer.frame_bytes_max)")
MUST_NOT_WAIT: Final = Error(
    "ERR this answer is not at hand, and inside a transaction nothing waits for one; ask outside of it"
)


def refusal(session: Session, row: Command | None, argv: list[bytes]) -> Error | None:
    """Why `session` does not carry out `argv`, whose `row` is None where there is no such command. None: it does."""
    if row is None:
        return unknown_command(argv)
    if not row.takes(len(argv)):
        return wrong_arity(row.name)
    if not session.authenticated and row.name not in ALLOWED_WITHOUT_AUTH:
        return NOAUTH
    if session.subscriptions and not session.resp3 and row.name not in ALLOWED_WHILE_SUBSCRIBED:
        return Error(
            f"ERR Can't execute '{row.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
            " allowed in this context"
        )
    if row.kind is Kind.DIRTY and not session.server.settings.client.dirty_reads:
        return DIRTY_READS_DISABLED
    return None
