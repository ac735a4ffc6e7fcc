"""Checking a backup, and making members of a new cluster from it."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest

from raftkv.cluster import founding
from raftkv.cluster.founding import Founding
from raftkv.cluster.offline import Backup, examine, new_cluster_id, restore
from raftkv.errors import NotDone, StorageCorrupt, YourFault
from raftkv.raft.membership import Membership
from raftkv.raft.messages import HardState
from raftkv.storage.files import Files
from raftkv.storage.snapshots import SnapshotFiles
from tests.cluster.directories import CLUSTER, MACHINE, SLICES, THREE, add_snapshot, no_bytes, open_log

NEW = Founding("c2", {4: "n4:8001", 5: "n5:8001"})


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    return examine(str(add_snapshot(tmp_path / "old")), no_bytes)


def test_a_backup_tells_what_it_is(tmp_path: Path) -> None:
    path, heard = add_snapshot(tmp_path), list[int]()
    found = examine(str(path), heard.append)
    assert (found.meta.index, found.meta.term, found.meta.cluster_id) == (7, 3, CLUSTER)
    assert found.size_bytes == path.stat().st_size
    assert sum(heard) == sum(len(data) for _, data in SLICES)


@pytest.mark.parametrize("place", [0, 17, 60, 3000, 9000, -40, -1])
def test_a_flipped_byte_anywhere_is_found(tmp_path: Path, place: int) -> None:
    path = add_snapshot(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="What to do"):
        examine(str(path), no_bytes)


@pytest.mark.parametrize("left", [0, 10, 200, 6000, -1])
def test_a_file_that_was_cut_is_found(tmp_path: Path, left: int) -> None:
    path = add_snapshot(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(StorageCorrupt):
        examine(str(path), no_bytes)


def test_a_restored_member_has_the_state_and_an_empty_log_behind_it(tmp_path: Path, backup: Backup) -> None:
    directory = tmp_path / "new"
    restore(backup, str(directory), 5, NEW, no_bytes)
    store = SnapshotFiles(str(directory), cluster_id="c2", machine=MACHINE)
    [info] = store.list()
    assert info.meta.membership == Membership.founding(NEW.members).encode()
    assert (info.meta.index, info.meta.term, info.meta.time_ms) == (7, 3, 1_700_000_000_000)
    with closing(store.open(info)) as reader:
        assert list(reader.slices()) == SLICES
    with closing(open_log(directory, "c2", 5)) as wal:
        found = wal.recovered
    assert (found.base, found.last_index, found.hard_state) == ((7, 3), 7, HardState(3, 0, 7))
    assert founding.load(Files(), str(directory)) == NEW


def test_members_of_one_restored_cluster_agree_on_its_id(tmp_path: Path, backup: Backup) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(Path(backup.path).read_bytes())
    again = examine(str(copy), no_bytes)
    other = examine(str(add_snapshot(tmp_path / "other", index=8)), no_bytes)
    chosen = new_cluster_id(backup, THREE)
    assert chosen == new_cluster_id(again, dict(reversed(THREE.items())))
    assert len({chosen, CLUSTER, new_cluster_id(other, THREE), new_cluster_id(backup, NEW.members)}) == 4


def test_the_old_clusters_id_is_refused(tmp_path: Path, backup: Backup) -> None:
    with pytest.raises(YourFault, match="another id"):
        restore(backup, str(tmp_path / "new"), 4, Founding(CLUSTER, NEW.members), no_bytes)
    assert not (tmp_path / "new").exists()


def test_a_member_that_is_not_among_the_members_is_refused(tmp_path: Path, backup: Backup) -> None:
    with pytest.raises(YourFault, match="member 1 is not among the members"):
        restore(backup, str(tmp_path / "new"), 1, NEW, no_bytes)


def test_nothing_is_restored_over_what_is_there(tmp_path: Path, backup: Backup) -> None:
    (tmp_path / "empty").mkdir()
    restore(backup, str(tmp_path / "empty"), 4, NEW, no_bytes)
    with pytest.raises(YourFault, match="is not empty"):
        restore(backup, str(tmp_path / "empty"), 4, NEW, no_bytes)
    (tmp_path / "file").touch()
    with pytest.raises(YourFault, match="is a file"):
        restore(backup, str(tmp_path / "file"), 4, NEW, no_bytes)


class FullDisk(Files):
    """The n-th rename from now on is refused: what had its name before is there, what comes after is not."""

    def __init__(self, renames: int) -> None:
        self.renames_left = renames

    def rename(self, source: str, target: str) -> None:
        if self.renames_left == 0:
            raise OSError(errno.ENOSPC, "No space left on device", target)
        self.renames_left -= 1
        super().rename(source, target)


def test_wherever_the_disk_refuses_the_directory_serves_no_cluster(tmp_path: Path, backup: Backup) -> None:
    """Renames: of the snapshot, of the segment, of IDENTITY, of CLUSTER."""
    for renames in range(4):
        directory = tmp_path / f"new{renames}"
        with pytest.raises(NotDone, match="No space left"):
            restore(backup, str(directory), 4, NEW, no_bytes, FullDisk(renames))
        assert founding.load(Files(), str(directory)) is None
    restore(backup, str(tmp_path / "new4"), 4, NEW, no_bytes, FullDisk(4))


def test_damage_after_the_first_look_is_found_all_the_same(tmp_path: Path, backup: Backup) -> None:
    content = bytearray(Path(backup.path).read_bytes())
    content[-200] ^= 1
    Path(backup.path).write_bytes(content)
    with pytest.raises(StorageCorrupt):
        restore(backup, str(tmp_path / "new"), 4, NEW, no_bytes)
    assert founding.load(Files(), str(tmp_path / "new")) is None
