"""What a connection has queued since MULTI.

Commands that Redis refuses at once are refused here, and break the transaction: its EXEC answers EXECABORT. All others
wait for EXEC, the connection's own commands too. What is judged by what another member may do differently is judged at
EXEC again, by the leader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, Reply, Simple
from raftkv.raft.roles import Role
from raftkv.replica.screen import OUT_OF_MEMORY
from raftkv.server.redirects import moved

if TYPE_CHECKING:
    from raftkv.server.session import Session

QUEUED: Final = Simple("QUEUED")
NOT_ALLOWED: Final = Error("ERR Command not allowed inside a transaction")
TOO_MANY: Final = Error("ERR the transaction has too many commands (client.transaction_commands_max)")
TOO_LARGE: Final = Error("ERR the transaction is too large to be replicated (peer.frame_bytes_max)")
WORD_BYTES: Final = 8
"""What a word takes up beside its bytes, generously."""

_MESSAGES: Final = frozenset({"subscribe", "psubscribe", "unsubscribe", "punsubscribe"})
"""Answered by messages, which have no place in an array of replies."""


class Planned(NamedTuple):
    """What goes to the machine. scopes: as in `Batch`. only_reads: none of it writes."""

    commands: list[list[bytes]]
    scopes: dict[int, int]
    only_reads: bool


class Transaction:
    """queue: row and words of each command. size_bytes: of the whole. is_broken: EXEC will refuse it."""

    __slots__ = ("_session", "is_broken", "queue", "size_bytes")

    def __init__(self, session: Session) -> None:
        self.queue: list[tuple[Command, list[bytes]]] = []
        self.size_bytes = 0
        self.is_broken = False
        self._session = session

    def take(self, row: Command | None, argv: list[bytes], refusal: Error | None) -> Reply:
        """Queue a command, unless it is refused: with `refusal`, as it would be outside, or for what it is inside."""
        if refusal is None and row is not None:
            refusal = self._refusal(row, argv)
        if refusal is not None:
            self.is_broken = True
            return refusal
        assert row is not None
        if not self.is_broken:  # otherwise it would be kept for nothing
            self.queue.append((row, argv))
            self.size_bytes += _size_bytes(argv)
        return QUEUED

    def plan(self) -> Planned:
        """What SELECT does to the databases of the commands behind it is found out by asking it."""
        session = self._session
        before = session.db
        commands: list[list[bytes]] = []
        scopes: dict[int, int] = {}
        only_reads = True
        for row, argv in self.queue:
            if row.name == "select":
                row.handler(session, argv)
            elif row.kind is not Kind.LOCAL:
                if session.db:
                    scopes[len(commands)] = session.db
                commands.append(argv)
                only_reads = only_reads and row.kind is not Kind.WRITE
        session.db = before
        return Planned(commands, scopes, only_reads)

    @property
    def has_own_commands(self) -> bool:
        """Whether any are the connection's own, to be answered here."""
        return any(row.kind is Kind.LOCAL for row, _ in self.queue)

    def _refusal(self, row: Command, argv: list[bytes]) -> Error | None:
        return (
            _subcommand_refusal(row, argv)
            or (NOT_ALLOWED if _is_barred(row) else None)
            or _redirection(self._session, row, argv)
            or self._size_refusal(argv)
        )

    def _size_refusal(self, argv: list[bytes]) -> Error | None:
        server = self._session.server
        if server.replica.screen.memory_is_full:  # also what takes none at EXEC: here it takes some
            return OUT_OF_MEMORY
        if len(self.queue) >= server.settings.client.transaction_commands_max:
            return TOO_MANY
        return TOO_LARGE if self.size_bytes + _size_bytes(argv) > server.command_bytes_max else None


def exec_abort(refusal: Error) -> Error:
    """What EXEC answers when it is refused itself."""
    return Error(f"EXECABORT Transaction discarded because of: {refusal.text.removeprefix('ERR ')}")


def _size_bytes(argv: list[bytes]) -> int:
    return sum(map(len, argv)) + WORD_BYTES * len(argv)


def _subcommand_refusal(row: Command, argv: list[bytes]) -> Error | None:
    """Redis looks subcommands up before it queues."""
    if not row.subcommands or len(argv) == 1:
        return None
    meant = row.chosen(argv)
    return meant if isinstance(meant, Error) else None


def _is_barred(row: Command) -> bool:
    """RAFT.*: they wait for other members, or are for raftkv's ledger."""
    return "no_multi" in row.flags or row.name in _MESSAGES or row.name.startswith("raft.")


def _redirection(session: Session, row: Command, argv: list[bytes]) -> Error | None:
    """As a node of Redis Cluster: a key that another one serves is refused before it is queued."""
    server = session.server
    node = server.replica.node
    if server.settings.client.routing != "redirect" or node.role is Role.LEADER or node.leader_id is None:
        return None
    if not row.key_specs or (session.readonly and row.kind is not Kind.WRITE):
        return None
    return moved(server, argv, node.leader_id)
