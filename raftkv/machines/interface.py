"""The contract between the log and what is replicated by it (ExRaft's StateMachine behaviour, in Python).

A state machine is a value that changes only by `handle_write`, in log order, the same on every member. It must be
deterministic: the state after an entry depends on the state before, and on what stands in the entry, and
on nothing else. Time and chance come in with the entry (`Context.time_ms`, `Context.random`); a machine never looks
at a clock, at `random`, at the order of a set, or at its surroundings.

Threads: all methods are called from one thread and must not block; the member serves nobody meanwhile.
Commands come in batches, because one log entry carries everything that arrived in one turn of the server.

When what is called::

    init                    once, before anything else; again after a restart, followed by the log's entries
    transition              this member became follower, candidate or leader
    is_command              leader, before a write goes into the log
    handle_write            every member, in log order, once committed
    handle_system_write     every member, in log order: what raftkv itself has put into the log
    handle_read             whoever answers a read: the leader (linearizable) or any member (dirty)
    snapshot, restore       the state to slices of bytes and back
    digests                 every member, when states are compared (RAFT.VERIFY)
    terminate               once, at the end

What a client did wrong is a *reply* (`replies.Error`), the same on every member. An exception is a bug of the machine:

- in init or a handle_write: the member stops with that reason (it cannot go on from a half-changed state), and may
  begin again from the log (`supervision.restart`);
- in handle_read or is_command: the command is answered with an error, and the log says why;
- in transition, terminate, run_effect or digests: the log says why, and nothing else happens.

Machines made with `declared.Machine` are safer still: an exception of a handler becomes an error reply, and the state
is as before.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any, ClassVar, Final

import msgspec

from raftkv.errors import Unsupported
from raftkv.machines.replies import Error, Reply, shown, wrong_arity

NO_SCOPES: Final[Mapping[int, int]] = {}


class Kind(enum.IntEnum):
    """How a command travels. The order matters: everything up to READ is the machine's."""

    WRITE = 0  # replicated through the log
    READ = 1  # linearizable: answered by the leader after a quorum confirmed it still leads
    DIRTY = 2  # answered at once by whichever member is asked, possibly stale
    LOCAL = 3  # the connection's own business: PING, CLIENT, INFO ...
    ADMIN = 4  # for the leader itself: changes of the members (`replica/admin.py`)


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
    version: int = 1
    """The machine's version that brought this command (`StateMachine.version`)."""

    deprecated_since: str = ""
    replaced_by: str = ""

    def subcommand(self, word: bytes) -> Command | None:
        """The row that `word`, the one behind a container's name, means."""
        name = f"{self.name}|{word.lower().decode('utf-8', 'surrogateescape')}"
        return next((row for row in self.subcommands if row.name == name), None)

    def chosen(self, argv: list[bytes]) -> Command | Error:
        """The subcommand that a container's `argv`, of two words at least, means, or what is wrong with it."""
        found = self.subcommand(argv[1])
        if found is None:
            return Error(f"ERR unknown subcommand '{shown(argv[1])}'. Try {self.name.upper()} {self._words_to_try()}.")
        return found if found.takes(len(argv)) else wrong_arity(found.name)

    def _words_to_try(self) -> str:
        words = [row.name.partition("|")[2].upper() for row in self.subcommands]
        return "HELP" if "HELP" in words else f"{', '.join(words[:-1])} or {words[-1]}"

    def takes(self, length: int) -> bool:
        """Whether a command line of so many words, its name included, has the right number of them."""
        return fits(self.arity, length)


def fits(arity: int, length: int) -> bool:
    """Whether a command line of `length` words is long enough, and not too long, for a command of that `arity`."""
    return length == arity or length >= -arity > 0


def command_table(rows: Iterable[Command]) -> dict[bytes, Command]:
    """argv[0] -> row, each name in lower and in upper case, so that the usual spellings need no folding."""
    return {spelling: row for row in rows for spelling in (row.name.encode(), row.name.upper().encode())}


class Batch(msgspec.Struct, array_like=True, gc=False):
    """The content of one COMMANDS entry: all commands of one turn, in order.

    time_ms: Unix time in milliseconds, chosen by the leader; never below that of any earlier entry.
    seed: 63 bits of chance, chosen by the leader.
    commands: each an argv of bytes, name first.
    scopes: position in `commands` -> the connection's scope, where it is not 0. For the Redis machine the
        scope is the selected database. Nearly always empty, so it costs nothing.
    system: whether any of the commands is for raftkv's own ledger (`replica/ledger.py`), not for the machine.
    """

    time_ms: int
    seed: int
    commands: list[list[bytes]]
    scopes: dict[int, int] = {}
    system: bool = False


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be done outside once an entry is committed: by the leader, by `StateMachine.run_effect`.

    name, arguments: what to do, in words of the machine. MessagePack can carry them.
    before_reply: the client's reply waits until the effect has ended (well or badly).
    durable: at least once, also when the leader dies: kept in the replicated outbox until it has been carried out
        without an exception. Otherwise at most once.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    before_reply: bool = False
    durable: bool = False


class Context:
    """What a machine may know about the entry that it is carrying out; the same on every member and in every
    replay.

    index, term: the entry's place in the log.
    time_ms: Unix time in milliseconds, chosen by the leader; never below that of any earlier entry.
    members: ids of the cluster's members as of this entry, ascending.
    scopes: position of a command in this batch -> its connection's scope, where it is not 0 (see `Batch`).
    session: the exactly-once session that the commands came by; 0: none.
    wants_replies: False when nobody listens (most members, most of the time): commands that only read may then be
        skipped, and the returned list is ignored. The one field that differs between members: it must not
        influence the state.
    """

    __slots__ = (
        "_first",
        "_random",
        "_seed",
        "_whole",
        "effects",
        "index",
        "members",
        "scopes",
        "session",
        "term",
        "time_ms",
        "wants_replies",
    )

    def __init__(
        self,
        *,
        index: int,
        term: int,
        time_ms: int,
        seed: int,
        members: tuple[int, ...] = (),
        scopes: Mapping[int, int] = NO_SCOPES,
        session: int = 0,
        wants_replies: bool = True,
    ) -> None:
        self.index = index
        self.term = term
        self.time_ms = time_ms
        self.members = members
        self.scopes = scopes
        self.session = session
        self.wants_replies = wants_replies
        self.effects: list[tuple[int, Effect]] = []
        """(position of the command in the entry, what it wants done outside), in the order of `add_effect`."""

        self._first = 0
        self._seed = seed
        self._random: Random | None = None
        self._whole: Context | None = None

    def add_effect(self, position: int, effect: Effect) -> None:
        """Have `effect` carried out for the command at `position` of this batch. Raises TypeError for a durable one
        with arguments that MessagePack cannot carry."""
        if effect.durable:
            msgspec.msgpack.encode(effect.arguments)
        self.effects.append((self._first + position, effect))

    def part(self, first: int, stop: int, *, session: int = 0, wants_replies: bool | None = None) -> Context:
        """The same entry for its commands from `first` up to `stop` alone. Their positions count from 0 again; chance
        and effects are the whole entry's. Of a context that is no part itself."""
        scopes = {position - first: scope for position, scope in self.scopes.items() if first <= position < stop}
        part = Context(
            index=self.index,
            term=self.term,
            time_ms=self.time_ms,
            seed=self._seed,
            members=self.members,
            scopes=scopes,
            session=session,
            wants_replies=self.wants_replies if wants_replies is None else wants_replies,
        )
        part._whole = self
        part.effects = self.effects
        part._first = first
        return part

    @property
    def random(self) -> Random:
        """Chance: the same numbers on every member, seeded by the entry. One generator for the whole entry."""
        if self._random is None:
            self._random = Random(self._seed) if self._whole is None else self._whole.random
        return self._random


class ReadContext(msgspec.Struct, frozen=True, gc=False):
    """What a machine may know when it answers reads.

    now_ms: the server's clock (Unix time), for replies that tell a remaining time. What is visible is judged by the
        time of the last applied entry alone, so no client sees a key vanish and come back.
    scopes: as in `Context`.
    """

    now_ms: int
    scopes: Mapping[int, int] = NO_SCOPES


class StateMachine(ABC):
    """What is replicated. See the module's text for the promises about determinism, threads and exceptions."""

    name: ClassVar[str]
    """Written into the log's identity: a log made by one machine is refused by another."""

    version: ClassVar[int] = 1
    """Raise it when commands are added: a `Command` of a newer `version` is refused until every member supports it."""

    commands: Mapping[bytes, Command]
    """argv[0] -> row, as `command_table` makes it."""

    has_transactions: ClassVar[bool] = False
    """Whether it knows the internal commands EXEC and WATCH (machines/redis/transactions.py), so that clients have
    MULTI and what belongs to it."""

    def commands_in(self, argv: list[bytes]) -> list[list[bytes]]:
        """The commands that `argv` stands for: what is judged before the log. More than itself for a transaction."""
        return [argv]

    def settings(self) -> Mapping[str, int]:
        """Those that are a part of the replicated state, for CONFIG GET. CONFIG SET sends the internal command
        CONFIGURE (machines/redis/thresholds.py)."""
        return {}

    def init(self) -> None:
        """Make ready, before anything else. An exception stops the member's start with that reason."""
        return

    def is_command(self, argv: list[bytes]) -> bool | Error:  # noqa: ARG002
        """Whether a write may go into the log: asked on the leader only, before. False (or an Error of one's own) is
        the client's answer at once, and nothing is logged. A hint from the present state, not a promise: entries that
        are on their way may change the state before this one is applied."""
        return True

    @abstractmethod
    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        """Carry out a committed batch; returns one reply for each command. Effects go to `context.add_effect`.

        Must answer every argv, however malformed: a committed entry cannot be refused any more. An error is a reply and
        leaves the state as it was before that command. Commands of kind READ may be among them.
        """

    @abstractmethod
    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        """Answer commands of kind READ or DIRTY from the present state without changing it. To list many thousand items
        stops everybody: answer with a `replies.Walk` over what does not change any more."""

    def handle_system_write(self, kind: str, content: Any, context: Context) -> None:  # noqa: ARG002
        """Something that raftkv itself put into the log. The one kind today is "config", with the list of member ids:
        at each election, and when the members change. Ignore kinds that you do not know."""
        return

    def transition(self, role: str) -> None:  # noqa: ARG002
        """This member is now "follower", "candidate" or "leader". Local: it must not change the state."""
        return

    def run_effect(self, effect: Effect, effect_id: str) -> Any:  # noqa: ARG002
        """Carry out a side effect: on the leader only, after its entry is committed. May return an awaitable, which is
        then awaited (under trio). What it raises is logged and harms nobody. `effect_id` is the same when a durable
        effect is repeated, so that whoever receives it can drop the repeat."""
        return None

    def snapshot(self) -> Iterator[bytes]:
        """The state in slices of bytes, each the work of a few milliseconds at most.

        Between two slices writes go on. The slices together must nevertheless be the state at the time of the first
        call of `next`: keep what is overwritten before its slice came.
        """
        raise Unsupported(f"the machine {self.name!r} has no snapshots")

    def restore(self, slices: Iterator[bytes]) -> None:  # noqa: ARG002
        """Replace the whole state by that of a snapshot. The slices come as they were made."""
        raise Unsupported(f"the machine {self.name!r} has no snapshots")

    def terminate(self, reason: str) -> None:  # noqa: ARG002
        """The member stops; nothing is called after this. An exception is logged and changes nothing."""
        return

    def deadline_ms(self) -> int | None:
        """The earliest Unix time at which time alone changes the visible state; None: never.

        When the leader's clock has passed it, the leader commits an empty batch carrying the new time before it
        answers any read. Only entries and `restore` may change it: it is asked for once after each.
        """
        return None

    @abstractmethod
    def state_hash(self) -> bytes:
        """A digest of the whole visible and invisible state, equal on all members at the same index."""

    def digests(self) -> Iterator[int]:
        """The state for RAFT.VERIFY, which compares members while they serve: numbers whose sum modulo 2**256 is equal
        on all members at the same index, whatever the order of what they hold. Like the slices of `snapshot`, each
        the work of about a millisecond at most, and together of the state at the first `next`. By default one number
        from `state_hash`, which stops the member for as long as that takes."""
        yield int.from_bytes(self.state_hash(), "big")

    def info(self) -> dict[str, dict[str, str]]:
        """Sections and fields to be shown by INFO, e.g. {"Keyspace": {"db0": "keys=1,expires=0,avg_ttl=0"}}."""
        return {}
