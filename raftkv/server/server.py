"""What the parts of one running member share: settings, replica, links, sessions, the command table, counters."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Reply
from raftkv.replica import Replica
from raftkv.server import driver
from raftkv.server.arrivals import Arrivals
from raftkv.server.connection import EVENTS
from raftkv.server.effects import EffectStats
from raftkv.server.entrance import Entrance
from raftkv.server.hub import Hub
from raftkv.server.limits import command_bytes_max
from raftkv.server.memory import MemoryGauge
from raftkv.server.refusals import DIRTY_READS_DISABLED
from raftkv.server.scrubbing import Scrub
from raftkv.server.session import Session
from raftkv.server.staleness import Staleness
from raftkv.server.waiting import Waiting, answered
from raftkv.server.watch import LeaderWatch
from raftkv.settings import Settings

if TYPE_CHECKING:
    from raftkv.server.commands.cluster_keys import Walk
    from raftkv.server.links import Links


class Stats:
    """Counters since the start, or since CONFIG RESETSTAT."""

    def __init__(self) -> None:
        self.connections = 0
        self.rejected_connections = 0
        self.commands = 0
        self.commands_not_done = 0
        self.commands_unknown = 0
        self.output_buffer_limit_disconnections = 0
        self.query_buffer_limit_disconnections = 0


class Server:
    def __init__(
        self,
        settings: Settings,
        *,
        hub: Hub,
        replica: Replica,
        links: Links,
        cluster_id: str,
        founders: Mapping[int, str],
        local_commands: Mapping[bytes, Command],
        log: Any,
    ) -> None:
        """`local_commands` are the connection's own; with the machine's and the ledger's they are the command table."""
        self.settings = settings
        self.hub = hub
        self.replica = replica
        self.links = links
        self.cluster_id = cluster_id
        self.founders = founders
        """Id -> peer address of the members that the cluster began with."""

        self.log = log
        self.stats = Stats()
        self.command_bytes_max = command_bytes_max(settings)
        self.started_ms = driver.now_ms()
        self.stopping = False
        system_commands = replica.ledger.commands
        if not replica.machine.has_transactions:
            local_commands = {name: row for name, row in local_commands.items() if row.group != "transactions"}
        self.commands: dict[bytes, Command] = {**replica.machine.commands, **system_commands, **local_commands}
        self.entrance: Entrance | Waiting = Entrance(settings, cluster_id, replica.node, log)
        if not cluster_id:
            self.entrance = Waiting(settings, log)
            self.commands = answered(self.commands)
        self.machine_commands = {
            name: (abs(row.arity) if row.kind is Kind.DIRTY else row.arity, int(row.kind))
            for name, row in self.commands.items()
            if row.kind is not Kind.LOCAL and name not in system_commands
        }
        """What a session's hot loop needs of the machine's rows: usual spelling of the name -> (arity, kind). A
        dirty read with more words than it must have, as by MAXLAG, goes the long way."""

        self.arrivals = {
            (resp3, readonly): Arrivals(self, resp3=resp3, readonly=readonly)
            for resp3 in (False, True)
            for readonly in (False, True)
        }
        self.effects = EffectStats()
        self.sessions: dict[int, Session] = {}
        self.parked: set[Session] = set()
        self.key_walk: Walk | None = None
        """The one walk over all keys that is under way."""

        self._last_session_id = 0
        self.watch = LeaderWatch(self)
        self.staleness = Staleness(self)
        self.memory = MemoryGauge()
        self.scrub = Scrub(replica.snapshots.replace_all)

    now_ms = staticmethod(driver.now_ms)
    wall_ms = staticmethod(driver.wall_ms)

    def lookup(self, name: bytes) -> Command | None:
        """The command's row, however its name is spelled."""
        return self.commands.get(name) or self.commands.get(name.lower())

    def read_dirty(self, commands: list[list[bytes]], scopes: Mapping[int, int]) -> list[Reply]:
        """What this member's present state answers to them."""
        if not self.settings.client.dirty_reads:
            return [DIRTY_READS_DISABLED] * len(commands)
        return self.replica.read_dirty(commands, scopes, self.wall_ms())

    def client_address_of(self, member_id: int) -> str | None:
        """host:port at which clients reach a member; None until its first handshake."""
        if member_id == self.settings.node.id:
            return self.settings.client.address
        return self.links.client_addresses.get(member_id)

    def reachable_leader(self) -> int | None:
        """The leader to whom a client may be sent: its address is known, and this member is connected to it.

        A killed leader is believed in until the election timeout. A client that was sent to it meanwhile would come
        back at once, again and again, and has used up its tries before there is another.
        """
        leader_id = self.replica.node.leader_id
        if leader_id is None or self.client_address_of(leader_id) is None:
            return None
        is_connected = leader_id == self.replica.node.id or self.links.get(leader_id) is not None
        return leader_id if is_connected else None

    def add_session(self, sock: socket.socket, address: str, local_address: str) -> None:
        """Serve a client whose connection was just accepted, unless there are too many."""
        if len(self.sessions) >= self.settings.client.clients_max:
            self.stats.rejected_connections += 1
            with contextlib.suppress(OSError):  # it may be gone already
                sock.send(b"-ERR max number of clients reached\r\n")
            sock.close()
            return
        self.stats.connections += 1
        self._last_session_id += 1
        session = Session(self, sock, self._last_session_id, address, local_address)
        self.sessions[session.id] = session
        self.hub.add(session.fd, session, EVENTS)

    def look_at_memory(self) -> None:
        """Have writes refused, or no longer, as `redis.memory_bytes_max` demands."""
        self.replica.screen.memory_is_full = self.memory.look(self.settings.redis.memory_bytes_max, self.now_ms())

    def release_sessions(self) -> list[Session]:
        """All clients, for another life's server to `adopt`; nothing is kept of them here."""
        self.hub.send_all()
        sessions = list(self.sessions.values())
        for session in sessions:
            self.hub.remove(session.fd)
        self.sessions.clear()
        self.parked.clear()
        self.watch.subscribers.clear()
        return sessions

    def adopt(self, session: Session) -> None:
        self._last_session_id = max(self._last_session_id, session.id)
        self.sessions[session.id] = session
        session.move_to(self)
        self.hub.add(session.fd, session, EVENTS)

    def on_session_closed(self, session: Session, reason: str) -> None:
        self.sessions.pop(session.id, None)
        self.parked.discard(session)
        self.watch.subscribers.pop(session.id, None)
        if "limit" in reason:
            self.log.warning("client_cut_off", client=session.address, reason=reason)
        else:
            self.log.debug("client_closed", client=session.address, reason=reason)

    def on_tick(self) -> None:
        """Many times a second: who leads, parked clients, and those who have been silent for too long."""
        self.watch.look()
        self.staleness.on_tick()
        self.look_at_memory()
        for session in list(self.parked):
            session.poll_parked()
        idle_ms = self.settings.client.idle_timeout_ms
        if idle_ms:
            limit_ms = self.now_ms() - idle_ms
            for session in [s for s in self.sessions.values() if s.last_active_ms < limit_ms]:
                if not session.busy and not session.subscriptions:  # these wait for something
                    session.close("idle")
