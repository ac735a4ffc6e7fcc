"""``raftkv recover``: when most members are gone for good, make a survivor the cluster. See `cluster/recovery.py`.

This is the one command that can lose acknowledged writes, so it says what it is about to do and asks; and what it did
stays in a file beside the data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from raftkv.cli.restore import members_table
from raftkv.cluster.recovery import Founders, Plan, Recovery
from raftkv.errors import YourFault
from raftkv.raft.membership import Membership
from raftkv.storage.files import Files

EXAMPLES = """\
[bold]Example[/bold]

raftkv recover data/node1 --members 1=10.0.0.1:8001

Only when a majority of the members will never come back: otherwise start those that are missing. Of several survivors,
recover the one whose raftkv wal verify shows the newest last entry, and have the others join it with new ids.
"""


def recover(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The survivor's node.data_dir.")
    ],
    members: Annotated[str, typer.Option(metavar="1=HOST:PORT,...", help="The survivors, with their peer addresses.")],
    founders: Annotated[
        str,
        typer.Option(metavar="1=HOST:PORT,...", help="cluster.members as it was; asked for where DIR does not tell."),
    ] = "",
    cluster_name: Annotated[str, typer.Option(envvar="RAFTKV_CLUSTER_NAME", help="With --founders.")] = "raftkv",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """After the loss of a majority: make a survivor the cluster. Can lose acknowledged writes."""
    began = Founders(cluster_name, members_table(founders)) if founders else None
    with closing(Recovery(str(directory), members_table(members), began)) as recovery:
        plan = recovery.plan
        typer.echo(_warning(plan))
        _ask(yes)
        recovery.carry_out()
        now = datetime.now(UTC)
        report = _report(plan, now)
        typer.echo(report)
        typer.echo(_keep(directory, f"RECOVERED-{now:%Y%m%dT%H%M%SZ}.txt", report))


def _ask(yes: bool) -> None:
    if yes:
        return
    if not _is_terminal():
        raise YourFault("nothing was changed: there is no terminal to ask on; --yes goes on without asking")
    if not typer.confirm("Go on?"):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


def _keep(directory: Path, name: str, report: str) -> str:
    """Says where the report is. It was done, whether or not there is room for a report."""
    try:
        Files().replace_whole(str(directory), name, report.encode())
    except OSError as error:
        return f"Keep this: it could not be written to {directory / name} ({error.strerror or error})"
    return f"This is kept in {directory / name}"


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _warning(plan: Plan) -> str:
    doubtful = " (entries {} to {} may never have been acknowledged)".format(*plan.doubtful) if plan.doubtful else ""
    return f"""\
Member {plan.owner.member_id} of cluster {plan.owner.cluster_id} is to become the cluster, as it is on this disk.
  members until now   {_listed(plan.before.members)}
  members afterwards  {_listed(plan.after.members)}; never again: {_listed(plan.after.removed)}
LOST: every write that others acknowledged and that this member does not have.
MADE TRUE: everything that this member has, up to entry {plan.index - 1}{doubtful}.
The others must not run, and must never be started again with their data: they could go on as the old cluster."""


def _report(plan: Plan, now: datetime) -> str:
    before, others = plan.before, plan.after.learners
    report = f"""\
Recovered on {now:%Y-%m-%d %H:%M:%S} UTC: member {plan.owner.member_id} of cluster {plan.owner.cluster_id}
  appended     entry {plan.index} of term {plan.term}: members {_addresses(plan.after)}
  committed    up to {plan.index}; before, up to {plan.commit} was known to be
  before       voters {_listed(before.voters)}; outgoing {_listed(before.outgoing)}; learners {_listed(before.learners)}
  never again  {_listed(plan.after.removed)}
Start this member as before, with the same settings: cluster.members too, which says how the cluster began, and not who
belongs to it now. It leads at once. Others join it with new ids: raftkv serve --id NEW --data DIR --join HOST:PORT
"""
    if others:
        report += f"""\
Start {_listed(others)} by raftkv serve --rebuild, never with their old data: each votes once it has everything.
"""
    return report


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"


def _addresses(membership: Membership) -> str:
    return ", ".join(f"{member}={address}" for member, address in membership.addresses.items())
