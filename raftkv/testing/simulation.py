"""A whole cluster in one thread from one seed: faults and clients for a while, then peace, then judgement.

Invariants are checked after every step. When the faults are over the cluster must become whole: one leader, everything
applied everywhere, a write through every member carried out. At the end the clients' histories are searched for a
contradiction (linearizability.py).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from raftkv.errors import RaftkvError
from raftkv.machines.interface import Kind, StateMachine
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.register import RegisterMachine
from raftkv.raft.membership import Membership
from raftkv.testing.clients import Clients
from raftkv.testing.clock import Clock
from raftkv.testing.failure import RuleBroken, SimulationFailed
from raftkv.testing.faults import Faults
from raftkv.testing.history import Operation, Outcome
from raftkv.testing.invariants import ALL_INVARIANTS, Facts, Watchers
from raftkv.testing.linearizability import check_history
from raftkv.testing.member import Member
from raftkv.testing.network import Network
from raftkv.testing.once import SessionClients
from raftkv.testing.scenario import Scenario, draw
from raftkv.testing.schedule import Schedule
from raftkv.testing.trace import Trace
from raftkv.testing.transactions import TransactionClients

MACHINES: dict[str, Callable[[], StateMachine]] = {"redis": RedisMachine, "register": RegisterMachine}


class Report(msgspec.Struct, frozen=True):
    """What a run that broke no rule did. `digest` is equal for two runs if and only if they did the same."""

    seed: int
    digest: str
    events: int
    simulated_ms: int
    operations: dict[str, int]
    committed: int
    terms: int


class Simulation:
    """`new_machine`: the state machine under test, for runs with your own; by default `scenario.machine` says it."""

    def __init__(self, scenario: Scenario, new_machine: Callable[[], StateMachine] | None = None) -> None:
        self.scenario = scenario
        self.schedule = Schedule()
        self.trace = Trace(self.schedule)
        self.random = Random(f"simulation/{scenario.seed}")
        self.network = Network(self.schedule, self.random, scenario)
        ids = range(1, scenario.members + 1)
        founders = Membership.founding({member_id: f"member{member_id}:1" for member_id in ids})
        self.facts = Facts(founders, scenario.replica)
        watchers = Watchers(self.facts, ALL_INVARIANTS)
        self.members = {
            member_id: Member(
                member_id,
                founders,
                schedule=self.schedule,
                random=self.random,
                scenario=scenario,
                network=self.network,
                clock=self._draw_clock(),
                new_machine=new_machine or MACHINES[scenario.machine],
                watchers=watchers,
                trace=self.trace,
            )
            for member_id in range(1, scenario.members + scenario.spares + 1)
        }
        self.facts.members = self.members
        self.clients = Clients(self.schedule, self.random, scenario, self.members, self.trace)
        self.session_clients = SessionClients(self.schedule, scenario, self.members, self.clients)
        self.transaction_clients = TransactionClients(self.schedule, scenario, self.members, self.clients)
        self.faults = Faults(self.schedule, self.random, scenario, self.members, self.network, self.trace, self.facts)

    def _draw_clock(self) -> Clock:
        drift, spread_ms = self.scenario.drift_ppm_max, self.scenario.wall_spread_ms
        return Clock(
            self.schedule,
            drift_ppm=self.random.randint(-drift, drift),
            start_ms=self.random.randint(0, 1_000_000),
            wall_offset_ms=self.random.randint(-spread_ms, spread_ms),
        )

    # ---- the whole run

    def run(self) -> Report:
        """Raises SimulationFailed when a rule is broken, or when the code under test raises."""
        try:
            self.start()
            self.clients.start()
            self.session_clients.start()
            self.transaction_clients.start()
            self.faults.start()
            self.run_for(self.scenario.duration_ms)
            self.clients.working = False
            self.faults.end_all()
            self.converge()
            check_history(self.clients.operations + self.session_clients.told() + self.transaction_clients.told())
        except RuleBroken as broken:
            raise self._failed(broken.rule, broken.what) from broken
        except (RaftkvError, AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise self._failed("no exception", f"{type(error).__name__}: {error}") from error
        return self._report()

    def _failed(self, rule: str, what: str) -> SimulationFailed:
        return SimulationFailed(self.scenario.seed, rule, what, self.schedule.now_us, self.trace.lines())

    def _report(self) -> Report:
        counts = {outcome.value: 0 for outcome in Outcome}
        for operation in self.clients.operations:
            assert operation.outcome is not None
            counts[operation.outcome.value] += 1
        return Report(
            self.scenario.seed,
            self.trace.digest(),
            self.trace.events,
            self.schedule.now_us // 1000,
            counts,
            len(self.facts.committed),
            len(self.facts.leaders),
        )

    # ---- its parts, for tests that direct a run themselves

    def start(self) -> None:
        self.network.attach(self.members)
        for member in self.members.values():
            member.start()

    def run_for(self, duration_ms: int) -> None:
        """Run, with the rules being checked, for so much simulated time."""
        self.schedule.at(end_us := self.schedule.now_us + duration_ms * 1000, lambda: None)
        while self.schedule.now_us < end_us:
            self.schedule.run_next()

    def run_until(self, condition: Callable[[], bool], within_ms: int, what: str) -> None:
        """Run until `condition` holds. Raises RuleBroken when it does not within so much simulated time."""
        end_us = self.schedule.now_us + within_ms * 1000
        while not condition():
            if self.schedule.now_us > end_us:
                raise RuleBroken("liveness", f"{what} took more than {within_ms} ms")
            self.schedule.run_next()

    def converge(self) -> None:
        """After the faults: wait until the cluster is whole, then write and read through every member."""
        within_ms = self.scenario.converge_ms_max
        self.run_until(self.is_whole, within_ms, "becoming whole")
        for member in self.present_members():
            self.ask_until_done(member, Kind.WRITE, self._last_write(), within_ms)
        for member in self.present_members():
            self.ask_until_done(member, Kind.READ, self._last_reads(), within_ms)
        self.run_until(self.is_whole, within_ms, "applying the last writes everywhere")
        self._compare_dirty_reads()

    def is_whole(self) -> bool:
        """A leader is ready, everything is committed and applied on all members, and nobody waits for an answer."""
        members = self.present_members()
        ends = {member.replica.node.log.last_index if member.replica else -1 for member in members}
        return (
            len(ends) == 1
            and self.clients.outstanding == 0
            and any(member.leads for member in members)
            and all(member.replica is not None and member.replica.applied in ends for member in members)
        )

    def present_members(self) -> list[Member]:
        """Those that belong to the cluster, as the ready leader of the highest term sees it; all while there is none,
        or while the members are being changed."""
        leaders = [member for member in self.members.values() if member.leads]
        if not leaders:
            return list(self.members.values())
        newest = max(leaders, key=lambda member: member.replica.node.term if member.replica else 0)
        assert newest.replica is not None
        node = newest.replica.node
        if node.membership.is_joint or node.membership.joining or not node.membership_is_committed:
            return list(self.members.values())
        return [self.members[member_id] for member_id in sorted(node.membership.members)]

    def ask_until_done(self, member: Member, kind: Kind, commands: list[list[bytes]], within_ms: int) -> Operation:
        """Ask again, where one is sent to, as long as the answer is anything else than success."""
        last: list[Operation] = []

        def ask(at: Member) -> None:
            last.append(self.clients.ask(at, kind, commands, then))

        def then(operation: Operation) -> None:
            if operation.outcome is not Outcome.OK:
                self.schedule.after(10_000, ask, self.members[operation.redirected_to or member.id])

        def is_done() -> bool:
            # An operator's change that was under way may have removed it meanwhile: then it serves nobody any more.
            return last[-1].outcome is Outcome.OK or member not in self.present_members()

        ask(member)
        self.run_until(is_done, within_ms, f"a {kind.name} through {member.id}")
        return last[-1]

    def _last_write(self) -> list[list[bytes]]:
        token = self.clients.token()
        return [[b"SET", token]] if self.scenario.machine == "register" else [[b"APPEND", b"a1", token]]

    def _last_reads(self) -> list[list[bytes]]:
        if self.scenario.machine == "register":
            return [[b"GET"]]
        return [[b"GET", key] for key in (b"a1", b"a2", b"c1", b"r1", b"r2", b"t1", b"t2")]

    def _compare_dirty_reads(self) -> None:
        answers = {
            repr(member.replica.read_dirty(self._last_reads(), {}, member.clock.wall_ms()))
            for member in self.present_members()
            if member.replica is not None
        }
        if len(answers) != 1:
            raise RuleBroken("convergence", f"members answer differently: {sorted(answers)}")


def run(seed: int) -> Report:
    """Run the scenario that `seed` stands for. Raises SimulationFailed."""
    return Simulation(draw(seed)).run()
