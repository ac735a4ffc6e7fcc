"""Backups: checking one, and making the data directory of a member of a new cluster from it, while no member runs.

A backup is a snapshot's file as a member has it on disk. A new cluster is not the old one at an earlier time: it has
another id, and members of its own choice. Otherwise a member of the old one that is still there could talk to it, with
a log that goes another way. So the file is written anew with other words in its header.

What is written last is what makes the directory usable: snapshot, then the log that begins behind it, then the file
CLUSTER. Before that the directory belongs to no cluster that the settings could name, and no member starts with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import msgspec

from raftkv.cluster import founding
from raftkv.cluster.identity import cluster_id
from raftkv.errors import NotDone, StorageFailed, YourFault
from raftkv.raft.membership import Membership
from raftkv.raft.messages import HardState
from raftkv.storage.files import Files
from raftkv.storage.interface import SnapshotMeta, Write
from raftkv.storage.snapshot_format import SnapshotFile
from raftkv.storage.snapshots import SnapshotFiles
from raftkv.storage.wal import Wal

TAKE_ANOTHER: Final = "do not use this file: take another copy of it, or an older backup, or make a new one"

OnBytes = Callable[[int], object]
"""Hears how many more bytes have been dealt with."""


class Backup(msgspec.Struct, frozen=True):
    """A file that was read to its end and is sound. `digest`: the same for the same content, wherever it lies."""

    path: str
    size_bytes: int
    meta: SnapshotMeta
    digest: str


def examine(path: str, on_bytes: OnBytes, files: Files | None = None) -> Backup:
    """Reads and checks all of a backup. Raises StorageCorrupt, and OSError when it cannot be opened."""
    with closing(SnapshotFile(files or Files(), path, TAKE_ANOTHER)) as file:
        digest = hashlib.sha256(msgspec.msgpack.encode(file.meta))
        for kind, data in file.slices():
            digest.update(b"%d:%d:" % (kind, len(data)))
            digest.update(data)
            on_bytes(len(data))
        return Backup(path, file.size_bytes, file.meta, digest.hexdigest())


def new_cluster_id(backup: Backup, members: Mapping[int, str]) -> str:
    """The same for every member that is made from this backup with these members, and never the old cluster's."""
    return cluster_id(f"restored from {backup.digest}", members)


def restore(
    backup: Backup,
    data_dir: str,
    member_id: int,
    cluster: founding.Founding,
    on_bytes: OnBytes,
    files: Files | None = None,
) -> None:
    """Makes `data_dir` that of member `member_id` of the new `cluster`.

    Raises YourFault when the directory is not empty or `cluster` is not a new one; NotDone when the disk refuses, and
    StorageCorrupt when the backup has been damaged since it was examined: then the directory is of no use.
    """
    files = files or Files()
    if cluster.cluster_id == backup.meta.cluster_id:
        raise YourFault(
            f"the backup is of cluster {cluster.cluster_id!r}: a restored cluster needs another id, so that members of"
            " the old one, should there be any, are refused. Leave --cluster-id out to have one made"
        )
    if cluster.members.get(member_id) is None:
        raise YourFault(f"member {member_id} is not among the members {sorted(cluster.members)} of the new cluster")
    try:
        _check_empty(files, data_dir)
        _write_snapshot(files, backup, data_dir, cluster, on_bytes)
        _write_log(files, backup.meta, data_dir, member_id, cluster)
        founding.store(files, data_dir, cluster)
    except (OSError, StorageFailed) as error:
        # The log's own words speak of what was acknowledged, and here nothing was.
        reason = error.__cause__ or error
        raise NotDone(
            f"{data_dir}: {reason}. Nothing was restored: see to the disk, remove what is in that directory, and"
            " restore again"
        ) from error


def _check_empty(files: Files, data_dir: str) -> None:
    try:
        found = files.list(data_dir)
    except NotADirectoryError as error:
        raise YourFault(f"{data_dir} is a file: name a directory that does not exist, or is empty") from error
    if found:
        raise YourFault(
            f"{data_dir} is not empty ({found[0]}): a member is restored into a directory that does not exist, or is"
            " empty. Set the old one aside; it is not changed"
        )


def _write_snapshot(files: Files, backup: Backup, data_dir: str, cluster: founding.Founding, on_bytes: OnBytes) -> None:
    membership = Membership.founding(cluster.members).encode()
    meta = msgspec.structs.replace(backup.meta, cluster_id=cluster.cluster_id, membership=membership)
    store = SnapshotFiles(data_dir, cluster_id=cluster.cluster_id, machine=meta.machine, files=files)
    writer = store.create(meta)
    try:
        with closing(SnapshotFile(files, backup.path, TAKE_ANOTHER)) as file:
            for kind, data in file.slices():
                writer.write(kind, data)
                on_bytes(len(data))
        writer.finish()
    except BaseException:
        writer.abandon()
        raise


def _write_log(files: Files, meta: SnapshotMeta, data_dir: str, member_id: int, cluster: founding.Founding) -> None:
    """An empty log behind the snapshot. Its term is the snapshot's: the first election begins the next one."""
    wal = Wal.open(
        data_dir,
        cluster_id=cluster.cluster_id,
        member_id=member_id,
        machine=meta.machine,
        files=files,
        prepare_ahead=False,
    )
    with closing(wal):
        wal.append([Write(HardState(meta.term, 0, meta.index), [], base=(meta.index, meta.term))])
