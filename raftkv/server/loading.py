"""From the name in `machine.class` to a state machine."""

from __future__ import annotations

import importlib

from raftkv.errors import ConfigError
from raftkv.machines.interface import StateMachine
from raftkv.machines.strict import watch
from raftkv.settings import Settings


def make_machine(settings: Settings) -> StateMachine:
    """The state machine that `machine.class` names, watched where `machine.strict` is on. Raises ConfigError."""
    return watch(_made(settings)) if settings.machine.strict else _made(settings)


def _made(settings: Settings) -> StateMachine:
    name = settings.machine.class_
    if name == "redis":
        from raftkv.machines.redis.machine import RedisMachine

        return RedisMachine(databases=settings.redis.databases)
    if name == "register":
        from raftkv.machines.register import RegisterMachine

        return RegisterMachine()
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)(**settings.machine.options)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError("settings", "machine.class", name, f"cannot be made: {error}") from error
    if not isinstance(made, StateMachine):
        raise ConfigError("settings", "machine.class", name, "is not a raftkv.machines.interface.StateMachine")
    return made
