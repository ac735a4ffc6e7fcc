"""CLUSTER, READONLY, READWRITE, ASKING: what clients of Redis Cluster need to follow the leader.

With `client.routing = "redirect"` they see a cluster of one shard: all slots are the leader's, the other members are
its replicas. After a failover they learn of the new leader by -MOVED, or ask for the slots again. The leader has every
key, so commands on keys of different slots, and SELECT, are carried out, which a Redis Cluster refuses.

After READONLY a member that does not lead serves reads too. They are as linearizable as everywhere.

With `client.routing = "forward"` every member serves everything, there is no cluster to be known, and all of this is
refused as a Redis without a cluster refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command
from raftkv.machines.redis.rows import argument
from raftkv.machines.replies import OK, Error, Reply, Verbatim, shown
from raftkv.server.commands.cluster_keys import count_keys_in_slot, get_keys_in_slot
from raftkv.server.commands.rows import Handler, container, local
from raftkv.server.commands.view import host_and_port, is_cluster, node_id, peers, when_led
from raftkv.server.no_reply import NoReply
from raftkv.server.slots import SLOTS, hash_slot
from raftkv.settings import split_address

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

NO_CLUSTER: Final = Error("ERR This instance has cluster support disabled")
NOT_A_MASTER: Final = Error("ERR The specified node is not a master")


@dataclass(frozen=True, slots=True)
class Node:
    """A member as Redis Cluster would know it. `offset`: the newest entry it is known to have; 0 where nothing is:
    a member that does not lead knows nothing of another such one."""

    id: str
    host: str
    port: int
    peer_port: int
    is_self: bool
    leads: bool
    is_connected: bool
    offset: int


def nodes(server: Server, leader_id: int | None) -> list[Node]:
    """The members whose client address is known, the leader first."""
    own = server.replica.node.id
    host, port = host_and_port(server.client_address_of(own))
    peer_port = split_address(server.settings.peer.address)[1]
    applied = server.replica.applied
    found = [Node(node_id(server, own), host, port, peer_port, True, own == leader_id, True, applied)]
    for peer in peers(server):
        host, port = peer.client_host_and_port
        if host:
            identity, peer_port = node_id(server, peer.id), host_and_port(peer.peer_address)[1]
            leads = peer.id == leader_id
            offset = server.replica.node.log.commit if leads else peer.match or 0
            found.append(Node(identity, host, port, peer_port, False, leads, peer.is_connected, offset))
    return sorted(found, key=lambda node: not node.leads)


# Who has the slots


def slots(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    def answer(leader_id: int) -> Reply:
        known = [node for node in nodes(session.server, leader_id) if node.is_connected]
        owners: list[Reply] = [[node.host, node.port, node.id, {}] for node in known]
        return [[0, SLOTS - 1, *owners]]

    return when_led(session, answer)


def shards(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    def answer(leader_id: int) -> Reply:
        known = [_shard_node(node) for node in nodes(session.server, leader_id)]
        return [{b"slots": [0, SLOTS - 1], b"nodes": known}]

    return when_led(session, answer)


def _shard_node(node: Node) -> Reply:
    return {
        b"id": node.id,
        b"port": node.port,
        b"ip": node.host,
        b"endpoint": node.host,
        b"role": "master" if node.leads else "replica",
        b"replication-offset": node.offset,
        b"health": "online" if node.is_connected else "failed",
    }


# What is known now, with or without a leader


def nodes_text(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return Verbatim("".join(f"{line}\n" for line in _node_lines(session.server)).encode())


def replicas(session: Session, argv: list[bytes]) -> Reply:
    """The lines of the other members, when `argv` names the leader."""
    server = session.server
    known = {node.id: node for node in nodes(server, server.reachable_leader())}
    master = known.get(shown(argv[2]))
    if master is None:
        return Error(f"ERR Unknown node {shown(argv[2])}")
    if not master.leads:
        return NOT_A_MASTER
    return [line.encode() for line in _node_lines(server) if not line.startswith(master.id)]


def _node_lines(server: Server) -> Iterator[str]:
    leader_id = server.reachable_leader()
    leader = "-" if leader_id is None else node_id(server, leader_id)
    term = server.replica.node.term
    for node in nodes(server, leader_id):
        flags = ",".join(
            word
            for word, holds in (
                ("myself", node.is_self),
                ("master" if node.leads else "slave", True),
                ("fail", not node.is_connected),
            )
            if holds
        )
        line = f"{node.id} {node.host}:{node.port}@{node.peer_port} {flags} {'-' if node.leads else leader} 0 0 {term}"
        yield f"{line} {'connected' if node.is_connected else 'disconnected'}{f' 0-{SLOTS - 1}' if node.leads else ''}"


def info(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """Messages are not counted, and so not told. An epoch is a term."""
    server = session.server
    is_led = server.reachable_leader() is not None
    covered = SLOTS if is_led else 0
    fields = {
        "cluster_state": "ok" if is_led else "fail",
        "cluster_slots_assigned": covered,
        "cluster_slots_ok": covered,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": 1 + len(server.replica.node.peers),
        "cluster_size": int(is_led),
        "cluster_current_epoch": server.replica.node.term,
        "cluster_my_epoch": server.replica.node.term,
    }
    return Verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode())


def my_id(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return node_id(session.server, session.server.replica.node.id)


def key_slot(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return hash_slot(argv[2])


def refused(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    word = shown(argv[1]).upper()
    return Error(f"ERR CLUSTER {word} is not possible here: all slots go with the leader, and Raft says who that is")


# The connection's state


def readonly(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.readonly = is_cluster(session.server)
    return no_cluster(session) or OK


def readwrite(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.readonly = False
    return no_cluster(session) or OK


def asking(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """Slots never move one by one, so nobody is ever told to ask."""
    return no_cluster(session) or OK


def no_cluster(session: Session) -> Error | None:
    return None if is_cluster(session.server) else NO_CLUSTER


HELP: Final = (
    "COUNTKEYSINSLOT <slot>",
    "    Tells how many keys of database 0 are in a slot, as this member has them.",
    "GETKEYSINSLOT <slot> <count>",
    "    Tells keys of database 0 in a slot, as this member has them.",
    "INFO",
    "    Tells whether there is a leader, and how many members.",
    "KEYSLOT <key>",
    "    Tells the slot of a key.",
    "MYID",
    "    Tells this member's node id.",
    "NODES",
    "    Tells the members, one a line:",
    "    <id> <host:port@peer-port> <flags> <leader> 0 0 <term> <link> <slots>",
    "REPLICAS <node-id>",
    "    Tells the members that follow the leader of that id.",
    "SHARDS",
    "    Tells the leader, which has all slots, and the others.",
    "SLOTS",
    "    The same in another form.",
)
_TOLD: Final = {"flags": "stale", "acl": "slow", "group": "cluster"}
_RULED: Final = {"flags": "admin stale no_async_loading", "acl": "admin slow dangerous", "group": "cluster"}
_LISTED: Final = {"flags": "admin stale", "acl": "admin slow dangerous", "group": "cluster"}
_VARIES: Final = ("nondeterministic_output",)
_SLOT: Final = argument("slot", "integer")
_NODE: Final = argument("node-id", "string")
REFUSED: Final = {
    "addslots": -3,
    "addslotsrange": -4,
    "bumpepoch": 2,
    "count-failure-reports": 3,
    "delslots": -3,
    "delslotsrange": -4,
    "failover": -2,
    "flushslots": 2,
    "forget": 3,
    "links": 2,
    "meet": -4,
    "replicate": 3,
    "reset": -2,
    "saveconfig": 2,
    "set-config-epoch": 3,
    "setslot": -4,
}
"""Subcommands of Redis that give out slots and rule over nodes -> arity."""


def _sub(name: str, arity: int, handler: Handler, *, since: str = "3.0.0", **more: Any) -> Command:
    more = {"complexity": "O(N) where N is the number of members", **more}
    return local(f"cluster|{name}", arity, handler, since=since, **more)


_SUBCOMMANDS: tuple[Command, ...] = (
    _sub(
        "countkeysinslot",
        3,
        count_keys_in_slot,
        summary="Tells how many keys are in a slot",
        arguments=(_SLOT,),
        **_TOLD | {"complexity": "O(N) where N is the number of keys, spread over time"},
    ),
    _sub(
        "getkeysinslot",
        4,
        get_keys_in_slot,
        summary="Tells keys in a slot",
        tips=_VARIES,
        arguments=(_SLOT, argument("count", "integer")),
        **_TOLD | {"complexity": "O(N) where N is the number of keys, spread over time"},
    ),
    _sub("info", 2, info, summary="Tells whether there is a leader", tips=_VARIES, **_TOLD),
    _sub("keyslot", 3, key_slot, summary="Tells a key's slot", arguments=(argument("key", "string"),), **_TOLD),
    _sub("myid", 2, my_id, summary="Tells this member's node id", **_TOLD),
    _sub("nodes", 2, nodes_text, summary="Tells the members", tips=_VARIES, **_TOLD),
    _sub(
        "replicas",
        3,
        replicas,
        since="5.0.0",
        summary="Tells the members that follow",
        tips=_VARIES,
        arguments=(_NODE,),
        **_LISTED,
    ),
    _sub("shards", 2, shards, since="7.0.0", summary="Tells who has the slots", tips=_VARIES, **_TOLD),
    _sub(
        "slaves",
        3,
        replicas,
        summary="Tells the members that follow",
        tips=_VARIES,
        arguments=(_NODE,),
        deprecated_since="5.0.0",
        replaced_by="`CLUSTER REPLICAS`",
        doc_flags=("deprecated",),
        **_LISTED,
    ),
    _sub(
        "slots",
        2,
        slots,
        summary="Tells who has the slots",
        tips=_VARIES,
        deprecated_since="7.0.0",
        replaced_by="`CLUSTER SHARDS`",
        history=(("4.0.0", "Node ids"), ("7.0.0", "More about addresses")),
        doc_flags=("deprecated",),
        **_TOLD,
    ),
    *(_sub(name, arity, refused, summary="Refused here", **_RULED) for name, arity in REFUSED.items()),
)
_CONNECTION: Final = {"acl": "fast connection", "group": "cluster", "since": "3.0.0", "complexity": "O(1)"}
ROWS: tuple[Command, ...] = (
    container(
        "cluster",
        -2,
        HELP,
        _SUBCOMMANDS,
        guard=no_cluster,
        acl="slow",
        group="cluster",
        since="3.0.0",
        summary="The members as a Redis Cluster",
        complexity="Depends on the subcommand",
    ),
    local(
        "readonly",
        1,
        readonly,
        "loading stale fast",
        summary="Has this connection's reads served by a member that does not lead",
        **_CONNECTION,
    ),
    local("readwrite", 1, readwrite, "loading stale fast", summary="Ends READONLY", **_CONNECTION),
    local("asking", 1, asking, "fast", summary="Changes nothing: slots never move", **_CONNECTION),
)
