"""One random schedule of a cluster's life from one seed, with the checkers looking on.

A *changing* one also changes the members (some spare ones may come in), compacts logs, so that followers need
snapshots, hands over leadership, and its disks may hang for too long.

Each step is one of: let time pass, deliver some message (any, not only the oldest), repeat one, lose one, propose,
begin a read, trigger an election, finish some disk writes, crash (any prefix of the unfinished writes may survive),
restart, cut the network, heal it, replace a connection. At the end the faults stop, and the cluster must come to agree
and to work again within a bounded time: that catches whatever gets stuck.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from raftkv.errors import BrokenInvariant, LastServer, NotDone, NotVoter, ProtocolError
from raftkv.raft.membership import Membership
from tests.raft.checkers import Checkers, Violation
from tests.raft.harness import Cluster

TIMING = {"election_timeout_ms_min": 20, "election_timeout_ms_max": 40, "heartbeat_interval_ms": 5}
"""Short, so that some hundred steps are long enough for several elections."""

RECOVERY_MS_MAX = 2_000
"""Some tens of election timeouts: after the faults, a leader must have got everybody to agree within this."""


class Schedule:
    def __init__(self, seed: int, count: int, *, changing: bool = False) -> None:
        self.random = Random(seed)
        self.checkers = Checkers()
        limits = {"append_entries_max": self.random.choice((1, 2, 100)), "inflight_appends_max": 3}
        if changing:
            limits["disk_stall_ms_max"] = self.random.choice((60, 1000))
        spares = 3 if changing else 0
        self.cluster = Cluster(count, spares=spares, seed=seed, observer=self.checkers, **TIMING, **limits)
        self.checkers.watch(self.cluster)
        self.numbers = list(self.cluster.members)
        self.proposals = self.changes = self.transfers = 0
        self.changing = changing
        self.actions = self._weighted()

    def _weighted(self) -> list[Callable[[], None]]:
        """Each schedule has its own mixture of faults, some of them left out: the rare combinations get their turn."""
        usual = [(self.deliver_some, 50), (self.propose, 12), (self.read, 8), (self.sync, 8)]
        faults = (self.lose, self.repeat, self.change_disk, self.crash, self.cut, self.isolate_leader, self.reset_link)
        faults += (self.trigger_election,)
        repairs = [(self.restart, 3), (self.heal, 3)]
        mixture = [*usual, *repairs, *((fault, self.random.choice((0, 0, 1, 2, 4))) for fault in faults)]
        mixture.append((self.pass_time, self.random.choice((8, 16, 32))))
        if self.changing:
            mixture += [(self.change, self.random.choice((2, 6))), (self.compact, self.random.choice((0, 2, 6)))]
            mixture.append((self.transfer, self.random.choice((0, 1, 3))))
        return [action for action, weight in mixture for _ in range(weight)]

    def run(self, steps: int) -> None:
        """Raises `Violation` when a property is broken, also for an invariant that the product noticed itself."""
        try:
            for _ in range(steps):
                self.random.choice(self.actions)()
            self.recover()
        except (BrokenInvariant, ProtocolError) as error:
            raise Violation("the core's own invariant", str(error)) from error

    # ---- the steps

    def busy_links(self) -> list[tuple[int, int]]:
        return [pair for pair, queue in self.cluster.queues.items() if queue]

    def some_member(self, *, up: bool = True) -> int | None:
        members = self.cluster.members.values()
        numbers = [member.id for member in members if (member.running is not None) is up]
        return self.random.choice(numbers) if numbers else None

    def deliver_some(self) -> None:
        for _ in range(self.random.randrange(1, 12)):
            links = self.busy_links()
            if not links:
                return
            pair = self.random.choice(links)
            if self.random.random() < 0.1:
                self.cluster.deliver_together(*pair)
                continue
            in_order = self.random.random() < 0.7
            place = 0 if in_order else self.random.randrange(len(self.cluster.queues[pair]))
            self.cluster.deliver(*pair, 1, place=place)

    def repeat(self) -> None:
        links = self.busy_links()
        if links:
            queue = self.cluster.queues[self.random.choice(links)]
            queue.append(self.random.choice(queue))

    def lose(self) -> None:
        links = self.busy_links()
        if links:
            self.cluster.drop(*self.random.choice(links), self.random.randrange(1, 4))

    def pass_time(self) -> None:
        by_ms = self.random.choice((1, 3, 5, 10, 20))
        numbers = self.numbers if self.random.random() < 0.7 else [self.random.choice(self.numbers)]
        for number in numbers:
            self.cluster.tick(number, by_ms)

    def propose(self) -> None:
        for leader in self.cluster.leaders():
            if self.cluster[leader].transferring is None:
                self.proposals += 1
                self.cluster.propose(leader, b"%d" % self.proposals)

    def read(self) -> None:
        for leader in self.cluster.leaders():
            self.checkers.begin_read(leader)

    def sync(self) -> None:
        number = self.some_member()
        if number is not None:
            self.cluster.sync(number, self.random.randrange(1, 4))

    def trigger_election(self) -> None:
        """An operator wants one, whoever leads."""
        number = self.some_member()
        if number is not None:
            self.cluster.trigger_election(number)

    def change(self) -> None:
        """Any members but those that were removed, some of them learners, some of these to become voters; or, mostly,
        only one more or less."""
        for leader in self.cluster.leaders():
            now = self.cluster[leader].membership
            usable = [number for number in self.numbers if number not in now.removed]
            if len(usable) < 4:
                usable = [number for number in usable if number in now.members]  # enough have gone
            voters = set(now.voters) ^ {self.random.choice(usable)}
            if self.random.random() < 0.3:
                voters = set(self.random.sample(usable, self.random.randrange(1, len(usable) + 1)))
            others = [number for number in usable if number not in voters]
            kept = now.members if len(usable) < 5 else frozenset[int]()
            learners = [number for number in others if number in kept or self.random.random() < 0.5]
            joining = [number for number in learners if self.random.random() < 0.5]
            target = Membership(tuple(sorted(voters)), (), tuple(sorted(learners)), tuple(sorted(joining)))
            with contextlib.suppress(NotDone, LastServer):
                self.cluster.change(leader, target)
                self.changes += 1

    def compact(self) -> None:
        number = self.some_member()
        if number is not None:
            log = self.cluster[number].log
            index = self.random.randint(log.base_index, log.commit)
            if log.base_index < index:
                self.cluster.compact(number, index)

    def transfer(self) -> None:
        for leader in self.cluster.leaders():
            with contextlib.suppress(NotVoter):
                self.cluster.transfer(leader, self.random.choice([None, *self.cluster[leader].voters]))
                self.transfers += 1

    def change_disk(self) -> None:
        number = self.some_member()
        if number is not None:
            self.cluster.slow_disk(number, not self.cluster.members[number].disk_is_slow)

    def crash(self) -> None:
        number = self.some_member()
        if number is not None:
            self.cluster.crash(number, surviving_writes=self.random.choice((0, 0, 1, 2)))

    def restart(self) -> None:
        number = self.some_member(up=False)
        if number is not None:
            self.cluster.restart(number)

    def cut(self) -> None:
        numbers = self.random.sample(self.numbers, len(self.numbers))
        lose_under_way = self.random.random() < 0.5
        if self.random.random() < 0.3:
            self.cluster.sever(*numbers[:2], lose_under_way=lose_under_way)  # one way only
        else:
            at = self.random.randrange(1, len(numbers))
            self.cluster.partition(numbers[:at], numbers[at:], lose_under_way=lose_under_way)

    def isolate_leader(self) -> None:
        """Nobody hears a leader any more, while what it has sent and was sent already may still arrive."""
        for leader in self.cluster.leaders():
            self.cluster.partition([n for n in self.numbers if n != leader], lose_under_way=self.random.random() < 0.3)

    def heal(self) -> None:
        self.cluster.heal()

    def reset_link(self) -> None:
        self.cluster.reset_link(*self.random.sample(self.numbers, 2))

    # ---- the end

    def recover(self) -> None:
        """No more faults: within a bounded time one leads, all agree, and a new command is committed by all."""
        cluster = self.cluster
        cluster.heal()
        for number, member in cluster.members.items():
            if member.running is None:
                cluster.restart(number)
            cluster.slow_disk(number, False)
        for _ in range(0, RECOVERY_MS_MAX, 10):
            cluster.run(10)
            if self.agreed():
                break
        else:
            raise Violation("liveness", f"no agreement {RECOVERY_MS_MAX} ms after the last fault")
        self.propose()
        cluster.run(30)  # one step to commit it, and a heartbeat interval for the others to hear of that
        if not self.agreed():
            raise Violation("liveness", "a command was not committed by all although nothing failed")

    def agreed(self) -> bool:
        leaders = self.cluster.leaders()
        if len(leaders) != 1:
            return False
        leader = self.cluster[leaders[0]]
        newest = leader.log.last_index
        is_settled = leader.transferring is None and not leader.membership.is_joint and not leader.membership.joining
        return is_settled and all(self.cluster[number].log.commit == newest for number in leader.members | {leader.id})
