"""Any member serves any client: commands travel to the leader over the peer link, at most once.

The member that the client is connected to (the *origin*) sends all that has gathered in a turn as one Forward and
keeps the works under its number. The leader treats a Forward like a client, with a `RemoteSink` that sends the
encoded replies back. What comes back decides:

    ForwardReply     carried out
    ForwardRefused   certainly not done: goes back to the origin's intake, for whoever leads next
    ForwardUnknown   unknown
    link lost, or no answer in time: a write's outcome is unknown; a read is simply asked again
    another leader             a read is asked again, for the former one may stand still behind a link that holds

A read without commands asks for the leader's *read index*: its one reply is an index at or above everything that was
committed before it was asked.

Never guess after a lost link: the write may sit in the leader's log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Final, cast

from raftkv.errors import ProtocolError
from raftkv.machines.interface import Kind
from raftkv.machines.numbers import parse_integer
from raftkv.machines.replies import Error, Reply
from raftkv.replica.work import OUTCOME_UNKNOWN, TIMED_OUT_UNKNOWN, Work, join
from raftkv.wire.peer import Forward, ForwardRefused, ForwardReply, ForwardUnknown
from raftkv.wire.resp_encode import encode, encode_each, encode_in_pieces

REPLY_TOO_LARGE: Final = Error(
    "ERR the reply is too large to be carried between members (peer.frame_bytes_max); the command was carried out,"
    " ask the leader itself for such a reply"
)
_REPLY_OVERHEAD_BYTES: Final = 8
FRAME_SLACK_BYTES: Final = 64 * 1024
"""What a frame holds beside its commands, entries or replies, generously."""

Answer = ForwardReply | ForwardRefused | ForwardUnknown


class Slices:
    """Work of which a slice is done in each turn, so that it stops nobody."""

    def __init__(self) -> None:
        self._under_way: deque[Iterator[None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def begin(self, work: Iterator[None]) -> None:
        """The first slice is done at once."""
        with suppress(StopIteration):
            next(work)
            self._under_way.append(work)

    def step(self) -> None:
        """One slice of what has waited longest."""
        if self._under_way:
            self.begin(self._under_way.popleft())


class RemoteSink:
    """The leader's end: whatever becomes of the works of one Forward goes back to its origin."""

    remote = True
    readonly = False

    def __init__(
        self,
        request_id: int,
        resp3: bool,
        reply_bytes_max: int,
        send: Callable[[Answer], bool],
        slices: Slices,
        applied: Callable[[], int],
    ) -> None:
        """`send` returns whether the link that the commands came by is still there."""
        self.resp3 = resp3
        self._slices = slices
        self._applied = applied
        self._request_id = request_id
        self._reply_bytes_max = reply_bytes_max
        self._send = send

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        if start == stop:  # a question for the read index, which is applied by now
            self._send(ForwardReply(self._request_id, [b"%d" % self._applied()]))
        else:
            self._slices.begin(self._answer(replies[start:stop]))

    def _answer(self, replies: list[Reply]) -> Iterator[None]:
        """In each slice as many as are not too much at once; one that is huge by itself takes several."""
        answered = 0
        while True:
            encoded = encode_each(replies[answered:], self.resp3)
            answered += len(encoded) or 1
            more = answered < len(replies)
            if encoded:
                has_link = self._send_together(encoded, more)
            else:
                has_link = yield from self._send_in_pieces(replies[answered - 1], more)
            if not (more and has_link):
                return
            yield None

    def _send_together(self, encoded: list[bytes], more: bool) -> bool:
        """In as few messages as are surely small enough; one that fits into none becomes an error."""
        part: list[bytes] = []
        part_bytes = 0
        for reply in encoded:
            if len(reply) > self._reply_bytes_max:
                reply = encode(REPLY_TOO_LARGE, self.resp3)
            if part and part_bytes + len(reply) > self._reply_bytes_max:
                self._send(ForwardReply(self._request_id, part, more=True))
                part, part_bytes = [], 0
            part.append(reply)
            part_bytes += len(reply) + _REPLY_OVERHEAD_BYTES
        return self._send(ForwardReply(self._request_id, part, more))

    def _send_in_pieces(self, reply: Reply, more: bool) -> Generator[None, None, bool]:
        """What is too long to be encoded at once is not sent at once either: to copy and to check a frame of all of it
        would stop both members. Nothing is sent before it is known to be small enough."""
        pieces: list[bytes] = []
        size_bytes = 0
        for piece in encode_in_pieces([reply], self.resp3):
            yield None
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > self._reply_bytes_max:
                pieces = [encode(REPLY_TOO_LARGE, self.resp3)]
                break
        last = pieces.pop()
        for piece in pieces:
            if not self._send(ForwardReply(self._request_id, [piece], more=True, unfinished=True)):
                return False
            yield None
        return self._send(ForwardReply(self._request_id, [last], more))

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self._send(ForwardReply(self._request_id, list(replies)))

    def on_redirect(self, leader_id: int) -> None:
        self._send(ForwardRefused(self._request_id, leader_id))

    def on_not_done(self, error: Error) -> None:  # noqa: ARG002
        self._send(ForwardRefused(self._request_id, None))

    def on_unknown(self, error: Error) -> None:
        self._send(ForwardUnknown(self._request_id, error.text))


class _Forwarded:
    __slots__ = ("leader_id", "replies", "since_ms", "unfinished", "works")

    def __init__(self, leader_id: int, works: list[Work], since_ms: int) -> None:
        self.leader_id = leader_id
        self.works = works
        self.since_ms = since_ms
        self.replies: list[bytes] = []
        self.unfinished = bytearray()
        """What has come of the reply behind these. It grows: to join 20 MB at its end takes 10 to 20 ms."""

    def take(self, message: ForwardReply, reply_bytes_max: int) -> None:
        """Raises ProtocolError for what cannot be."""
        if not self.unfinished and not message.unfinished:
            self.replies += message.replies
            return
        if len(message.replies) != 1:
            raise ProtocolError(f"{len(message.replies)} pieces of a reply in one message")
        self.unfinished += message.replies[0]
        size_bytes = len(self.unfinished)
        if size_bytes > reply_bytes_max or (message.unfinished and not message.more):
            raise ProtocolError(f"{size_bytes} bytes of a reply, allowed are {reply_bytes_max}, then its end")
        if not message.unfinished:
            self.replies.append(cast(bytes, self.unfinished))  # a copy would take as long as joining
            self.unfinished = bytearray()


class Forwarder:
    """The origin's end."""

    def __init__(self, reply_bytes_max: int) -> None:
        self._reply_bytes_max = reply_bytes_max
        self._under_way: dict[int, _Forwarded] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def forward(self, works: list[Work], leader_id: int, now_ms: int, bytes_max: int) -> list[Forward]:
        """Messages that carry `works` to the leader: one for each kind and RESP version among them, more only where
        one would be larger than about `bytes_max`. Those for the ledger go apart, those without commands, and each of
        kind ADMIN, since the leader answers it when it will."""
        groups: dict[tuple[Kind, bool, bool, bool], list[list[Work]]] = {}
        sizes: dict[tuple[Kind, bool, bool, bool], int] = {}
        for work in works:
            key = (work.kind, work.sink.resp3, work.system, bool(work.commands))
            parts = groups.setdefault(key, [[]])
            size_bytes = sizes.get(key, 0) + work.size_bytes
            if parts[-1] and (size_bytes > bytes_max or work.kind is Kind.ADMIN):
                parts.append([])
                size_bytes = work.size_bytes
            parts[-1].append(work)
            sizes[key] = size_bytes
        messages = []
        for (kind, resp3, system, _), parts in groups.items():
            for part in parts:
                self._last_id += 1
                self._under_way[self._last_id] = _Forwarded(leader_id, part, now_ms)
                commands, scopes = join(part)
                messages.append(Forward(self._last_id, int(kind), resp3, commands, scopes, system))
        return messages

    def on_reply(self, sender: int, message: ForwardReply) -> None:
        """Raises ProtocolError when these cannot be the replies; the works then wait for `on_link_down`."""
        forwarded = self._under_way.get(message.request_id)
        if forwarded is None or forwarded.leader_id != sender:
            return  # given up already, and the client was told so
        forwarded.take(message, self._reply_bytes_max)
        replies = forwarded.replies
        expected = sum(len(work.commands) for work in forwarded.works) or 1
        if len(replies) > expected or (len(replies) < expected and not message.more):
            raise ProtocolError(f"{len(replies)} replies to {expected} commands")
        if message.more:
            return
        if not forwarded.works[0].commands and parse_integer(replies[0]) is None:
            raise ProtocolError(f"a read index of {replies[0][:20]!r}")
        del self._under_way[message.request_id]
        start = 0
        for work in forwarded.works:
            stop = start + len(work.commands)
            work.sink.on_encoded(replies[start:stop] if work.commands else replies)
            start = stop

    def on_refused(self, sender: int, message: ForwardRefused) -> list[Work]:
        """The works that were certainly not done."""
        return self._take(sender, message.request_id)

    def on_unknown(self, sender: int, message: ForwardUnknown) -> None:
        for work in self._take(sender, message.request_id):
            work.sink.on_unknown(Error(message.reason))

    def on_link_down(self, peer: int) -> list[Work]:
        """The link to `peer` is gone: returns the reads to be asked again; writes are told that nobody knows."""
        return self._give_up([i for i, f in self._under_way.items() if f.leader_id == peer], OUTCOME_UNKNOWN)

    def on_leader(self, leader_id: int) -> list[Work]:
        """`leader_id` leads: returns the reads that wait for an answer of another. The rest stays, for what has become
        of it only that one knows."""
        elsewhere = [i for i, f in self._under_way.items() if f.leader_id != leader_id]
        reads = [i for i in elsewhere if self._under_way[i].works[0].kind is Kind.READ]
        return [work for i in reads for work in self._under_way.pop(i).works]

    def give_up_older_than(self, since_ms: int) -> list[Work]:
        return self._give_up([i for i, f in self._under_way.items() if f.since_ms < since_ms], TIMED_OUT_UNKNOWN)

    def _give_up(self, request_ids: list[int], error: Error) -> list[Work]:
        again = []
        for request_id in request_ids:
            for work in self._under_way.pop(request_id).works:
                if work.kind is Kind.WRITE:
                    work.sink.on_unknown(error)
                else:
                    again.append(work)
        return again

    def _take(self, sender: int, request_id: int) -> list[Work]:
        forwarded = self._under_way.get(request_id)
        if forwarded is None or forwarded.leader_id != sender:
            return []  # given up already, and the client was told so
        del self._under_way[request_id]
        return forwarded.works
