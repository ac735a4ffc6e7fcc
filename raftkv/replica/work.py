"""A piece of work on its way: some commands of one client, and the sink that waits for their replies.

A sink gets exactly one of its calls, exactly once. Which one it is tells what is certain:

``on_replies``   carried out; these are the answers (values, a slice of a larger list)
``on_encoded``   carried out on another member, which has encoded the answers
``on_redirect``  not done here; ask that member
``on_not_done``  certainly not done, now or later
``on_unknown``   done, not done or still to be done: nobody here can tell
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeVar, cast

import msgspec

from raftkv.machines.interface import Kind
from raftkv.machines.replies import Error, Reply

_T = TypeVar("_T")

NO_LEADER: Final = Error("CLUSTERDOWN No leader is known; the command was not carried out, try again later")
NO_QUORUM: Final = Error("CLUSTERDOWN No quorum answered in time; the command was not carried out, try again later")
REMOVED: Final = Error(
    "CLUSTERDOWN This member was removed from its cluster; the command was not carried out, ask another member"
)
LEADERSHIP_LOST: Final = Error("TRYAGAIN The leader changed; the command was not carried out, try again")
OUTCOME_UNKNOWN: Final = Error(
    "UNKNOWN The leader was lost while the command was under way; it may or may not have been applied,"
    " read before trying again"
)
TIMED_OUT_UNKNOWN: Final = Error(
    "UNKNOWN No quorum confirmed the command in time; it may or may not be applied, read before trying again"
)


class Sink(Protocol):
    resp3: bool
    """The RESP version in which another member has to encode the replies, when it comes to that."""

    remote: bool
    """Whether the commands came from another member: such are refused here, never sent on once more."""

    readonly: bool
    """Where clients are told who leads, whether this one's reads are carried there all the same (READONLY)."""

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None: ...

    def on_encoded(self, replies: Sequence[bytes]) -> None: ...

    def on_redirect(self, leader_id: int) -> None: ...

    def on_not_done(self, error: Error) -> None: ...

    def on_unknown(self, error: Error) -> None: ...


class SharedSink(Sink, Protocol):
    """Of a work of several clients."""

    def each(self) -> Iterator[Sink]:
        """The sink of each of them, in the order of their commands."""
        ...

    def on_read_ahead(self, replies: list[Reply], start: int, stop: int) -> None:
        """This very list is what `on_replies` will bring, if reading it is confirmed: there is time to prepare it."""
        ...


class Work(msgspec.Struct, gc=False, eq=False):
    """
    since_ms: when it arrived (the member's monotonic clock).
    size_bytes: about what it takes up in an entry.
    system: whether any of the commands is for the ledger.
    refusals: position of a command that the leader does not let into the log -> what it is answered instead.
        None: all may go. Set by `Screen`, for one attempt.
    clients: how many wait for it. Of several, each has sent one of the commands, in their order.
    """

    kind: Kind
    commands: list[list[bytes]]
    scopes: Mapping[int, int]
    size_bytes: int
    sink: Sink
    since_ms: int
    system: bool = False
    refusals: dict[int, Error] | None = None
    clients: int = 1

    @property
    def admitted(self) -> int:
        """How many of the commands are not refused."""
        return len(self.commands) - len(self.refusals or ())


def join(works: Sequence[Work]) -> tuple[list[list[bytes]], dict[int, int]]:
    """All commands of `works` that are not refused, in order, and their scopes under the new positions."""
    commands: list[list[bytes]] = []
    scopes: dict[int, int] = {}
    for work in works:
        if work.refusals:
            _join_admitted(work, work.refusals, commands, scopes)
            continue
        if work.scopes:
            first = len(commands)
            for position, scope in work.scopes.items():
                scopes[first + position] = scope
        commands += work.commands
    return commands, scopes


def _join_admitted(
    work: Work, refusals: Mapping[int, Error], commands: list[list[bytes]], scopes: dict[int, int]
) -> None:
    for position, argv in enumerate(work.commands):
        if position not in refusals:
            if position in work.scopes:
                scopes[len(commands)] = work.scopes[position]
            commands.append(argv)


def by_age(works: Iterable[Work], since_ms: int) -> tuple[list[Work], list[Work]]:
    """Those that have waited since before `since_ms`, and the others."""
    late: list[Work] = []
    rest: list[Work] = []
    for work in works:
        (late if work.since_ms < since_ms else rest).append(work)
    return late, rest


def apart(work: Work) -> list[Work]:
    """A work of several clients as one work for each of them."""
    if work.clients == 1:
        return [work]
    sinks = cast(SharedSink, work.sink).each()
    return [
        Work(
            work.kind,
            [argv],
            _only(position, work.scopes),
            work.size_bytes,
            sink,
            work.since_ms,
            work.system,
            _only(position, work.refusals or {}) or None,
        )
        for position, (argv, sink) in enumerate(zip(work.commands, sinks, strict=True))
    ]


def _only(position: int, values: Mapping[int, _T]) -> dict[int, _T]:
    return {0: values[position]} if position in values else {}


def prepare(works: Sequence[Work], replies: list[Reply]) -> None:
    """Show those sinks that can make use of it what `answer` will bring, perhaps."""
    start = 0
    for work in works:
        stop = start + len(work.commands)
        if work.clients > 1:
            cast(SharedSink, work.sink).on_read_ahead(replies, start, stop)
        start = stop


def answer(works: Sequence[Work], replies: list[Reply]) -> None:
    """Give each sink its part of `replies`, which answer `join(works)`, with the refusals put back in between."""
    start = 0
    for work in works:
        if work.refusals:
            stop = start + work.admitted
            work.sink.on_replies(_with_refusals(work, work.refusals, replies[start:stop]), 0, len(work.commands))
        else:
            stop = start + len(work.commands)
            work.sink.on_replies(replies, start, stop)
        start = stop


def _with_refusals(work: Work, refusals: Mapping[int, Error], replies: list[Reply]) -> list[Reply]:
    remaining = iter(replies)
    return [refusals[position] if position in refusals else next(remaining) for position in range(len(work.commands))]
