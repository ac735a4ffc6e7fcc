"""Lost quorum: one surviving member is made the whole of its cluster, while it does not run.

Its log gets one more entry, of a term that nobody has led: a membership in which this member votes alone. Everything
before it becomes committed, whether or not a majority ever had it; what this member does not have is lost. The other
survivors that are named become learners which are to vote as soon as they have caught up: they come back empty, and a
member that is empty must not vote before. All other ids are never used again.

The directory stays locked from the first look to the end, so what was shown to the operator is what is done.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from raftkv.cluster import founding
from raftkv.cluster.identity import cluster_id
from raftkv.errors import StorageCorrupt, YourFault
from raftkv.raft.log import Log
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.directory import Owner, load_identity, owner_of
from raftkv.storage.files import Files
from raftkv.storage.interface import Position, SnapshotMeta, Write
from raftkv.storage.snapshots import SnapshotFiles
from raftkv.storage.wal import Wal


class Plan(msgspec.Struct, frozen=True):
    """What is to be done. `index`, `term`: of the entry that is added. `commit`: the newest entry that is known here to
    be committed. `base`: where the log begins from now on, when the snapshot has made all of it needless."""

    owner: Owner
    index: int
    term: int
    commit: int
    before: Membership
    after: Membership
    base: Position | None

    @property
    def doubtful(self) -> tuple[int, int] | None:
        """First and last of the entries that may never have been committed."""
        return (self.commit + 1, self.index - 1) if self.commit < self.index - 1 else None


class Founders(msgspec.Struct, frozen=True):
    """The settings cluster.name and cluster.members, for a directory that does not tell how the cluster began."""

    name: str
    members: dict[int, str]


class Recovery:
    """Holds the lock of the directory until `close`."""

    def __init__(
        self, data_dir: str, members: Mapping[int, str], founders: Founders | None = None, files: Files | None = None
    ) -> None:
        """`members`: the survivors, id -> peer address. Raises YourFault when they cannot be, or there is no log, and
        StorageCorrupt when the log or snapshot must not be used, or is in use."""
        self._files, self._data_dir = files or Files(), data_dir
        identity = load_identity(self._files, data_dir)
        if identity is None:
            raise YourFault(f"{data_dir} holds no log: name the data directory of the member that survived")
        owner = owner_of(identity)
        self._wal = Wal.open(
            data_dir,
            cluster_id=owner.cluster_id,
            member_id=owner.member_id,
            machine=owner.machine,
            files=self._files,
            prepare_ahead=False,
        )
        try:
            self.plan = self._plan(owner, dict(sorted(members.items())), founders)
        except BaseException:
            self.close()
            raise

    def carry_out(self) -> None:
        """Raises StorageFailed: then it is not certain whether it was done, and it may be done again."""
        plan = self.plan
        entry = Entry(plan.index, plan.term, EntryKind.MEMBERSHIP, plan.after.encode())
        hard_state = HardState(plan.term, plan.owner.member_id, plan.index)
        self._wal.append([Write(hard_state, [entry], plan.base)])

    def close(self) -> None:
        self._wal.close()

    def _plan(self, owner: Owner, members: dict[int, str], founders: Founders | None) -> Plan:
        snapshot, recovered = self._newest_snapshot(owner), self._wal.recovered
        log = Log(
            base=recovered.base,
            last_index=recovered.last_index,
            terms=recovered.terms,
            commit=recovered.hard_state.commit,
            read_stored=self._wal.read,
        )
        known, last_index, base = recovered.memberships, log.last_index, None
        commit, term = log.commit, recovered.hard_state.term
        if snapshot is not None:
            commit, term = max(commit, snapshot.index), max(term, snapshot.term)
            if not log.has(snapshot.index, snapshot.term):
                known, last_index, base = [], snapshot.index, (snapshot.index, snapshot.term)
        if log.base_index > (snapshot.index if snapshot is not None else 0):
            raise StorageCorrupt(
                f"{self._data_dir}: the log begins behind entry {log.base_index}, and there is no snapshot up to there."
                " What to do: put the missing snapshot back, or recover from another member, or restore a backup"
            )
        before = self._members_before(owner, snapshot, known, founders)
        return Plan(owner, last_index + 1, term + 1, commit, before, _after(owner, before, members), base)

    def _newest_snapshot(self, owner: Owner) -> SnapshotMeta | None:
        store = SnapshotFiles(self._data_dir, cluster_id=owner.cluster_id, machine=owner.machine, files=self._files)
        return next((info.meta for info in store.list()), None)

    def _members_before(
        self,
        owner: Owner,
        snapshot: SnapshotMeta | None,
        known: list[tuple[int, bytes]],
        founders: Founders | None,
    ) -> Membership:
        """The newest membership that log, snapshot or founding tell."""
        if known:
            return decode_membership(known[-1][1])
        if snapshot is not None:
            return decode_membership(snapshot.membership)
        began = founding.load(self._files, self._data_dir)
        if began is not None and began.cluster_id == owner.cluster_id:
            return Membership.founding(began.members)
        if founders is None:
            raise YourFault(
                f"{self._data_dir} does not tell who belonged to the cluster: give --founders, with the value of"
                " cluster.members (--members of raftkv serve) that this member was started with"
            )
        if cluster_id(founders.name, founders.members) != owner.cluster_id:
            raise YourFault(
                f"cluster {owner.cluster_id} did not begin under the name {founders.name!r} with the members"
                f" {founders.members}: give cluster.members and cluster.name as this member was started with"
            )
        return Membership.founding(founders.members)


def _after(owner: Owner, before: Membership, members: dict[int, str]) -> Membership:
    """Raises YourFault."""
    own_id, strangers = owner.member_id, sorted(members.keys() - before.members)
    if own_id not in members:
        raise YourFault(f"the directory is that of member {own_id}, which must be among --members {sorted(members)}")
    if strangers:
        raise YourFault(
            f"{strangers} were no members of this cluster ({sorted(before.members)} were): name survivors only; new"
            " members can join when it runs again"
        )
    others = tuple(each for each in members if each != own_id)
    return Membership(
        (own_id,),
        learners=others,
        joining=others,
        addresses=members,
        removed=tuple(sorted({*before.removed, *(before.members - members.keys())})),
    )
