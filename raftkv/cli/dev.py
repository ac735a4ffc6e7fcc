"""``raftkv dev``: a whole cluster on this machine, for trying out and for developing.

Real processes, as they would run on three machines; only addresses and directories are chosen for you.
Everything that can be known to fail is checked before the first process starts: one clear line instead of
three members complaining in turn. `local_cluster` runs them.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Console
from rich.markup import escape

from raftkv.cli.local_cluster import LocalCluster, Member
from raftkv.errors import YourFault

EXAMPLES = """\
[bold]Examples[/bold]

raftkv dev

raftkv dev --nodes 5 --data /tmp/five --base-port 7101 --peer-base-port 8101

raftkv dev --machine counter:Counter

raftkv dev -- --storage-fsync off --log-level debug

What follows -- goes to every member's raftkv serve. A member that ends is not started again; the log says how to.
"""
HOST = "127.0.0.1"


def dev(
    serve_flags: Annotated[
        list[str] | None, typer.Argument(metavar="[-- SERVE_FLAGS...]", help="Flags for every raftkv serve.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=9, help="Number of members.")] = 3,
    data: Annotated[Path, typer.Option(help="Directory for all data; kept when the cluster stops.")] = Path("data"),
    base_port: Annotated[int, typer.Option(min=1, max=65535, help="Client port of member 1; then upwards.")] = 7001,
    peer_base_port: Annotated[int, typer.Option(min=1, max=65535, help="Peer port of member 1; then upwards.")] = 8001,
    machine: Annotated[str, typer.Option(metavar="MODULE:CLASS", help="Your own state machine.")] = "redis",
) -> None:
    """Run a local cluster of real processes with one common log, until Ctrl-C."""
    members = plan(nodes, data, base_port, peer_base_port, ["--machine", machine, *(serve_flags or [])])
    check_directories(data, nodes)
    check_ports(members)
    console = Console(highlight=False, soft_wrap=True)
    _introduce(console, members, data)
    password = os.environ.get("RAFTKV_CLIENT_REQUIREPASS", "")
    raise typer.Exit(trio.run(LocalCluster(members, console, password).run))


def plan(nodes: int, data: Path, base_port: int, peer_base_port: int, serve_flags: list[str]) -> list[Member]:
    """The members with their ports and flags. Raises YourFault when there is no room for the ports."""
    ports, peer_ports = range(base_port, base_port + nodes), range(peer_base_port, peer_base_port + nodes)
    if max(*ports, *peer_ports) > 65535:
        raise YourFault(f"{nodes} members from port {max(base_port, peer_base_port)} on end above 65535")
    if set(ports) & set(peer_ports):
        raise YourFault("client ports and peer ports overlap: choose another --base-port or --peer-base-port")
    table = ",".join(f"{number}={HOST}:{port}" for number, port in enumerate(peer_ports, 1))
    return [
        Member(
            number=number,
            port=port,
            peer_port=peer_port,
            flags=(
                *("--id", str(number), "--port", str(port), "--peer-port", str(peer_port)),
                *("--data", str(data / f"node{number}"), "--members", table, *serve_flags),
            ),
        )
        for number, (port, peer_port) in enumerate(zip(ports, peer_ports, strict=True), 1)
    ]


def check_directories(data: Path, nodes: int) -> None:
    """Refuse data of a cluster of another size.

    Growing three members to five by starting two empty ones would let the two and a late one of the three
    elect a leader that has never seen an acknowledged write.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        found = {int(m[1]) for path in data.iterdir() if (m := re.fullmatch(r"node(\d+)", path.name))}
    except OSError as error:
        raise YourFault(f"{data} cannot be used: {error.strerror}; choose another with --data") from error
    if found and found != set(range(1, nodes + 1)):
        raise YourFault(
            f"{data} holds a cluster of other members ({', '.join(f'node{n}' for n in sorted(found))}) and the "
            f"number of members is not changed by this command: use --nodes {max(found)} or another --data; "
            "raftkv serve --join adds a member to a running cluster"
        )


def check_ports(members: list[Member]) -> None:
    """Raises YourFault naming every port that somebody else listens on."""
    taken = [str(port) for member in members for port in (member.port, member.peer_port) if not _is_free(port)]
    if taken:
        ports = f"port {taken[0]} is" if len(taken) == 1 else f"ports {', '.join(taken)} are"
        raise YourFault(f"{ports} taken; choose others with --base-port and --peer-base-port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: a port with old connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _introduce(console: Console, members: list[Member], data: Path) -> None:
    connect = "   ".join(f"redis-cli -p {member.port}" for member in members[:3])
    addresses = " ".join(f":{member.port}" for member in members)
    console.print(f"[bold]raftkv[/] {len(members)} members, data in {escape(str(data.resolve()))} (kept)")
    console.print(f"  connect  {connect}")
    console.print(f"  status   raftkv status {addresses}")
    console.print("  stop     Ctrl-C")
