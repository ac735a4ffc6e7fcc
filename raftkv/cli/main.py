"""The command ``raftkv`` and its subcommands; one file beside this for each.

Errors that were raised on purpose end as one red line on the error output, without a traceback. Exit codes:
0 done, 1 the answer is no (no leader, a damaged log, a member that failed), 2 the input is wrong, 3 a member
had to stop, or its data or a backup is damaged.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from raftkv.cli import backup, commands, dev, member, recover, restore, serve, settings, status, wal
from raftkv.errors import Fatal, RaftkvError

EXIT_INPUT, EXIT_FATAL = 2, 3

app = typer.Typer(
    name="raftkv",
    help="A durable, linearizable key-value server for Redis clients, replicated with Raft.",
    epilog="Try it: [bold]raftkv dev[/bold], then [bold]redis-cli -p 7001 set greeting hello[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # one plain traceback fits a log, and shows no local such as requirepass
)
app.command(name="serve", cls=serve.ServeCommand, epilog=serve.EXAMPLES)(serve.serve)
app.command(name="dev", epilog=dev.EXAMPLES)(dev.dev)
app.command(name="status", epilog=status.EXAMPLES)(status.status)
app.add_typer(member.app, name="member")
app.command(name="transfer", epilog=member.EXAMPLES_TRANSFER)(member.transfer)
app.command(name="backup", epilog=backup.EXAMPLES)(backup.backup)
app.command(name="restore", epilog=restore.EXAMPLES)(restore.restore)
app.command(name="recover", epilog=recover.EXAMPLES)(recover.recover)
app.command(name="help", epilog=commands.EXAMPLES)(commands.help_)
app.command(name="settings", epilog=settings.EXAMPLES)(settings.settings)
app.add_typer(wal.app, name="wal")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"raftkv {_version()}")
        raise typer.Exit


def _version() -> str:
    try:
        return importlib.metadata.version("raftkv")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed, run from its source)"


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    console = Console(stderr=True)
    if not __debug__:
        # Invariants are asserts, and an unnoticed broken invariant is a lost write.
        console.print("[red]raftkv checks its invariants with assert: run it without -O and PYTHONOPTIMIZE[/]")
        sys.exit(EXIT_INPUT)
    try:
        app()
    except RaftkvError as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True, highlight=False)
        sys.exit(EXIT_FATAL if isinstance(error, Fatal) else EXIT_INPUT)
