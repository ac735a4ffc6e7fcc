"""What members say to each other about consensus, and what they keep on disk for it.

All are msgspec Structs laid out as arrays, so the same definition is the object in memory, the bytes on
the wire (`wire/peer.py`) and the bytes in the log (`storage/records.py`). The paper is "In Search of an
Understandable Consensus Algorithm" (Ongaro, Ousterhout), the thesis "Consensus: Bridging Theory and
Practice" (Ongaro); RequestVote and AppendEntries keep their fields.

Appends and heartbeats are two messages on purpose. An append is acknowledged after the follower's disk
has it; a heartbeat only proves who leads, needs no disk, and so a read never queues behind a sync.

The sender's id is not in the messages: the link they arrived on knows it, and cannot be argued with.
"""

from __future__ import annotations

import enum

import msgspec


class EntryKind(enum.IntEnum):
    NO_OP = 0  # a new leader's first entry: commits everything before it (paper, section 8)
    COMMANDS = 1  # `data` is an encoded `machines.interface.Batch`
    MEMBERSHIP = 2  # `data` is an encoded `membership.Membership`; it counts from when it is in the log


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One slot of the replicated log. `index` counts from 1; `term` is the term of the leader who made it."""

    index: int
    term: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What must be on disk before any message that depends on it leaves.

    `vote` is the member voted for in `term` (0: none). `commit` is a hint, written along when something
    else is written: after a restart it lets a member apply what it already knew to be committed.
    """

    term: int = 0
    vote: int = 0
    commit: int = 0


class VoteRequest(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """RequestVote (paper, section 5.2). With `pre`, only asks whether a vote *would* be given: the term
    is the one the candidate would use, and nobody changes any state (thesis, section 9.6). `forced`: an operator
    wants this election, so voters that hear a leader answer too (thesis, 4.2.3, has the same for handing over)."""

    term: int
    last_index: int
    last_term: int
    pre: bool
    forced: bool = False


class VoteReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """`term` of a granted pre-vote is the asked-for term; otherwise the voter's own current term."""

    term: int
    granted: bool
    pre: bool


class Append(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """AppendEntries with entries, or empty as a probe for where the logs agree (paper, section 5.3)."""

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: list[Entry]


class AppendReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Accepted: `match_index` is the last index of *that append* (never the follower's own last index:
    its tail may diverge), durable. Rejected: the logs differ at `prev_index`, and (`hint_index`,
    `hint_term`) is the last place at or before it where the follower's term is not above the leader's
    `prev_term`: one whole term is skipped in each round trip."""

    term: int
    accepted: bool
    prev_index: int
    match_index: int
    hint_index: int
    hint_term: int


class Heartbeat(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """`commit` is already cut to what this follower is known to hold. `round` numbers read rounds."""

    term: int
    commit: int
    round: int


class HeartbeatReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """`round` confirms: when I received that round, `term` was the newest term I knew."""

    term: int
    round: int


class SnapshotChunk(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """InstallSnapshot (paper, section 7): `data` are the bytes from `offset` on of a file of `size_bytes` bytes, the
    state after the entry (`index`, `last_term`). Without data at offset 0 it is an offer; the answer says where to go
    on."""

    term: int
    index: int
    last_term: int
    size_bytes: int
    offset: int
    data: bytes


class SnapshotReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """`offset`: so many bytes of the snapshot at `index` are here. `installed`: everything up to `index`, which may be
    newer than what was sent, is durable here and in force."""

    term: int
    index: int
    offset: int
    installed: bool


class TimeoutNow(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """From the leader of `term`, who hands over: you have everything, stand for election at once (thesis, 3.10)."""

    term: int


RaftMessage = (
    VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | SnapshotChunk
    | SnapshotReply
    | TimeoutNow
)
