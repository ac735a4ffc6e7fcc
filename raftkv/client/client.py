"""The client: which member is asked, what is asked again, and what an answer means.

    async with raftkv.connect(["127.0.0.1:7001", "127.0.0.1:7002"]) as client:
        await client.call("SET", "greeting", "hello")

A call is tried until it is *settled*, or `retry_for_ms` has passed. What a reply or its absence says::

    a value, or an error of the command's own       settled
    CLUSTERDOWN, TRYAGAIN, BUSY ..., or never sent  certainly not done: tried again
    MOVED                                           tried again, there
    UNKNOWN, or the connection lost after sending   in doubt: a read is tried again. A write is not, unless it goes by
                                                    an exactly-once session: then a repeat is harmless, and gets the
                                                    first reply

Whether a command writes is asked of the server (COMMAND). The leader is preferred, since others would only carry the
commands to it; RAFT.STATUS says where it is.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from raftkv.client.connection import Connection, Lost, NotSent, ReplyError, Words, open_connection
from raftkv.client.session import OnceSession
from raftkv.errors import CommandError, NoLeader, NotDone, OutcomeUnknown, Overloaded, RaftkvError, command_error
from raftkv.wire.words import Word

CONNECT_MS_MAX = 1000
LOOK_FOR_LEADER_S = 1.0
CLOSE_S_MAX = 1.0
WAIT_MS_MIN, WAIT_MS_MAX = 10, 500
NOT_DONE_CODES = frozenset({"CLUSTERDOWN", "TRYAGAIN", "BUSY", "LOADING", "SESSIONSFULL", "STALE"})
_CONNECTING_FAILED = (OSError, trio.TooSlowError, NotSent, Lost)


class _Call:
    """One command on its way. `outcome` is its reply, or the exception that says what is certain."""

    def __init__(self, words: Words, writes: bool) -> None:
        self.words = words
        self.writes = writes
        self.once: tuple[OnceSession, int] | None = None
        self.in_doubt = False
        self.settled = False
        self.outcome: Any = None
        self.last: RaftkvError = NoLeader("no member could be reached")

    @property
    def request(self) -> Words:
        if self.once is None:
            return self.words
        session, seq = self.once
        return ("RAFT.ONCE", session.id, seq, *self.words)

    def settle(self, outcome: Any) -> None:
        self.settled, self.outcome = True, outcome

    def on_lost(self, reason: str) -> None:
        self.in_doubt = True
        self.last = OutcomeUnknown(f"{reason}; the command may have been carried out, read before trying again")
        if self.writes and self.once is None:
            self.settle(self.last)

    def on_reply(self, reply: Any) -> bool:
        """Look at a reply; returns whether it says that the leader is elsewhere."""
        if not isinstance(reply, ReplyError):
            self.settle(reply)
            return False
        text = str(reply)
        code = text.partition(" ")[0]
        if code == "MOVED":
            self.last = NotDone(text)
            return True
        if code in NOT_DONE_CODES:
            self.last = Overloaded(text) if code in ("BUSY", "SESSIONSFULL") else NotDone(text)
        elif code == "UNKNOWN":
            self.on_lost(text)
        elif code == "NOSESSION" and self.once is not None:
            self._on_no_session(text)
        elif code == "REPLYGONE" and self.once is not None:
            self.settle(OutcomeUnknown(f"{text} (it was carried out, but what it answered is not known any more)"))
        else:
            self.settle(command_error(text))
        return False

    def _on_no_session(self, text: str) -> None:
        assert self.once is not None
        self.once[0].ended = True
        if self.in_doubt:
            # It may have been carried out while the session lived: in a new one it would be carried out once more.
            self.settle(OutcomeUnknown(f"{text}; the command was in doubt before, read before trying again"))
        else:
            self.last = NotDone(text)
            self.leave_session()

    def leave_session(self) -> None:
        if self.once is not None:
            session, seq = self.once
            session.give_back(seq)
            self.once = None

    def give_up(self) -> None:
        unknown = self.in_doubt and not isinstance(self.last, OutcomeUnknown)
        self.settle(
            OutcomeUnknown(f"{self.last}; an earlier attempt may have been carried out") if unknown else self.last
        )


class Client:
    """Made by `connect`. Its calls are for all tasks of the `async with` body."""

    def __init__(
        self,
        addresses: Sequence[str],
        nursery: trio.Nursery,
        *,
        password: str | None,
        db: int,
        pool_size: int,
        requests_max: int,
        retry_for_ms: int,
        silence_ms_max: int,
        exactly_once: bool,
    ) -> None:
        self._addresses = list(addresses)
        self._nursery = nursery
        self._password = password
        self._db = db
        self._pool_size = pool_size
        self._requests_max = requests_max
        self._retry_for_s = retry_for_ms / 1000
        self._silence_ms_max = silence_ms_max
        self._pool: list[Connection] = []
        self._connecting = trio.Lock()
        self._leader = ""
        self._looked_s = 0.0
        self._writes: frozenset[str] | None = None
        self._exactly_once = exactly_once
        self._session: OnceSession | None = None
        self._opening = trio.Lock()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where members serve clients, as far as is known."""
        return tuple(self._addresses)

    @property
    def leader(self) -> str:
        """Where the leader was last known to serve clients; empty: unknown."""
        return self._leader

    async def call(self, *words: Word) -> Any:
        """Carry out one command; its reply (RESP3 values). Time limits are cancel scopes; a write that was cancelled
        may still be carried out.

        Raises CommandError (the command was wrong), NotDone (certainly not carried out), OutcomeUnknown.
        """
        [outcome] = await self.call_many([words])
        if isinstance(outcome, RaftkvError):
            raise outcome
        return outcome

    async def call_many(self, commands: Sequence[Words]) -> list[Any]:
        """Carry out many in one go, in order. Each outcome is a reply, or the exception that `call` would raise."""
        calls = [_Call(tuple(words), True) for words in commands]
        wait_ms, give_up_s = WAIT_MS_MIN, trio.current_time() + self._retry_for_s
        try:
            while waiting := [call for call in calls if not call.settled]:
                await self._attempt(waiting)
                if all(call.settled for call in waiting):
                    break
                if trio.current_time() >= give_up_s:
                    for call in waiting:
                        if not call.settled:
                            call.give_up()
                    break
                await trio.sleep(wait_ms * random.uniform(0.5, 1.5) / 1000)
                wait_ms = min(2 * wait_ms, WAIT_MS_MAX)
        finally:
            for call in calls:
                call.leave_session()
        return [call.outcome for call in calls]

    async def _attempt(self, calls: list[_Call]) -> None:
        """Ask once; whoever has an answer is settled."""
        try:
            connection = await self._connection()
            await self._prepare(calls)
            replies = await connection.ask([call.request for call in calls])
        except Lost as lost:
            replies = lost.replies
            for call in calls[len(replies) :]:
                call.on_lost(str(lost))
        except _CONNECTING_FAILED as error:
            for call in calls:
                if not call.in_doubt:
                    call.last = NoLeader(f"no member could be reached: {error}")
            return
        except (CommandError, NotDone) as error:
            for call in calls:
                call.last = error
                if isinstance(error, CommandError):
                    call.settle(error)
            return
        for call, reply in zip(calls, replies, strict=False):
            if call.on_reply(reply):
                self._leader, self._looked_s = "", 0.0

    async def _prepare(self, calls: list[_Call]) -> None:
        """Find out which of them write, and give those their number in the session."""
        assert self._writes is not None
        for call in calls:
            name = call.words[0] if call.words else ""
            call.writes = (
                name.decode(errors="replace") if isinstance(name, bytes) else str(name)
            ).lower() in self._writes
            if self._exactly_once and call.writes and call.once is None:
                session = await self._open_session()
                call.once = (session, await session.take())

    # ---- connections

    async def _connection(self) -> Connection:
        """A connection, to the leader if that can be. Raises what connecting raises, when nobody can be reached."""
        async with self._connecting:
            self._pool = [connection for connection in self._pool if not connection.closed]
            if len(self._pool) < self._pool_size:
                await self._add_connection()
            await self._look_for_leader(self._pool[0])
            return min(self._pool, key=lambda connection: connection.load)

    async def _add_connection(self) -> None:
        failure: Exception = NotSent("no address is known")
        at = random.randrange(len(self._addresses))
        candidates = [self._leader] if self._leader else []
        if not self._pool:
            candidates += self._addresses[at:] + self._addresses[:at]
        for address in dict.fromkeys(candidates):
            try:
                connection = await self._open(address)
            except _CONNECTING_FAILED as error:
                failure = error
                if address == self._leader:
                    self._leader = ""
            else:
                self._pool.append(connection)
                return
        if not self._pool:
            raise failure

    async def _open(self, address: str) -> Connection:
        connection = await open_connection(
            address, CONNECT_MS_MAX, silence_ms_max=self._silence_ms_max, requests_max=self._requests_max
        )
        self._nursery.start_soon(connection.run)
        login: list[Words] = [("HELLO", 3, *(("AUTH", "default", self._password) if self._password else ()))]
        if self._db:
            login.append(("SELECT", self._db))
        if self._writes is None:
            login.append(("COMMAND",))
        replies = await connection.ask(login)
        for reply in replies:
            if isinstance(reply, ReplyError):
                connection.close("it does not let us in")
                raise CommandError(f"{reply} (said {address})")
        if self._writes is None:
            self._writes = frozenset(row[0].decode() for row in replies[-1] if b"write" in set(row[2]))
        return connection

    async def _look_for_leader(self, connection: Connection) -> None:
        """Ask where the leader is, now and then while it is not known to be here; go there if that can be."""
        now_s = trio.current_time()
        if connection.address == self._leader or (self._looked_s and now_s < self._looked_s + LOOK_FOR_LEADER_S):
            return
        self._looked_s = now_s
        try:
            [status] = await connection.ask([("RAFT.STATUS",)])
        except (NotSent, Lost):
            return
        if not isinstance(status, dict):
            return  # it does not tell, perhaps because it is just starting
        found = [peer[b"client_address"] for peer in status[b"peers"]] + [status[b"leader_address"]]
        for address in (address.decode() for address in found if address):
            if address not in self._addresses:
                self._addresses.append(address)
        leader = status[b"leader_address"]
        if leader is not None:
            await self._go_to(leader.decode(), connection)

    async def _go_to(self, leader: str, connection: Connection) -> None:
        """Use connections to `leader` alone. Others serve those who are waiting on them, and are used no more."""
        if connection.address == leader:
            self._leader = leader
            return
        try:
            there = await self._open(leader)
        except _CONNECTING_FAILED:
            return  # as long as it cannot be reached from here, others carry our commands to it
        self._leader = leader
        elsewhere, self._pool = self._pool, [there]
        for old in elsewhere:
            old.retire()

    # ---- exactly once

    async def _open_session(self) -> OnceSession:
        async with self._opening:
            if self._session is None or self._session.ended:
                connection = await self._connection()
                self._session = await OnceSession.open(connection)
                self._nursery.start_soon(self._session.keep_alive, self._connection)
            return self._session

    async def close(self) -> None:
        """Called at the end of the `async with`."""
        if self._session is not None and not self._session.ended:
            with trio.move_on_after(CLOSE_S_MAX) as scope:
                scope.shield = True  # of the same scope: one within would keep the time limit out, too
                try:
                    connection = await self._connection()
                    await self._session.close(connection)
                except (*_CONNECTING_FAILED, RaftkvError):
                    pass  # it ends by itself, in time
        for connection in self._pool:
            connection.close("the client is closed")


@asynccontextmanager
async def connect(
    addresses: Sequence[str],
    *,
    password: str | None = None,
    db: int = 0,
    pool_size: int = 1,
    requests_max: int = 1000,
    retry_for_ms: int = 10_000,
    silence_ms_max: int = 10_000,
    exactly_once: bool = False,
) -> AsyncIterator[Client]:
    """A client of a cluster, for as long as the body runs.

    addresses: client addresses (host:port) of some members; the others are found through them.
    pool_size: connections to the leader. One carries many tasks' commands at a time.
    requests_max: requests under way on one connection; further callers wait.
    retry_for_ms: how long a call that is certainly not done, or may safely be repeated, is tried again.
    silence_ms_max: a member that owes a reply and says nothing for so long counts as gone.
    exactly_once: writes go by a session (RAFT.ONCE), so that those in doubt are repeated without being done twice.

    Nothing is connected before the first call. Raises ValueError for no addresses.
    """
    if not addresses:
        raise ValueError("at least one address is needed")
    async with trio.open_nursery() as nursery:
        client = Client(
            addresses,
            nursery,
            password=password,
            db=db,
            pool_size=pool_size,
            requests_max=requests_max,
            retry_for_ms=retry_for_ms,
            silence_ms_max=silence_ms_max,
            exactly_once=exactly_once,
        )
        try:
            yield client
        finally:
            await client.close()
            nursery.cancel_scope.cancel()
