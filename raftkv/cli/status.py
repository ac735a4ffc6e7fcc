"""``raftkv status``: ask every named member for RAFT.STATUS and show the cluster as two tables.

Each member is asked in its own thread, so that a dead one costs its timeout once and not for each. The
members' own views stand in the first table; the second is the leader's view of its followers. Members that
were not named but that the others know are asked too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raftkv.cli.resp import Connection, Password, Unreachable, full_address
from raftkv.errors import ProtocolError, RaftkvError

EXAMPLES = """\
[bold]Examples[/bold]

raftkv status 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003

raftkv status :7001 || echo "no leader"

The others are found through the first that answers; name several in case one is down.

Exit code 0: a leader is known; 1: none; 2: wrong input.
"""
ROLE_STYLES = {"leader": "bold green", "follower": "cyan", "candidate": "yellow", "pre-candidate": "yellow"}

Status = Mapping[str, Any]


def status(
    addresses: Annotated[list[str], typer.Argument(metavar="HOST:PORT...", help="Client ports of the members.")],
    password: Password = "",
    timeout_ms: Annotated[int, typer.Option(min=1, help="How long to wait for each member.")] = 2000,
) -> None:
    """Show who leads and how far each member is."""
    answers = fetch_all([full_address(address) for address in addresses], password, timeout_ms / 1000)
    answers |= fetch_all(unasked(answers), password, timeout_ms / 1000)
    console = wide_console()
    console.print(members_table(answers))
    leader = leader_of(answers)
    if leader is not None and leader.get("peers"):
        console.print(peers_table(leader))
    raise typer.Exit(0 if any(isinstance(each, Mapping) and each.get("leader") for each in answers.values()) else 1)


def wide_console() -> Console:
    """For tables: piped, nothing is cut to the width of a terminal that is not there."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def fetch(address: str, password: str, timeout_s: float) -> Status:
    """RAFT.STATUS of one member. Raises RaftkvError."""
    with Connection(address, timeout_s, password) as connection:
        reply = connection.call("RAFT.STATUS")
    if not isinstance(reply, dict):
        raise ProtocolError(f"RAFT.STATUS answered {type(reply).__name__}, not a map")
    return reply


def fetch_all(addresses: Sequence[str], password: str, timeout_s: float) -> dict[str, Status | RaftkvError]:
    """Each address with its status, or with the error that stands for it."""

    def one(address: str) -> Status | RaftkvError:
        try:
            return fetch(address, password, timeout_s)
        except RaftkvError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(addresses) or 1) as pool:
        return dict(zip(addresses, pool.map(one, addresses), strict=False))


def unasked(answers: Mapping[str, Status | RaftkvError]) -> list[str]:
    """Client addresses that the answers name, of members that have not answered under another address."""
    statuses = [each for each in answers.values() if isinstance(each, Mapping)]
    known = {each.get("id") for each in statuses}
    peers = {peer.get("id"): peer.get("client_address") for each in statuses for peer in each.get("peers", ())}
    return [address for number, address in peers.items() if number not in known and address and address not in answers]


def leader_of(answers: Mapping[str, Status | RaftkvError]) -> Status | None:
    """Of those who say that they lead, the one of the newest term: an older one has not noticed yet."""
    leaders = [each for each in answers.values() if isinstance(each, Mapping) and each.get("role") == "leader"]
    return max(leaders, key=lambda each: int(each.get("term", 0)), default=None)


def members_table(answers: Mapping[str, Status | RaftkvError]) -> Table:
    columns = ("address", "id", "role", "term", "leader", "commit", "applied", "synced", "last", "uptime")
    table = _table("members", columns, left=("address", "role"))
    for address, answer in answers.items():
        if isinstance(answer, RaftkvError):
            text = f"unreachable: {answer.reason}" if isinstance(answer, Unreachable) else f"error: {answer}"
            table.add_row(address, "", Text(text, "red"))
            continue
        role = str(answer.get("role", "?"))
        numbers = [_cell(answer, key) for key in columns[3:-1]]
        table.add_row(
            address,
            _cell(answer, "id"),
            Text(role, ROLE_STYLES.get(role, "")),
            *numbers,
            _duration(answer.get("uptime_ms")),
        )
    return table


def peers_table(leader: Status) -> Table:
    title = f"followers, as leader {leader.get('id')} sees them"
    table = _table(title, ("id", "address", "match", "next", "lag", "connected", "heard"), left=("address",))
    for peer in leader["peers"]:
        connected = bool(peer.get("connected"))
        table.add_row(
            *(_cell(peer, key) for key in ("id", "address", "match", "next", "lag")),
            Text("yes", "green") if connected else Text("no", "red"),
            _ago(peer.get("last_heard_ms")),
        )
    return table


def _table(title: str, columns: Sequence[str], left: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", overflow="fold")
    return table


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "-" if value is None or (key == "leader" and not value) else str(value)


def _ago(ms: object) -> str:
    return "never" if not isinstance(ms, int) or ms < 0 else f"{ms} ms ago"


def _duration(ms: object) -> str:
    if not isinstance(ms, int):
        return "-"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
