"""One life of a member: its parts put together from what is on disk, and the tasks that run them.

    client ports, links, disk's bell  ->  Hub  ->  Driver  ->  Replica (core, machine, log)

A life ends when it is cancelled, or when a task fails; the exception then leaves `run`. Whether another life follows is
for `supervisor.py` to say. All that a life has opened is closed with it, except the ports.
"""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import msgspec
import trio

from raftkv.cluster import founding
from raftkv.errors import NotVoter, Removed
from raftkv.machines.interface import StateMachine
from raftkv.raft.roles import Role
from raftkv.raft.settings import RaftSettings
from raftkv.replica import Replica, ReplicaSettings
from raftkv.replica.sessions import Limits
from raftkv.replica.snapshots import SnapshotSettings
from raftkv.replica.verifying import Verdict
from raftkv.server import driver as clock
from raftkv.server.calls import Calls
from raftkv.server.commands import LOCAL_COMMANDS
from raftkv.server.disk import DiskThread
from raftkv.server.driver import TICK_INTERVAL_MS, Driver
from raftkv.server.effects import Effects
from raftkv.server.entrance import Request
from raftkv.server.hub import Hub
from raftkv.server.jobs import JobThread
from raftkv.server.joining import addresses_in, ask_to_be_added, blamed_on_settings
from raftkv.server.links import Links
from raftkv.server.peers import Identity, Peers
from raftkv.server.ports import Ports, accept_clients
from raftkv.server.server import Server
from raftkv.server.waiting import Waiting
from raftkv.settings import Settings
from raftkv.storage.files import Files
from raftkv.storage.interface import LogStore, SnapshotStore
from raftkv.storage.memory import MemoryLogStore
from raftkv.storage.memory_snapshots import MemorySnapshotStore
from raftkv.storage.snapshots import SnapshotFiles
from raftkv.storage.wal import Wal

HAND_OVER_MS = 1000
"""So long a leader that stops waits for another to take over."""

STOP_GRACE_MS = 3000
"""Clients whose commands are under way when the member is told to stop get their replies within so long."""


class Plan(msgspec.Struct, frozen=True):
    """What all lives of a member have in common."""

    settings: Settings
    identity: Identity
    random: Random
    log: Any

    @property
    def waits(self) -> bool:
        """Whether the member belongs to no cluster yet."""
        return not self.identity.cluster_id

    def begun(self, began: founding.Founding) -> Plan:
        """The plan of the same member in this cluster."""
        identity = msgspec.structs.replace(
            self.identity,
            cluster_id=began.cluster_id,
            cluster_name=began.name,
            members=began.members,
            began_empty=began.began_empty == self.identity.member_id,
        )
        return msgspec.structs.replace(self, identity=identity)


def open_stores(plan: Plan, machine_name: str) -> tuple[LogStore, SnapshotStore]:
    """The member's log and snapshots. Blocks for as long as it takes to read all of the log. Raises StorageCorrupt,
    StorageFailed."""
    if plan.waits:
        return MemoryLogStore(), MemorySnapshotStore()
    settings, log = plan.settings, plan.log
    wal = Wal.open(
        settings.node.data_dir,
        cluster_id=plan.identity.cluster_id,
        member_id=plan.identity.member_id,
        machine=machine_name,
        fsync=settings.storage.fsync == "always",
        segment_bytes=settings.storage.segment_bytes,
        on_event=lambda event, fields: (log.info if event == "wal_segment" else log.warning)(event, **fields),
    )
    try:
        identity = plan.identity
        began_empty = identity.member_id if identity.began_empty else None
        began = founding.Founding(identity.cluster_id, identity.members, identity.cluster_name, began_empty)
        founding.store_if_new(Files(), settings.node.data_dir, began)
        snapshots = SnapshotFiles(
            settings.node.data_dir,
            cluster_id=plan.identity.cluster_id,
            machine=machine_name,
            fsync=settings.storage.fsync == "always",
        )
    except BaseException:
        wal.close()
        raise
    return wal, snapshots


class Member:
    """`hub` is given, since who shares a thread with others waits in another way (`shared_hub.py`)."""

    def __init__(self, plan: Plan, machine: StateMachine, store: LogStore, snapshots: SnapshotStore, hub: Hub) -> None:
        self._plan = plan
        self._store = store
        self._accepting = trio.CancelScope()
        self.hub = hub
        self.replica = Replica(
            plan.identity.member_id,
            plan.identity.founders,
            machine=machine,
            store=store,
            snapshots=snapshots,
            settings=replica_settings(plan.settings),
            random=plan.random,
            now_ms=clock.now_ms(),
            cluster_id=plan.identity.cluster_id,
            report=self._report,
        )
        self.replica.verification.tell = self._tell_verdict
        self._driver = Driver(self.replica)
        self._links = Links(
            hub,
            read_clock=self._driver.read_clock,
            on_up=self.replica.on_link_up,
            on_down=self.replica.on_link_down,
            on_message=self.replica.on_message,
            frame_bytes_max=plan.settings.peer.frame_bytes_max,
            queue_bytes_max=plan.settings.peer.queue_bytes_max,
            log=plan.log,
        )
        self._driver.links = self._links
        self._driver.disk = DiskThread(store, hub, self.replica.on_synced)
        self._driver.jobs = JobThread(hub, self.replica.on_job_done)
        self.server = Server(
            plan.settings,
            hub=hub,
            replica=self.replica,
            links=self._links,
            cluster_id=plan.identity.cluster_id,
            founders=plan.identity.members,
            local_commands=LOCAL_COMMANDS,
            log=plan.log,
        )
        self.calls = Calls(self.server)
        self._effects = Effects(
            self.replica, plan.settings.effects, self.server.effects, plan.random, self.calls.wake, plan.log
        )
        self._driver.effects = self._effects
        self.role_changed = trio.Event()
        """Set, and replaced by a new one, when role, term or leader have changed."""

    async def run(self, ports: Ports) -> None:
        """Serve until cancelled, or until it is decided which cluster a waiting member belongs to: see `decided`."""
        plan = self._plan
        plan.log.info(
            "waiting" if plan.waits else "serving",
            clients=plan.settings.client.address,
            peers=plan.settings.peer.address,
            data_dir=plan.settings.node.data_dir,
            cluster_id=plan.identity.cluster_id,
            log_last_index=self.replica.node.log.last_index,
        )
        identity = msgspec.structs.replace(plan.identity, machine_version=self.replica.machine.version)
        peers = Peers(plan.settings, identity, self.replica.node, self._links, plan.random, plan.log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hub.run, self._driver.turn, clock.now_ms)
            nursery.start_soon(self._tick)
            nursery.start_soon(peers.run, ports.peers())
            nursery.start_soon(accept_clients, ports.clients(), self.server.add_session, self._accepting, plan.log)
            nursery.start_soon(self._effects.run)
            if isinstance(self._store, Wal):
                nursery.start_soon(
                    self.server.scrub.run, plan.settings.storage, plan.settings.node.data_dir, self._store, plan.log
                )
            if plan.settings.cluster.join and plan.identity.member_id not in self.replica.node.voters:
                nursery.start_soon(self._ask_to_be_added)
            nursery.start_soon(self._watch_role)
            await self.server.entrance.run()
            nursery.cancel_scope.cancel()

    @property
    def decided(self) -> tuple[Request, founding.Founding] | None:
        """What a waiting member was told: by which command, and which cluster it is."""
        entrance = self.server.entrance
        return entrance.decided if isinstance(entrance, Waiting) else None

    async def _ask_to_be_added(self) -> None:
        settings = self._plan.settings
        with blamed_on_settings(settings):
            await ask_to_be_added(settings, addresses_in(settings.cluster.join), self._plan.log)

    async def drain(self) -> None:
        """Take no new clients, hand leadership over, and wait until those who wait for replies have them, as far as
        STOP_GRACE_MS allows."""
        self.server.stopping = True
        self._accepting.cancel()
        await self._hand_over()
        with trio.move_on_after(STOP_GRACE_MS / 1000):
            while self._is_busy:  # noqa: ASYNC110 (bounded)
                await trio.sleep(TICK_INTERVAL_MS / 1000)

    async def _hand_over(self) -> None:
        """Have another voter lead, so that nobody waits for an election timeout. Bounded: it may not be possible."""
        node = self.replica.node
        if not node.leads_and_is_ready:
            return
        with contextlib.suppress(NotVoter):
            node.transfer_leadership()
            self.calls.wake()
            with trio.move_on_after(HAND_OVER_MS / 1000):
                while node.role is Role.LEADER:  # noqa: ASYNC110 (bounded)
                    await trio.sleep(TICK_INTERVAL_MS / 1000)

    @property
    def _is_busy(self) -> bool:
        return self.calls.waiting > 0 or any(session.busy for session in self.server.sessions.values())

    def _report(self, what: str, error: Exception) -> None:
        """The machine raised where that does not stop the member."""
        self._plan.log.error("machine_raised", asked=what, machine=type(self.replica.machine).__name__, exc_info=error)

    def _tell_verdict(self, verdict: Verdict) -> None:
        log = self._plan.log
        digests = {member: (digest or b"").hex()[:16] for member, digest in verdict.digests.items()}
        if verdict.differing:
            log.error("state_differs", index=verdict.index, members=verdict.differing, digests=digests)
        else:
            log.info("state_verified", index=verdict.index, digests=digests)

    def close(self, reason: str) -> None:
        """Finish the disk's queue and close everything that this life has opened. The machine hears the `reason`."""
        try:
            self.replica.machine.terminate(reason)
        except Exception as error:
            self._report("terminate", error)
        self._driver.jobs.stop()
        self._driver.disk.stop()
        self.replica.effects.release_all()
        self.replica.snapshots.sending.close()
        self.hub.send_all()
        for session in list(self.server.sessions.values()):
            session.close("stopping")
        self._links.close()
        self.calls.close()
        self.hub.close()
        self._store.close()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_INTERVAL_MS / 1000)
            while self._driver.turn():
                await trio.lowlevel.checkpoint()  # entries are left to be applied, as after a restart
            self.server.on_tick()
            self.hub.send_all()
            if self.hub.has_more:
                self.calls.wake()  # what clients sent behind a command that was parked until now

    async def _watch_role(self) -> None:
        """Log changes of role, term and leader: the lines one greps first after an incident."""
        node, log = self.replica.node, self._plan.log
        known = None
        while True:
            if node.is_removed:
                await self.drain()  # whoever asked this very member for it should hear that it is done
                raise Removed(self._plan.identity.member_id, self._plan.identity.cluster_id)
            state = (node.role, node.term, node.leader_id)
            if state != known:
                known = state
                log.info("role", role=node.role.value, term=node.term, leader=node.leader_id, commit=node.log.commit)
                self.role_changed.set()
                self.role_changed = trio.Event()
            await trio.sleep(TICK_INTERVAL_MS / 1000)


def replica_settings(settings: Settings) -> ReplicaSettings:
    raft = settings.raft
    return ReplicaSettings(
        raft=RaftSettings(
            election_timeout_ms_min=raft.election_timeout_ms_min,
            election_timeout_ms_max=raft.election_timeout_ms_max,
            heartbeat_interval_ms=raft.heartbeat_interval_ms,
            lease_drift_percent_max=raft.lease_drift_percent_max,
            min_majority=settings.cluster.min_majority,
            disk_stall_ms_max=raft.disk_stall_ms_max,
            append_entries_max=raft.append_entries_max,
            append_bytes_max=raft.append_bytes_max,
            inflight_appends_max=raft.inflight_appends_max,
            inflight_bytes_max=raft.inflight_bytes_max,
            log_cache_bytes_max=settings.storage.log_cache_bytes_max,
        ),
        snapshots=SnapshotSettings(
            log_entries_max=settings.snapshot.log_entries_max,
            log_bytes_max=settings.snapshot.log_bytes_max,
            keep=settings.snapshot.keep,
            send_bytes_per_s_max=settings.snapshot.send_bytes_per_s_max,
        ),
        forwards=settings.client.routing == "forward",
        reads_locally=settings.client.follower_reads == "local",
        joining_patience_ms=raft.joining_patience_ms,
        verify_interval_ms=raft.verify_interval_s * 1000,
        verify_patience_ms=raft.verify_patience_s * 1000,
        proposals_inflight_max=raft.proposals_inflight_max,
        entry_bytes_max=raft.append_bytes_max,
        frame_bytes_max=settings.peer.frame_bytes_max,
        no_leader_wait_ms=raft.no_leader_wait_ms,
        request_timeout_ms=raft.request_timeout_ms,
        outbox_max=settings.effects.outbox_max,
        outbox_bytes_max=settings.effects.outbox_bytes_max,
        sessions=Limits(
            sessions_max=settings.session.sessions_max,
            ttl_ms=settings.session.ttl_ms,
            ttl_ms_max=settings.session.ttl_ms_max,
            replies_max=settings.session.replies_max,
            reply_bytes_max=settings.session.reply_bytes_max,
            reply_bytes_total_max=settings.session.reply_bytes_total_max,
        ),
    )
