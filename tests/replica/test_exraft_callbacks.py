"""ExRaft's callbacks on our machines: each row of its behaviour, and what must not go wrong with them (E10 to E14)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from raftkv.errors import Fatal, MemberFailed, NonDeterministic
from raftkv.machines.interface import (
    NO_SCOPES,
    Command,
    Context,
    Effect,
    Kind,
    ReadContext,
    StateMachine,
    command_table,
)
from raftkv.machines.replies import NO_ANSWER, OK, Error, Reply
from raftkv.raft.membership import Membership
from raftkv.replica.snapshots import SnapshotSettings
from tests.replica.alone import Alone, Together


def _answers_by_name() -> None:
    raise AssertionError


def rows(**kinds: Kind) -> dict[bytes, Command]:
    made = [Command(name=name, arity=-1, kind=kind, handler=_answers_by_name) for name, kind in kinds.items()]
    return command_table(made)


class Told(StateMachine):
    """Keeps what it was asked, and does what a test has replaced its methods by."""

    name = "told"

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.words: list[bytes] = []
        self.commands = rows(put=Kind.WRITE, last=Kind.READ, odd=Kind.READ, late=Kind.WRITE)

    def init(self) -> None:
        self.asked.append("init")

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        return [self.write(context, position, argv) for position, argv in enumerate(commands)]

    def write(self, context: Context, position: int, argv: list[bytes]) -> Reply:
        self.asked.append(("write", *argv[1:]))
        self.words += argv[1:]
        return OK

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        return [self.read(argv) for argv in commands]

    def read(self, argv: list[bytes]) -> Reply:
        return self.words[-1] if self.words else None

    def handle_system_write(self, kind: str, content: Any, context: Context) -> None:
        self.asked.append((kind, content, context.index))

    def transition(self, role: str) -> None:
        self.asked.append(role)

    def state_hash(self) -> bytes:
        return hashlib.sha256(b",".join(self.words)).digest()


# ---- init, transition, handle_system_write


def test_init_comes_first_and_once() -> None:
    machine = Told()
    Alone(machine)
    assert machine.asked[0] == "init"
    assert machine.asked.count("init") == 1


def test_an_exception_in_init_leaves_and_names_the_machine() -> None:
    class Bad(Told):
        def init(self) -> None:
            raise OSError("no such device")

    with pytest.raises(MemberFailed, match=r"init of the machine 'told' \(Bad\) raised OSError\('no such device'\)"):
        Alone(Bad())


def test_a_lone_member_is_follower_then_candidate_then_leader() -> None:
    """ExRaft's lone server is leader from the start; ours stands for election like any other, in its first moment."""
    machine = Told()
    Alone(machine)
    roles = [asked for asked in machine.asked if asked in ("follower", "candidate", "leader")]
    assert roles == ["follower", "candidate", "leader"]


def test_a_triggered_election_makes_a_leader_candidate_again() -> None:
    machine = Told()
    member = Alone(machine)
    machine.asked.clear()
    member.replica.trigger_election()
    member.advance(10)
    assert [asked for asked in machine.asked if isinstance(asked, str)] == ["candidate", "leader"]


def test_a_pre_candidate_is_a_follower_still() -> None:
    machine = Told()
    member = Alone(machine, leads=False)
    member.replica.node.memberships.append(1, Membership((1, 2, 3)))
    member.replica.node._adopt()
    member.advance(100_000)
    assert member.replica.node.role.value == "pre-candidate"
    assert machine.asked == ["init", "follower"]


def test_the_members_are_told_at_each_election_and_in_the_order_of_the_log() -> None:
    machine = Told()
    member = Alone(machine)
    member.write(b"PUT", b"a")
    member.replica.trigger_election()
    member.advance(10)
    told = [asked for asked in machine.asked if isinstance(asked, tuple)]
    assert told == [("config", [1], 1), ("write", b"a"), ("config", [1], 3)]


def test_e11_what_is_not_committed_is_not_told_after_a_restart() -> None:
    """ExRaft took a pending change for a settled one after a restart, and a settled one for pending."""
    machine = Told()
    member = Alone(machine)
    again = Told()
    member.restart(again, leads=False)
    member.replica.apply(0)
    assert member.replica.node.log.last_index == 1
    assert [asked for asked in again.asked if isinstance(asked, tuple)] == []
    member.advance(10)
    assert [asked for asked in again.asked if isinstance(asked, tuple)] == [("config", [1], 1), ("config", [1], 2)]


def test_an_exception_in_transition_harms_nobody() -> None:
    class Bad(Told):
        def transition(self, role: str) -> None:
            raise KeyError(role)

    member = Alone(Bad())
    assert member.write(b"PUT", b"a") == OK
    assert [what for what, _ in member.reported] == ["transition"] * 3


# ---- is_command


class Picky(Told):
    def is_command(self, argv: list[bytes]) -> bool | Error:
        if argv[-1] == b"boom":
            raise ZeroDivisionError
        if argv[-1] == b"full":
            return Error("FULL come back later")
        return argv[-1] != b"no"


def test_what_is_no_command_is_answered_at_once_and_not_logged() -> None:
    """ExRaft answers nothing, and the caller waits in vain."""
    member = Alone(Picky())
    before = member.replica.node.log.last_index
    assert member.write(b"PUT", b"no") == Error("ERR the machine does not take this 'put'; it was not carried out")
    assert member.write(b"PUT", b"full") == Error("FULL come back later")
    assert member.replica.node.log.last_index == before


def test_the_rest_of_a_pipeline_goes_on() -> None:
    machine = Picky()
    member = Alone(machine)
    sent = member.send(Kind.WRITE, [b"PUT", b"a"], [b"PUT", b"no"], [b"LAST"], [b"PUT", b"b"])
    assert sent.replies is not None
    assert [type(reply) for reply in sent.replies] == [type(OK), Error, type(OK), type(OK)]
    assert machine.words == [b"a", b"b"]


def test_reads_are_not_asked_about() -> None:
    assert Alone(Picky()).read(b"LAST", b"no") is None


def test_an_exception_in_is_command_refuses_the_command() -> None:
    member = Alone(Picky())
    reply = member.write(b"PUT", b"boom")
    assert reply == Error("ERR internal error of the machine in 'put': ZeroDivisionError; it was not carried out")
    assert [what for what, _ in member.reported] == ["is_command"]
    assert member.write(b"PUT", b"a") == OK


def test_a_machine_without_is_command_is_not_screened() -> None:
    assert not Alone(Told()).replica.screen.is_on


# ---- handle_write, handle_read


def test_replay_repeats_no_reply_and_gives_the_same_state() -> None:
    first = Told()
    member = Alone(first)
    member.write(b"PUT", b"a")
    again = Told()
    member.restart(again)
    assert again.state_hash() == first.state_hash()


def test_an_exception_in_a_write_leaves_and_says_where() -> None:
    class Bad(Told):
        def write(self, context: Context, position: int, argv: list[bytes]) -> Reply:
            raise ZeroDivisionError("bad")

    member = Alone(Bad())
    with pytest.raises(ZeroDivisionError):
        member.write(b"PUT", b"a")
    assert member.replica.applied == 2, "the entry that it failed at"


def test_a_read_that_raises_is_answered_and_the_others_too() -> None:
    class Bad(Told):
        def read(self, argv: list[bytes]) -> Reply:
            if argv[0] == b"ODD":
                raise ValueError("odd")
            return super().read(argv)

    member = Alone(Bad())
    member.write(b"PUT", b"a")
    replies = member.send(Kind.READ, [b"LAST"], [b"ODD"], [b"LAST"]).replies
    assert replies == [
        b"a",
        Error("ERR internal error of the machine in 'odd': ValueError; it was not carried out"),
        b"a",
    ]
    assert member.replica.read_dirty([[b"ODD"]], {}, 5) == [replies[1]]
    assert member.write(b"PUT", b"b") == OK


@pytest.mark.parametrize("error", [NonDeterministic("read", "time.time", "context"), MemoryError("read")])
def test_what_must_stop_the_member_leaves_a_read(error: Exception) -> None:
    """A read that met the end of the memory, or a forbidden call, must not pass for a bug in one command."""

    def read(argv: list[bytes]) -> Reply:
        raise error

    machine = Told()
    member = Alone(machine)
    machine.read = read  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        member.read(b"LAST")


@pytest.mark.parametrize("method", ["handle_write", "is_command", "transition", "handle_system_write"])
def test_a_forbidden_call_leaves_every_handler(method: str) -> None:
    class Strict(Told):
        def is_command(self, argv: list[bytes]) -> bool:
            return True

    def forbidden(*_arguments: Any) -> Any:
        raise NonDeterministic(method, "time.time", "context.time_ms")

    machine = Strict()
    member = Alone(machine)
    setattr(machine, method, forbidden)
    if method in ("transition", "handle_system_write"):
        member.replica.trigger_election()
    with pytest.raises(Fatal, match=f"{method} called time.time"):
        member.write(b"PUT", b"a")


# ---- deadlines


class Waiting(Told):
    """The deadline is what the last write has said; it does not move by itself."""

    deadline: int | None = None

    def write(self, context: Context, position: int, argv: list[bytes]) -> Reply:
        self.deadline = int(argv[1])
        return OK

    def deadline_ms(self) -> int | None:
        return self.deadline


def test_a_deadline_that_does_not_move_is_told_once_in_a_while() -> None:
    """An on_time that raises leaves it in the past: without a limit the leader filled the log, 90 entries a second."""
    member = Alone(Waiting())
    last = member.replica.node.log.last_index + 1
    member.write(b"PUT", b"%d" % member.now_ms)
    for _ in range(50):
        member.advance(10)
        assert member.read(b"LAST") is None, "reads go on"
    assert member.replica.node.log.last_index == last + 1
    for _ in range(250):
        member.advance(10)
    assert member.replica.node.log.last_index <= last + 4
    assert [what for what, _ in member.reported] == ["deadline_ms"], "and it is said, once"


def test_another_deadline_in_the_past_is_told_at_once() -> None:
    member = Alone(Waiting())
    for count in range(1, 5):
        last = member.replica.node.log.last_index
        member.write(b"PUT", b"%d" % (member.now_ms - 10 * count))
        member.advance(1)
        assert member.replica.node.log.last_index == last + 2


def test_a_new_leadership_tells_the_time_anew() -> None:
    machine = Waiting()
    member = Alone(machine)
    machine.deadline = member.now_ms
    member.advance(10)
    last = member.replica.node.log.last_index
    member.replica.trigger_election()
    member.run()
    assert member.replica.node.log.last_index == last + 2, "the term's first entry, and the time"


# ---- reads


def test_no_answer_is_told_at_once() -> None:
    class Silent(Told):
        def read(self, argv: list[bytes]) -> Reply:
            return NO_ANSWER

    assert Alone(Silent()).read(b"LAST") == Error("NOANSWER the machine has no answer to this command")


# ---- effects


class WithEffects(Told):
    """PUT word wants a plain effect; LATE word a durable one that its reply waits for."""

    def write(self, context: Context, position: int, argv: list[bytes]) -> Reply:
        durable = argv[0] == b"LATE"
        effect = Effect(name="mail", arguments=tuple(argv[1:]), durable=durable, before_reply=durable)
        context.add_effect(position, effect)
        return super().write(context, position, argv)


def names(member: Alone) -> list[tuple[str, tuple[Any, ...]]]:
    return [(due.id, tuple(due.effect.arguments)) for due in member.replica.effects.take_due()]


def test_an_effect_is_due_after_commit_and_the_reply_does_not_wait() -> None:
    member = Alone(WithEffects())
    assert member.write(b"PUT", b"a") == OK
    assert names(member) == [("2.0", (b"a",))]
    assert names(member) == [], "once"


def test_a_reply_that_waits_is_sent_when_the_effect_has_ended() -> None:
    member = Alone(WithEffects())
    late, other = member.send(Kind.WRITE, [b"LATE", b"a"]), member.send(Kind.WRITE, [b"PUT", b"b"])
    assert late.replies is None
    assert other.replies == [OK], "others do not wait for it"
    member.replica.on_effect_ended("2.0", True)
    assert late.replies == [OK]


def test_of_clients_that_came_together_only_those_wait_whose_effect_it_is() -> None:
    member, sink = Alone(WithEffects()), Together(3)
    commands = [[b"PUT", b"a"], [b"LATE", b"b"], [b"PUT", b"c"]]
    member.replica.submit(Kind.WRITE, commands, NO_SCOPES, 1, sink, clients=3)
    member.run()
    assert [each.replies for each in sink.sinks] == [[OK], None, [OK]]
    member.replica.on_effect_ended("2.1", True)
    assert sink.sinks[1].replies == [OK]
    assert sink.replies is None


def test_a_failing_effect_does_not_harm_the_reply() -> None:
    """E14: in ExRaft it crashes the server, which repeats it when it starts again, and crashes."""
    member = Alone(WithEffects())
    late = member.send(Kind.WRITE, [b"LATE", b"a"])
    member.replica.on_effect_ended("2.0", False)
    assert late.replies == [OK]
    assert len(member.replica.ledger.outbox) == 1, "it is tried again"


def test_a_reply_waits_no_longer_than_a_request() -> None:
    member = Alone(WithEffects())
    late = member.send(Kind.WRITE, [b"LATE", b"a"], [b"LATE", b"b"])
    member.replica.on_effect_ended("2.0", True)
    assert late.replies is None, "there is another one"
    member.advance(member.settings.request_timeout_ms + 1)
    assert late.replies == [OK, OK]
    member.replica.on_effect_ended("2.1", True)


def test_a_reply_does_not_wait_beyond_the_leadership() -> None:
    member = Alone(WithEffects())
    late = member.send(Kind.WRITE, [b"LATE", b"a"])
    member.replica.effects.on_leading(False)
    assert late.replies == [OK]


def test_a_durable_effect_stays_until_an_entry_says_that_it_is_done() -> None:
    member = Alone(WithEffects())
    member.send(Kind.WRITE, [b"LATE", b"a"])
    names(member)
    assert list(member.replica.ledger.outbox.waiting) == ["2.0"]
    member.replica.on_effect_ended("2.0", True)
    assert list(member.replica.ledger.outbox.waiting) == ["2.0"], "not before it is committed"
    member.run()
    assert len(member.replica.ledger.outbox) == 0
    assert member.replica.node.log.last_index == 3


def test_after_a_restart_durable_effects_are_due_again_and_plain_ones_are_not() -> None:
    member = Alone(WithEffects())
    member.write(b"PUT", b"a")
    member.send(Kind.WRITE, [b"LATE", b"b"])
    member.restart(WithEffects())
    assert names(member) == [("3.0", (b"b",))]


def test_replay_before_leading_hands_out_nothing() -> None:
    member = Alone(WithEffects())
    member.send(Kind.WRITE, [b"LATE", b"b"])
    member.write(b"PUT", b"c")
    member.restart(WithEffects(), leads=False)
    member.replica.apply(0)
    assert member.replica.applied == 2
    assert names(member) == []


def test_a_full_outbox_refuses_writes_and_loses_nothing() -> None:
    member = Alone(WithEffects(), outbox_max=2)
    late = member.send(Kind.WRITE, [b"LATE", b"a"], [b"LATE", b"b"])
    refused = member.write(b"PUT", b"c")
    assert isinstance(refused, Error)
    assert refused.text.startswith("BUSY The outbox is full")
    assert member.read(b"LAST") == b"b", "reads go on"
    for effect_id, _ in names(member):
        member.replica.on_effect_ended(effect_id, True)
    member.run()
    assert late.replies == [OK, OK]
    assert member.write(b"PUT", b"c") == OK


def test_a_full_outbox_is_full_after_a_restart_from_a_snapshot() -> None:
    class Sliced(WithEffects):
        def snapshot(self) -> Iterator[bytes]:
            yield b""

        def restore(self, slices: Iterator[bytes]) -> None:
            assert list(slices) == [b""]

    member = Alone(Sliced(), outbox_max=1, snapshots=SnapshotSettings(log_entries_max=1))
    member.send(Kind.WRITE, [b"LATE", b"a"])
    member.advance(10)
    member.do_jobs()
    member.restart(Sliced(), leads=False)
    assert member.replica.applied == 2
    assert member.replica.screen.outbox_is_full


def test_a_full_outbox_lets_reads_among_writes_pass() -> None:
    member = Alone(WithEffects(), outbox_max=1)
    member.send(Kind.WRITE, [b"LATE", b"a"])
    refused, read = member.send(Kind.WRITE, [b"PUT", b"c"], [b"LAST"]).replies or []
    assert isinstance(refused, Error)
    assert not isinstance(read, Error)


def test_an_outbox_is_full_by_bytes_too() -> None:
    member = Alone(WithEffects(), outbox_bytes_max=10_000)
    member.send(Kind.WRITE, [b"LATE", b"a" * 9_000])
    assert member.write(b"PUT", b"b") == OK
    member.send(Kind.WRITE, [b"LATE", b"c" * 1_000])
    refused = member.write(b"PUT", b"c")
    assert isinstance(refused, Error)
    for effect_id, _ in names(member):
        member.replica.on_effect_ended(effect_id, True)
    member.run()
    assert member.replica.ledger.outbox.size_bytes == 0
    assert member.write(b"PUT", b"c") == OK


def test_one_entry_tells_of_a_thousand_effects_at_most() -> None:
    member = Alone(WithEffects())
    member.send(Kind.WRITE, *([b"LATE", b"%d" % number] for number in range(2500)))
    last = member.replica.node.log.last_index
    for effect_id, _ in names(member):
        member.replica.effects.on_ended(effect_id, True)
    for _ in range(4):
        member.advance(10)
    assert len(member.replica.ledger.outbox) == 0
    assert member.replica.node.log.last_index == last + 3


def test_held_replies_are_released_when_the_member_closes() -> None:
    member = Alone(WithEffects())
    late = member.send(Kind.WRITE, [b"LATE", b"a"], [b"LATE", b"b"])
    member.replica.effects.release_all()
    assert late.replies == [OK, OK], "the writes are done"


def test_effects_of_a_system_write_are_the_new_leaders() -> None:
    class Greeting(Told):
        def handle_system_write(self, kind: str, content: Any, context: Context) -> None:
            context.add_effect(0, Effect(name="elected"))

    assert names(Alone(Greeting())) == [("1.0", ())]


def test_arguments_that_cannot_be_kept_are_refused_where_they_are_given() -> None:
    context = Context(index=1, term=1, time_ms=0, seed=0)
    with pytest.raises(TypeError):
        context.add_effect(0, Effect(name="mail", arguments=(object(),), durable=True))
    context.add_effect(0, Effect(name="mail", arguments=(object(),)))
