"""``raftkv help``: the commands of a machine, from its table: what redis-cli's hints are made of, too.

On a terminal as a table, otherwise one command a line. With a command's name: how it is used, and the rest of its
docstring where it has one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raftkv.errors import YourFault
from raftkv.machines.interface import Command, Kind, StateMachine

EXAMPLES = """\
[bold]Examples[/bold]

raftkv help

raftkv help getex

raftkv help --machine counter:Counter
"""
KINDS = {Kind.WRITE: "write", Kind.READ: "read", Kind.DIRTY: "dirty read"}


def help_(
    command: Annotated[str, typer.Argument(help="One command; without it, all are listed.")] = "",
    machine: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="redis, register, or package.module:Class.")
    ] = "redis",
) -> None:
    """Show the commands of a state machine: Redis's, or those of your own."""
    from raftkv.server.loading import load_class  # late: it imports the server's commands

    kind = load_class(machine)
    rows = _rows(kind)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if not command:
        _list(console, rows.values())
        return
    row = rows.get(command.lower())
    if row is None:
        raise YourFault(f"the machine {machine} has no command {command!r}; `raftkv help` lists them")
    _show(console, row)


def _rows(kind: type[StateMachine]) -> dict[str, Command]:
    commands: Mapping[bytes, Command] = getattr(kind, "commands", None) or kind().commands
    return {row.name: row for row in sorted(commands.values(), key=lambda row: row.name)}


def _list(console: Console, rows: Iterable[Command]) -> None:
    if not console.is_terminal:
        for row in rows:
            typer.echo(f"{usage(row)}\t{KINDS[row.kind]}\t{row.summary}")  # rich would make spaces of the tabs
        return
    table = Table("command", "", "what it does", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(Text(usage(row), "cyan"), Text(KINDS[row.kind], "dim"), Text(row.summary))
    console.print(table)


def _show(console: Console, row: Command) -> None:
    console.print(Text(usage(row), "bold cyan"))
    console.print(f"  {row.summary}", markup=False)
    text = inspect.cleandoc(row.handler.__doc__ or "")
    told = text.partition("\n")[2].strip()
    if told and row.summary and text.startswith(row.summary):
        console.print("\n" + "\n".join(f"  {line}" for line in told.splitlines()), markup=False)
    facts = [KINDS[row.kind], f"since {row.since}", f"version {row.version} of the machine" if row.version > 1 else ""]
    console.print(Text("  " + ", ".join(filter(None, facts)), "dim"))


def usage(row: Command) -> str:
    """The command and its arguments, as manuals write them: ``SET key value [NX | XX]``."""
    return " ".join([row.name.upper(), *(_argument(argument) for argument in row.arguments)])


def _argument(argument: Mapping[str, Any]) -> str:
    inner = argument.get("arguments", ())
    token = argument.get("token", "")
    name = argument["name"]
    match argument["type"]:
        case "pure-token":
            text = token
        case "oneof":
            text = " | ".join(_argument({**each, "flags": []}) for each in inner)
        case "block":
            text = " ".join(_argument(each) for each in inner)
        case _:
            text = name
    if token and argument["type"] != "pure-token":
        text = f"{token} {text}"
    flags = argument.get("flags", ())
    if "multiple" in flags:
        text = f"{text} [{text} ...]" if "optional" not in flags else f"{text} ..."
    return f"[{text}]" if "optional" in flags else text
