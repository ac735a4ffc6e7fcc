"""Clients without a pipeline, taken together: one work for all whose commands came in one pass of the hub.

Most clients send a command and wait for its reply. When many do, one pass finds a command of each of many of them, and
what a work costs on its way (taken in, joined to others, answered) would be paid for each. So `Session.on_event` only
receives; here, at the end of the pass, what has come is parsed and sorted, and the commands of one kind go on as one
work. Its sink, a `Cohort`, gives each client its reply. The round that reads will need begins before they are parsed.

A cohort's clients are alike in what its work needs to know of them: in which RESP version another member has to encode
their replies, and whether their reads are carried there at all. So there are four `Arrivals`, one for each sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.replies import Error, Reply
from raftkv.wire.resp import whole_command
from raftkv.wire.resp_encode import HugeReply, encode_one

if TYPE_CHECKING:
    from raftkv.server.hub import Hub
    from raftkv.server.server import Server
    from raftkv.server.session import Session

_KINDS = (Kind.WRITE, Kind.READ, Kind.DIRTY)  # by value


class Arrivals:
    """What this pass has brought of idle clients, each of which reads on when it is answered."""

    __slots__ = ("_readonly", "_requests", "_resp3", "_server", "_sessions")

    def __init__(self, server: Server, *, resp3: bool, readonly: bool) -> None:
        self._server = server
        self._resp3 = resp3
        self._readonly = readonly
        self._sessions: list[Session] = []
        self._requests: list[bytes] = []

    def add(self, session: Session, request: bytes) -> None:
        """`session` has received this: all there was, and nearly always a whole command."""
        if not self._sessions:
            self._server.hub.call_soon(self)
        self._sessions.append(session)
        self._requests.append(request)

    def go_on(self) -> None:
        """The pass has brought everything. Hot: the loop is all that is done for each command."""
        arrived = zip(self._sessions, self._requests, strict=True)
        server = self._server
        early = server.replica.begin_round_early(len(self._sessions), server.wall_ms())
        if early:
            server.links.send_all(early)
        self._sessions, self._requests = [], []
        find = server.machine_commands.get
        sessions: tuple[list[Session], ...] = ([], [], [])  # each by kind
        commands: tuple[list[list[bytes]], ...] = ([], [], [])
        sizes_bytes = [0, 0, 0]
        for session, request in arrived:
            argv = whole_command(request)
            if argv is not None:
                found = find(argv[0])
                if found is not None:
                    arity, kind = found
                    if len(argv) == arity or len(argv) >= -arity > 0:
                        session.last_command = argv[0]
                        session.total_commands += 1
                        sessions[kind].append(session)
                        commands[kind].append(argv)
                        sizes_bytes[kind] += len(request)
                        continue
            session.on_request(request)
        for kind in _KINDS:
            if commands[kind]:
                self._submit(kind, sessions[kind], commands[kind], sizes_bytes[kind])
        if early:
            server.replica.join_round()

    def _submit(self, kind: Kind, sessions: list[Session], commands: list[list[bytes]], size_bytes: int) -> None:
        server = self._server
        server.stats.commands += len(commands)
        scopes = {position: session.db for position, session in enumerate(sessions) if session.db} or NO_SCOPES
        cohort = Cohort(server.hub, sessions, commands, resp3=self._resp3, readonly=self._readonly)
        if kind is Kind.DIRTY:
            cohort.on_replies(server.read_dirty(commands, scopes), 0, len(commands))
        else:
            server.replica.submit(kind, commands, scopes, size_bytes, cohort, clients=len(sessions))


class Cohort:
    """Clients, each of which has sent one of a work's commands, in their order; `replica.work.Sink` for all of them.

    While they wait, one or the other may be closed, end, send more or be told something: it is then no longer `plain`,
    and takes its reply itself, the long way."""

    __slots__ = ("_commands", "_encoded", "_hub", "_plain", "_sessions", "readonly", "resp3")

    remote = False

    def __init__(
        self, hub: Hub, sessions: list[Session], commands: list[list[bytes]], *, resp3: bool, readonly: bool
    ) -> None:
        self.resp3 = resp3
        self.readonly = readonly
        self._hub = hub
        self._sessions = sessions
        self._commands = commands
        self._plain: list[Session] = []
        self._encoded: list[bytes] = []
        """To each of `_plain`."""

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        """Hot."""
        resp3, plain, encoded = self.resp3, self._plain, self._encoded
        for session, reply in zip(self._sessions, replies[start:stop], strict=True):
            if session.plain:
                try:
                    encoded.append(encode_one(reply, resp3))
                except HugeReply:
                    session.on_replies([reply], 0, 1)
                else:
                    session.busy = False
                    plain.append(session)
            else:
                session.on_replies([reply], 0, 1)
        self._hub.send_at_end(self)

    def send_what_is_due(self) -> None:
        """The end of the pass has come. Hot."""
        for session, data in zip(self._plain, self._encoded, strict=True):
            try:
                sent = session.send_some(data)
            except OSError:
                sent = 0
            if sent != len(data):
                session.send_all(data[sent:])  # which hears of the error once more

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        for session, reply in zip(self._sessions, replies, strict=True):
            session.on_encoded([reply])

    def on_redirect(self, leader_id: int) -> None:
        for session in self.each():
            session.on_redirect(leader_id)

    def on_not_done(self, error: Error) -> None:
        for session in self.each():
            session.on_not_done(error)

    def on_unknown(self, error: Error) -> None:
        for session in self.each():
            session.on_unknown(error)

    def each(self) -> Iterator[Session]:
        """See SharedSink."""
        for session, argv in zip(self._sessions, self._commands, strict=True):
            session.chunk = [argv]
            yield session
