"""``raftkv restore``: the data directory of a member of a new cluster, made from a backup by `cluster/offline.py`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from raftkv.cli.backup import examined, progress_bar
from raftkv.cluster import offline
from raftkv.cluster.founding import Founding
from raftkv.settings import NAME_PATTERN, split_address

EXAMPLES = """\
[bold]Examples[/bold]

raftkv restore monday.raftkv --id 1 --data data/new1

raftkv restore monday.raftkv --id 1 --data /var/lib/raftkv --members 1=10.1.0.1:8001,2=10.1.0.2:8001,3=10.1.0.3:8001

With --members, do the same on each of them, from the same file and with the same members. Without, the member is
alone, and others can join it. The old cluster is not touched, and the two never talk to each other.
"""


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Made by raftkv backup.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Data directory to be made; not there yet, or empty.")],
    member_id: Annotated[int, typer.Option("--id", min=1, help="The member's number.")] = 1,
    members: Annotated[
        str, typer.Option(metavar="1=HOST:PORT,...", help="Peer addresses of all members of the new cluster.")
    ] = "",
    peer_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Without --members: the member's peer port on this machine.")
    ] = 8001,
    cluster_id: Annotated[
        str, typer.Option(metavar="ID", help="The new cluster's; by default made from the file and the members.")
    ] = "",
) -> None:
    """Make a member of a new cluster from a backup."""
    if cluster_id and not re.fullmatch(NAME_PATTERN, cluster_id):
        raise typer.BadParameter("--cluster-id: 1 to 64 of a-z A-Z 0-9 _ . -")
    table = members_table(members) if members else {member_id: f"127.0.0.1:{peer_port}"}
    backup = examined(str(file))
    cluster = Founding(cluster_id or offline.new_cluster_id(backup, table), table)
    with progress_bar("restoring", backup.size_bytes) as on_bytes:
        offline.restore(backup, str(data), member_id, cluster, on_bytes)
    meta = backup.meta
    typer.echo(
        f"{data}: member {member_id} of the new cluster {cluster.cluster_id}, with the state after entry {meta.index}"
    )
    typer.echo(f"start it: {_start_line(member_id, data, table)}")


def _start_line(member_id: int, data: Path, table: dict[int, str]) -> str:
    peer_port = table[member_id].rpartition(":")[2]
    words = ["raftkv", "serve", "--id", str(member_id), "--data", str(data), "--peer-port", peer_port]
    return shlex.join([*words, "--members", ",".join(f"{each}={address}" for each, address in sorted(table.items()))])


def members_table(text: str) -> dict[int, str]:
    """``1=host:port,2=host:port``. Raises BadParameter."""
    table: dict[int, str] = {}
    for pair in text.split(","):
        number, _, address = (word.strip() for word in pair.partition("="))
        try:
            split_address(address)
        except ValueError as error:
            raise typer.BadParameter(f"{pair!r} in {text!r}: id=host:port is wanted ({error})") from error
        if not number.isdecimal() or int(number) < 1:
            raise typer.BadParameter(f"{pair!r} in {text!r}: id=host:port is wanted, with an id from 1 on")
        if int(number) in table or address in table.values():
            raise typer.BadParameter(f"{pair!r} in {text!r}: each member and each address once")
        table[int(number)] = address
    return dict(sorted(table.items()))
