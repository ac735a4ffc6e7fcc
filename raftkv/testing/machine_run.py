"""A log carried out on a state machine, here or in a fresh Python process, and what came of each entry.

The other process has another hash seed, another environment, working directory and time zone, and its clocks are a
few years ahead: whatever a machine takes from there, it shows. The machine's factory goes there by pickle, which
means by its name: it must stand at the top of a module that can be imported.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from raftkv.errors import NonDeterministic
from raftkv.machines.interface import Context, StateMachine
from raftkv.machines.replies import Reply
from raftkv.testing.failure import RuleBroken
from raftkv.testing.machine_log import Entry
from raftkv.wire.resp_encode import encode

Factory = Callable[[], StateMachine]
_TIMEOUT_S: Final = 300
_AHEAD_S: Final = 100_000_000


class Broken(RuleBroken):
    """A promise of the contract is broken. `index`: at which entry; 0 where there is none."""

    def __init__(self, rule: str, index: int, what: str) -> None:
        super().__init__(rule, f"at entry {index}: {what}")
        self.index = index


class Outcome(msgspec.Struct, array_like=True):
    """replies: RESP3 of each, as text of Python's repr. effects: what was asked for, in order. state: the hash."""

    replies: list[str]
    effects: list[str]
    state: bytes


def new(factory: Factory) -> StateMachine:
    machine = factory()
    machine.init()
    return machine


def context_of(entry: Entry, index: int, *, wants_replies: bool = True) -> Context:
    return Context(
        index=index,
        term=1,
        time_ms=entry.time_ms,
        seed=entry.seed,
        members=(1, 2, 3),
        scopes=entry.scopes,
        wants_replies=wants_replies,
    )


def write(machine: StateMachine, context: Context, commands: list[list[bytes]]) -> list[Reply]:
    """handle_write, with everything that is promised of any single call. Raises Broken."""
    try:
        replies = machine.handle_write(context, [list(argv) for argv in commands])
    except NonDeterministic as error:
        raise Broken("nothing from outside", context.index, str(error)) from error
    except Exception as error:
        raise Broken("every argv is answered", context.index, f"{error!r} was raised by one of {commands}") from error
    if context.wants_replies:
        check_replies(replies, commands, context.index)
    return replies


def check_replies(replies: list[Reply], commands: list[list[bytes]], index: int) -> None:
    """One for each command, each encodable in RESP2 and RESP3."""
    if len(replies) != len(commands):
        raise Broken("one reply for each command", index, f"{len(replies)} replies to {commands}")
    for reply, argv in zip(replies, commands, strict=True):
        try:
            encode(reply, resp3=False)
            encode(reply, resp3=True)
        except Exception as error:
            raise Broken("replies are encodable", index, f"{argv} is answered {reply!r}: {error!r}") from error


def apply(machine: StateMachine, entry: Entry, index: int, *, wants_replies: bool = True) -> Outcome:
    context = context_of(entry, index, wants_replies=wants_replies)
    replies: list[Reply] = []
    if entry.members is not None:
        system_write(machine, entry, context)
    else:
        replies = write(machine, context, entry.commands)
    return outcome(machine, replies if wants_replies else [], context)


def system_write(machine: StateMachine, entry: Entry, context: Context) -> None:
    try:
        machine.handle_system_write("config", entry.members, context)
    except NonDeterministic as error:
        raise Broken("nothing from outside", context.index, str(error)) from error
    except Exception as error:
        raise Broken("system writes are taken", context.index, f"{error!r} for {entry.members}") from error


def outcome(machine: StateMachine, replies: list[Reply], context: Context) -> Outcome:
    effects = [f"{position}: {effect}" for position, effect in context.effects]
    return Outcome([repr(encode(reply, resp3=True)) for reply in replies], effects, machine.state_hash())


def run(machine: StateMachine, log: list[Entry], first: int = 1, *, wants_replies: bool = True) -> list[Outcome]:
    """The whole log; its first entry has the index `first`."""
    return [apply(machine, entry, index, wants_replies=wants_replies) for index, entry in enumerate(log, first)]


def run_elsewhere(factory: Factory, log: list[Entry], hash_seed: int) -> list[Outcome]:
    """`run` of a new machine in a fresh process. Raises Broken when the process fails."""
    try:
        pickled = pickle.dumps(factory)
    except Exception as error:
        raise TypeError(f"{factory!r} must stand at the top of a module, to be found by a fresh process") from error
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "PYTHONHASHSEED": str(hash_seed),
        "HOME": f"/nowhere/{hash_seed}",
        "USER": f"user{hash_seed}",
        "TZ": f"XST{hash_seed % 12}",
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=msgspec.msgpack.encode((pickled, log)),
        capture_output=True,
        check=False,
        env=environment,
        cwd=os.sep,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise Broken("a fresh process does the same", 0, f"it failed: {done.stderr.decode(errors='replace')}")
    return msgspec.msgpack.decode(done.stdout, type=list[Outcome])


def _shift_clocks() -> None:
    import time

    def ahead(clock: Callable[[], Any], by: int) -> Callable[[], Any]:
        return lambda: clock() + by

    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, ahead(getattr(time, name), _AHEAD_S))
        setattr(time, f"{name}_ns", ahead(getattr(time, f"{name}_ns"), _AHEAD_S * 10**9))


def _main() -> None:
    pickled, content = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[bytes, list[Entry]])
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what the machine prints must not get between
    _shift_clocks()
    out.write(msgspec.msgpack.encode(run(new(pickle.loads(pickled)), content)))


if __name__ == "__main__":
    _main()
