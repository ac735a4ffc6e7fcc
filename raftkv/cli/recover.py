"""``raftkv recover``: when most members are gone for good, make a survivor the cluster. See `cluster/recovery.py`.

This is the one command that can lose acknowledged writes, so it says what it is about to do and asks; and what it did
stays in a file beside the data.
"""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from raftkv.cli.restore import members_table
from raftkv.cluster.recovery import Founders, Plan, Recovery
from raftkv.errors import YourFault
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
        name = f"RECOVERED-{now.strftime('%Y%m%dT%H%M%SZ')}.txt"
        Files().replace_whole(str(directory), name, report.encode())
    typer.echo(report)
    typer.echo(f"This is kept in {directory / name}")


def _ask(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise YourFault("nothing was changed: there is no terminal to ask on; --yes goes on without asking")
    if not typer.confirm("Go on?"):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


def _warning(plan: Plan) -> str:
    lines = [
        f"Member {plan.owner.member_id} of cluster {plan.owner.cluster_id} is to become the cluster, as it is on this disk.",
        f"  members until now   {_listed(plan.before.members)}",
        f"  members afterwards  {_listed(plan.after.members)}; {_listed(plan.after.removed)} never again",
        "LOST: every write that was acknowledged by others and that this member does not have.",
        f"MADE TRUE: everything that this member has, up to entry {plan.index - 1}"
        + (" (entries {} to {} may never have been acknowledged)".format(*plan.doubtful) if plan.doubtful else "")
        + ".",
        "The others must not be running, and must never be started again with their data: they would go on as the old"
        " cluster.",
    ]
    return "\n".join(lines)


def _report(plan: Plan, now: datetime) -> str:
    owner, addresses = plan.owner, plan.after.addresses
    others = [member for member in plan.after.learners if member != owner.member_id]
    lines = [
        f"Recovered on {now.strftime('%Y-%m-%d %H:%M:%S UTC')}: member {owner.member_id} of cluster {owner.cluster_id}",
        f"  appended    entry {plan.index} of term {plan.term}: members {addresses}",
        f"  committed   up to {plan.index} (was known to be: up to {plan.commit})",
        f"  before      voters {list(plan.before.voters)}, outgoing {list(plan.before.outgoing)}, learners"
        f" {list(plan.before.learners)}",
        f"  never again {list(plan.after.removed)}",
        "Now start it as before, with the same settings (cluster.members too: it says how the cluster began, not who",
        "belongs to it now). It leads at once. Then grow the cluster: raftkv serve --id NEW --data DIR --join HOST:PORT.",
        "Ids of members that are gone are never used again, and their data must not be started.",
    ]
    if others:
        lines.append(
            f"Start {_listed(others)} with empty data directories, by raftkv serve --rebuild: each votes again once it has"
            " everything."
        )
    return "\n".join(lines) + "\n"


def _listed(ids: tuple[int, ...] | frozenset[int] | list[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"
