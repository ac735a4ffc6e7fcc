"""Snapshots of one member, taken while it serves; and their way between two, without anything in between."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator

import pytest

from raftkv.errors import StorageCorrupt, Unsupported
from raftkv.machines.redis.machine import RedisMachine
from raftkv.raft.messages import SnapshotChunk, SnapshotReply
from raftkv.raft.settings import RaftSettings
from raftkv.replica import taking
from raftkv.replica.jobs import Job, ignore
from raftkv.replica.receiving import Receiving
from raftkv.replica.sending import SILENCE_MS_MAX, WINDOW_CHUNKS, Sending
from raftkv.replica.snapshots import Snapshots, SnapshotSettings
from raftkv.replica.taking import RETRY_MS
from raftkv.storage.interface import SnapshotInfo, SnapshotMeta
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from tests.replica.alone import Alone

NO_SPACE = OSError(errno.ENOSPC, "no space left on device")


class SlicedMachine(RedisMachine):
    """Three slices at least, so that a snapshot takes several turns."""

    def snapshot(self) -> Iterator[bytes]:
        return itertools.chain(super().snapshot(), [b"", b""])

    def restore(self, slices: Iterator[bytes]) -> None:
        super().restore(filter(None, slices))


class WithoutSnapshots(RedisMachine):
    def snapshot(self) -> Iterator[bytes]:
        raise Unsupported("the machine 'x' takes no snapshots")


def member_with(machine: RedisMachine | None = None, **settings: int) -> Alone:
    return Alone(machine or SlicedMachine(), snapshots=SnapshotSettings(**settings))


def request(member: Alone) -> int:
    number = member.replica.snapshots.request(member.replica.applied)
    member.advance(1)
    return number


# ---- taking


def test_it_is_taken_in_slices_between_writes_and_is_of_its_begin() -> None:
    member = member_with()
    member.write(b"SET", b"a", b"before")
    at = member.replica.applied
    request(member)
    member.write(b"SET", b"a", b"after")
    done = member.do_jobs()
    assert done[0] == "create"
    assert done.count("write") >= 4, "one for the ledger, three for the machine"
    assert done[-2:] == ["finish", "prune"]
    [info] = member.snapshots.list()
    assert info.meta.index == at
    found = Alone(SlicedMachine(), leads=False)
    found.snapshots = member.snapshots
    found.restart(SlicedMachine(), leads=False)
    assert found.replica.applied == at
    assert found.replica.read_dirty([[b"GET", b"a"]], {}, found.now_ms) == [b"before"]


def test_between_two_slices_everybody_has_their_turn() -> None:
    """A slice that asked for the next turn at once made one pause of them all: half a second at a million keys."""
    member = member_with()
    member.write(b"SET", b"a", b"1")
    replica = member.replica
    replica.snapshots.request(replica.applied)
    slices = 0
    assert replica.apply(member.now_ms), "begun: there is more to do"
    while replica.snapshots.taking.has_more:
        assert replica.needs_turn
        assert not replica.wants_turn, "the clients first"
        replica.turn(member.now_ms)
        replica.apply(member.now_ms)
        slices += 1
    assert slices >= 4


def test_the_log_is_cut_only_when_the_file_is_complete() -> None:
    member = Alone(SlicedMachine(), raft=RaftSettings(log_cache_bytes_max=0))
    member.write(b"SET", b"a", b"1")
    at = member.replica.applied
    request(member)
    while member.jobs[0].what != "finish":
        member.do_job()
        member.advance(10)
        assert member.replica.node.log.base_index == 0
    member.do_job()
    member.advance(10)
    assert member.replica.node.log.base_index == at


def test_it_waits_while_the_disk_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "UNWRITTEN_BYTES_MAX", 1)
    member = member_with()
    member.write(b"SET", b"a", b"1")
    request(member)
    member.advance(100)
    assert [job.what for job in member.jobs] == ["create", "write"], "no second slice before the first is on disk"
    member.do_job()
    member.do_job()
    assert [job.what for job in member.jobs] == ["write"]
    member.do_jobs()
    assert len(member.snapshots.list()) == 1


def test_one_is_due_after_so_many_entries_or_bytes() -> None:
    member = member_with(log_entries_max=5)
    while not member.jobs:
        member.write(b"SET", b"a", b"1")
    assert member.replica.applied == 5
    member = member_with(log_bytes_max=1000)
    member.write(b"SET", b"a", b"1")
    assert not member.jobs
    member.write(b"SET", b"a", b"1" * 1000)
    assert member.jobs


@pytest.mark.parametrize("failing", ["create", "write", "finish"])
def test_one_that_fails_is_tried_again_after_a_while(failing: str) -> None:
    """The log goes on growing until then, so it must not take as many entries again."""
    member = member_with(log_entries_max=5)
    while not member.jobs:
        member.write(b"SET", b"a", b"1")
    while member.jobs[0].what != failing:
        member.do_job()
    member.snapshots.fails_next = NO_SPACE
    member.do_job()
    assert member.reported == [("snapshot", NO_SPACE)]
    assert member.do_jobs()[-1] == "abandon"
    assert member.snapshots.list() == []
    assert member.replica.snapshots.taking.last_failed
    member.advance(RETRY_MS - 100)
    assert not member.jobs
    member.advance(200)
    member.do_jobs()
    assert len(member.snapshots.list()) == 1
    assert not member.replica.snapshots.taking.last_failed


def test_who_asked_hears_what_became_of_it() -> None:
    member = member_with()
    member.write(b"SET", b"a", b"1")
    snapshots = member.replica.snapshots
    first = request(member)
    assert snapshots.outcome_of(first) is None
    second = request(member)  # one is under way, of a state that may be older
    while snapshots.outcome_of(first) is None:
        member.do_job()
    assert snapshots.outcome_of(first) == member.replica.applied
    assert snapshots.outcome_of(second) is None
    member.do_jobs()
    assert snapshots.outcome_of(second) == member.replica.applied
    third = request(member)  # nothing is newer
    assert snapshots.outcome_of(third) == member.replica.applied
    assert not member.jobs
    member.write(b"SET", b"a", b"2")
    failed = request(member)
    member.snapshots.fails_next = NO_SPACE
    member.do_jobs()
    assert "no space left" in str(snapshots.outcome_of(failed))


def test_a_machine_without_snapshots_is_asked_once() -> None:
    member = member_with(WithoutSnapshots(), log_entries_max=3)
    for _ in range(10):
        member.write(b"SET", b"a", b"1")
    assert len(member.reported) == 1
    number = request(member)
    assert "takes no snapshots" in str(member.replica.snapshots.outcome_of(number))
    assert not member.jobs


def test_only_so_many_are_kept() -> None:
    member = member_with(keep=2)
    for _ in range(4):
        member.write(b"SET", b"a", b"1")
        request(member)
        member.do_jobs()
    assert len(member.snapshots.list()) == 2


def test_where_one_is_damaged_a_new_one_takes_the_place_of_all() -> None:
    member = member_with(keep=2)

    def another() -> None:
        member.write(b"SET", b"a", b"1")
        request(member)
        member.do_jobs()

    another()
    another()
    member.replica.snapshots.replace_all()
    member.advance(100)
    member.do_jobs()
    assert [info.meta.index for info in member.snapshots.list()] == [member.replica.applied]
    another()
    assert len(member.snapshots.list()) == 2, "from then on as ever"


def test_what_a_life_that_was_killed_has_not_removed_goes_when_the_next_begins() -> None:
    store = MemorySnapshotStore()
    for index in (1, 2, 3, 4):
        store.create(SnapshotMeta(index, 1, 0, b"", "redis", 1, "")).finish()
    snapshots = Snapshots(
        store,
        SnapshotSettings(keep=2),
        on_taken=ignore,
        on_received=ignore,
        tell=lambda _index, _offset: None,
        report=lambda _what, _error: None,
    )
    [job] = snapshots.take_jobs()
    job.carry_out()
    assert [info.meta.index for info in store.list()] == [4, 3]


# ---- sending

CHUNK = 10


def store_with(index: int = 7, term: int = 2, size: int = 105) -> tuple[MemorySnapshotStore, SnapshotInfo]:
    store = MemorySnapshotStore()
    writer = store.create(SnapshotMeta(index, term, 0, b"", "redis", 1, ""))
    overhead = len(b"".join(read_all(store, writer.finish())))
    writer = store.create(SnapshotMeta(index, term, 0, b"", "redis", 1, ""))
    writer.write(1, bytes(range(size - overhead - 5)))
    return store, writer.finish()


def read_all(store: MemorySnapshotStore, info: SnapshotInfo) -> list[bytes]:
    reader = store.open(info)
    return [reader.read(at, CHUNK) for at in range(0, info.size_bytes, CHUNK)]


class Sender:
    def __init__(self, store: MemorySnapshotStore, bytes_per_s_max: int = 0) -> None:
        self.now_ms = 1000
        self.sending = Sending(store, bytes_per_s_max, CHUNK)

    def send(self, *wanting: int) -> list[tuple[int, int]]:
        """(offset, bytes) of what goes to member 2."""
        chunks = self.sending.send(3, wanting or (2,), self.now_ms)
        return [(chunk.offset, len(chunk.data)) for peer, chunk in chunks if peer == 2]

    def reply(self, offset: int, index: int = 7) -> None:
        self.sending.on_reply(2, SnapshotReply(3, index, offset, False), self.now_ms)


def test_it_is_offered_first_and_goes_on_where_the_other_is() -> None:
    store, info = store_with()
    sender = Sender(store)
    assert sender.send() == [(0, 0)]
    assert sender.send() == [], "it waits for the answer"
    sender.reply(70)
    assert sender.send() == [(at, min(CHUNK, info.size_bytes - at)) for at in range(70, info.size_bytes, CHUNK)]


def test_only_a_window_is_ahead_of_the_acknowledgements() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.reply(0)
    assert [offset for offset, _ in sender.send()] == [at * CHUNK for at in range(WINDOW_CHUNKS)]
    assert sender.send() == []
    sender.reply(10)
    assert sender.send() == [(WINDOW_CHUNKS * CHUNK, CHUNK)]
    assert sender.sending.peers == {2: (10, store_with()[1].size_bytes)}


def test_silence_is_followed_by_another_offer() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.reply(0)
    sender.send()
    sender.now_ms += SILENCE_MS_MAX + 1
    assert sender.send() == [(0, 0)]
    sender.reply(30)
    assert sender.send()[0] == (30, CHUNK)


def test_a_receiver_that_begins_anew_is_sent_all_again() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.reply(50)
    sender.send()
    sender.reply(0)
    assert sender.send()[0] == (0, CHUNK)


def test_a_new_link_asks_where_to_go_on_and_a_lost_one_releases_the_log() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.reply(0)
    sender.send()
    sender.sending.on_link_up(2)
    assert sender.send() == [(0, 0)]
    assert sender.sending.log_needed_from == 8
    sender.sending.on_link_down(2)
    assert sender.sending.log_needed_from is None


def test_who_wants_none_any_more_is_sent_no_more() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.send(3)
    assert sender.sending.peers.keys() == {3}
    sender.sending.close()
    assert not sender.sending.peers


def test_the_rate_is_limited_for_all_together() -> None:
    sender = Sender(store_with()[0], bytes_per_s_max=100)
    sender.send(2, 3)
    for peer in (2, 3):
        sender.sending.on_reply(peer, SnapshotReply(3, 7, 0, False), sender.now_ms)
    sent = 0
    for _ in range(10):
        sent += sum(len(chunk.data) for _, chunk in sender.sending.send(3, (2, 3), sender.now_ms))
        for peer, (acknowledged, _) in sender.sending.peers.items():
            transfer = sender.sending._transfers[peer]
            sender.sending.on_reply(peer, SnapshotReply(3, 7, transfer.sent or acknowledged, False), sender.now_ms)
        sender.now_ms += 100
    assert 90 <= sent <= 120


def test_an_answer_about_another_snapshot_says_nothing() -> None:
    sender = Sender(store_with()[0])
    sender.send()
    sender.reply(50, index=6)
    assert sender.send() == []


def test_there_is_nothing_to_send_without_a_snapshot() -> None:
    assert Sender(MemorySnapshotStore()).send() == []


# ---- receiving


class Receiver:
    def __init__(self) -> None:
        self.store = MemorySnapshotStore()
        self.received: list[SnapshotInfo] = []
        self.told: list[tuple[int, int]] = []
        self.reported: list[Exception] = []
        self.receiving = Receiving(
            self.store,
            self.received.append,
            lambda index, offset: self.told.append((index, offset)),
            lambda _what, error: self.reported.append(error),
        )

    def chunk(self, info: SnapshotInfo, offset: int, data: bytes, leaders_term: int = 3) -> None:
        meta = info.meta
        self.receiving.on_chunk(SnapshotChunk(leaders_term, meta.index, meta.term, info.size_bytes, offset, data))

    def do_jobs(self, failing: str = "", error: OSError | StorageCorrupt | None = None) -> None:
        """The first called `failing` meets `error`."""
        while self.receiving.jobs:
            job = self.receiving.jobs.pop(0)
            if job.what == failing:
                self.store.fails_next, error = error, None
            try:
                result = job.run()
            except (OSError, StorageCorrupt) as raised:
                job.failed(raised)
            else:
                job.then(result)

    def take(self, store: MemorySnapshotStore, info: SnapshotInfo, leaders_term: int = 3) -> None:
        self.chunk(info, 0, b"", leaders_term)
        for at, data in enumerate(read_all(store, info)):
            self.chunk(info, at * CHUNK, data, leaders_term)


def test_what_is_written_is_acknowledged_and_the_whole_is_kept() -> None:
    store, info = store_with()
    receiver = Receiver()
    receiver.take(store, info)
    assert receiver.told == [(7, 0)], "nothing is written yet"
    assert receiver.receiving.progress == (0, info.size_bytes)
    receiver.do_jobs()
    assert receiver.told[-1] == (7, info.size_bytes)
    assert receiver.received == [info] == receiver.store.list()
    assert receiver.receiving.progress is None


def test_repeats_and_gaps_are_left_out() -> None:
    store, info = store_with()
    receiver = Receiver()
    first, second, *_ = read_all(store, info)
    receiver.chunk(info, 0, first)
    receiver.chunk(info, 0, first)
    receiver.chunk(info, 20, second)
    receiver.chunk(info, 10, second)
    receiver.do_jobs()
    assert receiver.told == [(7, 10), (7, 20)]


def test_a_newer_one_takes_the_place_of_an_older_but_not_the_other_way_round() -> None:
    store, info = store_with()
    newer_store, newer = store_with(index=9)
    receiver = Receiver()
    receiver.chunk(info, 0, read_all(store, info)[0])
    receiver.take(newer_store, newer)
    receiver.chunk(info, 10, read_all(store, info)[1])
    receiver.do_jobs()
    assert receiver.received == [newer]


def test_a_new_leader_may_have_an_older_one_only() -> None:
    """The one that was under way will never be completed: its leader is gone."""
    store, info = store_with(index=9)
    older_store, older = store_with(index=7)
    receiver = Receiver()
    receiver.chunk(info, 0, read_all(store, info)[0], leaders_term=3)
    receiver.take(older_store, older, leaders_term=4)
    receiver.do_jobs()
    assert receiver.received == [older]


def test_another_leader_with_the_same_file_goes_on_where_the_first_ended() -> None:
    store, info = store_with()
    receiver = Receiver()
    chunks = read_all(store, info)
    receiver.chunk(info, 0, chunks[0], leaders_term=3)
    receiver.do_jobs()
    receiver.chunk(info, 0, b"", leaders_term=4)
    assert receiver.told[-1] == (7, 10)


def test_a_file_that_does_not_hold_is_begun_again() -> None:
    store, info = store_with()
    receiver = Receiver()
    damage = StorageCorrupt("the snapshot is damaged")
    receiver.take(store, info)
    receiver.do_jobs("verify", damage)
    assert receiver.reported == [damage]
    assert receiver.told[-1] == (7, 0)
    assert receiver.received == []
    receiver.take(store, info)
    receiver.do_jobs()
    assert receiver.received == [info]


def test_a_disk_that_fails_is_told_once_and_the_sender_begins_again() -> None:
    store, info = store_with()
    receiver = Receiver()
    receiver.take(store, info)
    receiver.do_jobs("receive", NO_SPACE)
    assert receiver.reported == [NO_SPACE]
    assert receiver.told == [(7, 0), (7, 0)]


# ---- what has been received


def received_by(member: Alone, index: int) -> SnapshotInfo:
    """As if a leader had sent one."""
    [source] = member.snapshots.list()[:1]
    writer = member.snapshots.create(SnapshotMeta(index, 1, 0, source.meta.membership, "redis", 1, ""))
    for kind, data in member.snapshots.open(source).slices():
        writer.write(kind, data)
    info = writer.finish()
    job = Job("verify", lambda: info, member.replica.snapshots.receiving._on_finished, lambda _error: None)
    member.replica.on_job_done(job, info)
    member.run()
    return info


def test_one_that_came_too_late_changes_nothing() -> None:
    """Meanwhile the log has brought more, and a newer snapshot is being taken here."""
    member = member_with()
    member.write(b"SET", b"a", b"1")
    request(member)
    member.do_jobs()
    for _ in range(3):
        member.write(b"SET", b"a", b"2")
    number = request(member)
    received_by(member, member.replica.applied - 1)
    member.do_jobs()
    assert member.replica.snapshots.outcome_of(number) == member.replica.applied
    assert member.replica.snapshots.newest == member.snapshots.list()[0]
    assert member.snapshots.list()[0].meta.index == member.replica.applied


def test_those_received_do_not_pile_up() -> None:
    member = Alone(SlicedMachine(), leads=False, snapshots=SnapshotSettings(keep=1))
    donor = member_with()
    donor.write(b"SET", b"a", b"1")
    request(donor)
    donor.do_jobs()
    member.snapshots.files.update(donor.snapshots.files)
    for index in (10, 20, 30):
        received_by(member, index)
        member.do_jobs()
        assert member.replica.applied == index
    assert [info.meta.index for info in member.snapshots.list()] == [30]
