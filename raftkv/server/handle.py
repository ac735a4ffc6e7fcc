"""What the body of ``async with raftkv.open_server(...)`` has in hand: ExRaft's functions as methods.

Answers are values; what ExRaft returns as an error is an exception of `raftkv.errors`, whose family says what is
certain. While a failed member is being started again, calls raise ServerStopped (not done).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import trio

from raftkv.errors import (
    LastServer,
    NoLeader,
    NotLeader,
    RaftkvError,
    ServerStopped,
    UnstableConfig,
    UnstableLeader,
    YourFault,
)
from raftkv.machines.interface import Kind
from raftkv.raft.roles import Role
from raftkv.server.calls import Calls, Outcome, Value
from raftkv.server.commands.raft import status_of
from raftkv.server.member import Member
from raftkv.server.ports import Ports
from raftkv.server.supervisor import NORMAL, Supervisor
from raftkv.settings import split_address
from raftkv.wire.words import Word, spelled

LOG_ENTRIES_SHOWN_MAX = 100
_ROLES = {Role.PRE_CANDIDATE: "candidate"}


class EmbeddedServer:
    """Made by `raftkv.open_server` only."""

    def __init__(self, supervisor: Supervisor, ports: Ports) -> None:
        self.port = ports.client_port
        """Where Redis clients connect."""

        self.peer_port = ports.peer_port
        """Where the other members connect."""

        self._supervisor = supervisor
        self._ports = ports
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._stopping = False
        self._stopped = trio.Event()

    # ---- commands

    async def write(self, *argv: Word) -> Value:
        """Carry out a command of kind WRITE on all members; its reply. On a member that does not lead it is carried to
        the leader (client.routing = "forward", the default).

        Raises CommandError (the machine's error reply, or no such command); NotDone, of which NoLeader and NotLeader:
        certainly not carried out; OutcomeUnknown: it may be. Cancelled: it may still be carried out as well.
        """
        return await self._call(Kind.WRITE, spelled(argv))

    async def read(self, *argv: Word) -> Value:
        """Answer a command of kind READ, linearizable: no older than what was acknowledged before the call. Raises as
        `write`, apart from OutcomeUnknown."""
        return await self._call(Kind.READ, spelled(argv))

    async def read_dirty(self, *argv: Word) -> Value:
        """Answer a command of kind READ or DIRTY from this member's memory, which may be behind. Raises CommandError,
        DirtyReadDisabled; NotDone where MAXLAG asks for something newer than this member can vouch for."""
        await trio.lowlevel.checkpoint()
        calls, command = self._calls, spelled(argv)
        calls.check(command, Kind.DIRTY, Kind.READ)
        return _value(calls.read_dirty(command))

    async def write_many(self, commands: Sequence[Sequence[Word]]) -> Outcome:
        """Carry out commands of kind WRITE or READ in this order, in as few log entries as they fit into; one value or
        error for each, in place. Commands of other callers may come in between; it is no transaction."""
        await trio.lowlevel.checkpoint()
        calls, argvs = self._calls, [spelled(argv) for argv in commands]
        for argv in argvs:
            calls.check(argv, Kind.WRITE, Kind.READ)
        writes = any(calls.kind_of(argv) is Kind.WRITE for argv in argvs)
        return await calls.carry_out(Kind.WRITE if writes else Kind.READ, argvs)

    async def _call(self, kind: Kind, argv: list[bytes]) -> Value:
        calls = self._calls
        calls.check(argv, kind)
        return _value((await calls.carry_out(kind, [argv]))[0])

    # ---- who leads

    @property
    def id(self) -> int:
        """This member's number."""
        return self._supervisor.member_id

    @property
    def members(self) -> Mapping[int, str]:
        """Peer address of every member, this one included."""
        members = self._supervisor.members
        # A lone member may leave the port to the system.
        return {
            number: address.removesuffix(":0") + f":{self.peer_port}" if address.endswith(":0") else address
            for number, address in members.items()
        }

    @property
    def role(self) -> str:
        """ "follower", "candidate" or "leader", as this member believes. Raises ServerStopped."""
        role = self._member.replica.node.role
        return _ROLES.get(role, role.value)

    def leader(self) -> int | None:
        """Who leads, as far as this member knows; perhaps no longer. None: nobody, or the member does not run."""
        member = self._supervisor.member
        return None if member is None else member.replica.node.leader_id

    async def await_leader(self) -> int:
        """Wait until a leader is known; at once if one is. Raises ServerStopped when this member stops meanwhile."""
        await trio.lowlevel.checkpoint()
        while (leader_id := self.leader()) is None:
            if self._stopped.is_set():
                raise ServerStopped("the member has been stopped")
            member = self._supervisor.member
            await (self._supervisor.life_changed if member is None else member.role_changed).wait()
        return leader_id

    async def trigger_election(self) -> None:
        """Have this member stand for election, whoever leads: a leader gives up its leadership (and mostly gets it back
        in the next term); a candidate goes on as it is. Returns before the election is decided. Raises LeaseInForce
        where leaders read by lease and another is heard."""
        await trio.lowlevel.checkpoint()
        member = self._member
        member.replica.trigger_election()
        member.calls.wake()

    # ---- members

    async def add_server(self, server_id: int, address: str) -> None:
        """Make ``host:port`` a member under this number. On the leader only; at once when it is one already.

        It gets the log first, as a learner, and is a voter once it has caught up; then this returns.

        Raises NotLeader, NoLeader, UnstableLeader, UnstableConfig (not done); YourFault for a wrong number or address,
        or a number that was a member's once.
        """
        await trio.lowlevel.checkpoint()
        is_member = self.members.get(server_id) == address
        if not is_member:
            try:
                split_address(address)
            except ValueError as error:
                raise YourFault(str(error)) from error
        self._check_may_change()
        if not is_member:
            await self._change(b"ADD", server_id, address.encode())

    async def remove_server(self, server_id: int) -> None:
        """Take a member out of the cluster. On the leader only; at once when there is no such member. Raises LastServer
        for the only one, and otherwise as `add_server`."""
        await trio.lowlevel.checkpoint()
        self._check_leads()
        if list(self.members) == [server_id]:
            raise LastServer(f"member {server_id} is the only one")
        self._check_may_change()
        if server_id in self.members:
            await self._change(b"REMOVE", server_id)

    async def _change(self, action: bytes, server_id: int, *more: bytes) -> None:
        argv = [b"RAFT.NODE", action, b"%d" % server_id, *more]
        _value((await self._calls.carry_out(Kind.ADMIN, [argv]))[0])

    def _check_leads(self) -> None:
        node = self._member.replica.node
        if node.role is not Role.LEADER:
            if node.leader_id is None:
                raise NoLeader("no leader is known")
            raise NotLeader(node.leader_id)

    def _check_may_change(self) -> None:
        self._check_leads()
        if not self._member.replica.node.leads_and_is_ready:
            raise UnstableLeader("the leader has not committed an entry of its own term yet; try again")
        node = self._member.replica.node
        if node.membership.is_joint or not node.membership_is_committed:
            raise UnstableConfig("another change of the members is under way; try again when it is committed")

    # ---- this member

    @overload
    def inspect(self) -> dict[str, Any]: ...

    @overload
    def inspect(self, what: Literal["log"]) -> list[dict[str, Any]]: ...

    def inspect(self, what: Literal["status", "log"] = "status") -> dict[str, Any] | list[dict[str, Any]]:
        """The fields of RAFT.STATUS and `restarts`; or the newest entries of the log, oldest first. Raises
        ServerStopped."""
        member = self._member
        if what == "log":
            return _newest_entries(member)
        status: dict[str, Any] = _plain(status_of(member.server))
        return status | {"restarts": self._supervisor.restarts}

    async def ping(self) -> Literal["pong"]:
        """Wait until the member has come round once: it runs, and is not stuck. Raises ServerStopped."""
        await self._calls.ping()
        return "pong"

    async def stop(self, reason: str = NORMAL) -> None:
        """Take no new clients, answer what is under way, finish the disk's work, and stop; returns when that is done.
        The machine is told the `reason`, which is logged unless it is "normal". The body goes on; its further calls
        raise ServerStopped."""
        if not self._stopping:
            self._stopping = True
            self._supervisor.on_stopping(reason)
            self._ports.close_clients()
            try:
                if self._supervisor.member is not None:
                    await self._supervisor.member.drain()
            finally:
                self._scope.cancel()
        await self._stopped.wait()

    async def _run(self, body: trio.CancelScope) -> None:
        """Live until stopped. A failure is kept for whoever opened this server, and cancels the body."""
        try:
            with self._scope:
                await self._supervisor.run()
        except Exception as error:
            self._failure = error
            body.cancel()
        finally:
            self._stopped.set()

    @property
    def _member(self) -> Member:
        member = self._supervisor.member
        if member is None or self._stopping:
            stopped = (
                "has been stopped"
                if self._stopping or self._failure
                else "is being started again; try again in a moment"
            )
            raise ServerStopped(f"the member {stopped}")
        return member

    @property
    def _calls(self) -> Calls:
        if self._supervisor.waits:
            raise NoLeader("the member belongs to no cluster yet (cluster.wait)")
        return self._member.calls


def _value(outcome: Value | RaftkvError) -> Value:
    if isinstance(outcome, RaftkvError):
        raise outcome
    return outcome


def _newest_entries(member: Member) -> list[dict[str, Any]]:
    log = member.replica.node.log
    entries = []
    first = max(1, log.last_index - LOG_ENTRIES_SHOWN_MAX + 1)
    while first <= log.last_index:
        found = log.slice(first, log.last_index, LOG_ENTRIES_SHOWN_MAX, 1 << 20)
        entries += found
        first = found[-1].index + 1
    return [{"index": e.index, "term": e.term, "kind": e.kind, "bytes": len(e.data)} for e in entries]


def _plain(reply: Any) -> Any:
    """A reply with text instead of bytes."""
    if isinstance(reply, bytes):
        return reply.decode(errors="replace")
    if isinstance(reply, dict):
        return {_plain(key): _plain(value) for key, value in reply.items()}
    return [_plain(item) for item in reply] if isinstance(reply, list) else reply
