"""The rules of exactly-once sessions, each by its name, on a ledger with a machine that counts what it applies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.errors import MachineTooOld
from raftkv.machines.interface import Command, Context, Kind, ReadContext, StateMachine
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import OK, Error, Reply
from raftkv.replica import sessions as sessions_file
from raftkv.replica.ledger import SWEEP_DELAY_MS, Ledger
from raftkv.replica.sessions import REPLY_GONE, Limits, no_session

START_MS = 1_000_000


class Log:
    """Applies lines as entries, one after the other, at a time that the test moves."""

    def __init__(self, machine: StateMachine | None = None, **limits: int) -> None:
        self.ledger = Ledger(machine or RedisMachine())
        self.index = 0
        self.time_ms = START_MS
        if limits:
            self.duties(Limits(**limits))

    def entry(self, *lines: str, scopes: dict[int, int] | None = None) -> list[Reply]:
        self.index += 1
        context = Context(index=self.index, term=1, time_ms=self.time_ms, seed=self.index, scopes=scopes or {})
        return self.ledger.handle_write(context, [line.encode().split() for line in lines])

    def __call__(self, line: str) -> Any:
        [reply] = self.entry(line)
        return reply

    def duties(self, limits: Limits = Limits(), version: int = 1) -> list[list[bytes]] | None:  # noqa: B008
        commands = self.ledger.duties(limits, version, self.time_ms)
        if commands is not None:
            self.entry(*(b" ".join(argv).decode() for argv in commands))
        return commands


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_repeat_is_not_applied_and_gets_the_first_reply(log: Log) -> None:
    session = log("RAFT.SESSION OPEN")
    assert log(f"RAFT.ONCE {session} 1 INCR c") == 1
    assert log("INCR c") == 2
    assert log(f"raft.once {session} 1 INCR c") == 1
    assert log("GET c") == b"2"


def test_the_number_counts_not_the_command(log: Log) -> None:
    session = log("RAFT.SESSION OPEN")
    log(f"RAFT.ONCE {session} 1 INCR c")
    assert log(f"RAFT.ONCE {session} 1 SET d 5") == 1
    assert log("GET d") is None


def test_errors_and_nulls_are_first_replies_too(log: Log) -> None:
    session = log("RAFT.SESSION OPEN")
    log("SET a x")
    refused = log(f"RAFT.ONCE {session} 1 INCR a")
    assert refused == Error("ERR value is not an integer or out of range")
    assert log(f"RAFT.ONCE {session} 2 SET a y XX GET") == b"x"
    assert log(f"RAFT.ONCE {session} 3 GETDEL nothing") is None
    log("SET a 1")
    log("SET nothing 1")
    assert log(f"RAFT.ONCE {session} 1 INCR a") == refused
    assert log(f"RAFT.ONCE {session} 3 GETDEL nothing") is None
    assert log("GET nothing") == b"1"


def test_sessions_have_their_own_numbers(log: Log) -> None:
    a, b = log("RAFT.SESSION OPEN"), log("RAFT.SESSION OPEN")
    assert [log(f"RAFT.ONCE {session} 1 INCR c") for session in (a, b, a, b)] == [1, 2, 1, 2]


def test_ids_never_come_again(log: Log) -> None:
    first = log("RAFT.SESSION OPEN TTL 10")
    assert log(f"RAFT.SESSION CLOSE {first}") == OK
    second = log("RAFT.SESSION OPEN TTL 10")
    log.time_ms += 10
    restored = Ledger(RedisMachine())
    restored.restore(iter(list(log.ledger.snapshot())))
    log.ledger = restored
    assert log("RAFT.SESSION OPEN") > second > first


def test_numbers_in_any_order_within_the_window() -> None:
    log = Log(replies_max=3)
    session = log("RAFT.SESSION OPEN")
    assert [log(f"RAFT.ONCE {session} {seq} INCR c") for seq in (3, 1, 2)] == [1, 2, 3]
    assert [log(f"RAFT.ONCE {session} {seq} INCR c") for seq in (1, 2, 3)] == [2, 3, 1]


def test_what_left_the_window_is_never_applied() -> None:
    """Neither a repeat, nor a number that was passed over."""
    log = Log(replies_max=2)
    session = log("RAFT.SESSION OPEN")
    for seq in (2, 5, 6):
        log(f"RAFT.ONCE {session} {seq} INCR c")
    assert [log(f"RAFT.ONCE {session} {seq} INCR c") for seq in (1, 2)] == [REPLY_GONE, REPLY_GONE]
    assert log("GET c") == b"3"
    assert log(f"RAFT.ONCE {session} 3 INCR c") == 4, "above what is settled: it may still come"
    assert log(f"RAFT.ONCE {session} 3 INCR c") == REPLY_GONE, "but it left the window at once"


def test_a_client_within_the_window_gets_every_reply() -> None:
    log = Log(replies_max=4)
    session = log("RAFT.SESSION OPEN")
    for newest in range(1, 30):
        assert log(f"RAFT.ONCE {session} {newest} INCR c") == newest
        for seq in range(max(1, newest - 3), newest + 1):
            assert log(f"RAFT.ONCE {session} {seq} INCR c") == seq


def test_a_large_reply_is_not_kept_and_its_command_not_applied_again() -> None:
    log = Log(reply_bytes_max=20)
    session = log("RAFT.SESSION OPEN")
    log("SET a " + "x" * 30)
    log(f"RAFT.ONCE {session} 1 INCR c")
    assert log(f"RAFT.ONCE {session} 2 SET a y GET") == b"x" * 30
    assert log(f"RAFT.ONCE {session} 2 SET a y GET") == REPLY_GONE
    assert log(f"RAFT.ONCE {session} 1 INCR c") == 1, "its neighbours' replies stay"


def test_when_replies_take_too_much_room_the_lowest_go_and_their_numbers_stay() -> None:
    log = Log(reply_bytes_max=20)
    session = log("RAFT.SESSION OPEN")
    log("SET a xxxxxxxx")
    for seq in (2, 3, 4):
        assert log(f"RAFT.ONCE {session} {seq} SET a xxxxxxxx GET") == b"xxxxxxxx"
    assert log(f"RAFT.ONCE {session} 2 SET a 1 GET") == REPLY_GONE
    assert log(f"RAFT.ONCE {session} 4 SET a 1 GET") == b"xxxxxxxx"
    assert log(f"RAFT.ONCE {session} 1 INCR c") == 1, "a lower number that was not applied is no victim"


def test_expiry_is_judged_by_log_time_and_renewed_by_use(log: Log) -> None:
    session, kept = log("RAFT.SESSION OPEN TTL 100"), log("RAFT.SESSION OPEN TTL 100")
    log.time_ms += 99
    assert log(f"RAFT.ONCE {session} 1 INCR c") == 1
    assert log(f"RAFT.SESSION KEEPALIVE {kept}") == OK
    log.time_ms += 99
    assert log(f"RAFT.ONCE {session} 1 INCR c") == 1
    log.time_ms += 100
    assert log(f"RAFT.ONCE {session} 1 INCR c") == no_session(session)
    assert log(f"RAFT.ONCE {session} 2 INCR c") == no_session(session)
    assert log(f"RAFT.SESSION KEEPALIVE {kept}") == no_session(kept)
    assert log("GET c") == b"1"


def test_a_closed_session_applies_nothing(log: Log) -> None:
    session = log("RAFT.SESSION OPEN")
    log(f"RAFT.ONCE {session} 1 INCR c")
    assert log(f"RAFT.SESSION CLOSE {session}") == OK
    assert log(f"RAFT.ONCE {session} 1 INCR c") == no_session(session)
    assert log(f"RAFT.SESSION CLOSE {session}") == no_session(session)
    assert log("RAFT.ONCE 77 1 INCR c") == no_session(77)


def test_a_full_table_refuses_and_ends_nobody() -> None:
    log = Log(sessions_max=2)
    sessions = [log("RAFT.SESSION OPEN TTL 50"), log("RAFT.SESSION OPEN")]
    assert log("RAFT.SESSION OPEN").text.startswith("SESSIONSFULL 2 sessions are open")
    assert [log(f"RAFT.SESSION KEEPALIVE {session}") for session in sessions] == [OK, OK]
    log.time_ms += 50
    assert isinstance(log("RAFT.SESSION OPEN"), int), "an expired one has made room"


def test_a_ttl_has_a_limit() -> None:
    log = Log(ttl_ms_max=1000)
    assert "at most 1000 ms" in log("RAFT.SESSION OPEN TTL 1001").text
    session = log("RAFT.SESSION OPEN TTL 1000")
    assert log(f"RAFT.SESSION INFO {session}")[b"ttl_ms"] == 1000


def test_the_leader_lets_time_pass_for_expired_sessions_on_an_idle_cluster(log: Log) -> None:
    log("RAFT.SESSION OPEN TTL 100")
    used = log("RAFT.SESSION OPEN TTL 100")
    log.time_ms += 50
    log(f"RAFT.SESSION KEEPALIVE {used}")
    log.time_ms += 50 + SWEEP_DELAY_MS - 1
    assert log.duties() is None
    log.time_ms += 1
    assert log.duties() == []
    log.time_ms += 50
    assert log.duties() is None, "the other went with it"
    assert log.ledger.sessions.table == {}


def test_sessions_closed_long_before_their_time_leave_nothing(log: Log) -> None:
    for _ in range(1000):
        log(f"RAFT.SESSION CLOSE {log('RAFT.SESSION OPEN')}")
    assert len(log.ledger.sessions._due) < 100


def test_info_does_not_renew(log: Log) -> None:
    session = log("RAFT.SESSION OPEN TTL 100")
    log(f"RAFT.ONCE {session} 4 INCR c")
    log.time_ms += 60
    assert log(f"RAFT.SESSION INFO {session}") == {
        b"ttl_ms": 100,
        b"remaining_ms": 40,
        b"settled": 0,
        b"newest": 4,
        b"remembered": 1,
        b"replies": 1,
        b"reply_bytes": 1,
    }
    log.time_ms += 40
    assert log(f"RAFT.SESSION INFO {session}") == no_session(session)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("RAFT.ONCE 1 1", "ERR wrong number of arguments for 'raft.once' command"),
        ("RAFT.ONCE x 1 INCR c", "ERR the session must be a number"),
        ("RAFT.ONCE 1 0 INCR c", "ERR seq must be a number from 1"),
        ("RAFT.ONCE 1 -1 INCR c", "ERR seq must be a number from 1"),
        ("RAFT.ONCE 1 01 INCR c", "ERR seq must be a number from 1"),
        ("RAFT.ONCE 1 9223372036854775808 INCR c", "ERR seq must be a number from 1"),
        ("RAFT.ONCE 1 1 NOSUCH c", "ERR unknown command 'NOSUCH', with args beginning with: 'c' "),
        ("RAFT.ONCE 1 1 INCR", "ERR wrong number of arguments for 'incr' command"),
        ("RAFT.ONCE 1 1 GET c", "ERR 'get' does not write"),
        ("RAFT.ONCE 1 1 DIRTYGET c", "ERR 'dirtyget' does not write"),
        ("RAFT.ONCE 1 1 PING", "ERR unknown command 'PING'"),
        ("RAFT.ONCE 1 1 RAFT.ONCE 1 2 INCR c", "ERR unknown command 'RAFT.ONCE'"),
        ("RAFT.SESSION", "ERR wrong number of arguments for 'raft.session' command"),
        ("RAFT.SESSION SHUT 1", "ERR unknown subcommand 'SHUT'. Try RAFT.SESSION OPEN, KEEPALIVE, CLOSE or INFO."),
        ("RAFT.SESSION \u212aEEPALIVE 1", "ERR unknown subcommand '"),  # a K only for Python
        ("RAFT.SESSION CLOSE", "ERR wrong number of arguments for 'raft.session|close' command"),
        ("RAFT.SESSION CLOSE x", "ERR the session must be a number"),
        ("RAFT.SESSION OPEN TTL", "ERR syntax error"),
        ("RAFT.SESSION OPEN FOR 5", "ERR syntax error"),
        ("RAFT.SESSION OPEN TTL 0", "ERR TTL must be"),
    ],
)
def test_what_means_nothing_is_refused_before_the_log_and_in_it(log: Log, line: str, text: str) -> None:
    log("RAFT.SESSION OPEN")
    before = log.ledger.digest(), log.ledger.machine.state_hash()
    refusal = log.ledger.refusal(line.encode().split())
    assert refusal is not None
    assert refusal.text.startswith(text)
    assert log(line) == refusal
    assert (log.ledger.digest(), log.ledger.machine.state_hash()) == before


def test_what_only_a_leader_writes_is_unknown_from_a_client(log: Log) -> None:
    for line in ("RAFT.VERSION 9", "raft.limits 1 1 1 1 1"):
        refusal = log.ledger.refusal(line.encode().split())
        assert refusal is not None
        assert refusal.text.startswith("ERR unknown command")


# ---- the walk


class Witness(StateMachine):
    """Notes each sub-batch as it comes."""

    name = "witness"
    version = 3

    def __init__(self) -> None:
        row = Command(name="w", arity=-1, kind=Kind.WRITE, handler=lambda: None)
        self.commands = {b"w": row, b"W": row}
        self.seen: list[tuple[list[bytes], dict[int, int], int, bool, float]] = []

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        words = [b" ".join(argv[1:]) for argv in commands]
        chance = context.random.random()
        self.seen.append((words, dict(context.scopes), context.session, context.wants_replies, chance))
        return list(words)

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        raise AssertionError

    def state_hash(self) -> bytes:
        return repr(self.seen).encode()


def test_a_batch_is_walked_in_order_with_scopes_and_one_chance() -> None:
    machine = Witness()
    log = Log(machine)
    session = log("RAFT.SESSION OPEN")
    machine.seen.clear()
    lines = ["W a", "W b", f"RAFT.ONCE {session} 1 W c", f"RAFT.SESSION KEEPALIVE {session}", "W d"]
    replies = log.entry(*lines, scopes={1: 7, 2: 8, 4: 9})
    assert replies == [b"a", b"b", b"c", OK, b"d"]
    assert [seen[:3] for seen in machine.seen] == [
        ([b"a", b"b"], {1: 7}, 0),
        ([b"c"], {0: 8}, session),
        ([b"d"], {0: 9}, 0),
    ]
    assert len({chance for *_, chance in machine.seen}) == 3


def test_the_reply_of_once_is_wanted_also_where_nobody_waits() -> None:
    machine = Witness()
    log = Log(machine)
    session = log("RAFT.SESSION OPEN")
    context = Context(index=9, term=1, time_ms=START_MS, seed=1, wants_replies=False)
    log.ledger.handle_write(context, [(b"RAFT.ONCE %d 1 W c" % session).split(), [b"W", b"d"]])
    assert [seen[3] for seen in machine.seen[-2:]] == [True, False]


def test_an_entry_of_the_ledgers_alone_carries_its_time_to_the_machine() -> None:
    log = Log()
    log("SET a 1 PX 100")
    log.time_ms += 100
    log("RAFT.SESSION OPEN")
    assert isinstance(log.ledger.machine, RedisMachine)
    assert log.ledger.machine.space.log_time_ms == log.time_ms


# ---- versions


def test_the_version_rises_and_a_member_that_is_too_old_stops() -> None:
    log = Log(Witness())
    log.duties(version=3)
    assert log.ledger.version == 3
    with pytest.raises(
        MachineTooOld, match="version 3 here, and the cluster already uses version 4: start this member"
    ):
        log.entry("RAFT.VERSION 4")
    old = Ledger(RedisMachine())
    with pytest.raises(MachineTooOld):
        old.restore(iter(list(log.ledger.snapshot())))


# ---- a twin: the rules once more, in the plainest words


class Twin:
    """One session that forgets nothing but by count; the machine is one counter."""

    def __init__(self, replies_max: int) -> None:
        self.counter = 0
        self.replies_max = replies_max
        self.replies: dict[int, int] = {}
        self.settled = 0

    def once(self, seq: int) -> Reply:
        if seq in self.replies:
            return self.replies[seq]
        if seq <= self.settled:
            return REPLY_GONE
        self.counter += 1
        self.replies[seq] = self.counter
        if len(self.replies) > self.replies_max:
            self.settled = min(self.replies)
            del self.replies[self.settled]
        return self.counter


@settings(max_examples=200, derandomize=True, database=None)
@given(replies_max=st.integers(1, 4), seqs=st.lists(st.integers(1, 9), max_size=30), restored_at=st.integers(0, 30))
def test_twin(replies_max: int, seqs: list[int], restored_at: int) -> None:
    log, twin = Log(replies_max=replies_max), Twin(replies_max)
    session = log("RAFT.SESSION OPEN")
    applied_for: dict[int, int] = {}
    for position, seq in enumerate(seqs):
        if position == restored_at:
            restored = Ledger(log.ledger.machine)
            restored.restore(iter(list(log.ledger.snapshot())))
            assert restored.digest() == log.ledger.digest()
            log.ledger = restored
        before = twin.counter
        expected = log(f"RAFT.ONCE {session} {seq} INCR c"), twin.once(seq)
        assert expected[0] == expected[1]
        applied_for[seq] = applied_for.get(seq, 0) + twin.counter - before
    assert all(times <= 1 for times in applied_for.values())


# ---- what is kept in all


def test_all_sessions_together_keep_no_more_than_allowed() -> None:
    log = Log(reply_bytes_max=1000, reply_bytes_total_max=2500)
    log("SET big " + "x" * 400)
    sessions = [log("RAFT.SESSION OPEN") for _ in range(4)]
    for seq in range(1, 4):
        for session in sessions:
            log(f"RAFT.ONCE {session} {seq} SET big {'x' * 400} GET")
            table = log.ledger.sessions.table
            assert log.ledger.sessions.reply_bytes == sum(each.reply_bytes for each in table.values()) <= 2500
    last = sessions[-1]
    assert log(f"RAFT.ONCE {last} 3 SET big y GET") in (REPLY_GONE, b"x" * 400)
    for session in sessions:
        log(f"RAFT.SESSION CLOSE {session}")
    assert log.ledger.sessions.reply_bytes == 0


def test_lower_limits_drop_many_replies_in_one_pass() -> None:
    log = Log(replies_max=10_000)
    session = log("RAFT.SESSION OPEN")
    log.entry(*(f"RAFT.ONCE {session} {seq} INCR c" for seq in range(10_000, 0, -1)))
    log.duties(Limits(replies_max=10_000, reply_bytes_max=0))
    log(f"RAFT.ONCE {session} 10001 INCR c")
    assert log.ledger.sessions.table[session].replies == {}
    assert log.ledger.sessions.reply_bytes == 0


# ---- snapshots in slices


@given(st.data())
@settings(max_examples=60)
def test_a_snapshot_is_the_state_at_its_begin_whatever_comes_between_its_slices(data: st.DataObject) -> None:
    log = Log(sessions_max=20, replies_max=3)
    lines = st.sampled_from(
        ["RAFT.SESSION OPEN", "RAFT.SESSION OPEN TTL 50", "RAFT.SESSION CLOSE {id}", "RAFT.ONCE {id} {seq} INCR c"]
        + ["RAFT.ONCE {id} {seq} INCR c"] * 3
        + ["RAFT.SESSION KEEPALIVE {id}"]
    )

    def some(count: int) -> None:
        for _ in range(count):
            log.time_ms += data.draw(st.sampled_from([0, 0, 30]))
            values = {"id": data.draw(st.integers(1, 12)), "seq": data.draw(st.integers(1, 5))}
            log(data.draw(lines).format(**values))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions_file, "SLICE_SESSIONS", 2)
        some(data.draw(st.integers(0, 30)))
        before, before_summed = log.ledger.digest(), sum(log.ledger.digests())
        slices, digests = log.ledger.snapshot(), log.ledger.digests()
        taken, summed = [next(slices)], next(digests)
        if data.draw(st.booleans()):
            for part in slices:
                taken.append(part)
                some(data.draw(st.integers(0, 4)))
                summed += next(digests, 0)
            restored = Ledger(RedisMachine())
            restored.restore(iter(taken))
            assert restored.digest() == before
            assert sum(restored.digests()) == summed + sum(digests) == before_summed
        digests.close()
        slices.close()
        assert log.ledger.sessions._walks == [], "nothing is kept for a snapshot that has ended"
