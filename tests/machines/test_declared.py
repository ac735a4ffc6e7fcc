"""Declared machines: signatures as commands, refusals, undoing, effects, time, and mistakes in the class itself."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import raftkv
from raftkv.machines.digests import HASH_MODULUS
from raftkv.machines.interface import Context, Effect, Kind, ReadContext
from raftkv.machines.replies import OK, Error, Reply
from tests.machines.declared_examples import Counter, Item, Lease, Mixed, Named, Orders, Tagged


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "raftkv.machine")


class Client:
    def __init__(self, machine: raftkv.Machine) -> None:
        self.machine = machine
        machine.init()
        self.index = 0
        self.time_ms = 1000
        self.effects: list[tuple[int, Effect]] = []

    def __call__(self, line: str) -> Reply:
        words = line.encode().split()
        row = self.machine.commands.get(words[0].lower())
        if row is not None and row.kind is not Kind.WRITE:
            return self.machine.handle_read(ReadContext(self.time_ms), [words])[0]
        return self.entry(words)[0]

    def entry(self, *commands: list[bytes]) -> list[Reply]:
        self.index += 1
        context = Context(index=self.index, term=1, time_ms=self.time_ms, seed=self.index)
        replies = self.machine.handle_write(context, list(commands))
        self.effects = context.effects
        return replies


@pytest.fixture
def client() -> Client:
    return Client(Counter())


# ---- arguments and replies


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("INCR a", 1),
        ("incr a 5", 5),
        ("Incr a -5", -5),
        ("GET a", None),
        ("ALL", {}),
        ("REPEAT x 1.5 1", [b"x", 1.5, True, [1, None]]),
        ("DROP", OK),
        ("ITEM.PUT 1 x", "1:x"),
        ("ITEM.PUT 1 x TRIES 3", "1:x"),
        ("ITEM.PUT 1 x quiet tries 3", None),
    ],
)
def test_a_call(client: Client, line: str, reply: Reply) -> None:
    assert client(line) == reply


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("INCR", "ERR wrong number of arguments for 'incr' command"),
        ("INCR a 1 2", "ERR wrong number of arguments for 'incr' command"),
        ("ALL x", "ERR wrong number of arguments for 'all' command"),
        ("INCR a one", "ERR value is not an integer or out of range"),
        ("INCR a 01", "ERR value is not an integer or out of range"),
        ("INCR a 9223372036854775808", "ERR value is not an integer or out of range"),
        ("REPEAT x y 1", "ERR value is not a valid float"),
        ("REPEAT x nan 1", "ERR value is not a valid float"),
        ("REPEAT x 1 2", "ERR value is not 0 or 1"),
        ("ITEM.PUT 1 x NOSUCH", "ERR syntax error"),
        ("ITEM.PUT 1 x TRIES", "ERR syntax error"),
        ("ITEM.PUT 1 x QUIET QUIET", "ERR syntax error"),
        ("NOSUCH x", "ERR unknown command 'NOSUCH', with args beginning with: 'x' "),
    ],
)
def test_a_wrong_call_is_answered_in_redis_words(client: Client, line: str, text: str) -> None:
    before = client.machine.state_hash()
    assert client(line) == Error(text)
    assert client.machine.state_hash() == before or client.index


def test_text_that_is_no_utf8_is_refused(client: Client) -> None:
    assert client.entry([b"INCR", b"\xff"]) == [Error("ERR value is not valid UTF-8")]


def test_a_write_is_not_carried_out_as_a_read(client: Client) -> None:
    [reply] = client.machine.handle_read(ReadContext(1), [[b"INCR", b"a"]])
    assert reply == Error("ERR 'incr' writes and must go through the log")


def test_an_empty_command_is_answered(client: Client) -> None:
    assert isinstance(client.entry([])[0], Error)


# ---- refusing, failing, undoing


@pytest.mark.parametrize(
    ("by", "text"),
    [
        (13, "ERR internal error in 'incr': ZeroDivisionError; nothing was changed"),
        (14, "ERR fourteen is not taken"),
        (15, "NOFIFTEEN not this one  either"),
    ],
)
def test_whoever_raises_leaves_nothing_behind(client: Client, by: int, text: str) -> None:
    client("INCR a")
    before = client.machine.state_hash()
    replies = client.entry([b"INCR", b"a", b"%d" % by], [b"INCR", b"b"])
    assert replies == [Error(text), 1]
    assert client("ALL") == {b"a": 1, b"b": 1}
    client("DROP b")
    assert client.machine.state_hash() != before, "total counts on"


def test_an_exception_in_the_middle_is_undone_whole(client: Client) -> None:
    client("INCR a")
    client("INCR c")
    before = client.machine.state_hash()
    assert client("DROP a b c") == Error("ERR internal error in 'drop': KeyError; nothing was changed")
    assert client.machine.state_hash() == before


def test_a_reply_that_cannot_be_sent_is_an_error_and_nothing_is_done(client: Client) -> None:
    error = Error("ERR internal error in 'wrong.reply': TypeError; nothing was changed")
    assert client.entry([b"WRONG.REPLY"]) == [error]
    assert client.machine.total == 0  # type: ignore[attr-defined]


def test_an_error_that_is_returned_leaves_nothing_behind_either(client: Client) -> None:
    replies = client.entry([b"ITEM.PUT", b"1", b"x"], [b"SAY.NO", b"y"], [b"INCR", b"a", b"2"])
    assert replies == ["1:x", Error("NOTNOW y"), 2]
    assert client.machine.total == 2  # type: ignore[attr-defined]
    assert [(position, effect.arguments) for position, effect in client.effects] == [(0, ("x",))]


@pytest.mark.parametrize(("what", "error"), [("memory", MemoryError), ("stack", RecursionError)])
def test_what_may_come_to_one_member_alone_is_no_reply(client: Client, what: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.entry([b"RUN.OUT", what.encode()])


@pytest.mark.parametrize("opened", [b"[", b'{"what":', b'{"what":[', b'{"more":'])
def test_depth_that_a_client_chooses_does_not_come_as_far_as_recursion(opened: bytes) -> None:
    [taken, refused] = Client(Orders()).entry([b"ORDER", b'{"what": "tea"}'], [b"ORDER", opened * 100_000])
    assert taken == 1
    assert isinstance(refused, Error)
    assert "internal" not in refused.text


def test_a_read_cannot_change_the_state(client: Client) -> None:
    assert client("MEDDLE") == Error("ERR internal error in 'meddle': StateError; nothing was changed")
    assert client.machine.total == 0  # type: ignore[attr-defined]


def test_the_bug_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "raftkv.machine")
    client("INCR a 13")
    assert "Counter: 'incr' raised" in caplog.text
    assert "unlucky" in caplog.text


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        *((text, text) for text in ("NOTFOUND no such", "ERR no", "HELD", "WRONGTYPE x", "NO_FUNDS x", "E42 x")),
        *((text, f"ERR {text}") for text in ("A lock is held", "I do not", "OK then", "no", "", "42 is", "HELD: by")),
        ("\u00c4RGER x", "ERR \u00c4RGER x"),
    ],
)
def test_the_code_of_a_refusal(text: str, answered: str) -> None:
    assert raftkv.Refusal(text).text == answered


# ---- what the class says is the command table


def test_rows_come_from_the_signature() -> None:
    rows = {row.name: row for row in Counter.commands.values()}
    assert rows["incr"].arity == -2
    assert rows["incr"].summary == "Add to a counter and return its new value"
    assert rows["incr"].flags == ("write",)
    assert rows["all"].arity == 1
    assert rows["get"].kind is Kind.READ
    assert rows["dirty.get"].kind is Kind.DIRTY
    assert rows["drop"].keys == (1, -1, 1)
    assert rows["item.put"].keys == (1, 1, 1)
    assert rows["item.put"].version == 2
    assert [argument["name"] for argument in rows["item.put"].arguments] == ["key", "text", "tries", "quiet"]
    assert rows["item.put"].arguments[3] == {
        "name": "quiet",
        "type": "pure-token",
        "token": "QUIET",
        "flags": ["optional"],
    }
    assert set(Counter.commands) == {
        word for row in rows.values() for word in (row.name.encode(), row.name.upper().encode())
    }


def test_names() -> None:
    assert Counter.name == "counter"

    class HTTPLockService(raftkv.Machine):
        pass

    class Other(HTTPLockService):
        name = "mine"

    assert HTTPLockService.name == "httplock-service"
    assert Other.name == "mine"


def test_a_subclass_has_what_its_base_has_and_may_replace_it() -> None:
    class Twice(Counter):
        @raftkv.read
        def get(self, name: str) -> int | None:
            return 2 * self.counts.get(name, 0)

    client = Client(Twice())
    client("INCR a 2")
    assert client("GET a") == 4
    assert Client(Counter())("GET a") is None


def test_an_override_without_a_decorator_takes_the_place_of_the_command() -> None:
    class Polite(Counter):
        def incr(self, name: str, by: int = 2, extra: int = 0) -> int:
            return 10 * super().incr(name, by + extra)

        def posted(self, text: str) -> None:  # type: ignore[override]
            self._sent.append(("polite", text))

        drop = None  # type: ignore[assignment]

    class Inheriting(Polite):
        pass

    for kind in (Polite, Inheriting):
        client = Client(kind())
        assert client("INCR a 1 1") == 20
        assert isinstance(client("DROP a"), Error)
        assert b"drop" not in kind.commands
        client("ITEM.PUT 1 x")
        [(_, effect)] = client.effects
        assert effect.durable
        client.machine.run_effect(effect, "7.0")
        assert client.machine._sent == [("polite", "x")]  # type: ignore[attr-defined]
    assert Client(Counter())("DROP") == OK


def test_an_override_that_is_no_method_is_refused() -> None:
    with pytest.raises(raftkv.DeclarationError, match="make it a method, or None"):

        class Bad(Counter):
            incr = 5  # type: ignore[assignment]


def test_the_state_of_all_bases_is_state() -> None:
    machine = Mixed()
    client = Client(machine)
    assert (machine.total, machine.tallied, machine.title, dict(machine.tally)) == (7, 0, "none", {})
    assert [client("COUNT a"), client("RENAME x"), client("INCR b")] == [1, OK, 1]
    client("COUNT a")
    assert client.effects == [(0, Effect(name="tallying", arguments=("a",)))]
    restored = Mixed()
    restored.restore(machine.snapshot())
    assert restored.state_hash() == machine.state_hash()
    assert (restored.total, restored.tallied, restored.title, dict(restored.tally)) == (8, 2, "x", {"a": 2})
    assert (Counter().total, Named().tallied) == (0, 3)


def test_a_first_value_that_a_subclass_replaces_is_of_the_declared_type() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.total: Expected `int`"):

        class Wrong(Counter):
            total = "7"  # type: ignore[assignment]


# ---- effects, chance, time


def test_an_effect_is_asked_for_in_the_write_and_done_by_run_effect(client: Client) -> None:
    client("INCR a")
    client.entry([b"INCR", b"a"], [b"ITEM.PUT", b"1", b"x"])
    [(position, effect)] = client.effects
    assert position == 1
    assert effect == Effect(name="posted", arguments=("x",), durable=True, before_reply=True)
    client.machine.run_effect(effect, "7.0")
    assert client.machine._sent == [("7.0", "x")]  # type: ignore[attr-defined]


def test_effects_of_a_failed_command_are_not_wanted() -> None:
    class Failing(Counter):
        @raftkv.write(name="item.fail")
        def fail(self, text: str) -> None:
            self.posted(text)  # type: ignore[call-arg]
            raise raftkv.Refusal("no")

    client = Client(Failing())
    client.entry([b"ITEM.PUT", b"1", b"x"], [b"ITEM.FAIL", b"y"], [b"ITEM.PUT", b"1", b"z"])
    assert [(position, effect.arguments) for position, effect in client.effects] == [(0, ("x",)), (2, ("z",))]


def test_an_effect_cannot_be_asked_for_outside_of_a_write(client: Client) -> None:
    with pytest.raises(raftkv.StateError, match="outside of a write"):
        client.machine.posted("x")  # type: ignore[attr-defined]


def test_chance_comes_with_the_entry() -> None:
    assert Client(Counter())("CHANCE") == Client(Counter())("CHANCE")


def test_a_lease_ends_by_log_time() -> None:
    client = Client(Lease())
    assert client("ACQUIRE me TTL_MS 500") == 1
    assert client("ACQUIRE you TTL_MS 500") == Error("HELD by me")
    assert client.machine.deadline_ms() == 1500
    client.time_ms = 1600
    assert client("HOLDER") == "me", "until an entry brings the time"
    client.entry()
    assert client("HOLDER") is None
    assert client.machine.deadline_ms() is None
    assert client("ACQUIRE you TTL_MS 500") == 2
    assert client("ACQUIRE you") == Error("ERR wrong number of arguments for 'acquire' command")


# ---- snapshots


def test_a_restored_machine_is_the_same(client: Client) -> None:
    for line in ("INCR a 3", "INCR b", "ITEM.PUT 2 x TRIES 4", "ITEM.PUT 1 y"):
        client(line)
    slices = list(client.machine.snapshot())
    other = Counter()
    other.init()
    other.counts._journal.is_open = True
    other.counts["old"] = 1
    other.restore(iter(slices))
    assert other.state_hash() == client.machine.state_hash()
    assert other.last == Item("y")
    assert other.items[2, "x"] == Item("x", 4)
    assert Client(other)("INCR a") == 4


def test_a_struct_in_the_state_cannot_be_changed_through_a_list_within() -> None:
    client = Client(Tagged())
    client("TAG a")
    before = client.machine.state_hash()
    assert client("SPOIL a") == Error("ERR internal error in 'spoil': AttributeError; nothing was changed")
    assert client.machine.state_hash() == before


@pytest.mark.parametrize("slices", [0, 1, 2])
def test_an_abandoned_snapshot_keeps_nothing(client: Client, slices: int) -> None:
    client("INCR a")
    machine: Any = client.machine
    snapshot = machine.snapshot()
    for _ in range(slices):
        next(snapshot)
    snapshot.close()
    assert machine.counts._walks == machine.items._walks == []


def test_a_digest_is_of_its_first_moment_and_not_of_its_slices(client: Client) -> None:
    client.entry(*([b"incr", b"%d" % number] for number in range(5000)))
    client("ITEM.PUT 2 x")
    other = Counter()
    other.init()
    other.restore(client.machine.snapshot())
    parts = list(other.digests())
    assert len(parts) > 5, "a Map is walked in slices"
    total = 0
    for number, part in enumerate(client.machine.digests()):
        total += part
        client(f"INCR {number * 500}")
        client(f"INCR new{number}")
    assert total % HASH_MODULUS == sum(parts) % HASH_MODULUS


def test_a_digest_sees_the_least_difference() -> None:
    seen = set()
    for lines in ([], ["INCR a"], ["INCR a 2"], ["INCR b"], ["INCR a", "DROP a"], ["ITEM.PUT 1 a"], ["ITEM.PUT 1 b"]):
        client = Client(Counter())
        for line in lines:
            client(line)
        seen.add(sum(client.machine.digests()) % HASH_MODULUS)
    assert len(seen) == 7


# ---- mistakes in the class


def declare(**body: Any) -> Any:
    return lambda: type("Bad", (raftkv.Machine,), {"__module__": __name__, **body})


def async_handler() -> Any:
    @raftkv.write
    async def handler(self: Any) -> None: ...

    return handler


def marked(function: Any, **options: Any) -> Any:
    return raftkv.write(**options)(function)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (declare(f=async_handler()), "is async"),
        (declare(f=marked(lambda self, x: None)), "Annotate it"),
        (declare(f=marked(lambda self: None, name="two words")), "cannot be a command's name"),
        (declare(f=marked(lambda self: None, name="raft.mine")), "cannot be a command's name"),
        (declare(f=marked(lambda self: None, name="x"), g=marked(lambda self: None, name="X")), "are both 'x'"),
        (declare(__annotations__={"x": int}), "needs a first value"),
        (declare(__annotations__={"x": list[int]}, x=[]), "changed unnoticed"),
        (declare(__annotations__={"x": raftkv.Map[str, dict[str, int]]}), "changed unnoticed"),
        (declare(__annotations__={"x": raftkv.Map}), r"Map\[str, int\]"),
        (declare(__annotations__={"x": int}, x="one"), "Expected `int`"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(make: Any, reason: str) -> None:
    with pytest.raises((raftkv.DeclarationError, raftkv.StateError, TypeError), match=reason):
        make()


def test_an_unknown_type_of_an_argument() -> None:
    with pytest.raises(raftkv.DeclarationError, match="'many' cannot be"):

        class Bad(raftkv.Machine):
            @raftkv.write
            def f(self, many: list[int]) -> None: ...


def test_a_read_that_returns_nothing() -> None:
    with pytest.raises(raftkv.DeclarationError, match="of no use"):

        class Bad(raftkv.Machine):
            @raftkv.read
            def f(self) -> None: ...


def test_options_behind_variadic_arguments() -> None:
    with pytest.raises(raftkv.DeclarationError, match="taken for one of them"):

        class Bad(raftkv.Machine):
            @raftkv.write
            def f(self, *words: str, force: bool = False) -> None: ...


def test_state_that_was_not_declared(client: Client) -> None:
    with pytest.raises(raftkv.StateError, match="no declared state"):
        client.machine.other = 1  # type: ignore[attr-defined]
    with pytest.raises(raftkv.StateError, match="is a Map"):
        client.machine.counts = {}  # type: ignore[attr-defined]
