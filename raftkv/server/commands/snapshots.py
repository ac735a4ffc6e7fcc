"""SAVE, BGSAVE, LASTSAVE and RAFT.SNAPSHOT: this member's snapshots. They are taken while serving, in slices, so that
even SAVE holds up nobody but its own client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, Simple
from raftkv.server.commands.rows import NOT_AN_INTEGER, SYNTAX_ERROR, container, local
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.session import Session

CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024


def snapshot_now(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    """Answered when the snapshot is complete on disk, with the index of the entry up to which it stands for the log."""
    return _when_taken(session)


def save(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    return _when_taken(session, OK)


def _when_taken(session: Session, reply: Reply = None) -> Reply | NoReply:
    snapshots = session.server.replica.snapshots
    number = snapshots.request(session.server.replica.applied)

    def poll() -> Reply | NoReply:
        outcome = snapshots.outcome_of(number)
        if outcome is None:
            return NO_REPLY
        return Error(f"ERR the snapshot failed: {outcome}") if isinstance(outcome, str) else reply or outcome

    return session.park(poll)


def bgsave(session: Session, argv: list[bytes]) -> Reply:
    replica = session.server.replica
    scheduled = len(argv) == 2 and argv[1].lower() == b"schedule"
    if len(argv) > 1 and not scheduled:
        return SYNTAX_ERROR
    if replica.snapshots.taking.under_way:
        if not scheduled:
            return Error("ERR Background save already in progress")
        replica.snapshots.request(replica.applied)
        return Simple("Background saving scheduled")
    replica.snapshots.request(replica.applied)
    return Simple("Background saving started")


def lastsave(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    newest = session.server.replica.snapshots.newest
    return 0 if newest is None else newest.meta.time_ms // 1000


def snapshot_list(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return [
        {
            b"index": info.meta.index,
            b"term": info.meta.term,
            b"time_ms": info.meta.time_ms,
            b"bytes": info.size_bytes,
        }
        for info in session.server.replica.snapshots.store.list()
    ]


def snapshot_read(session: Session, argv: list[bytes]) -> Reply:
    """For `raftkv backup`."""
    index, offset, length = (parse_integer(word) for word in argv[2:])
    if index is None or offset is None or length is None or offset < 0 or not 0 <= length <= CHUNK_BYTES_MAX:
        return NOT_AN_INTEGER
    store = session.server.replica.snapshots.store
    info = next((each for each in store.list() if each.meta.index == index), None)
    try:
        reader = None if info is None else store.open(info)
    except OSError:
        reader = None
    if reader is None:
        return Error(f"ERR there is no snapshot at entry {index} (any more); ask for a new one")
    try:
        return reader.read(offset, length)
    finally:
        reader.close()


_RAFT: dict[str, Any] = {"group": "server", "since": "7.0.0"}

ROWS: tuple[Command, ...] = (
    container(
        "raft.snapshot",
        -2,
        (
            "NOW",
            "    Take a snapshot; answered with its index when it is on disk.",
            "LIST",
            "    Tell the snapshots on disk, newest first.",
            "READ <index> <offset> <length>",
            "    Bytes of a snapshot's file, for a backup.",
        ),
        (
            local(
                "raft.snapshot|now",
                2,
                snapshot_now,
                "admin noscript",
                acl="admin slow dangerous",
                summary="Takes a snapshot of this member's state while serving",
                complexity="O(N) where N is the size of the state",
                **_RAFT,
            ),
            local(
                "raft.snapshot|list",
                2,
                snapshot_list,
                "admin noscript loading stale",
                acl="admin slow dangerous",
                summary="Tells the snapshots on this member's disk, newest first",
                complexity="O(N) where N is the number of snapshots",
                **_RAFT,
            ),
            local(
                "raft.snapshot|read",
                5,
                snapshot_read,
                "admin noscript loading stale",
                acl="admin slow dangerous",
                summary="Reads bytes of a snapshot's file",
                arguments=(argument("index", "integer"), argument("offset", "integer"), argument("length", "integer")),
                complexity="O(N) where N is the number of bytes",
                **_RAFT,
            ),
        ),
        acl="slow",
        summary="A container for commands about snapshots",
        complexity="Depends on the subcommand",
        **_RAFT,
    ),
    local(
        "save",
        1,
        save,
        "admin noscript no_async_loading no_multi",
        acl="admin slow dangerous",
        group="server",
        summary="Takes a snapshot of this member's state; others are served meanwhile",
        complexity="O(N) where N is the size of the state",
    ),
    local(
        "bgsave",
        -1,
        bgsave,
        "admin noscript no_async_loading",
        acl="admin slow dangerous",
        group="server",
        summary="Has a snapshot of this member's state taken",
        history=(("3.2.2", "Added the `SCHEDULE` option."),),
        arguments=(argument("schedule", "pure-token", token="SCHEDULE", since="3.2.2", flags=OPTIONAL),),
        complexity="O(1)",
    ),
    local(
        "lastsave",
        1,
        lastsave,
        "loading stale fast",
        acl="admin fast dangerous",
        group="server",
        summary="Tells when this member's newest snapshot was taken, as a Unix time in seconds",
        tips=("nondeterministic_output",),
        complexity="O(1)",
    ),
)
