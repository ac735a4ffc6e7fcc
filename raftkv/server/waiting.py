"""A member that belongs to no cluster yet (`cluster.wait`): before it lives as a member of one, it lives waiting for a
client to say whether it founds a cluster (RAFT.CLUSTER INIT) or joins one (RAFT.CLUSTER JOIN).

That life is an ordinary one over nothing: log and snapshots in memory, no members, a cluster without an id, so that
every other member's handshake is refused. Of the commands it answers what Redis answers while it loads; everything else
gets an error that says what to do. Once it is decided the life ends, but not its clients' connections: the sessions
move to the next life, which also answers the command that decided it (`entrance.py`).

The file CLUSTER is written before anything else, so a member that is killed in between knows where it belongs.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import trio

from raftkv.cluster import founding
from raftkv.cluster.founding import Founding
from raftkv.errors import RaftkvError
from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Error, Reply
from raftkv.server import driver
from raftkv.server.entrance import DECIDED, Request, Requests
from raftkv.server.joining import ask_to_join, peer_address
from raftkv.server.no_reply import NoReply
from raftkv.server.session import Session
from raftkv.settings import Settings
from raftkv.storage.files import Files

NOWHERE: Final = Founding("", {})
"""How the cluster began that a waiting member belongs to."""

JOIN_S_MAX: Final = 3.0
"""So long RAFT.CLUSTER JOIN tries to find a member that answers. Whoever gave the addresses stands by."""

NO_CLUSTER: Final = Error(
    "CLUSTERDOWN This member belongs to no cluster yet: found one by RAFT.CLUSTER INIT, or have it join one by"
    " RAFT.CLUSTER JOIN host:port, where clients reach a member of it"
)


class Waiting:
    """The entrance of a member that waits. `decided`: by which command, and for which cluster."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self.requests = Requests()
        self.decided: tuple[Request, Founding] | None = None
        self._settings = settings
        self._log = log

    def on_init(self, session: Session) -> Reply | NoReply:
        return self.requests.take_from(session, Request([]))

    def on_join(self, session: Session, addresses: list[str]) -> Reply | NoReply:
        return self.requests.take_from(session, Request(addresses))

    async def run(self) -> None:
        """Returns when it is decided."""
        async for request in self.requests.receive:
            try:
                began = await self._begin(request)
                await trio.to_thread.run_sync(founding.store, Files(), self._settings.node.data_dir, began)
            except (OSError, RaftkvError) as error:
                request.reply = Error(f"ERR {error}")
            else:
                self._log.info("founded" if not request.addresses else "joining", cluster_id=began.cluster_id)
                self.decided = request, began
                self.requests.refuse(DECIDED)
                return

    async def _begin(self, request: Request) -> Founding:
        settings = self._settings
        if request.addresses:
            return await ask_to_join(settings, request.addresses, JOIN_S_MAX, self._log)
        return Founding(driver.new_cluster_id(), {settings.node.id: peer_address(settings)})


def answered(commands: dict[bytes, Command]) -> dict[bytes, Command]:
    """The same commands for a member that waits: all are known, few do anything. None of the machine's is left, so the
    hot path of a session is never taken."""
    return {name: _limited(row) for name, row in commands.items()}


def _limited(row: Command) -> Command:
    """Containers are asked, for what some of their subcommands tell needs no data."""

    def handle(session: Session, argv: list[bytes]) -> Reply | NoReply:
        meant = row.subcommand(argv[1]) if row.subcommands and len(argv) > 1 else row
        reply: Reply | NoReply = row.handler(session, argv) if meant is None or needs_no_data(meant) else NO_CLUSTER
        return reply

    if not row.subcommands and row.kind is Kind.LOCAL and needs_no_data(row):
        return row
    return msgspec.structs.replace(row, kind=Kind.LOCAL, handler=handle)


def needs_no_data(row: Command) -> bool:
    """PING, unlike in Redis: it is asked whether the process is there, and not yet for more."""
    return row.kind is Kind.LOCAL and ("loading" in row.flags or row.name == "ping")
