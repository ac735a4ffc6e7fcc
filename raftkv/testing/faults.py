"""What goes wrong, drawn one after the other. A fault is a method: it begins something and schedules its end.

Several may be under way at once. When the time for faults is over, `end_all` puts everything right again.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from random import Random

from raftkv.errors import StorageCorrupt
from raftkv.machines.interface import Kind
from raftkv.machines.replies import OK, Error, Reply
from raftkv.raft.membership import Membership, decode_membership
from raftkv.raft.messages import EntryKind
from raftkv.testing.failure import RuleBroken
from raftkv.testing.invariants.base import Facts
from raftkv.testing.member import Member
from raftkv.testing.network import Network
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule
from raftkv.testing.trace import Trace


class _Operator:
    """Asks for a change of the members or the leader, and waits for no answer (replica.work.Sink). But when one says
    that a change of the members is done, then it is committed."""

    resp3 = False
    remote = False
    readonly = False

    def __init__(self, argv: list[bytes], schedule: Schedule, facts: Facts) -> None:
        self._argv = argv
        self._schedule = schedule
        self._facts = facts

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        if replies[start:stop] == [OK]:
            self._on_done()

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        if replies == [b"+OK\r\n"]:
            self._on_done()

    def on_redirect(self, leader_id: int) -> None:
        pass

    def on_not_done(self, error: Error) -> None:
        pass

    def on_unknown(self, error: Error) -> None:
        pass

    def _on_done(self) -> None:
        if self._argv[0] == b"RAFT.NODE":
            self._schedule.after(0, self._check)  # what this step has committed is known at its end

    def _check(self) -> None:
        committed = [e.data for e in self._facts.committed if e.kind == EntryKind.MEMBERSHIP]
        if not any(self._is_reached(each) for each in (self._facts.founders, *map(decode_membership, committed))):
            raise RuleBroken("a change that is answered is committed", f"{self._argv} was answered OK")

    def _is_reached(self, membership: Membership) -> bool:
        _, action, member_id, *words = self._argv
        match action:
            case b"REMOVE":
                return int(member_id) in membership.removed
            case b"DEMOTE":
                return int(member_id) in membership.learners
        return int(member_id) in (membership.members if b"LEARNER" in words else membership.voters)


class Faults:
    def __init__(
        self,
        schedule: Schedule,
        random: Random,
        scenario: Scenario,
        members: Mapping[int, Member],
        network: Network,
        trace: Trace,
        facts: Facts,
    ) -> None:
        self._facts = facts
        self._schedule = schedule
        self._random = random
        self._scenario = scenario
        self._members = members
        self._network = network
        self._trace = trace
        self._over = False
        self._kinds = {name: getattr(self, name) for name in scenario.faults}

    def start(self) -> None:
        if self._kinds:
            self._wait()

    def _wait(self) -> None:
        low_ms, high_ms = self._scenario.fault_interval_ms
        self._schedule.after(self._random.randint(low_ms * 1000, high_ms * 1000), self._strike)

    def _strike(self) -> None:
        if not self._over:
            names = list(self._kinds)
            name = self._random.choices(names, [self._scenario.faults[name] for name in names])[0]
            self._trace.note("fault", name)
            self._kinds[name]()
            self._wait()

    def end_all(self) -> None:
        self._trace.note("faults end")
        self._over = True
        self._network.rough = False
        self._network.heal_all()
        for member in self._members.values():
            member.disk.slow_factor = 1
            member.disk.fails_next = False
            member.snapshots.fails_next = None
            member.resume()
            member.start()

    # ---- choosing

    def _any(self) -> Member:
        return self._members[self._random.choice(sorted(self._members))]

    def _leader(self) -> Member:
        """One that believes it leads (there may be several), or just any."""
        leaders = [member for member in self._members.values() if member.leads]
        return self._random.choice(leaders) if leaders else self._any()

    def _duration_us(self) -> int:
        return self._random.choice((5_000, 50_000, 300_000, 900_000)) + self._random.randrange(10_000)

    # ---- the network

    def partition(self) -> None:
        """Two sides, any sizes, that do not hear each other."""
        ids = sorted(self._members)
        self._random.shuffle(ids)
        middle = self._random.randint(1, len(ids) - 1)
        self._cut_between(ids[:middle], ids[middle:])

    def isolate_leader(self) -> None:
        leader = self._leader().id
        self._cut_between([leader], [other for other in self._members if other != leader])

    def _cut_between(self, side: list[int], other_side: list[int]) -> None:
        self._trace.note("cut", side, other_side)
        pairs = [(a, b) for a in side for b in other_side]
        for a, b in pairs:
            self._network.cut(a, b)
            self._network.cut(b, a)
        self._schedule.after(self._duration_us(), self._heal, [*pairs, *((b, a) for a, b in pairs)])

    def one_way(self) -> None:
        """Some member is heard by others, or hears others, and not the other way round."""
        member = self._leader() if self._random.random() < 0.5 else self._any()
        others = [other for other in self._members if other != member.id]
        chosen = self._random.sample(others, self._random.randint(1, len(others)))
        pairs = [(member.id, other) for other in chosen]
        if self._random.random() < 0.5:
            pairs = [(b, a) for a, b in pairs]
        self._trace.note("cut", pairs)
        for sender, receiver in pairs:
            self._network.cut(sender, receiver)
        self._schedule.after(self._duration_us(), self._heal, pairs)

    def _heal(self, pairs: list[tuple[int, int]]) -> None:
        for sender, receiver in pairs:
            self._network.heal(sender, receiver)

    def break_link(self) -> None:
        a, b = self._random.sample(sorted(self._members), 2)
        self._network.break_link(a, b)

    # ---- processes

    def crash(self) -> None:
        self._crash(self._any())

    def crash_leader(self) -> None:
        self._crash(self._leader())

    def crash_most(self) -> None:
        for member_id in self._random.sample(sorted(self._members), len(self._members) // 2 + 1):
            self._crash(self._members[member_id])

    def crash_all(self) -> None:
        for member in self._members.values():
            self._crash(member)

    def _crash(self, member: Member) -> None:
        member.crash()
        self._schedule.after(self._duration_us(), member.start)

    def pause(self) -> None:
        self._pause(self._any())

    def pause_leader(self) -> None:
        self._pause(self._leader())

    def _pause(self, member: Member) -> None:
        member.pause()
        self._schedule.after(self._duration_us(), member.resume)

    def campaign(self) -> None:
        self._any().campaign()

    def trigger_election(self) -> None:
        self._any().trigger_election()

    # ---- operators

    def change_members(self) -> None:
        """Some change of the members is asked for, sensible or not; nobody waits for the answer."""
        member_id = self._random.choice(sorted(self._members))
        action = self._random.choice((b"ADD", b"ADD", b"REMOVE", b"PROMOTE", b"DEMOTE"))
        argv = [b"RAFT.NODE", action, b"%d" % member_id]
        if action == b"ADD":
            argv.append(b"member%d:1" % member_id)
            if self._random.random() < 0.3:
                argv.append(b"LEARNER")
        if action != b"REMOVE" or len(self._voters()) > 2:
            self._ask(argv)

    def _voters(self) -> tuple[int, ...]:
        leader = self._leader().replica
        return () if leader is None else leader.node.membership.voters

    def transfer_leader(self) -> None:
        target = self._random.choice([None, *sorted(self._members)])
        self._ask([b"RAFT.TRANSFER_LEADER"] + ([] if target is None else [b"%d" % target]))

    def _ask(self, argv: list[bytes]) -> None:
        self._trace.note("operator", argv)
        member = self._leader() if self._random.random() < 0.5 else self._any()
        member.submit(Kind.ADMIN, [argv], 0, _Operator(argv, self._schedule, self._facts))

    def take_snapshot(self) -> None:
        self._any().request_snapshot()

    # ---- disks and clocks

    def slow_disk(self) -> None:
        disk = self._any().disk
        disk.slow_factor = self._random.choice((5, 50, 500))
        self._schedule.after(self._duration_us(), setattr, disk, "slow_factor", 1)

    def fail_disk(self) -> None:
        """The next sync fails; somebody starts the process again after a while."""
        member = self._any()
        member.disk.fails_next = True
        self._schedule.after(self._duration_us() + 300_000, member.start)

    def fail_job(self) -> None:
        """The next work with a snapshot file fails: the disk is full, or has damaged what was written."""
        damage = StorageCorrupt("the snapshot is damaged")
        self._any().snapshots.fails_next = self._random.choice((OSError(errno.ENOSPC, "the disk is full"), damage))

    def wall_jump(self) -> None:
        clock = self._any().clock
        clock.wall_offset_ms += self._random.choice((-10_000, -500, -20, 20, 500, 10_000))
