"""One simulated member: a real `Replica`, driven as `server/driver.py` drives it, with simulated surroundings.

What reaches a member goes to its inbox, and a moment later one step handles all that has gathered: inputs, a tick when
one is due, then turns until nothing is left to do. A paused member (SIGSTOP) gathers and handles nothing; its clocks go
on. A crashed one loses everything but its disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from raftkv.errors import LeaseInForce, ProtocolError
from raftkv.machines.interface import Kind, StateMachine
from raftkv.raft.membership import Membership
from raftkv.raft.messages import Entry
from raftkv.replica import Replica, Sink
from raftkv.replica.effects import Due
from raftkv.replica.jobs import Job
from raftkv.replica.verifying import Verdict
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from raftkv.testing.clock import Clock
from raftkv.testing.disk import Disk
from raftkv.testing.failure import RuleBroken
from raftkv.testing.invariants.base import Watchers
from raftkv.testing.network import Link, Network
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule
from raftkv.testing.trace import Trace
from raftkv.wire.peer import FrameParser, PeerMessage

TURNS_MAX = 1000
"""A step that takes more turns than this would never end."""


class Member:
    def __init__(
        self,
        member_id: int,
        founders: Membership,
        *,
        schedule: Schedule,
        random: Random,
        scenario: Scenario,
        network: Network,
        clock: Clock,
        new_machine: Callable[[], StateMachine],
        watchers: Watchers,
        trace: Trace,
    ) -> None:
        self.id = member_id
        self.founders = founders
        self.snapshots = MemorySnapshotStore()
        """On disk: what is finished survives a crash."""
        self.clock = clock
        self.disk = Disk(schedule, random, scenario.sync_us)
        self.disk.on_synced = lambda sequence: self._put(self._synced, sequence)
        self.disk.on_failed = self._disk_failed
        self.disk.on_durable = lambda write: watchers.on_durable(self, write)
        self.disk.history = watchers.facts.history
        self.replica: Replica | None = None
        self.log: list[Entry] = []
        """All entries as this member has them now, in memory, on disk or in its snapshot."""
        self.paused = False
        self.awake_ms = 0
        """How long this life has run so far, pauses left out."""
        self.life = 0
        self.opened: dict[int, Callable[[], None]] = {}
        """Number of a piece of work -> called when the process dies: its client's connection breaks."""

        self.carry_out: Callable[[Due], bool] = lambda due: True  # noqa: ARG005
        """Carries an effect of the machine out; returns whether that went well."""

        self._schedule = schedule
        self._random = random
        self._scenario = scenario
        self._network = network
        self._new_machine = new_machine
        self._watchers = watchers
        self._trace = trace
        self._links: dict[int, Link] = {}
        self._inbox: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._woken = False
        self._ticked_ms = 0

    @property
    def is_up(self) -> bool:
        return self.replica is not None

    @property
    def is_responsive(self) -> bool:
        return self.replica is not None and not self.paused

    @property
    def leads(self) -> bool:
        return self.replica is not None and self.replica.node.leads_and_is_ready

    # ---- process

    def start(self) -> None:
        """Start the process, or start it again, from what its disk has."""
        if self.replica is not None:
            return
        self._trace.note("start", self.id)
        self.life += 1
        store = self.disk.reopen()
        self.log = list(self.disk.entries)
        self._jobs: deque[Job] = deque()
        self._ticked_ms = self.clock.now_ms()
        self.awake_ms = 0
        self.replica = Replica(
            self.id,
            self.founders,
            machine=self._new_machine(),
            store=store,
            snapshots=self.snapshots,
            settings=self._scenario.replica,
            random=Random(self._random.getrandbits(64)),
            now_ms=self._ticked_ms,
        )
        self.replica.verification.tell = _must_be_equal
        self._watchers.on_start(self)
        self._tick(self.life)

    def crash(self) -> None:
        if self.replica is None:
            return
        self._trace.note("crash", self.id)
        self.replica = None
        self.life += 1
        self.paused = False
        self.disk.crash()
        self._inbox, self._links = [], {}
        self._network.on_crash(self.id)
        broken, self.opened = self.opened, {}
        for connection in broken.values():
            connection()

    def pause(self) -> None:
        if self.replica is not None and not self.paused:
            self._trace.note("pause", self.id)
            self.paused = True

    def resume(self) -> None:
        if self.paused:
            self._trace.note("resume", self.id)
            self.paused = False
            self._wake()

    def _disk_failed(self) -> None:
        self._trace.note("disk failed", self.id)
        self.crash()

    # ---- inputs: the network's, the clients', the disk's

    def on_link_up(self, peer: int, link: Link) -> None:
        self._put(self._link_up, peer, link)

    def on_link_down(self, peer: int, link: Link) -> None:
        self._put(self._link_down, peer, link)

    def on_arrival(self, peer: int, link: Link, what: PeerMessage | bytes) -> None:
        self._put(self._arrival, peer, link, what)

    def on_datagram(self, peer: int, what: PeerMessage | bytes) -> None:
        self._put(self._datagram, peer, what)

    def submit(self, kind: Kind, commands: list[list[bytes]], scope: int, sink: Sink) -> None:
        """`scope` as in `machines.interface.Batch`, the same for all commands."""
        self._put(self._submit, kind, commands, scope, sink)

    def campaign(self) -> None:
        """Make it stand for election, as when it has not heard of a leader for too long."""
        self._put(self._campaign)

    def trigger_election(self) -> None:
        """Make it stand for election whoever leads, as an operator may."""
        self._put(self._trigger_election)

    def _put(self, handle: Callable[..., None], *what: object) -> None:
        if self.replica is not None:
            self._inbox.append((handle, what))
            self._wake()

    def _wake(self) -> None:
        if not self._woken and not self.paused:
            self._woken = True
            self._schedule.after(self._random.choice((1, 10, 50, 300)), self._step)

    def _tick(self, life: int) -> None:
        if life == self.life:
            self._wake()
            self._schedule.after(self._scenario.tick_ms * 1000, self._tick, life)

    # ---- one step

    def _step(self) -> None:
        self._woken = False
        if self.replica is None or self.paused:
            return
        inbox, self._inbox = self._inbox, []
        now_ms = self.clock.now_ms()
        self.replica.on_clock(now_ms)
        received = [(handle, what) for handle, what in inbox if handle == self._submit]
        for handle, what in inbox:
            if handle != self._submit:
                handle(self.replica, *what)
        self._take_in(self.replica, received)
        if now_ms - self._ticked_ms >= self._scenario.tick_ms // 2:
            self.awake_ms += min(now_ms - self._ticked_ms, 2 * self._scenario.tick_ms)
            self._ticked_ms = now_ms
            self.replica.on_tick(now_ms)
        self._turns(self.replica)
        if self.replica.effects.stirred:
            self._begin_effects(self.replica)
        self._watchers.after_step(self)

    def _take_in(self, replica: Replica, received: list[tuple[Callable[..., None], tuple[object, ...]]]) -> None:
        """What clients have sent; as in the hub, after everything else that this step has brought."""
        early = replica.reads.begin_early(len(received), self.clock.wall_ms())
        self._send(early)
        for handle, what in received:
            handle(replica, *what)
        if early:
            replica.reads.join()

    def _send(self, sends: Sequence[tuple[int, PeerMessage]]) -> None:
        for peer, message in sends:
            self._trace.note(self.id, peer, message)
            self._watchers.on_send(self, peer, message)
            self._network.send(self.id, peer, message, self._links.get(peer))

    def _turns(self, replica: Replica) -> None:
        wall_ms = self.clock.wall_ms()
        if replica.only_reads:
            replica.reads.serve(wall_ms)
        if not replica.needs_turn:
            return
        for _ in range(TURNS_MAX):
            replica.on_clock(self.clock.now_ms())
            turn = replica.turn(wall_ms)
            if turn.write is not None:
                self._watchers.on_write(self, turn.write)
                if turn.write.base is not None:
                    index, term = turn.write.base
                    if index > len(self.log) or self.log[index - 1].term != term:
                        self.log = self._watchers.facts.history(index)
                if turn.write.entries:
                    self.log[turn.write.entries[0].index - 1 :] = turn.write.entries
                self.disk.submit(turn.sequence, turn.write)
            if turn.jobs:
                if not self._jobs:
                    self._begin_job()
                self._jobs += turn.jobs
            self._send(turn.sends)
            if replica.apply(wall_ms):
                self._wake()
            if not replica.wants_turn:
                return
        raise RuleBroken("a step ends", f"member {self.id} took {TURNS_MAX} turns")

    def _begin_job(self) -> None:
        self._schedule.after(self._random.choice(self._scenario.job_us), self._do_job, self.life)

    def _do_job(self, life: int) -> None:
        """The oldest job is carried out; what it leads to reaches the replica a moment later."""
        if life != self.life:
            return
        job = self._jobs.popleft()
        self._put(self._job_done, job, *job.carry_out())
        if self._jobs:
            self._begin_job()

    def _job_done(self, replica: Replica, job: Job, result: object, error: Exception | None) -> None:
        replica.on_job_done(job, result, error)

    def _begin_effects(self, replica: Replica) -> None:
        for due in replica.effects.take_due():
            delay_us = self._random.choice((100, 5000, 200_000))
            self._schedule.after(delay_us, self._carry_out, self.life, due)

    def _carry_out(self, life: int, due: Due) -> None:
        if life != self.life or self.replica is None:
            return
        well = self.carry_out(due)
        self._put(self._effect_ended, due.id, well)
        if due.effect.durable and not well and self.replica.effects.leading:
            self._schedule.after(50_000, self._carry_out, life, due)

    def _effect_ended(self, replica: Replica, effect_id: str, well: bool) -> None:
        replica.on_effect_ended(effect_id, well)

    def _link_up(self, replica: Replica, peer: int, link: Link) -> None:
        if peer in self._links:
            replica.on_link_down(peer)
        self._links[peer] = link
        self._trace.note("up", self.id, peer, link.number)
        replica.on_link_up(peer)

    def _link_down(self, replica: Replica, peer: int, link: Link) -> None:
        if self._links.get(peer) is link:
            del self._links[peer]
            self._trace.note("down", self.id, peer, link.number)
            replica.on_link_down(peer)

    def _arrival(self, replica: Replica, peer: int, link: Link, what: PeerMessage | bytes) -> None:
        if self._links.get(peer) is not link:
            return
        if not isinstance(what, bytes):
            replica.on_message(peer, what)
            return
        parser = link.streams[peer].parser
        try:
            messages = parser.feed(what)
        except ProtocolError:
            messages = []
        for message in messages:
            replica.on_message(peer, message)
        if parser.failed:
            self._network.break_link(self.id, peer)
            self._link_down(replica, peer, link)

    def _datagram(self, replica: Replica, peer: int, what: PeerMessage | bytes) -> None:
        if isinstance(what, bytes):
            (what,) = FrameParser().feed(what)
        replica.on_message(peer, what)

    def request_snapshot(self) -> None:
        """Have it take a snapshot, as BGSAVE does."""
        self._put(self._request_snapshot)

    def _request_snapshot(self, replica: Replica) -> None:
        replica.snapshots.request(replica.applied)

    def _submit(self, replica: Replica, kind: Kind, commands: list[list[bytes]], scope: int, sink: Sink) -> None:
        size_bytes = sum(len(argument) for argv in commands for argument in argv)
        scopes = dict.fromkeys(range(len(commands)), scope) if scope else {}
        system = any(map(replica.ledger.is_system, commands))
        replica.submit(kind, commands, scopes, size_bytes, sink, system)

    def _synced(self, replica: Replica, sequence: int) -> None:
        replica.on_synced(sequence)

    def _campaign(self, replica: Replica) -> None:
        replica.node.campaign()

    def _trigger_election(self, replica: Replica) -> None:
        with suppress(LeaseInForce):
            replica.trigger_election()


def _must_be_equal(verdict: Verdict) -> None:
    if verdict.differing:
        raise RuleBroken("verification", f"at entry {verdict.index} members {verdict.differing} differ")
