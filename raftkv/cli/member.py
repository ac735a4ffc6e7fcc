"""``raftkv member add|remove|promote|demote|list|verify`` and ``raftkv transfer``: who belongs to the cluster, who
leads it, and whether all have the same state.

All of them may be sent to any member; `member_asking.py` waits until what was asked for holds. On a terminal a spinner
tells how far the member is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from raftkv.cli.member_asking import REACH_S, Tell, carry_out
from raftkv.cli.resp import Connection, Password, Unreachable, full_address
from raftkv.cli.status import Status, fetch, wide_console

app = typer.Typer(help="Change or list the members of a cluster.", no_args_is_help=True, rich_markup_mode="rich")

EXAMPLES_ADD = """\
[bold]Examples[/bold]

raftkv member add 4 10.0.0.4:8001 --at 10.0.0.1:7001

raftkv member add 4 10.0.0.4:8001 --learner

The new member is started with an empty data directory, and told where the cluster is:

raftkv serve --id 4 --data DIR --port 7001 --peer-port 8001 --join 10.0.0.1:7001

That adds it, too; this command waits until it is done. For a learner, start it with --cluster-learner yes. For a
member that is there, another HOST:PORT changes its address.
"""
EXAMPLES_REMOVE = """\
[bold]Example[/bold]

raftkv member remove 2 --at :7001

Its number is never used again. The leader can be removed as well: another one takes over.
"""
EXAMPLES_PROMOTE = "[bold]Example[/bold]\n\nraftkv member promote 4 --at :7001"
EXAMPLES_DEMOTE = "[bold]Example[/bold]\n\nraftkv member demote 4 --at :7001"
EXAMPLES_LIST = "[bold]Example[/bold]\n\nraftkv member list --at :7001"
EXAMPLES_VERIFY = """\
[bold]Example[/bold]

raftkv member verify --at :7001 || echo "look at the log of the leader"

All members go on serving. One that is taking a snapshot, or is away, is not compared.

Exit code 1: a member has another state.
"""
EXAMPLES_TRANSFER = """\
[bold]Examples[/bold]

raftkv transfer --at :7001

raftkv transfer 2 --at :7001

Without ID, the member that has the most of the log takes over. Nothing acknowledged is lost or repeated.
"""
ID = Annotated[int, typer.Argument(metavar="ID", min=1, help="The member's number.")]
At = Annotated[str, typer.Option("--at", metavar="HOST:PORT", help="Client port of any member.")]
HERE = ":7001"
VERDICT_STYLES = {"equal": "green", "differs": "bold red"}


@app.command(epilog=EXAMPLES_ADD)
def add(
    member_id: ID,
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Its peer port, as the others reach it.")],
    learner: Annotated[bool, typer.Option("--learner", help="Have it get the log, but never vote.")] = False,
    at: At = HERE,
    password: Password = "",
) -> None:
    """Add a member, and wait until it has caught up and is a voter, or is a learner."""
    command = ["RAFT.NODE", "ADD", str(member_id), full_address(address), *(["LEARNER"] if learner else [])]
    _change(command, member_id, at, password)
    typer.echo(f"member {member_id} is a {'learner' if learner else 'voter'} at {full_address(address)}")


@app.command(epilog=EXAMPLES_REMOVE)
def remove(member_id: ID, at: At = HERE, password: Password = "") -> None:
    """Take a member out of the cluster for ever."""
    _change(["RAFT.NODE", "REMOVE", str(member_id)], member_id, at, password)
    typer.echo(f"member {member_id} is no member any more; its number is never used again")


@app.command(epilog=EXAMPLES_PROMOTE)
def promote(member_id: ID, at: At = HERE, password: Password = "") -> None:
    """Make a learner a voter, once it has caught up."""
    _change(["RAFT.NODE", "PROMOTE", str(member_id)], member_id, at, password)
    typer.echo(f"member {member_id} is a voter")


@app.command(epilog=EXAMPLES_DEMOTE)
def demote(member_id: ID, at: At = HERE, password: Password = "") -> None:
    """Make a voter a learner: it gets the log, and votes no more."""
    _change(["RAFT.NODE", "DEMOTE", str(member_id)], member_id, at, password)
    typer.echo(f"member {member_id} is a learner")


@app.command(name="list", epilog=EXAMPLES_LIST)
def list_(at: At = HERE, password: Password = "") -> None:
    """Show the members, their roles and addresses, as the leader sees them."""
    here = full_address(at)
    leader = fetch(here, password, REACH_S).get("leader_address") or here
    try:
        rows = _rows(leader, password)
    except Unreachable:
        rows = _rows(here, password)
    wide_console().print(_table(rows))


def _rows(address: str, password: str) -> list[dict[str, Any]]:
    with Connection(address, REACH_S, password) as connection:
        rows: list[dict[str, Any]] = connection.call("RAFT.NODE", "LIST")
    return [row for row in rows if row["role"] != "none"]  # "none" was removed, and is about to hear of it


@app.command(epilog=EXAMPLES_VERIFY)
def verify(at: At = HERE, password: Password = "") -> None:
    """Compare the states of all members at one place in the log."""
    verdict = _change(["RAFT.VERIFY"], None, at, password)
    members = verdict["members"]
    compared = [each for each in members if each["digest"]]
    console = wide_console()
    console.print(_verdicts(members))
    if not verdict["equal"]:
        console.print(f"the states at entry {verdict['index']} differ", style="bold red")
        raise typer.Exit(1)
    console.print(f"the states of {len(compared)} of {len(members)} members were compared at entry {verdict['index']}")


def transfer(
    member_id: Annotated[int | None, typer.Argument(metavar="[ID]", min=1, help="Who is to lead.")] = None,
    at: At = HERE,
    password: Password = "",
) -> None:
    """Hand leadership over to a member, by default to the one that has the most of the log."""
    command = ["RAFT.TRANSFER_LEADER", *([] if member_id is None else [str(member_id)])]
    _change(command, member_id, at, password)
    leader = member_id or fetch(full_address(at), password, REACH_S).get("leader")
    typer.echo(f"member {leader} leads" if leader else "leadership was handed over")


def _change(command: Sequence[str], member_id: int | None, at: str, password: str) -> Any:
    with _spinner(member_id) as tell:
        return carry_out(command, full_address(at), password, tell)


@contextlib.contextmanager
def _spinner(member_id: int | None) -> Iterator[Tell]:
    """Only on a terminal, and not in the output."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _status: None
        return
    with console.status("asked; waiting until it is done") as spinner:
        yield lambda status: spinner.update(escape(progress(status, member_id)))


def progress(status: Status, member_id: int | None) -> str:
    """How far a member is, as the leader's `status` tells."""
    for peer in status.get("peers", ()):
        if peer.get("id") == member_id:
            if not peer.get("connected"):
                return f"member {member_id} is not connected to the leader: does it run, at {peer.get('address')}?"
            if peer.get("match") is not None:
                return f"member {member_id} has {peer['match']:,} of {status.get('last', 0):,} entries"
    leader = status.get("leader")
    return f"waiting for member {leader}, the leader" if leader else "waiting for a leader"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in ("id", "role", "leads", "peer address", "client address", "connected", "match"):
        table.add_column(name, justify="right" if name in ("id", "match") else "left", overflow="fold")
    for row in rows:
        table.add_row(
            str(row["id"]),
            str(row["role"]),
            Text("leads", "bold green") if row["leads"] else "",
            row["peer_address"] or "-",
            row["client_address"] or "-",
            Text("yes", "green") if row["connected"] else Text("no", "red"),
            "-" if row["match"] is None else str(row["match"]),
        )
    return table


def _verdicts(members: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("id", justify="right")
    for name in ("verdict", "digest"):
        table.add_column(name)
    for each in members:
        verdict = str(each["verdict"])
        table.add_row(str(each["id"]), Text(verdict, VERDICT_STYLES.get(verdict, "yellow")), each["digest"][:16] or "-")
    return table
