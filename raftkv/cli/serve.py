"""``raftkv serve``: run one member.

The options are made from `raftkv.settings.SETTINGS`: a new setting is a new flag without a line here. All are
taken as text, so that flags, variables and file go through the same checks and give the same errors.
"""

from __future__ import annotations

import inspect
import itertools
import os
import signal
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from typer.core import TyperCommand

from raftkv.config import FILE_VARIABLE, SETTINGS, Setting, Settings, load

EXAMPLES = """\
[bold]Examples[/bold]

raftkv serve --config conf/node1.toml

raftkv serve --id 1 --port 7001 --peer-port 8001 --data data/node1 \
--members 1=127.0.0.1:8001,2=127.0.0.1:8002,3=127.0.0.1:8003

RAFTKV_LOG_LEVEL=debug raftkv serve --config conf/node1.toml

Later sources win: defaults, file, variables, flags.
"""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar=FILE_VARIABLE, help="TOML file with settings."),
]


class ServeCommand(TyperCommand):
    """Prints the settings of its help itself: at 80 columns typer's table cuts the names of long flags."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            # Only now, so that the shell still completes them.
            parameter.hidden = parameter.name not in ("config", "help")  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
        Console(highlight=False).print(_settings_help())


def _settings_help() -> Group:
    kinds = typing.get_type_hints(Settings)
    parts: list[RenderableType] = []
    for section, settings in itertools.groupby(SETTINGS, lambda setting: setting.section):
        parts.append(Text(f"{section.capitalize()} settings. {kinds[section].__doc__}", "bold"))
        for setting in settings:
            names = Text(", ".join(_flags(setting)), "cyan").append(f" {_metavar(setting)}", "yellow")
            default = setting.text(setting.default) or "empty"
            meaning = Text(setting.doc).append(f" [{default}] {setting.variable}", "dim")
            parts += [Padding(names, (0, 0, 0, 2)), Padding(meaning, (0, 0, 0, 6))]
        parts.append(Text())
    return Group(*parts)


def _flags(setting: Setting) -> list[str]:
    return [f"--{name}" for name in (setting.alias, setting.dashed) if name is not None]


def _metavar(setting: Setting) -> str:
    if isinstance(setting.default, bool):
        return "yes|no"
    kind = {int: setting.unit.upper() or "NUMBER", str: "TEXT"}.get(type(setting.default), "KEY=VALUE,...")
    return "|".join(setting.choices) or kind


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give `function` one optional text parameter for each setting: typer reads signatures."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            (setting.alias or setting.dashed).replace("-", "_"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(*_flags(setting), metavar="TEXT", help=setting.doc)],
        )
        for setting in SETTINGS
    ]
    parameters = [p.replace(annotation=ConfigOption) for p in own] + options
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


@_with_settings
def serve(config: ConfigOption = None, **texts: str | None) -> None:
    """Run one member of a cluster until SIGTERM or Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until the server listens to them itself
    flags = {name.replace("_", "-"): text for name, text in texts.items() if text is not None}
    loaded = load(config, os.environ, flags)
    from raftkv.server import app  # late: --help and a wrong setting need not wait for the server's imports

    raise typer.Exit(app.run(loaded))
