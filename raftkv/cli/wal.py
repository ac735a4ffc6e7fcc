"""``raftkv wal dump|verify``: look into a member's log without changing anything.

A damaged log is an answer here and not a failure: what can be read is shown, then what is wrong and where,
and the exit code is 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raftkv.errors import StorageCorrupt
from raftkv.storage import inspect

app = typer.Typer(help="Read and check the log of a member.", no_args_is_help=True, rich_markup_mode="rich")

EXAMPLES_DUMP = "[bold]Example[/bold]\n\nraftkv wal dump data/node1 | less"
EXAMPLES_VERIFY = "[bold]Example[/bold]\n\nraftkv wal verify data/node1 && echo sound"

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The member's node.data_dir.")
]


@app.command(epilog=EXAMPLES_DUMP)
def dump(directory: Directory) -> None:
    """Print every record of the log, one a line, up to the first damage."""
    try:
        for line in inspect.dump(str(directory)):
            typer.echo(line)
    except StorageCorrupt as error:
        raise _damaged(error) from error


@app.command(epilog=EXAMPLES_VERIFY)
def verify(directory: Directory) -> None:
    """Check every record's checksum and order; exit code 1 when the log must not be used."""
    try:
        report = inspect.verify(str(directory))
    except StorageCorrupt as error:
        raise _damaged(error) from error
    Console().print(_table(report))


def _damaged(error: StorageCorrupt) -> typer.Exit:
    Console(stderr=True).print(f"[red]{escape(str(error))}[/]", soft_wrap=True, highlight=False)
    return typer.Exit(1)


def _table(report: inspect.Report) -> Table:
    hard, torn = report.hard_state, report.torn
    entries = f"{report.first_index} to {report.last_index}" if report.last_index >= report.first_index else "none"
    if report.base[0]:
        entries += f", behind the snapshot of entry {report.base[0]} of term {report.base[1]}"
    rows = {
        "member": f"{report.member_id} of cluster {report.cluster_id}",
        "machine": report.machine,
        "entries": entries,
        "term": f"{hard.term}, vote for {hard.vote or 'nobody'}, commit at least {hard.commit}",
        "on disk": f"{report.segments} segments from {report.oldest_segment} on, {report.batches} batches, "
        f"{report.bytes_used:_} bytes used of {report.bytes_on_disk:_}",
        "tail": "clean" if torn is None else f"torn: {torn.bytes} bytes at {torn.file} offset {torn.offset} "
        f"({torn.why}); the next start cuts them off",
    }  # fmt: skip
    table = Table(box=None, show_header=False, title="log is sound", title_justify="left", title_style="green")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table
