"""From the name in `machine.class` to a state machine that can be served."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import typing
from typing import Any

import msgspec

from raftkv.errors import ConfigError
from raftkv.machines.interface import StateMachine
from raftkv.machines.strict import watch
from raftkv.server.commands import LOCAL_COMMANDS
from raftkv.settings import Settings

SHIPPED = {
    "redis": "raftkv.machines.redis.machine:RedisMachine",
    "register": "raftkv.machines.register:RegisterMachine",
}
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}").fullmatch


def make_machine(settings: Settings) -> StateMachine:
    """The state machine that `machine.class` names, with its options; watched where `machine.strict` is on. Raises
    ConfigError."""
    name = settings.machine.class_
    options: dict[str, object] = dict(settings.machine.options)
    if name == "redis":
        options = {"databases": settings.redis.databases}
    return ready(_instance(name, load_class(name), options), settings)


def ready(machine: StateMachine, settings: Settings) -> StateMachine:
    """A machine as it will be served, wherever it comes from: its names checked, watched where `machine.strict` is
    on. Raises ConfigError."""
    _check_names(settings.machine.class_, machine)
    return watch(machine) if settings.machine.strict else machine


def load_class(name: str) -> type[StateMachine]:
    """The class that ``package.module:Class`` (or "redis", "register") stands for. Raises ConfigError."""
    module_name, _, attribute = SHIPPED.get(name, name).partition(":")
    if os.getcwd() not in sys.path:
        # As `python -m` has it: a machine beside which one stands can be served without being installed.
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _wrong(name, f"{error}; is it installed, or in the present directory?") from error
    except Exception as error:
        raise _wrong(name, f"importing {module_name!r} raised {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise _wrong(name, f"the module {module_name!r} has no {attribute!r}")
    if not isinstance(found, type):
        raise _wrong(name, f"is {_article(type(found).__name__)}, not a class")
    if not issubclass(found, StateMachine):
        raise _wrong(name, "is neither a raftkv.Machine nor a raftkv.StateMachine")
    return found


def _instance(name: str, kind: type[StateMachine], options: dict[str, object]) -> StateMachine:
    if missing := sorted(kind.__abstractmethods__):
        raise _wrong(name, f"lacks {', '.join(missing)} (see raftkv.StateMachine)")
    try:
        inspect.signature(kind).bind(**options)
    except TypeError as error:
        raise ConfigError("settings", "machine.options", options, f"{name}: {error}") from error
    typed = _typed(name, kind, options) if options else {}
    try:
        return kind(**typed)
    except Exception as error:
        raise _wrong(name, f"making it raised {type(error).__name__}: {error}") from error


def _typed(name: str, kind: type[StateMachine], options: dict[str, object]) -> dict[str, object]:
    """The options as the annotations of `__init__` say: those of flags and variables come as text."""
    try:
        annotations = typing.get_type_hints(kind.__init__)
    except Exception as error:
        raise _wrong(name, f"the annotations of its __init__ cannot be read: {error}") from error
    parameters = inspect.signature(kind).parameters
    rest = next((each.name for each in parameters.values() if each.kind is each.VAR_KEYWORD), "")
    wanted = {option: annotations.get(option if option in parameters else rest, Any) for option in options}
    return {option: _converted(name, option, value, wanted[option]) for option, value in options.items()}


def _converted(name: str, option: str, value: object, wanted: Any) -> object:
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        shown = wanted.__name__ if isinstance(wanted, type) else wanted
        reason = f"it must be {shown}, as {name} says"
        raise ConfigError("settings", f"machine.options.{option}", value, reason) from error
    except TypeError:
        # An annotation that msgspec has no word for, such as a union of two classes: the machine's own business.
        return value


def _check_names(name: str, machine: StateMachine) -> None:
    if not NAME(getattr(machine, "name", "")):
        shown = getattr(machine, "name", None)
        raise _wrong(name, f"its name is {shown!r}; it must be 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    for spelling, row in machine.commands.items():
        if spelling.lower() in LOCAL_COMMANDS or row.name.startswith("raft."):
            raise _wrong(name, f"its command {row.name!r} is one of raftkv's own: call it something else")


def _wrong(name: str, reason: str) -> ConfigError:
    return ConfigError("settings", "machine.class", name, reason)


def _article(word: str) -> str:
    return f"an {word}" if word[:1].lower() in "aeiou" else f"a {word}"
