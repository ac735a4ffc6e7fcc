"""One member's snapshots: when one is due, what may be cut from the log behind it, and their way between members.

    taking.py      the state, slice by slice, into a file          (any member, for itself)
    sending.py     that file to members that are too far behind    (the leader)
    receiving.py   and from the leader to here                     (a follower)

A snapshot is due when so many entries or bytes have been applied since the newest, or when somebody asks. Then the log
begins behind it, except for what is still in memory: that costs nothing, and spares a member that is a little behind
the whole state.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from raftkv.errors import StorageCorrupt, Unsupported
from raftkv.machines.interface import StateMachine
from raftkv.raft.messages import Entry, SnapshotChunk, SnapshotReply
from raftkv.replica.jobs import Job
from raftkv.replica.ledger import Ledger
from raftkv.replica.receiving import Receiving
from raftkv.replica.sending import Sending
from raftkv.replica.taking import LEDGER, MACHINE, Taking, all_slices
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta, SnapshotStore

ENTRY_BYTES: Final = 100
"""What an entry takes up in the log beside its data, about."""


class SnapshotSettings(msgspec.Struct, frozen=True):
    log_entries_max: int = 1_000_000
    log_bytes_max: int = 256 * 1024 * 1024
    """A snapshot is taken when so much has been applied since the newest one."""

    keep: int = 2
    """So many are kept on disk."""

    send_bytes_per_s_max: int = 0
    """For all members that are sent one, together; 0: as fast as they take it."""

    send_chunk_bytes: int = 256 * 1024
    """So much of one goes in a message: a heartbeat waits no longer than that takes."""


class Snapshots:
    """`on_taken(info)`: the log may be cut. `on_received(info)`: to be installed, if it is still of use (see
    `on_installing`). `tell(index, offset)`: see `Receiving`."""

    def __init__(
        self,
        store: SnapshotStore,
        settings: SnapshotSettings,
        *,
        on_taken: Callable[[SnapshotInfo], None],
        on_received: Callable[[SnapshotInfo], None],
        tell: Callable[[int, int], None],
        report: Callable[[str, Exception], None],
    ) -> None:
        self.store = store
        self.settings = settings
        self.taking = Taking(store, settings.keep, self._on_taken, self._on_failed)
        self.sending = Sending(store, settings.send_bytes_per_s_max, settings.send_chunk_bytes)
        self.receiving = Receiving(store, self._on_received, tell, report)
        self.newest: SnapshotInfo | None = next(iter(store.list()), None)
        if len(store.list()) > settings.keep:
            # The last life ended before it had removed them. One that ends so again and again would fill the disk.
            self.taking.prune()
        self._tell_taken = on_taken
        self._tell_received = on_received
        self._report = report
        self._supported = True
        self._requested = self._serving = self._served = 0
        self._outcome: int | str = 0
        self._entries = 0
        self._bytes = 0
        self._covered = (0, 0)
        """Entries and bytes of which the one that is being taken would relieve the log."""

    # ---- taking

    def on_applied(self, entry: Entry) -> None:
        self._entries += 1
        self._bytes += len(entry.data) + ENTRY_BYTES

    def is_due(self, now_ms: int) -> bool:
        """Whether a snapshot is to be begun now."""
        settings = self.settings
        if not self._supported and self.taking.wanted:
            self.taking.wanted = False
            self._served = self._requested
        full = self._entries >= settings.log_entries_max or self._bytes >= settings.log_bytes_max
        return (full or self.taking.wanted) and self._supported and self.taking.may_begin(now_ms)

    def request(self, applied: int) -> int:
        """Have one taken of a state not older than at index `applied`; returns a number for `outcome_of`."""
        self._requested += 1
        if self.newest is not None and self.newest.meta.index >= applied and not self.taking.under_way:
            self._served, self._outcome = self._requested, self.newest.meta.index
        else:
            self.taking.wanted = True
        return self._requested

    def replace_all(self) -> None:
        """One on disk was found damaged: have a new one taken, behind which the others go."""
        self.taking.wanted = self.taking.replaces_all = True

    def outcome_of(self, number: int) -> int | str | None:
        """The index of the snapshot that was asked for, or why there is none; None: not yet."""
        return self._outcome if self._served >= number else None

    def begin(self, meta: SnapshotMeta, ledger: Ledger, machine: StateMachine) -> None:
        """Begin to take one of the present state, which `meta` describes."""
        try:
            slices = all_slices(ledger.snapshot(), machine.snapshot())
        except Unsupported as error:
            self._supported = self.taking.wanted = False
            self._served, self._outcome = self._requested, str(error)
            self._report("snapshot", error)
            return
        self._serving = self._requested
        self._covered = (self._entries, self._bytes)
        self._entries = self._bytes = 0
        self.taking.begin(meta, slices)

    def _on_taken(self, info: SnapshotInfo) -> None:
        self.newest = info
        self._served, self._outcome = self._serving, info.meta.index
        self._tell_taken(info)

    def _on_failed(self, error: Exception) -> None:
        self._served, self._outcome = self._serving, str(error)
        self._entries += self._covered[0]
        self._bytes += self._covered[1]
        self._report("snapshot", error)

    # ---- between members

    def on_message(self, sender: int, message: SnapshotChunk | SnapshotReply, now_ms: int) -> None:
        """From the leader, or, on the leader, from a member that is sent one."""
        if isinstance(message, SnapshotChunk):
            self.receiving.on_chunk(message)
        else:
            self.sending.on_reply(sender, message, now_ms)

    def _on_received(self, info: SnapshotInfo) -> None:
        self.taking.prune()
        self._tell_received(info)

    def on_installing(self, info: SnapshotInfo) -> None:
        """The one that was received takes the place of the state, and of a snapshot that is being taken of it."""
        self.newest = info
        self._entries = self._bytes = 0
        if self.taking.under_way:
            self._served, self._outcome = self._serving, info.meta.index
        self.taking.abandon()

    def send(self, term: int, wanting: Iterable[int], now_ms: int) -> list[tuple[int, SnapshotChunk]]:
        """What is to be sent now to the members `wanting` one. Has one taken first when there is none."""
        wanting = list(wanting)
        if wanting and self.newest is None:
            self.taking.wanted = True
        return self.sending.send(term, wanting, now_ms) if wanting or self.sending else []

    # ---- the rest

    def take_jobs(self) -> list[Job]:
        """For the job thread, in order."""
        jobs = [*self.taking.jobs, *self.receiving.jobs]
        self.taking.jobs.clear()
        self.receiving.jobs.clear()
        return jobs

    def cut_up_to(self, memory_first: int) -> int:
        """The last index that the log no longer needs; 0: none. `memory_first`: the first entry in memory."""
        if self.newest is None:
            return 0
        needed = self.sending.log_needed_from
        index = min(self.newest.meta.index, memory_first - 1)
        return index if needed is None else min(index, needed - 1)


def restore(store: SnapshotStore, info: SnapshotInfo, ledger: Ledger, machine: StateMachine) -> None:
    """Replace both states by the snapshot's. Raises StorageCorrupt, with the states then good for nothing."""
    reader = store.open(info)
    try:
        parts = itertools.groupby(reader.slices(), key=lambda part: part[0])
        for kind, expected, target in (
            (LEDGER, "the ledger", ledger.restore),
            (MACHINE, "the machine", machine.restore),
        ):
            found, slices = next(parts, (0, iter(())))
            if found != kind:
                raise StorageCorrupt(f"the snapshot at entry {info.meta.index} holds no state of {expected}")
            target(_data(slices))
        if next(parts, None) is not None:
            raise StorageCorrupt(f"the snapshot at entry {info.meta.index} holds more than this version knows")
    finally:
        reader.close()


def _data(parts: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    return (data for _, data in parts)
