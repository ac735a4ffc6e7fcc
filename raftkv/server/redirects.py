"""Where a client is sent with a command that another member serves: MOVED, as by a node of Redis Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.replies import Error
from raftkv.server.slots import hash_slot

if TYPE_CHECKING:
    from raftkv.server.server import Server

ADDRESS_UNKNOWN: Final = Error("CLUSTERDOWN The leader's address is not known yet; try again")


def moved(server: Server, argv: list[bytes], leader_id: int) -> Error:
    """Where to go with `argv`."""
    address = server.client_address_of(leader_id)
    return ADDRESS_UNKNOWN if address is None else Error(f"MOVED {_slot(server, argv)} {address}")


def _slot(server: Server, argv: list[bytes]) -> int:
    """The Redis Cluster hash slot of the command's first key (0 where it has none)."""
    row = server.lookup(argv[0])
    if row is not None and row.subcommands and len(argv) > 1:
        row = row.subcommand(argv[1])
    first = row.keys[0] if row is not None else 0
    if not 0 < first < len(argv):
        return 0
    return hash_slot(argv[first])
