"""What becomes of RAFT.CLUSTER INIT and JOIN: at a member that belongs to a cluster, and (`waiting.py`) at one that
does not yet.

A command that has to ask other members is a `Request`. Its client is parked until a task has put the answer in. One
that brings the member into its cluster outlives the waiting: the first life completes it, so that OK means that the
member serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from raftkv.errors import CommandError, RaftkvError
from raftkv.machines.replies import OK, Error, Reply, Simple
from raftkv.raft.node import Node
from raftkv.server.joining import ask_to_be_added, status_of
from raftkv.server.no_reply import NO_REPLY, NoReply
from raftkv.settings import Settings

if TYPE_CHECKING:
    from raftkv.server.session import Session

REQUESTS_MAX: Final = 8
BUSY: Final = Error("TRYAGAIN Other RAFT.CLUSTER commands are under way; nothing was done for this one")
DECIDED: Final = Error("TRYAGAIN Another RAFT.CLUSTER command has just told this member its cluster")
LOOK_S: Final = 0.01


class Request:
    """`addresses`: of members of the cluster to join; none: this member founds one."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.reply: Reply | NoReply = NO_REPLY


class Requests:
    """Taken from sessions, which are not to be kept waiting, by a task."""

    def __init__(self) -> None:
        self._send, self.receive = trio.open_memory_channel[Request](REQUESTS_MAX)

    def take(self, request: Request) -> None:
        try:
            self._send.send_nowait(request)
        except trio.WouldBlock:
            request.reply = BUSY

    def refuse(self, reply: Error) -> None:
        """What was taken and is not begun."""
        while True:
            try:
                self.receive.receive_nowait().reply = reply
            except trio.WouldBlock:
                return

    def take_from(self, session: Session, request: Request) -> Reply | NoReply:
        """To be returned by the command's handler."""
        self.take(request)
        return session.park(lambda: request.reply)


class Entrance:
    """Of a member that belongs to a cluster."""

    def __init__(self, settings: Settings, cluster_id: str, node: Node, log: Any) -> None:
        self.requests = Requests()
        self._settings = settings
        self._cluster_id = cluster_id
        self._node = node
        self._log = log

    def on_init(self, session: Session) -> Reply | NoReply:  # noqa: ARG002
        return Error(f"ERR this member already belongs to cluster {self._cluster_id}")

    def on_join(self, session: Session, addresses: list[str]) -> Reply | NoReply:
        return self.requests.take_from(session, Request(addresses))

    async def run(self) -> None:
        """Carry out what is asked for, until cancelled."""
        async with trio.open_nursery() as nursery:
            async for request in self.requests.receive:
                nursery.start_soon(self._complete, request)

    async def _complete(self, request: Request) -> None:
        if not request.addresses:
            while not self._node.leads_and_is_ready:  # noqa: ASYNC110 (a lone voter needs nobody for that)
                await trio.sleep(LOOK_S)
            request.reply = Simple(f"OK {self._cluster_id}")
            return
        try:
            request.reply = await self._join(request.addresses)
        except CommandError as error:
            request.reply = Error(str(error))
        except (OSError, RaftkvError, trio.TooSlowError) as error:
            request.reply = Error(f"ERR none of these members answers: {error}")

    async def _join(self, addresses: list[str]) -> Reply:
        """Harmless to repeat. Raises as `status_of` and `ask_to_be_added`."""
        other_id = await self._cluster_of(addresses)
        if other_id != self._cluster_id:
            return Error(f"ERR this member belongs to cluster {self._cluster_id}, those at the addresses to {other_id}")
        membership, own_id = self._node.membership, self._node.id
        if own_id not in membership.voters + membership.learners:
            await ask_to_be_added(self._settings, addresses, self._log)
        return OK

    async def _cluster_of(self, addresses: list[str]) -> str:
        last: Exception | None = None
        for address in addresses:
            try:
                fields = await status_of(self._settings, address)
            except (OSError, RaftkvError, trio.TooSlowError) as error:
                last = error
            else:
                cluster_id: str = fields[b"cluster_id"].decode()
                return cluster_id
        assert last is not None
        raise last
