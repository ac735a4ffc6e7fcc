"""From a name to a machine that can be served: each wrong one is told by key and reason."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import raftkv
from raftkv import config
from raftkv.errors import ConfigError
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.register import RegisterMachine
from raftkv.server.loading import make_machine, ready
from raftkv.settings import Settings
from tests.machines.declared_examples import Counter

SOURCE = """
from typing import Literal

import raftkv

class Good(raftkv.Machine):
    value: int = 0
    def __init__(self, limit: int = 5):
        self._limit = limit
        if limit == 13:
            raise ValueError("unlucky")
    @raftkv.write
    def add(self, by: int) -> int:
        self.value += by
        return self.value

class Optioned(raftkv.Machine):
    def __init__(self, size: int = 1, ratio: float = 1.0, on: bool = False, title: str | None = None,
                 mode: Literal["a", "b"] = "a", free=None, odd: "set[int] | dict[int, int] | list[str] | str" = "",
                 **more: int):
        self._made = dict(size=size, ratio=ratio, on=on, title=title, mode=mode, free=free, odd=odd, **more)
    @raftkv.read
    def made(self) -> str:
        return str(self._made)

class Unreadable(raftkv.Machine):
    def __init__(self, size: "Nowhere" = 1):
        self._size = size

class Shadowing(raftkv.Machine):
    @raftkv.read
    def ping(self) -> str:
        return "pong"

class Nameless(raftkv.Machine):
    name = "No Name"

class Lacking(raftkv.StateMachine):
    name = "lacking"

function = lambda: None
class Other: ...
"""


def settings(name: str, **options: object) -> Settings:
    return config.with_values({"machine.class": name, "machine.options": options}, "test")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present directory, with a module `mine` in it and one that cannot be imported."""
    (tmp_path / "mine_for_loading.py").write_text(SOURCE)
    (tmp_path / "broken_for_loading.py").write_text("1 / 0")
    (tmp_path / "unwritten_for_loading.py").write_text("def (")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for module in ("mine_for_loading", "broken_for_loading", "unwritten_for_loading"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def test_the_shipped_ones() -> None:
    assert isinstance(make_machine(settings("redis")), RedisMachine)
    assert isinstance(make_machine(settings("register")), RegisterMachine)


def test_one_in_the_present_directory(here: Path) -> None:
    made = make_machine(settings("mine_for_loading:Good", limit=7))
    assert made.name == "good"
    assert made._limit == 7  # type: ignore[attr-defined]


def test_an_installed_one() -> None:
    assert isinstance(make_machine(settings("tests.machines.declared_examples:Counter")), Counter)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nosuch_for_loading:Good", "No module named 'nosuch_for_loading'; is it installed"),
        ("broken_for_loading:Good", "importing 'broken_for_loading' raised ZeroDivisionError"),
        ("unwritten_for_loading:Good", "raised SyntaxError"),
        ("mine_for_loading:Bad", "has no 'Bad'"),
        ("mine_for_loading:function", "is a function, not a class"),
        ("mine_for_loading:Other", "is neither a raftkv.Machine nor a raftkv.StateMachine"),
        ("mine_for_loading:Lacking", "lacks handle_read, handle_write, state_hash"),
        ("mine_for_loading:Nameless", "its name is 'No Name'"),
        ("mine_for_loading:Shadowing", "its command 'ping' is one of raftkv's own"),
    ],
)
def test_a_wrong_one_is_told(here: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        make_machine(settings(name))
    assert raised.value.key == "machine.class"


def test_options_that_it_does_not_take(here: Path) -> None:
    with pytest.raises(ConfigError, match="unexpected keyword argument 'size'") as raised:
        make_machine(settings("mine_for_loading:Good", size=7))
    assert raised.value.key == "machine.options"


@pytest.mark.parametrize(
    ("option", "given", "taken"),
    [
        *(("size", "7", 7), ("size", 7, 7), ("ratio", "1.5", 1.5), ("ratio", 3, 3.0), ("on", "true", True)),
        *(("on", "0", False), ("title", "7", "7"), ("title", "null", "null"), ("mode", "b", "b"), ("extra", "5", 5)),
        *(("free", "7", "7"), ("free", 7, 7), ("odd", "7", "7")),
    ],
)
def test_an_option_becomes_what_its_annotation_says(here: Path, option: str, given: object, taken: object) -> None:
    """By flag and variable all are text; what the file has is of a type already."""
    made = make_machine(settings("mine_for_loading:Optioned", **{option: given}))
    value = made._made[option]  # type: ignore[attr-defined]
    assert (value, type(value)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("option", "given", "reason"),
    [
        *(("size", text, "it must be int, as mine_for_loading:Optioned says") for text in ("many", "1.5", "", True)),
        ("ratio", "half", "it must be float"),
        *(("on", each, "it must be bool") for each in ("perhaps", 3)),
        ("title", 7, "it must be str | None"),
        ("mode", "c", "it must be typing.Literal['a', 'b']"),
        ("extra", "much", "it must be int"),
    ],
)
def test_an_option_of_another_type_is_told_by_name(here: Path, option: str, given: object, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)) as raised:
        make_machine(settings("mine_for_loading:Optioned", **{option: given}))
    assert (raised.value.key, raised.value.value) == (f"machine.options.{option}", given)


def test_annotations_that_cannot_be_read_matter_only_with_options(here: Path) -> None:
    make_machine(settings("mine_for_loading:Unreadable"))
    with pytest.raises(ConfigError, match="name 'Nowhere' is not defined") as raised:
        make_machine(settings("mine_for_loading:Unreadable", size=5))
    assert raised.value.key == "machine.class"


def test_one_that_cannot_be_made(here: Path) -> None:
    with pytest.raises(ConfigError, match="making it raised ValueError: unlucky"):
        make_machine(settings("mine_for_loading:Good", limit=13))


class Pinging(raftkv.Machine):
    @raftkv.read
    def ping(self) -> str:
        return "pong"


def test_a_machine_that_was_not_loaded_by_name_is_looked_at_too() -> None:
    with pytest.raises(ConfigError, match="its command 'ping' is one of raftkv's own"):
        ready(Pinging(), settings("mine:Pinging"))


@pytest.mark.parametrize("machine", [Pinging, Pinging()], ids=["class", "instance"])
async def test_open_server_looks_at_names(
    machine: raftkv.StateMachine | type[raftkv.StateMachine], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="its command 'ping' is one of raftkv's own"):
        async with raftkv.open_server(machine, data=tmp_path / "data"):
            raise AssertionError("must not come so far")
