"""The checks of the conformance suite: each carries out the log in another way, and compares.

What "batch equals one by one" compares. A machine may use the entry's index and its chance, so feeding each command as
an entry of its own would rightly differ. Instead one context is made for the entry, and each command gets its part of
it (`Context.part`, which is also how raftkv cuts an entry): the same index, time and scope, and one generator of
chance, from which each command draws where the one before stopped. Then nothing may differ, whether the machine draws
or not.

After `restore`, replies of commands with a tip "nondeterministic_output..." (in Redis: RANDOMKEY, KEYS, SCAN) are not
compared, nor where reads were mixed in: such replies may follow from what is not state. In all other runs they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from random import Random
from typing import Any, Final

from raftkv.errors import NonDeterministic, Unsupported
from raftkv.machines.digests import HASH_MODULUS
from raftkv.machines.interface import Kind, ReadContext, StateMachine
from raftkv.machines.replies import Error
from raftkv.machines.strict import watch
from raftkv.testing.machine_log import Argv, Entry, make_reads, row_of
from raftkv.testing.machine_run import (
    Broken,
    Factory,
    Outcome,
    apply,
    check_replies,
    context_of,
    new,
    outcome,
    run,
    run_elsewhere,
    system_write,
    write,
)

SAMPLES: Final = 12
"""Indices at which a snapshot is taken; each costs the rest of the log twice."""

DEADLINES_MAX: Final = 1000
"""Deadlines followed, one after the other: enough for any that come of a log, and an end for a machine with a pulse."""


class Suite:
    """The checks on one log. Entry n of the log is `log[n - 1]`; so are outcomes."""

    def __init__(self, factory: Factory, log: list[Entry], seed: int) -> None:
        self.factory, self.log, self.seed = factory, log, seed
        self.expected: list[Outcome] = []
        self.machine = new(factory)
        count = min(SAMPLES, len(log))
        self.samples = sorted(Random(seed).sample(range(1, len(log) + 1), count))

    def checks(self, *, strict: bool, processes: int) -> list[Callable[[], None]]:
        """All that is to be called, in this order. Each raises Broken."""
        return [
            # First, since it alone can name the call that makes everything else differ.
            *([self._watched] if strict else []),
            self._reference,
            self._twice_here,
            *(partial(self._elsewhere, hash_seed) for hash_seed in range(1, processes + 1)),
            self._without_replies,
            self._one_by_one,
            self._errors_change_nothing,
            self._reads_change_nothing,
            *(partial(self._deadlines_pass, index) for index in self.samples),
            self._snapshot_everywhere,
            *(partial(self._snapshot_at, index) for index in self.samples),
        ]

    # Ways to run the log

    def _watched(self) -> None:
        machine = watch(new(self.factory))
        run(machine, self.log)
        self._read(machine, len(self.log))

    def _reference(self) -> None:
        self.expected = run(self.machine, self.log)

    def _twice_here(self) -> None:
        self._compare("the same log gives the same", run(new(self.factory), self.log))

    def _elsewhere(self, hash_seed: int) -> None:
        self._compare("a fresh process does the same", run_elsewhere(self.factory, self.log, hash_seed))

    def _without_replies(self) -> None:
        silent = run(new(self.factory), self.log, wants_replies=False)
        self._compare("wants_replies changes nothing", silent, replies=False)

    def _one_by_one(self) -> None:
        machine = new(self.factory)
        self._compare("a batch equals its commands one by one", [self._parts(machine, at) for at in self._indices()])

    def _parts(self, machine: StateMachine, index: int) -> Outcome:
        entry = self.log[index - 1]
        if not entry.commands:
            return apply(machine, entry, index)
        whole = context_of(entry, index)
        cut = [(whole.part(at, at + 1), [argv]) for at, argv in enumerate(entry.commands)]
        replies = [reply for part, commands in cut for reply in write(machine, part, commands)]
        return outcome(machine, replies, whole)

    def _errors_change_nothing(self) -> None:
        machine = new(self.factory)
        for index in self._indices():
            entry = self.log[index - 1]
            whole = context_of(entry, index)
            if entry.members is not None:
                system_write(machine, entry, whole)
            write(machine, whole.part(0, 0), [])  # the time alone may change the state: let it do so before
            for at, argv in enumerate(entry.commands):
                before = machine.state_hash()
                [reply] = write(machine, whole.part(at, at + 1), [argv])
                if isinstance(reply, Error) and machine.state_hash() != before:
                    what = f"{argv} was answered {reply.text!r}, and the state is another"
                    raise Broken("an error leaves the state as it was", index, what)

    def _reads_change_nothing(self) -> None:
        machine, outcomes = new(self.factory), list[Outcome]()
        for index in self._indices():
            outcomes.append(apply(machine, self.log[index - 1], index))
            self._read(machine, index)
        self._compare("reads change nothing", outcomes, every_reply=False)

    def _read(self, machine: StateMachine, index: int) -> None:
        """All that may be asked of a machine between two entries, one by one."""
        before = (machine.state_hash(), machine.deadline_ms())
        time_ms, random = self.log[index - 1].time_ms, Random(f"{self.seed}:{index}")

        def ask(what: Any, call: Callable[[], Any]) -> Any:
            try:
                answer = call()
            except NonDeterministic as error:
                raise Broken("nothing from outside", index, str(error)) from error
            except Exception as error:
                raise Broken("every argv is answered", index, f"{what} raised {error!r}") from error
            if (machine.state_hash(), machine.deadline_ms()) != before:
                raise Broken("reads change nothing", index, f"the state is another after {what}")
            return answer

        for argv in make_reads(machine, random, time_ms):
            context = ReadContext(time_ms + random.choice((0, 1, 10_000)))
            replies = ask(argv, partial(machine.handle_read, context, [list(argv)]))
            check_replies(replies, [argv], index)
        for argv in self.log[index - 1].commands:
            row = row_of(machine, argv)
            if row is not None and row.kind is Kind.WRITE:
                ask(f"is_command({argv})", partial(machine.is_command, list(argv)))
        ask("transition", lambda: machine.transition(random.choice(("follower", "candidate", "leader"))))
        ask("info", machine.info)

    # Time

    def _deadlines_pass(self, index: int) -> None:
        machine = self._machine_at(index)
        log_time_ms = self.log[index - 1].time_ms
        stuck = 0
        for number in range(1, DEADLINES_MAX + 1):
            deadline_ms = machine.deadline_ms()
            if deadline_ms is None:
                return
            before = machine.state_hash()
            log_time_ms = max(log_time_ms, deadline_ms)
            apply(machine, Entry(log_time_ms, number, [], {}), index + number)
            after_ms = machine.deadline_ms()
            stuck = stuck + 1 if after_ms is not None and after_ms <= log_time_ms else 0
            if stuck and (stuck == DEADLINES_MAX or machine.state_hash() == before) and after_ms == deadline_ms:
                what = (
                    f"an empty batch at {log_time_ms} ms leaves deadline_ms() at {after_ms}: reads would wait for ever"
                )
                raise Broken("deadlines pass", index, what)

    # Snapshots

    @cached_property
    def _has_snapshots(self) -> bool:
        try:
            next(iter(self._machine_at(1).snapshot()), None)
        except Unsupported:
            return False
        return True

    def _snapshot_everywhere(self) -> None:
        """At every index; what follows is compared at the samples alone, since that costs the rest of the log."""
        if not self._has_snapshots:
            return
        machine = new(self.factory)
        for index in self._indices():
            apply(machine, self.log[index - 1], index)
            restored = new(self.factory)
            restored.restore(iter(list(machine.snapshot())))
            if restored.state_hash() != self.expected[index - 1].state:
                raise Broken("a restored machine is the same", index, "after restore the state_hash is another")
            if (sum(restored.digests()) - sum(machine.digests())) % HASH_MODULUS:
                raise Broken("a restored machine is the same", index, "after restore the sum of digests() is another")

    def _snapshot_at(self, index: int) -> None:
        if not self._has_snapshots:
            return
        rule = "a restored machine is the same"
        self._restored(rule, index, list(self._machine_at(index).snapshot()))
        machine, slices, later = self._machine_at(index), list[bytes](), iter(range(index + 1, len(self.log) + 1))
        outcomes: list[Outcome] = []
        for slice_ in machine.snapshot():
            slices.append(slice_)
            outcomes += [apply(machine, self.log[at - 1], at) for at in itertools.islice(later, 1)]
        self._compare("a snapshot does not disturb writes", outcomes, index + 1, every_reply=False)
        self._restored("writes between slices do not show", index, slices)

    def _restored(self, rule: str, index: int, slices: list[bytes]) -> None:
        machine = new(self.factory)
        # Something else is there before: restore replaces all of it.
        apply(machine, self.log[-1], 1)
        machine.restore(iter(slices))
        if machine.state_hash() != self.expected[index - 1].state:
            raise Broken(rule, index, f"after restore the state_hash is another ({len(slices)} slices)")
        self._compare(rule, run(machine, self.log[index:], index + 1), index + 1, every_reply=False)

    # Help

    def _indices(self) -> range:
        return range(1, len(self.log) + 1)

    def _machine_at(self, index: int) -> StateMachine:
        machine = new(self.factory)
        run(machine, self.log[:index])
        return machine

    def _compare(
        self, rule: str, outcomes: list[Outcome], first: int = 1, *, replies: bool = True, every_reply: bool = True
    ) -> None:
        """With the reference run, from entry `first` on. Raises Broken at the first difference."""
        for index, got in enumerate(outcomes, first):
            expected = self.expected[index - 1]
            if replies:
                for at, told in self._promised(index, every_reply):
                    if got.replies[at] != expected.replies[at]:
                        what = f"{told} was answered {expected.replies[at]}, and now {got.replies[at]}"
                        raise Broken(rule, index, what)
            if got.effects != expected.effects:
                raise Broken(rule, index, f"the effects were {expected.effects}, and now {got.effects}")
            if got.state != expected.state:
                commands = self.log[index - 1].commands
                what = f"the state_hash is another after {commands}: {expected.state.hex()}, and now {got.state.hex()}"
                raise Broken(rule, index, what)

    def _promised(self, index: int, every_reply: bool) -> Iterator[tuple[int, Argv]]:
        """(position, argv) of the commands of an entry whose replies are compared."""
        for at, argv in enumerate(self.log[index - 1].commands):
            row = row_of(self.machine, argv)
            if every_reply or row is None or not any(tip.startswith("nondeterministic_output") for tip in row.tips):
                yield at, argv
