"""The decorators of declared machines, and which methods of a class bear their marks.

A mark is an attribute of the function. It is found along the class's bases, so that a method that overrides a command
is that command, as Python's users expect.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from raftkv.machines.interface import Kind
from raftkv.machines.signatures import DeclarationError

Function = TypeVar("Function", bound=Callable[..., Any])

MARK: Final = "__raftkv__"
ASKS_FOR: Final = "__raftkv_effect__"
"""On what an effect's method was replaced by: that method."""


class Mark(msgspec.Struct, frozen=True):
    kind: Kind
    name: str | None = None
    version: int = 1
    since: str = "1.0.0"


class EffectMark(msgspec.Struct, frozen=True):
    durable: bool
    before_reply: bool


def write(
    function: Function | None = None, /, *, name: str | None = None, version: int = 1, since: str = "1.0.0"
) -> Any:
    """A command that may change the state: replicated, then carried out on every member.

    name: the command's name, if not the method's: ``@write(name="lock.acquire")``.
    version: the machine's version that brought it (see `StateMachine.version`).
    """
    return _marking(function, Mark(Kind.WRITE, name, version, since))


def read(
    function: Function | None = None, /, *, name: str | None = None, version: int = 1, since: str = "1.0.0"
) -> Any:
    """A command that only looks: linearizable, without an entry in the log. Options as for `write`."""
    return _marking(function, Mark(Kind.READ, name, version, since))


def dirty(
    function: Function | None = None, /, *, name: str | None = None, version: int = 1, since: str = "1.0.0"
) -> Any:
    """A command that looks at the state of whichever member is asked, at once, perhaps stale. Options as for
    `write`."""
    return _marking(function, Mark(Kind.DIRTY, name, version, since))


def effect(function: Function | None = None, /, *, durable: bool = False, before_reply: bool = False) -> Any:
    """Something to be done outside. Called in a write handler it is *asked for*; the leader does it when the entry is
    committed (docs/effects.md). Its arguments must be plain values. It may be async, and may have a keyword-only
    parameter `effect_id`, the same in every repeat of a durable one."""
    return _marking(function, EffectMark(durable, before_reply))


def _marking(function: Any, mark: Any) -> Any:
    def decorate(function: Any) -> Any:
        setattr(function, MARK, mark)
        return function

    return decorate if function is None else decorate(function)


def marked_methods(cls: type) -> dict[str, tuple[Mark | EffectMark, Callable[..., Any]]]:
    """The methods that are commands or effects, by attribute. One that overrides such a method without a decorator
    takes its place, with its mark; None takes it away."""
    found: dict[str, tuple[Any, Callable[..., Any]]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            mark = getattr(value, MARK, None) or found.get(attribute, (None,))[0]
            if mark is None:
                continue
            if value is None:
                del found[attribute]
            elif not inspect.isfunction(value):
                raise DeclarationError(
                    f"{cls.__name__}.{attribute} was a command or an effect: make it a method, or None"
                )
            else:
                found[attribute] = (mark, getattr(value, ASKS_FOR, value))
    return found
