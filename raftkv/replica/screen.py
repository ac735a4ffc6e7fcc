"""The leader's look at commands before they go into the log. What it refuses is certainly not done.

An entry cannot be refused any more once it is committed, and costs every member its place in the log. So what can be
known to be wrong is answered before: a malformed command for the ledger, a command that some member's machine
is too old for. Such a command alone is refused; the rest of its pipeline goes on::

    admit(works)    sets `Work.refusals`, and answers works of which nothing is left
    join(works)     leaves the refused commands out
    answer(works)   puts the refusals back between the replies

Only entries that have a command for the ledger are looked at, and all while `is_on`. Otherwise it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.machines.interface import NO_SCOPES, Kind, ReadContext
from raftkv.machines.replies import Error, Reply, unknown_command
from raftkv.replica.ledger import Ledger
from raftkv.replica.versions import Versions
from raftkv.replica.work import Work, answer

OUTBOX_FULL = Error(
    "BUSY The outbox is full of effects that have not been carried out yet (effects.outbox_max,"
    " effects.outbox_bytes_max); the command was not carried out, try again later"
)

OUT_OF_MEMORY = Error("OOM command not allowed when used memory > 'maxmemory'.")

Check = Callable[[Kind, list[bytes]], Error | None]
"""(kind of its work, argv of a command of the machine) -> why it may not be carried out now; None: it may."""


Read = Callable[[ReadContext, list[list[bytes]]], list[Reply]]


class Screen:
    def __init__(
        self,
        ledger: Ledger,
        versions: Versions,
        outbox_max: int,
        outbox_bytes_max: int,
        is_settled: Callable[[], bool],
    ) -> None:
        """With so many effects in the outbox, or so many bytes of them, it is full. `is_settled` tells whether all that
        is in the log has been applied here."""
        self.has_system = False
        """A work for the ledger has come in since the start: so before there was any, none need be looked for."""

        self.version_check: Check | None = None
        """Set while there are commands that not all members have (`Versions.refusal`)."""

        self.outbox_is_full = False
        """Writes are refused then: the effects of what is done already come first."""

        self.memory_is_full = False
        """Commands that may take up more of it (Redis's flag "denyoom") are refused then."""

        self.checks: list[Check] = []
        """Others, which judge writes by the present state. They must let pass what they cannot judge."""

        self._ledger = ledger
        self._versions = versions
        self._outbox_max = outbox_max
        self._outbox_bytes_max = outbox_bytes_max
        self._is_settled = is_settled
        self.look_at_ledger()

    def look_at_ledger(self) -> None:
        """Something in the ledger has changed that decides what may go into the log."""
        self.version_check = self._versions.refusal if self._versions.has_too_new else None
        outbox = self._ledger.outbox
        self.outbox_is_full = len(outbox) >= self._outbox_max or outbox.size_bytes >= self._outbox_bytes_max

    @property
    def is_on(self) -> bool:
        """Whether there is anything to be asked about every write."""
        return self.version_check is not None or self.outbox_is_full or self.memory_is_full or bool(self.checks)

    def concerns(self, works: list[Work]) -> bool:
        """Whether these writes must be looked at."""
        return self.is_on or (self.has_system and any(work.system for work in works))

    def admit(self, works: list[Work]) -> list[Work]:
        """Those works of which something may be done."""
        admitted = []
        for work in works:
            work.refusals = self._refusals(work)
            if work.refusals and len(work.refusals) == len(work.commands):
                answer([work], [])
            else:
                admitted.append(work)
        return admitted

    def read_admitted(self, read: Read, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        """The replies to reads, where some may be refused."""

        def read_one(alone: ReadContext, command: list[list[bytes]]) -> list[Reply]:
            refusal = self._machine_refusal(Kind.READ, command[0], by_state=False)
            return read(alone, command) if refusal is None else [refusal]

        return read_one_by_one(read_one, context, commands)

    def _refusals(self, work: Work) -> dict[int, Error] | None:
        found = {}
        for position, argv in enumerate(work.commands):
            refusal = self._refusal(work, argv)
            if refusal is not None:
                found[position] = refusal
        return found or None

    def _refusal(self, work: Work, argv: list[bytes]) -> Error | None:
        if not self._ledger.is_system(argv):
            return self._machine_refusal(work.kind, argv)
        # Works are joined: a command without the flag must not become the ledger's by its neighbour's.
        refusal = self._ledger.refusal(argv) if work.system else unknown_command(argv)
        inner = self._ledger.inner(argv)
        if refusal is not None or inner is None:
            return refusal
        # The state may have changed since it was applied; a repeat must get its first reply nevertheless. Whether it
        # is one is certain only when nothing is under way.
        return self._machine_refusal(work.kind, inner, by_state=self._is_settled() and self._ledger.is_new(argv))

    def _machine_refusal(self, kind: Kind, argv: list[bytes], *, by_state: bool = True) -> Error | None:
        """Why a command may not be carried out. A transaction is refused as a whole, for the first part that is."""
        parts = self._ledger.machine.commands_in(argv)
        refusals = (self._part_refusal(kind, part, by_state=by_state) for part in parts)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _part_refusal(self, kind: Kind, argv: list[bytes], *, by_state: bool) -> Error | None:
        if self.version_check is not None:
            refusal = self.version_check(kind, argv)
            if refusal is not None:
                return refusal
        if kind is not Kind.WRITE or not by_state or self._ledger.only_reads(argv):
            return None
        if self.outbox_is_full:
            return OUTBOX_FULL
        if self.memory_is_full and self._ledger.may_grow(argv):
            return OUT_OF_MEMORY
        for check in self.checks:
            refusal = check(kind, argv)
            if refusal is not None:
                return refusal
        return None


def read_one_by_one(read: Read, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
    """The replies to reads, each asked for alone."""
    replies: list[Reply] = []
    for position, argv in enumerate(commands):
        scope = context.scopes.get(position)
        replies += read(ReadContext(context.now_ms, NO_SCOPES if scope is None else {0: scope}), [argv])
    return replies


def internal_error(argv: list[bytes], error: Exception) -> Error:
    """What a client is told when the machine raised; the log has the rest."""
    name = argv[0].decode(errors="replace").lower()
    return Error(f"ERR internal error of the machine in {name!r}: {type(error).__name__}; it was not carried out")
