"""Data directories and backups, made for tests without a member."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from raftkv.raft.membership import Membership
from raftkv.raft.messages import Entry, EntryKind, HardState
from raftkv.storage.interface import Position, SnapshotMeta, Write
from raftkv.storage.snapshots import SnapshotFiles
from raftkv.storage.wal import Wal

CLUSTER, MACHINE = "c1", "redis"
SLICES = [(1, b"the ledger"), (2, b"a" * 5000), (2, b"b" * 5000)]
THREE = {1: "h1:8001", 2: "h2:8001", 3: "h3:8001"}


def no_bytes(_count: int) -> None:
    pass


def add_snapshot(data_dir: Path, index: int = 7, term: int = 3, membership: Membership | None = None) -> Path:
    """The snapshot's file."""
    membership = membership or Membership.founding(THREE)
    store = SnapshotFiles(str(data_dir), cluster_id=CLUSTER, machine=MACHINE, fsync=False)
    writer = store.create(SnapshotMeta(index, term, 1_700_000_000_000, membership.encode(), MACHINE, 2, CLUSTER))
    for kind, data in SLICES:
        writer.write(kind, data)
    writer.finish()
    return Path(store.path((index, term)))


def open_log(data_dir: Path, cluster_id: str = CLUSTER, member_id: int = 1) -> Wal:
    return Wal.open(
        str(data_dir),
        cluster_id=cluster_id,
        member_id=member_id,
        machine=MACHINE,
        fsync=False,
        segment_bytes=64 * 1024,
        prepare_ahead=False,
    )


def add_log(
    data_dir: Path,
    entries: Sequence[Entry],
    hard_state: HardState,
    *,
    base: Position | None = None,
    cluster_id: str = CLUSTER,
) -> None:
    with closing(open_log(data_dir, cluster_id)) as wal:
        wal.append([Write(hard_state, entries, base)])


def no_ops(first: int, last: int, term: int) -> list[Entry]:
    return [Entry(index, term, EntryKind.NO_OP, b"") for index in range(first, last + 1)]
