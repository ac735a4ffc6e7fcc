"""What may be declared as state, as a key, and what a value becomes on its way in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import raftkv
from raftkv.machines.values import checked, require_immutable, require_key


class Unordered(msgspec.Struct, frozen=True):
    number: int


class Ordered(msgspec.Struct, frozen=True, order=True):
    number: int
    words: tuple[str, ...] = ()


class OwnOrder(msgspec.Struct, frozen=True, order=True):
    number: int

    def __lt__(self, other: Any) -> bool:  # type: ignore[misc]
        return True


class OrderedButForNone(msgspec.Struct, frozen=True, order=True):
    number: int | None


class Endless(msgspec.Struct, frozen=True):
    inner: Endless | None = None


@pytest.mark.parametrize(
    "kind", [str, bytes, int, bool, tuple[int, str], tuple[str, ...], Ordered, tuple[Ordered, int]]
)
def test_types_of_keys(kind: Any) -> None:
    require_key(kind, "M.x")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (int | str, "must be of one type"),
        (int | None, "must be of one type"),
        (None, "must be of one type"),
        (tuple[int | str, ...], "must be of one type"),
        (tuple[int, float], "a float is no key: NaN"),
        (Unordered, "frozen=True, order=True"),
        (OwnOrder, "no own __eq__"),
        (OrderedButForNone, r"M\.x\.number: .* must be of one type"),
        (list[int], "cannot be sorted"),
    ],
)
def test_types_whose_values_have_no_order_are_no_keys(kind: Any, reason: str) -> None:
    with pytest.raises(raftkv.DeclarationError, match=rf"M\.x.*{reason}|{reason}"):
        require_key(kind, "M.x")
    with pytest.raises(raftkv.DeclarationError, match=r"Bad\.x"):
        type("Bad", (raftkv.Machine,), {"__module__": __name__, "__annotations__": {"x": raftkv.Map[kind, int]}})


def test_a_type_within_itself_is_refused() -> None:
    with pytest.raises(raftkv.DeclarationError, match="nested without end"):
        require_immutable(Endless, "M.x")


def test_two_structs_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(raftkv.DeclarationError, match="must be tagged"):
        require_immutable(Unordered | Ordered, "M.x")


@pytest.mark.parametrize("kind", [Ordered, Ordered | None, tuple[Ordered, int]])
def test_nothing_mutable_hides_in_a_struct(kind: Any) -> None:
    words: Any = ["a"]
    value = Ordered(1, words)
    stored = checked((value, 1) if kind == tuple[Ordered, int] else value, kind, "it")
    words.append("b")
    assert stored in (Ordered(1, ("a",)), (Ordered(1, ("a",)), 1))


def test_a_field_of_a_struct_is_checked() -> None:
    wrong: Any = "one"
    with pytest.raises(TypeError, match="it: Expected `int`"):
        checked(Unordered(wrong), Unordered, "it")
