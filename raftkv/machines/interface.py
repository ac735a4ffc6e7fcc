"""The contract between the log and what is replicated by it.

A state machine is a value that changes only by `apply`, in log order, the same on every member. It must be
deterministic: the state after an entry depends on the state before, and on what stands in the entry, and
on nothing else. Time and chance come in with the entry (`Batch.time_ms`, `Batch.seed`); a machine never looks
at a clock, at `random`, at the order of a set, or at its surroundings.

Threads: all methods are called from one thread and must not block; the member serves nobody meanwhile.
Commands come in batches, because one log entry carries everything that arrived in one turn of the server.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from raftkv.machines.replies import Reply


class Kind(enum.IntEnum):
    """How a command travels. The order matters: everything up to READ is the machine's."""

    WRITE = 0  # replicated through the log
    READ = 1  # linearizable: answered by the leader after a quorum confirmed it still leads
    DIRTY = 2  # answered at once by whichever member is asked, possibly stale
    LOCAL = 3  # the connection's own business: PING, CLIENT, INFO ...


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a command table; COMMAND, COMMAND DOCS, arity checks and help are all made from it.

    arity: as Redis counts it: the name included; negative means at least that many.
    keys: (first, last, step) positions of keys in argv, last may be negative (from the end); (0, 0, 0): none.
    flags: Redis's flag names, e.g. "write", "readonly", "denyoom", "fast".
    """

    name: str
    arity: int
    kind: Kind
    handler: Callable[..., Any]
    flags: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (0, 0, 0)
    since: str = "1.0.0"
    group: str = "generic"
    summary: str = ""
    complexity: str = ""
    categories: tuple[str, ...] = ()
    arguments: tuple[Mapping[str, Any], ...] = ()
    subcommands: tuple[Command, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    key_specs: tuple[Mapping[str, Any], ...] = ()
    tips: tuple[str, ...] = ()
    doc_flags: tuple[str, ...] = ()
    deprecated_since: str = ""
    replaced_by: str = ""


class Batch(msgspec.Struct, array_like=True, gc=False):
    """The content of one COMMANDS entry: all commands of one turn, in order.

    time_ms: Unix time in milliseconds, chosen by the leader; never below that of any earlier entry.
    seed: 63 bits of chance, chosen by the leader.
    commands: each an argv of bytes, name first.
    scopes: position in `commands` -> the connection's scope, where it is not 0. For the Redis machine the
        scope is the selected database. Nearly always empty, so it costs nothing.
    """

    time_ms: int
    seed: int
    commands: list[list[bytes]]
    scopes: dict[int, int] = {}


class StateMachine(ABC):
    """What is replicated. See the module's text for the promises about determinism and threads."""

    name: ClassVar[str]
    """Written into the log's identity: a log made by one machine is refused by another."""

    version: ClassVar[int] = 1

    commands: Mapping[bytes, Command]
    """argv[0] -> row. Holds each name in lower and in upper case, so that the usual spellings need no folding."""

    @abstractmethod
    def apply(self, index: int, batch: Batch, wants_replies: bool) -> list[Reply]:
        """Carry out a committed batch; returns one reply for each command.

        Without `wants_replies` nobody listens (most members, most of the time): commands that only read may
        be skipped and the returned list is ignored. An error is a reply (`replies.Error`), the same on every
        member, and leaves the state as it was before that command. An exception stops the member.
        """

    @abstractmethod
    def read(self, commands: list[list[bytes]], scopes: Mapping[int, int], now_ms: int) -> list[Reply]:
        """Answer commands of kind READ or DIRTY from the present state without changing it.

        `now_ms` is the server's clock: for replies that tell a remaining time. Visibility of keys is judged by
        the time of the last applied entry alone, so no client sees a key vanish and come back.
        """

    def deadline_ms(self) -> int | None:
        """The earliest Unix time at which time alone changes the visible state; None: never.

        When the leader's clock has passed it, the leader commits an empty batch carrying the new time before it
        answers any read.
        """
        return None

    @abstractmethod
    def state_hash(self) -> bytes:
        """A digest of the whole visible and invisible state, equal on all members at the same index."""

    def info(self) -> dict[str, dict[str, str]]:
        """Sections and fields to be shown by INFO, e.g. {"Keyspace": {"db0": "keys=1,expires=0,avg_ttl=0"}}."""
        return {}
