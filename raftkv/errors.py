"""Every error that raftkv raises, in four families: each says whose fault it is and what is certain.

``NotDone``         the request has certainly not been carried out and never will be; ask again (elsewhere).
``OutcomeUnknown``  it may or may not have been carried out; do not assume either.
``YourFault``       the caller's input, command or setting is wrong; asking again will not help.
``Fatal``           this process must stop: its disk failed it, or one of its own invariants is broken.

A caller that knows only the four bases already knows what to do next; the leaves carry the details.
"""

from __future__ import annotations


class RaftkvError(Exception):
    """Base of all errors raised on purpose by raftkv."""


class NotDone(RaftkvError):
    """Certainly not carried out, now or later. Safe to retry."""


class NotLeader(NotDone):
    """This member does not lead. `leader_id` names who does, as far as this member knows (None: nobody)."""

    def __init__(self, leader_id: int | None = None) -> None:
        super().__init__(f"not the leader; leader is {leader_id if leader_id is not None else 'unknown'}")
        self.leader_id = leader_id


class NoLeader(NotDone):
    """No leader was known within the time allowed."""


class UnstableLeader(NotDone):
    """The leader has not yet committed an entry of its own term, so it must not change the members (ExRaft's docs call
    this `no_commit`). Try again in a moment."""


class UnstableConfig(NotDone):
    """Another change of the members is under way. Try again when it is committed."""


class HandingOver(NotDone):
    """The leader is handing over to another voter and takes nothing new meanwhile. Try again in a moment."""


class LeaseInForce(NotDone):
    """The leader reads by lease (`raft.lease_drift_percent_max`), counting on this voter to stand for no election for a
    moment. Have it hand over instead, or try again when nobody leads."""

    def __init__(self, leader_id: int | None) -> None:
        whose = "a leader it no longer knows" if leader_id is None else f"member {leader_id}"
        super().__init__(
            f"no election: this member has promised {whose} not to stand for a moment, for reads by lease"
            " (raft.lease_drift_percent_max); have the leader hand over (RAFT.TRANSFER_LEADER), or try again later"
        )


class ServerStopped(NotDone):
    """The member in this process has been stopped, or is just being started again."""


class Overloaded(NotDone):
    """A bound was reached (entries in flight, queue, connections). Try again in a moment."""


class OutcomeUnknown(RaftkvError):
    """The request may have been carried out, or may still be. Read before assuming either."""


class YourFault(RaftkvError):
    """The input is wrong; the same input will always be refused."""


class Unsupported(YourFault):
    """This version, or the state machine that is served, cannot do what was asked for."""


class CommandError(YourFault):
    """A command was answered with an error; the message is its text, as Redis clients see it."""

    @property
    def code(self) -> str:
        """The word it begins with: "ERR", "WRONGTYPE" ..."""
        return str(self).partition(" ")[0]


class NoAnswer(CommandError):
    """The machine has no answer to this command (code NOANSWER; ExRaft's `:noreply`)."""


def command_error(text: str) -> CommandError:
    """The exception for an error reply with this text."""
    return NoAnswer(text) if text.startswith("NOANSWER ") else CommandError(text)


class DirtyReadDisabled(YourFault):
    """This member does not answer dirty reads (`client.dirty_reads`)."""


class LastServer(YourFault):
    """The only member of a cluster cannot be removed from it."""


class InvalidMembership(YourFault):
    """Such members cannot be: too few voters, an id that was removed, voter and learner at once. The message says."""


class NotVoter(YourFault):
    """Leadership can only go to another voter, and there is none, or the one named is none."""


class ConfigError(YourFault):
    """A setting is wrong: `source` (file, flag or variable), `key`, `value` and `reason` say which and why."""

    def __init__(self, source: str, key: str, value: object, reason: str) -> None:
        super().__init__(f"{source}: {key} = {value!r}: {reason}")
        self.source, self.key, self.value, self.reason = source, key, value, reason


class ProtocolError(YourFault):
    """The other end of a connection sent bytes that are not the protocol. The connection is closed."""


class Fatal(RaftkvError):
    """This process must stop. The message says what happened and what to do."""


class StorageFailed(Fatal):
    """A write or sync failed, so what is on disk is unknown. Never retried: the page cache may already have
    dropped the data and the next sync would report success (the 'fsyncgate' story of PostgreSQL)."""


class StorageCorrupt(Fatal):
    """The log on disk is damaged before its tail, foreign, incomplete, or in use by another process."""


class MachineTooOld(Fatal):
    """The cluster uses commands that this member's machine does not have. Nothing is lost."""

    def __init__(self, machine: str, version: int, needed: int) -> None:
        super().__init__(
            f"the machine {machine!r} is of version {version} here, and the cluster already uses version {needed}:"
            " start this member with the newer software; its data directory is sound"
        )
        self.machine, self.version, self.needed = machine, version, needed


class Removed(Fatal):
    """This member was removed from its cluster, and its number is never used again. What it held is kept aside."""

    def __init__(self, member_id: int, cluster_id: str) -> None:
        super().__init__(
            f"member {member_id} was removed from cluster {cluster_id}: it has stopped, and its data is kept aside. To"
            " use this machine again, give it a new number and an empty data directory, and have it join"
        )


class BrokenInvariant(Fatal):
    """The program is wrong, not its surroundings. Carries the numbers that disagree."""


class NonDeterministic(Fatal):
    """A machine under `machine.strict` made a call whose result differs between members; it was stopped before. Mend
    the machine. `method`, `call` and `instead` say where, which, and what to use."""

    def __init__(self, method: str, call: str, instead: str) -> None:
        super().__init__(f"{method} called {call}, so members would differ; use {instead}")
        self.method, self.call, self.instead = method, call, instead


class MemberFailed(Fatal):
    """A member ended because of an exception, and is not started again. The exception is the `__cause__`."""
