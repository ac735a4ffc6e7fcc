"""Carries out the scripts of `scripts/*.txt`: a language for stories about a few members, and a trace of them.

A line that begins with ``>`` is a command; the lines after it, up to a blank line, a comment (``#``) or the next
command, are what it printed. Commands::

    new COUNT [spares=NUMBER] [SETTING=NUMBER ...]   a cluster, all members up, logs empty; spares belong to none yet
    log MEMBER [TERM ...] [term=TERM]   give a member a durable log with entries of these terms, and restart it
    tick MEMBER MS                      one member's clock moves
    pass MS                             everybody's clock moves in steps of 10 ms, all messages are delivered
    campaign MEMBER                     as if its election timeout had passed
    propose MEMBER DATA
    change MEMBER IDS [learners=IDS] [joining=IDS]   have the members be these; IDS are like 1,2,3
    transfer MEMBER [TARGET]            hand over
    compact MEMBER [INDEX]              take a snapshot up to INDEX (or the commit index), and forget the log up to it
    read MEMBER                         begin a read round
    deliver A->B [COUNT]                what is under way from A to B (or the oldest COUNT of it) arrives
    drop A->B [COUNT]                   ... is lost
    stabilize                           deliver everything until nothing is under way
    partition 1,2 | 3,4                 members reach only those of their group; what is under way is lost
    split 1,2 | 3,4                     the same, but what is under way can still arrive
    sever A->B                          one direction only
    heal                                all members reach each other again
    reset A B                           the connection between the two is new
    slow MEMBER / fast MEMBER           from now on disk writes end when told / at once
    sync MEMBER [COUNT]                 a slow disk has done its oldest COUNT (or all) writes
    crash MEMBER [COUNT]                lose all that is not durable; COUNT pending writes had just made it
    restart MEMBER
    status                              each member's role and positions
    members                             each member's newest membership
    logs                                the terms of each member's entries

Printed are each delivery, and, indented, what it changed. ``quietly COMMAND`` prints the changes alone. Messages that
a command sent show when they are delivered.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from raftkv.errors import NotDone, YourFault
from raftkv.raft.membership import Membership
from raftkv.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    RaftMessage,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from raftkv.raft.roles import Role
from tests.raft.harness import Cluster, Member, Observer


def describe(message: RaftMessage) -> str:
    match message:
        case VoteRequest(term, last_index, last_term, pre, forced):
            kind = "pre-vote" if pre else "forced vote" if forced else "vote"
            return f"{kind} for term {term}? log ends at {last_index}/{last_term}"
        case VoteReply(term, granted, pre):
            return f"{'pre-vote' if pre else 'vote'} {'granted' if granted else 'refused'}, term {term}"
        case Append(term, prev_index, prev_term, commit, entries):
            carried = " ".join(f"{entry.index}/{entry.term}" for entry in entries) or "nothing"
            return f"append {carried} after {prev_index}/{prev_term}, commit {commit}, term {term}"
        case AppendReply(term, True, _, match_index):
            return f"accepted up to {match_index}, term {term}"
        case AppendReply(term, False, prev_index, _, hint_index, hint_term):
            return f"rejected after {prev_index}, try {hint_index}/{hint_term}, term {term}"
        case Heartbeat(term, commit, number):
            return f"heartbeat, commit {commit}, round {number}, term {term}"
        case HeartbeatReply(term, number):
            return f"heartbeat answered, round {number}, term {term}"
        case SnapshotChunk(term, index, last_term):
            return f"snapshot of {index}/{last_term}, term {term}"
        case SnapshotReply(term, index, _, installed):
            return f"snapshot {'installed, all up to' if installed else 'not yet at'} {index}, term {term}"
        case TimeoutNow(term):
            return f"stand for election now, term {term}"
    raise AssertionError(message)


class Trace(Observer):
    """Collects printed lines; after each step compares a member with how it was last seen."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.quiet = False
        self._seen: dict[int, tuple[str, dict[int, int], int]] = {}
        self._memberships: dict[int, str] = {}
        self._rounds: dict[int, int] = {}

    def on_delivered(self, sender: int, receiver: int, message: RaftMessage) -> None:
        if not self.quiet:
            self.lines.append(f"{sender}->{receiver} {describe(message)}")

    def on_restart(self, member: Member) -> None:
        self._seen[member.id] = self._look(member)
        self._memberships[member.id] = spell_members(member)

    def after_step(self, member: Member) -> None:
        was, now = self._seen[member.id], self._look(member)
        self._seen[member.id] = now
        if was[0] != now[0]:
            self.lines.append(f"  {member.id} is {now[0]}")
        if any(now[1].get(index) != term for index, term in was[1].items() if index > member.node.log.base_index):
            self.lines.append(f"  {member.id} cuts its log: {spell(member)}")
        if min(now[1], default=0) > min(was[1], default=0) and member.node.log.base_index:
            self.lines.append(f"  {member.id} has its log behind {member.node.log.base_index}: {spell(member)}")
        if was[2] < now[2]:
            self.lines.append(f"  {member.id} commits {now[2]}")
        members = spell_members(member)
        if members != self._memberships[member.id]:
            self._memberships[member.id] = members
            self.lines.append(f"  {member.id} goes by {members}")
        if member.node.confirmed_round > self._rounds.get(member.id, 0):
            self.lines.append(f"  {member.id} confirms round {member.node.confirmed_round}")
        self._rounds[member.id] = member.node.confirmed_round

    @staticmethod
    def _look(member: Member) -> tuple[str, dict[int, int], int]:
        terms = dict(enumerate(terms_of(member), member.node.log.first_index))
        return standing(member), terms, member.node.log.commit


def standing(member: Member) -> str:
    node = member.node
    of = f" of {node.leader_id}" if node.role is Role.FOLLOWER and node.leader_id is not None else ""
    return f"{node.role.value}{of} in term {node.term}"


def terms_of(member: Member) -> list[int]:
    log = member.node.log
    return [log.term(index) for index in range(log.first_index, log.last_index + 1)]


def spell_members(member: Member) -> str:
    """The newest membership: ``voters 1,2,3; outgoing 1; ...``, only what is not empty."""
    node = member.node
    parts = [
        f"{name} {','.join(map(str, getattr(node.membership, name)))}"
        for name in ("voters", "outgoing", "learners", "joining", "removed")
        if getattr(node.membership, name)
    ]
    return "; ".join(parts) or "nobody"


def spell(member: Member) -> str:
    runs = [(term, len(list(run))) for term, run in groupby(terms_of(member))]
    return " ".join(str(term) if count == 1 else f"{term}x{count}" for term, count in runs) or "empty"


class Script:
    """Carries out one command after the other on one cluster. Returns what each printed."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.cluster = Cluster(1, observer=self.trace)

    def command(self, line: str) -> list[str]:
        words = line.split()
        self.trace.quiet = words[0] == "quietly"
        verb, *arguments = words[1:] if self.trace.quiet else words
        self.trace.lines = []
        try:
            getattr(self, f"do_{verb}")(*arguments)
        except (NotDone, YourFault) as error:
            self.trace.lines.append(f"refused: {error}")
        return self.trace.lines

    def say(self, line: str) -> None:
        self.trace.lines.append(line)

    def do_new(self, count: str, *settings: str) -> None:
        self.trace = Trace()
        chosen = {name: int(value) for name, value in (setting.split("=") for setting in settings)}
        self.cluster = Cluster(int(count), spares=chosen.pop("spares", 0), observer=self.trace, **chosen)

    def do_log(self, member: str, *words: str) -> None:
        term = next((int(word[5:]) for word in words if word.startswith("term=")), None)
        self.cluster.write_log(int(member), [int(word) for word in words if "=" not in word], term=term)

    def do_tick(self, member: str, by_ms: str) -> None:
        self.cluster.tick(int(member), int(by_ms))

    def do_pass(self, for_ms: str) -> None:
        self.cluster.run(int(for_ms))

    def do_campaign(self, member: str) -> None:
        self.cluster.campaign(int(member))

    def do_propose(self, member: str, data: str) -> None:
        self.say(f"entry {self.cluster.propose(int(member), data.encode())}")

    def do_change(self, member: str, voters: str, *others: str) -> None:
        chosen = {name: self._ids(ids) for name, ids in (other.split("=") for other in others)}
        self.say(f"entry {self.cluster.change(int(member), Membership(self._ids(voters), **chosen))}")

    @staticmethod
    def _ids(ids: str) -> tuple[int, ...]:
        return tuple(map(int, ids.split(",")))

    def do_transfer(self, member: str, target: str = "") -> None:
        self.cluster.transfer(int(member), int(target) if target else None)

    def do_compact(self, member: str, index: str = "") -> None:
        self.cluster.compact(int(member), int(index) if index else None)

    def do_read(self, member: str) -> None:
        self.say(f"round {self.cluster.begin_read_round(int(member))}")

    def do_deliver(self, link: str, count: str = "") -> None:
        self.cluster.deliver(*self._link(link), int(count) if count else None)

    def do_drop(self, link: str, count: str = "") -> None:
        sender, receiver = self._link(link)
        for message in list(self.cluster.queues[sender, receiver])[: int(count) if count else None]:
            self.say(f"{link} lost: {describe(message)}")
        self.cluster.drop(sender, receiver, int(count) if count else None)

    @staticmethod
    def _link(link: str) -> tuple[int, int]:
        sender, receiver = link.split("->")
        return int(sender), int(receiver)

    def do_stabilize(self) -> None:
        self.cluster.stabilize()

    def do_partition(self, *words: str) -> None:
        self.cluster.partition(*self._groups(words))

    def do_split(self, *words: str) -> None:
        self.cluster.partition(*self._groups(words), lose_under_way=False)

    @staticmethod
    def _groups(words: Iterable[str]) -> list[list[int]]:
        return [[int(number) for number in group.split(",")] for group in " ".join(words).split("|")]

    def do_sever(self, link: str) -> None:
        self.cluster.sever(*self._link(link))

    def do_heal(self) -> None:
        self.cluster.heal()

    def do_reset(self, member: str, peer: str) -> None:
        self.cluster.reset_link(int(member), int(peer))

    def do_slow(self, member: str) -> None:
        self.cluster.slow_disk(int(member))

    def do_fast(self, member: str) -> None:
        self.cluster.slow_disk(int(member), False)

    def do_sync(self, member: str, count: str = "") -> None:
        self.cluster.sync(int(member), int(count) if count else None)

    def do_crash(self, member: str, surviving: str = "0") -> None:
        self.cluster.crash(int(member), surviving_writes=int(surviving))

    def do_restart(self, member: str) -> None:
        self.cluster.restart(int(member))

    def do_status(self) -> None:
        for member in self.cluster.members.values():
            if member.running is None:
                self.say(f"{member.id} is down")
                continue
            log = member.node.log
            ready = ", ready" if member.node.leads_and_is_ready else ""
            positions = f"commit {log.commit}, synced {log.synced}, last {log.last_index}/{log.last_term}"
            self.say(f"{member.id} is {standing(member)}{ready}: {positions}")

    def do_members(self) -> None:
        for member in self.cluster.members.values():
            if member.running is not None:
                removed = " (removed)" if member.node.is_removed else ""
                self.say(f"{member.id}: {spell_members(member)} since {member.node.membership_index}{removed}")

    def do_logs(self) -> None:
        for member in self.cluster.members.values():
            if member.running is not None:
                self.say(f"{member.id}: {spell(member)}")


def carry_out(text: str) -> str:
    """The script with what its commands print now in place of what was written there."""
    script, lines = Script(), []
    printed_before = False  # whether this line may be what the last command printed when the file was written
    for line in text.splitlines():
        if line.startswith(">"):
            lines += [line, *script.command(line[1:])]
            printed_before = True
        elif not line.strip() or line.startswith("#"):
            lines.append(line)
            printed_before = False
        else:
            assert printed_before, f"neither a command nor behind one: {line!r}"
    return "\n".join(lines) + "\n"
