"""Snapshots that were changed, cut, mixed up or brought from elsewhere: each is refused, here or when received."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raftkv.errors import BrokenInvariant, StorageCorrupt
from raftkv.storage import scrub
from raftkv.storage.files import Files
from raftkv.storage.interface import SnapshotInfo
from raftkv.storage.snapshot_format import FrameEncoder, SnapshotFile
from raftkv.storage.snapshots import SnapshotFiles
from tests.storage.snapshots import Slices, meta, names, open_store, raw, receive, take

SLICES = [(1, b"ledger"), (2, b"first"), (2, b""), (2, b"second" * 5)]


@pytest.fixture
def store(tmp_path: Path) -> SnapshotFiles:
    return open_store(tmp_path)


@pytest.fixture
def info(store: SnapshotFiles) -> SnapshotInfo:
    return take(store, 7, 2, SLICES)


@pytest.fixture
def path(store: SnapshotFiles, info: SnapshotInfo) -> Path:
    return Path(store.path((7, 2)))


def damaged(data: bytes) -> list[bytes]:
    """Every byte changed, and the end at every byte."""
    flipped = [
        data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at in range(len(data)) for bit in (1, 0x80, 0xFF)
    ]
    return flipped + [data[:cut] for cut in range(len(data))] + [data + b"\0", data + data]


def test_every_damaged_byte_and_every_cut_is_found(
    tmp_path: Path, store: SnapshotFiles, info: SnapshotInfo, path: Path
):
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(StorageCorrupt, match=rf"{path} at byte \d+: .*What to do"):
            open_store(tmp_path).verify(info)
        with pytest.raises(StorageCorrupt):
            list(scrub.snapshots(Files(), str(tmp_path)))
        with pytest.raises(StorageCorrupt):  # damaged since it was opened
            store.verify(info)


def test_nothing_damaged_is_ever_handed_out(path: Path):
    """Each slice is checked before it is given, its kind too: what comes before the error is as it was written."""
    header, *rest = frames(path.read_bytes())
    for data in damaged(b"".join(rest)):
        path.write_bytes(header + data)
        reader = SnapshotFile(Files(), str(path))
        given: Slices = []
        with pytest.raises(StorageCorrupt):
            given.extend(reader.slices())
        reader.close()
        assert given == SLICES[: len(given)]


def test_opening_finds_every_cut_without_reading_it_all(tmp_path: Path, path: Path):
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(StorageCorrupt, match=r"the end is missing|ends inside the header|checksum of the header"):
            open_store(tmp_path)


def test_every_damaged_byte_and_every_cut_is_found_when_received(
    tmp_path: Path, store: SnapshotFiles, info: SnapshotInfo
):
    receiving = open_store(tmp_path / "receiving")
    older = take(receiving, 5)
    sent = raw(store, info)
    for data in damaged(sent):
        with pytest.raises(StorageCorrupt, match="What to do"):
            receive(receiving, 7, 2, data)
        with pytest.raises(StorageCorrupt, match="What to do"):  # as long as it was announced, or refused
            write_and_finish(receiving, data, len(sent))
        assert receiving.list() == [older]
    assert len(names(tmp_path / "receiving")) == 1
    assert receive(receiving, 7, 2, sent) == info


def write_and_finish(store: SnapshotFiles, data: bytes, size_bytes: int) -> None:
    receiver = store.receive(7, 2, size_bytes)
    receiver.write(data)
    receiver.finish()


def frames(data: bytes) -> list[bytes]:
    """Header, frames and end frame of SLICES."""
    encoder, at, parts = FrameEncoder(meta(7, 2)), 0, list[bytes]()
    for length in [len(encoder.header), *(12 + len(each) for _, each in SLICES)]:
        parts.append(data[at : at + length])
        at += length
    return [*parts, data[at:]]


@pytest.mark.parametrize(
    "order",
    [[0, 2, 1, 3, 4, 5], [0, 1, 2, 3, 5], [0, 1, 2, 2, 3, 4, 5], [0, 5], [0, 1, 2, 3, 4, 5, 5], [0, 1, 2, 3, 4]],
    ids=["other order", "missing", "repeated", "none", "two ends", "no end"],
)
def test_frames_in_another_order_are_found(tmp_path: Path, info: SnapshotInfo, path: Path, order: list[int]):
    parts = frames(path.read_bytes())
    path.write_bytes(b"".join(parts[number] for number in order))
    with pytest.raises(StorageCorrupt):
        open_store(tmp_path).verify(info)


def test_frames_swapped_at_the_same_size_are_found_by_the_end(tmp_path: Path, info: SnapshotInfo, path: Path):
    """Each frame is valid by itself, and the file is as long as it was."""
    parts = frames(path.read_bytes())
    path.write_bytes(b"".join(parts[number] for number in (0, 2, 1, 3, 4, 5)))
    with pytest.raises(StorageCorrupt, match="frames are missing or in another order"):
        open_store(tmp_path).verify(info)


def test_a_frame_of_another_snapshot_is_found(tmp_path: Path, store: SnapshotFiles, info: SnapshotInfo, path: Path):
    other = frames(raw(store, take(store, 7, 2, [*SLICES[:3], (2, b"others" * 5)])))
    store.prune(1)
    info = take(store, 7, 3, SLICES)
    path = Path(store.path((7, 3)))
    parts = frames(path.read_bytes())
    path.write_bytes(b"".join([*parts[:4], other[4], parts[5]]))
    with pytest.raises(StorageCorrupt, match="checksum of frame 4 is wrong"):
        open_store(tmp_path).verify(info)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"cluster_id": "other"}, "belongs to cluster 'test-cluster', the settings say 'other'"),
        ({"machine": "register"}, "belongs to machine 'redis', the settings say 'register'"),
    ],
    ids=["cluster", "machine"],
)
def test_a_snapshot_of_somebody_else_is_refused(
    tmp_path: Path, info: SnapshotInfo, settings: dict[str, str], what: str
):
    with pytest.raises(StorageCorrupt, match=f"{what}. What to do: correct the settings"):
        open_store(tmp_path, **settings)
    receiving = open_store(tmp_path / "receiving", **settings)
    with pytest.raises(StorageCorrupt, match=what):
        receive(receiving, 7, 2, raw(open_store(tmp_path), info))
    assert receiving.list() == []
    assert names(tmp_path / "receiving") == []


def test_a_snapshot_under_the_name_of_another_is_refused(
    tmp_path: Path, store: SnapshotFiles, info: SnapshotInfo, path: Path
):
    shutil.copy(path, store.path((8, 2)))
    with pytest.raises(StorageCorrupt, match=r"holds the state after entry 7 of term 2, as .*8-00000002.snap does not"):
        open_store(tmp_path)
    with pytest.raises(StorageCorrupt, match="holds the state after entry 7"):
        receive(store, 8, 2, raw(store, info))


def test_a_format_of_another_version_is_not_called_damaged(tmp_path: Path, path: Path):
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(StorageCorrupt, match=r"format version 2 is unknown.*use the program that wrote it"):
        open_store(tmp_path)


def test_more_bytes_than_were_announced_never_reach_the_disk(tmp_path: Path, store: SnapshotFiles):
    receiver = store.receive(7, 2, 100)
    receiver.write(bytes(60))
    with pytest.raises(StorageCorrupt, match="101 bytes have come, 100 were announced"):
        receiver.write(bytes(41))
    assert names(tmp_path) == []
    receiver.abandon()
    with pytest.raises(OSError, match="given up before"):
        receiver.write(b"more")


@pytest.mark.parametrize("kind", [0, -1, 1 << 32])
def test_kinds_that_the_format_cannot_hold(store: SnapshotFiles, kind: int):
    writer = store.create(meta(9))
    with pytest.raises(BrokenInvariant, match="kind 0 is the end"):
        writer.write(kind, b"")
    writer.abandon()


def test_a_disk_that_cannot_read(tmp_path: Path, info: SnapshotInfo, path: Path):
    class Unreadable(Files):
        def pread(self, fd: int, length: int, offset: int) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(StorageCorrupt, match=rf"{path} at byte 0: cannot be read \(Input/output error\)"):
        open_store(tmp_path, files=Unreadable())


def test_a_scrub_reads_in_small_steps_and_passes_over_what_is_pruned(tmp_path: Path, store: SnapshotFiles):
    for index in (1, 2):
        take(store, index, 1, [(2, bytes(300_000))] * 10)
    steps = scrub.snapshots(Files(), str(tmp_path))
    assert 1_000_000 <= next(steps) < 1_400_000
    store.prune(1)
    rest = list(steps)
    assert max(rest) < 1_400_000
    assert sum(rest) < 3_000_000
    assert list(scrub.snapshots(Files(), str(tmp_path / "nowhere"))) == []
