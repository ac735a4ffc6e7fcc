"""The connection's own commands: answered by the member that the client is connected to, never replicated.

One file for each group; a group's rows stand at its end, a new file is added here. `rows.py` has the words for rows,
and tells what a handler is.
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.interface import Command, command_table
from raftkv.server.commands import (
    basic,
    client,
    cluster,
    command,
    config,
    founding,
    info,
    login,
    members,
    other,
    raft,
    replication,
    sentinel,
    snapshots,
    staleness,
    subscribe,
    transactions,
)

ROWS: Final[tuple[Command, ...]] = (
    *basic.ROWS,
    *login.ROWS,
    *client.ROWS,
    *cluster.ROWS,
    *command.ROWS,
    *config.ROWS,
    *info.ROWS,
    *replication.ROWS,
    *raft.ROWS,
    *members.ROWS,
    *founding.ROWS,
    *snapshots.ROWS,
    *sentinel.ROWS,
    *staleness.ROWS,
    *subscribe.ROWS,
    *transactions.ROWS,
    *other.ROWS,
)

LOCAL_COMMANDS: Final[dict[bytes, Command]] = command_table(ROWS)
