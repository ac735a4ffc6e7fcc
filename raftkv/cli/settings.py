"""``raftkv settings``: the manual of all settings, as a TOML file that holds every default.

``conf/raftkv.toml`` is this text; a test compares the two.
"""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Iterator

import typer

from raftkv.settings import SETTINGS, Setting, Settings

EXAMPLES = """\
[bold]Example[/bold]

raftkv settings > raftkv.toml
"""
HEAD = """\
# Every setting of raftkv with its default. Made by `raftkv settings`; a test keeps the two equal.
#
# Sources, the later winning: these defaults, a file (raftkv serve --config FILE), variables, flags.
# [client] port is the variable RAFTKV_CLIENT_PORT and the flag --client-port; the most used have short flags
# too: --id, --data, --port, --members, --machine.
# A wrong key, type, range or relation stops the start and says which.
"""


def settings() -> None:
    """Print every setting with its meaning and default, as a file to start from."""
    typer.echo(manual(), nl=False)


def manual() -> str:
    """The text of conf/raftkv.toml."""
    return "\n".join([HEAD.rstrip("\n"), *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    kinds = typing.get_type_hints(Settings)
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            yield from ("", "", f"# {kinds[section].__doc__}", f"[{section}]")
        yield from _entry(setting)


def _entry(setting: Setting) -> Iterator[str]:
    allowed = setting.expects if setting.choices or isinstance(setting.default, int) else ""
    unit = setting.unit if setting.unit != allowed else ""
    notes = "; ".join(filter(None, (allowed.removeprefix("a "), unit)))
    yield ""
    for line in textwrap.wrap(setting.doc + (f" ({notes})" if notes else ""), 105):
        yield f"# {line}"
    yield f"{setting.key} = {_toml(setting.default)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 100_000 else str(value)
    return "{}" if isinstance(value, dict) else f'"{value}"'
