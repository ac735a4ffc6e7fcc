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

from raftkv.machines.interface import Kind, fits
from raftkv.machines.replies import Error, Reply
from raftkv.wire.resp import whole_command
from raftkv.wire.resp_encode import encode_apart

if TYPE_CHECKING:
    from raftkv.server.hub import Hub
    from raftkv.server.server import Server
    from raftkv.server.session import Session


class Arrivals:
    """What this pass has brought of idle clients, each of which reads on when it is answered."""

    __slots__ = ("_readonly", "_resp3", "_server", "requests", "sessions")

    def __init__(self, server: Server, *, resp3: bool, readonly: bool) -> None:
        self._server = server
        self._resp3 = resp3
        self._readonly = readonly
        self.sessions: list[Session] = []
        self.requests: list[bytes] = []
        """What each has received: all there was, and nearly always a whole command. To be called soon by the hub, once
        there is something."""

    def go_on(self) -> None:
        """The pass has brought everything. Hot: the loop is all that is done for each command."""
        arrived = zip(self.sessions, self.requests, strict=True)
        server = self._server
        early = server.replica.reads.begin_early(len(self.sessions), server.wall_ms())
        if early:
            server.links.send_all(early)
        self.sessions, self.requests = [], []
        cohorts: dict[int, Cohort] = {}
        cohort: Cohort | None = None
        name, count = b"", 0  # of the last command: mostly all are alike
        for session, request in arrived:
            argv = whole_command(request)
            if argv is None:
                session.on_request(request)
                continue
            if argv[0] != name or len(argv) != count:
                cohort = self._cohort_for(argv, cohorts)
                name, count = argv[0], len(argv)
            if cohort is None:
                session.on_request(request)
                continue
            session.last_command = name
            session.total_commands += 1
            if session.db:
                cohort.scopes[len(cohort.commands)] = session.db
            cohort.sessions.append(session)
            cohort.commands.append(argv)
            cohort.size_bytes += len(request)
        for kind in sorted(cohorts):
            self._submit(Kind(kind), cohorts[kind])
        if early:
            server.replica.reads.join()

    def _cohort_for(self, argv: list[bytes], cohorts: dict[int, Cohort]) -> Cohort | None:
        """Where a command like this belongs; None: nowhere, it is none of the machine's."""
        found = self._server.machine_commands.get(argv[0])
        if found is None:
            return None
        arity, kind = found
        if not fits(arity, len(argv)):
            return None
        if kind not in cohorts:
            cohorts[kind] = Cohort(self._server.hub, resp3=self._resp3, readonly=self._readonly)
        return cohorts[kind]

    def _submit(self, kind: Kind, cohort: Cohort) -> None:
        server, commands = self._server, cohort.commands
        server.stats.commands += len(commands)
        if kind is Kind.DIRTY:
            cohort.on_replies(server.read_dirty(commands, cohort.scopes), 0, len(commands))
        else:
            server.replica.submit(
                kind, commands, cohort.scopes, cohort.size_bytes, cohort, clients=len(cohort.sessions)
            )


class Cohort:
    """Clients, each of which has sent one of a work's commands, in their order; `replica.work.Sink` for all of them.

    While they wait, one or the other may be closed, end, send more or be told something: it is then no longer `plain`,
    and takes its reply itself, the long way."""

    __slots__ = (
        "_encoded",
        "_hub",
        "_prepared",
        "commands",
        "readonly",
        "resp3",
        "scopes",
        "sessions",
        "size_bytes",
    )

    remote = False

    def __init__(self, hub: Hub, *, resp3: bool, readonly: bool) -> None:
        self.resp3 = resp3
        self.readonly = readonly
        self.sessions: list[Session] = []
        self.commands: list[list[bytes]] = []
        self.scopes: dict[int, int] = {}
        self.size_bytes = 0
        self._hub = hub
        self._encoded: list[bytes | None] = []
        """What to send to each. None: it is dealt with already."""

        self._prepared: list[Reply] | None = None
        """What `_encoded` was made of, before anybody knew whether it may be sent."""

    def on_read_ahead(self, replies: list[Reply], start: int, stop: int) -> None:
        """See SharedSink. While the round is under way, this process would only wait."""
        self._encoded = encode_apart(replies[start:stop], self.resp3)
        self._prepared = replies

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        if replies is not self._prepared:
            self._encoded = encode_apart(replies[start:stop], self.resp3)
        if None in self._encoded:
            for session, reply, data in zip(self.sessions, replies[start:stop], self._encoded, strict=True):
                if data is None:
                    session.on_replies([reply], 0, 1)
        self._hub.send_at_end(self)

    def send_what_is_due(self) -> None:
        """The end of the pass has come. Hot."""
        for session, data in zip(self.sessions, self._encoded, strict=True):
            if data is None:
                continue
            if not session.plain:
                session.on_encoded([data])
                continue
            session.busy = False
            try:
                sent = session.send_some(data)
            except OSError:
                sent = 0
            if sent != len(data):
                session.send(data[sent:])  # which hears of the error once more

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        for session, reply in zip(self.sessions, replies, strict=True):
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
        for session, argv in zip(self.sessions, self.commands, strict=True):
            session.chunk = [argv]
            yield session
