"""One client: bytes in, commands out to where they belong, replies back in order. This file is that line, top to
bottom.

What a client has sent is taken in *chunks*: all complete commands at hand, up to a bound. A session works on one
chunk at a time and reads nothing meanwhile, so replies are in order by construction, a deep pipeline cannot starve
others, and TCP itself holds back a client that sends faster than it is served.

A chunk goes one way as a whole:

- any command in it that writes: all of the machine's commands go into the log, reads too, and keep their order;
- otherwise any linearizable read: all wait for one read round;
- otherwise (dirty reads) they are answered from the local state at once.

A client without a pipeline goes a shorter way, together with others of its kind: `arrivals.py`.

A chunk with anything else in it, such as the connection's own commands, is dealt with by `mixed_chunk.py`; what it has
for the machine goes the same way. A reply too long to be encoded at once leaves by `pieces.py`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from raftkv.errors import ProtocolError
from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.replies import Encoded, Error, Push, Reply
from raftkv.server.connection import DATA, ROOM, Connection
from raftkv.server.mixed_chunk import MixedChunk
from raftkv.server.no_reply import NO_REPLY, NoReply
from raftkv.server.pieces import Pieces
from raftkv.server.redirects import ADDRESS_UNKNOWN, moved
from raftkv.server.refusals import MUST_NOT_WAIT, TOO_LARGE
from raftkv.server.reply_slots import ReplySlots
from raftkv.wire.resp import RequestParser
from raftkv.wire.resp_encode import HugeReply, encode, encode_in_pieces, encode_many

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.transaction import Transaction
    from raftkv.server.watch import Subscriptions

RECEIVE_BYTES_MIN = 448
"""Small enough for CPython's own allocator of small objects; it grows with what a client sends at once."""

_KINDS = tuple(Kind)  # by value: calling an enum, or asking it for a member, costs as much as parsing a command
_DIRTY = Kind.DIRTY
_DIRTY_VALUE = int(Kind.DIRTY)

ENCODED_BYTES_AT_ONCE = 1024 * 1024


class Session(Connection):
    remote = False

    __slots__ = (
        "_arrivals",
        "_pieces",
        "_poll",
        "_queued",
        "_receive",
        "_receive_bytes",
        "_scheduled",
        "_slots",
        "_unread",
        "address",
        "authenticated",
        "busy",
        "chunk",
        "connected_ms",
        "db",
        "id",
        "last_active_ms",
        "last_command",
        "library_name",
        "library_version",
        "local_address",
        "name",
        "parser",
        "plain",
        "readonly",
        "received_bytes",
        "replies_off",
        "reply_skip",
        "resp3",
        "server",
        "subscriptions",
        "total_commands",
        "transaction",
        "watched",
    )

    def __init__(self, server: Server, sock: socket.socket, session_id: int, address: str, local_address: str) -> None:
        super().__init__(server.hub, sock)
        self.server = server
        self.id = session_id
        self.address = address
        self.local_address = local_address
        self.connected_ms = self.last_active_ms = server.now_ms()
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        self.last_command = b""
        self.total_commands = 0
        self.db = 0
        self.resp3 = False
        self.readonly = False
        self.subscriptions: Subscriptions | None = None
        self.authenticated = not server.settings.client.requirepass
        self.replies_off = False
        self.reply_skip = 0
        self.transaction: Transaction | None = None
        """Since MULTI."""

        self.watched: dict[tuple[int, bytes], int] = {}
        """(database, key) -> the stamp of its WATCH (machines/redis/watches.py)."""

        self.busy = False
        # A value that fits into no frame could not be replicated; refused as Redis refuses one above its own limit.
        self.parser = RequestParser(bulk_bytes_max=server.command_bytes_max)
        self.parser.authenticated = self.authenticated
        self.received_bytes = 0
        self._receive = sock.recv
        self._receive_bytes = RECEIVE_BYTES_MIN
        self.plain = False
        """Nothing is held, hidden or about to end: one command that comes now is a chunk, its reply is all there is to
        send. Then, and only then, it may go by `_arrivals`."""

        self._arrivals = server.arrivals[False, False]

        self._unread = False
        self._scheduled = False
        self._queued: list[list[bytes]] = []
        """What is left of a chunk: the next one."""

        self.chunk: list[list[bytes]] = []
        """The commands for the machine that are under way, where this is their sink."""

        self._slots: ReplySlots | None = None
        self._poll: Callable[[], Reply | NoReply] | None = None
        self._pieces: Pieces | None = None

    # ---- bytes in

    def on_event(self, events: int) -> None:
        """Hot: all that is done at once with what an idle client without a pipeline sends."""
        if events != DATA or not self.plain or self.busy:
            self.plain = self.plain and events == ROOM
            super().on_event(events)
            return None
        try:
            data = self._receive(self._receive_bytes)
        except OSError as error:
            return self._on_receive_failed(error)
        if data and len(data) < self._receive_bytes:
            self.busy = True
            self.last_active_ms = self.hub.pass_ms
            arrivals = self._arrivals
            if not arrivals.sessions:
                self.hub.call_soon(arrivals)
            arrivals.sessions.append(self)
            arrivals.requests.append(data)
            return None
        self.plain = False
        return self._on_received(data)

    def on_request(self, data: bytes) -> None:
        """What was handed to `Arrivals` is not one whole command for the machine: it goes the long way."""
        self.busy = self.plain = False
        if not self.closed:
            self._on_received(data)

    def on_readable(self) -> None:
        if self.busy or self._queued:
            self._unread = True
            return None
        if self.close_when_sent:
            return None
        try:
            data = self._receive(self._receive_bytes)
        except OSError as error:
            return self._on_receive_failed(error)
        return self._on_received(data)

    def _on_receive_failed(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self.close(f"receive failed: {error.strerror}")

    def _on_received(self, data: bytes) -> None:
        if not data:
            return self._on_end()
        count = len(data)
        # Edge-triggered: a full buffer may mean more, and the kernel will not say so again.
        self._unread = count == self._receive_bytes or self.ending
        if count == self._receive_bytes and count < self.server.settings.client.turn_bytes:
            self._receive_bytes = min(self._receive_bytes * 4, self.server.settings.client.turn_bytes)
        self.received_bytes += count
        self.parser.feed(data)
        return self._take_chunk()

    def _on_end(self) -> None:
        """The client sends no more: it still gets the replies that it has not taken yet."""
        if not self.has_unsent:
            return self.close("closed by client")
        self.close_when_sent = True
        return None

    def go_on(self) -> None:
        """Called by the hub when this session had more to do."""
        self._scheduled = False
        if self.closed or self.busy or self.close_when_sent:
            return
        if self._queued or self.parser.pending:
            self._take_chunk()
        elif self._unread:
            self.on_readable()

    def _take_chunk(self) -> None:
        if self._queued:
            commands, self._queued = self._queued, []
        else:
            try:
                commands = self.parser.parse(self.server.settings.client.turn_commands_max)
            except ProtocolError as error:
                return self._on_protocol_error(error)
        if commands:
            self.last_active_ms = self.hub.pass_ms
            self._run(commands)
        elif self.parser.buffered_bytes > self.server.settings.client.query_buffer_bytes_max:
            self.server.stats.query_buffer_limit_disconnections += 1
            return self.close("query buffer limit reached")
        if not self.busy:
            self._look_for_more()
        return None

    def _look_for_more(self) -> None:
        """Have `go_on` called in the next pass, if there is more. Once: a session that stood twice in the hub's list
        would put itself there four times in the next pass, and its pipeline would push everybody else aside."""
        if not self._scheduled and not self.closed and (self._queued or self.parser.pending or self._unread):
            self._scheduled = True
            self.hub.call_soon(self)

    def _on_protocol_error(self, error: ProtocolError) -> None:
        self.server.log.info("protocol_error", client=self.address, error=str(error))
        self.close_when_sent = True
        self.send_soon(encode(Error(f"ERR Protocol error: {error}"), self.resp3))

    # ---- commands out

    def _run(self, commands: list[list[bytes]]) -> None:
        """Send a chunk on its way. Hot: a chunk of the machine's own commands only is looked at once, here."""
        find = self.server.machine_commands.get
        lowest = _DIRTY_VALUE
        for argv in commands:
            found = find(argv[0])
            if found is None:
                break
            arity, kind = found
            length = len(argv)
            if length != arity and (arity > 0 or length < -arity):
                break
            if kind < lowest:
                lowest = kind
        else:
            if (
                self.authenticated
                and not self.replies_off
                and not self.reply_skip
                and not self.subscriptions
                and self.transaction is None
            ):
                self._slots = None
                self.last_command = commands[-1][0]
                scopes = dict.fromkeys(range(len(commands)), self.db) if self.db else NO_SCOPES
                return self._submit(_KINDS[lowest], commands, scopes)
        return self._run_mixed(commands)

    def _run_mixed(self, commands: list[list[bytes]]) -> None:
        """What is not for the machine is answered, what is goes on its way, and what is not dealt with yet waits."""
        mixed = MixedChunk(self)
        taken = mixed.take(commands)
        if self.closed:
            return
        self._queued = commands[taken:]
        if self.busy:  # its last command has put its answer off
            self._slots, self.chunk = mixed.slots, []
            return
        self.server.stats.commands += len(mixed.slots) - len(mixed.commands)
        if mixed.commands:
            self._slots = mixed.slots
            self._submit(mixed.kind, mixed.commands, mixed.scopes, mixed.system)
        elif mixed.slots:
            self.received_bytes = 0  # of commands that are answered
            self._finish(mixed.slots.at_hand)

    def _submit(self, kind: Kind, commands: list[list[bytes]], scopes: Mapping[int, int], system: bool = False) -> None:
        server = self.server
        count = len(commands)
        server.stats.commands += count
        self.total_commands += count
        self.chunk = commands
        size_bytes, self.received_bytes = self.received_bytes, 0
        if kind is _DIRTY:
            return self._show_in_slots(server.read_dirty(commands, scopes))
        self.busy = True
        if size_bytes > server.command_bytes_max:
            return self.on_not_done(TOO_LARGE)
        return server.replica.submit(kind, commands, scopes, size_bytes, self, system)

    # ---- replies back (replica.work.Sink)

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        self._show_in_slots(replies[start:stop])

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        if self._slots is None and sum(map(len, replies)) < ENCODED_BYTES_AT_ONCE:
            return self._finish(b"".join(replies))
        return self._show_in_slots([Encoded(reply) for reply in replies])

    def on_redirect(self, leader_id: int) -> None:
        if self.server.client_address_of(leader_id) is None:
            return self.on_not_done(ADDRESS_UNKNOWN)
        return self.on_encoded([encode(moved(self.server, argv, leader_id), self.resp3) for argv in self.chunk])

    def on_not_done(self, error: Error) -> None:
        self.server.stats.commands_not_done += len(self.chunk)
        self.on_encoded([encode(error, self.resp3)] * len(self.chunk))

    def on_unknown(self, error: Error) -> None:
        self.server.stats.commands_unknown += len(self.chunk)
        self.on_encoded([encode(error, self.resp3)] * len(self.chunk))

    # ---- all that is answered to a chunk, in order, and out

    def _show_in_slots(self, replies: Sequence[Reply]) -> None:
        """`replies` to the machine's commands of this chunk, and between them what other slots hold."""
        return self._show(replies if self._slots is None else self._slots.filled(replies), self.resp3)

    def _show(self, replies: Sequence[Reply], resp3: bool) -> None:
        """All there is to answer to this chunk."""
        try:
            data = encode_many(replies, resp3)
        except HugeReply:
            return self._send_in_pieces(encode_in_pieces(replies, resp3))
        return self._finish(data)

    def _finish(self, data: bytes) -> None:
        self.busy = False
        self._slots = None
        if self.closed:
            return
        if data or self.close_when_sent:
            self.send_soon(data)
        self.plain = self.parser.is_fresh and not (
            self._queued
            or self._unread
            or self.has_kept
            or self.ending
            or self.close_when_sent
            or self.replies_off
            or self.reply_skip
            or self.subscriptions
            or self.transaction is not None
        )
        if self.plain:
            self._arrivals = self.server.arrivals[self.resp3, self.readonly]
        else:
            self._look_for_more()

    def _send_in_pieces(self, pieces: Iterator[bytes]) -> None:
        """As `_show`. What the client sends meanwhile waits."""
        if self.closed:
            return None
        self.plain = False
        self.busy = True
        self._pieces = Pieces(self, pieces, self._on_pieces_sent)
        self.server.parked.add(self)
        return self._pieces.go_on()

    def _on_pieces_sent(self) -> None:
        self._pieces = None
        self.server.parked.discard(self)
        self._finish(b"")

    @property
    def has_more(self) -> bool:
        return self._pieces is not None

    def on_drained(self) -> None:
        if self._pieces is not None:
            self._pieces.schedule()

    def on_kept(self) -> None:
        self.plain = False
        if self._pieces is None and self.out_bytes > self.server.settings.client.output_buffer_bytes_max:
            self._cut_off("")

    def _cut_off(self, how_slowly: str) -> None:
        self.server.stats.output_buffer_limit_disconnections += 1
        self.close(f"output buffer limit reached: the client reads too slowly{how_slowly}")

    def push(self, message: Push) -> None:
        """Send what no command has asked for."""
        self.plain = False
        self.send_soon(encode(message, self.resp3))

    def shows_next_reply(self) -> bool:
        """Whether the client wants to see it (CLIENT REPLY). To be asked once for each reply."""
        if self.reply_skip:
            self.reply_skip -= 1
            return False
        return not self.replies_off

    # ---- answers that are put off

    @property
    def may_wait(self) -> bool:
        """Whether a command's answer may be put off. Not within EXEC, as its place is in the midst of others."""
        return self.transaction is None

    def park(self, poll: Callable[[], Reply | NoReply]) -> Reply | NoReply:
        """Answer once `poll` returns a reply: it is asked now, and if need be again at every tick. To be returned by
        the handler. Inside a transaction nothing waits."""
        reply = poll()
        if not isinstance(reply, NoReply):
            return reply
        if not self.may_wait:
            return MUST_NOT_WAIT
        self.busy = True
        self._poll = poll
        self.server.parked.add(self)
        return NO_REPLY

    def poll_parked(self) -> None:
        """Called at every tick while this is one of the server's `parked`."""
        if self._pieces is not None:
            if self._pieces.is_stalled(self.server.now_ms()):
                self._cut_off(", for ten seconds nothing of a huge reply")
            return None
        if self.ending:
            # Otherwise WAIT without a time limit would keep the connection of a client that is gone.
            return self.close("closed by client")
        reply = self._poll() if self._poll is not None else NO_REPLY
        if isinstance(reply, NoReply):
            return None
        self._poll = None
        self.server.parked.discard(self)
        return self.answer(reply, self.resp3)

    def wait_for_answer(self) -> NoReply:
        """To be returned by a handler that will call `answer`, later."""
        self.busy = True
        return NO_REPLY

    def answer(self, reply: Reply, resp3: bool) -> None:
        """The reply to the command whose handler has put it off."""
        slots = self._slots or ReplySlots()
        slots.expect(is_hidden=not self.shows_next_reply())
        self._show(slots.filled([reply]), resp3)

    def answer_in_pieces(self, pieces: Iterator[bytes]) -> None:
        """As `answer`, with a reply that is encoded piece by piece, each the work of a few milliseconds."""
        if self._slots is not None:
            self.send_soon(self._slots.at_hand)
        self._send_in_pieces(pieces if self.shows_next_reply() else iter(()))

    # ---- changes and the end

    def end_transaction(self) -> None:
        """However it ended: nothing is queued or watched any more."""
        self.transaction = None
        self.watched = {}

    def move_to(self, server: Server) -> None:
        """Be served by `server` from now on, with all that was received and is still to be answered."""
        self.server, self.hub = server, server.hub
        self.plain = self._scheduled = False
        if self._poll is not None or self._pieces is not None:
            server.parked.add(self)
        if self.subscriptions:
            server.watch.subscribers[self.id] = self
        if self._pieces is not None:
            self._pieces.on_moved()
        if not self.busy:
            self._look_for_more()

    def on_closed(self, reason: str) -> None:
        self.plain = False
        self._pieces = None
        self._queued = []
        self.server.on_session_closed(self, reason)
