"""SENTINEL: the cluster as clients of Redis Sentinel want to see it. Every member is a sentinel, on its client port.

There is one master, the leader, under the name `cluster.sentinel_name`; the other members are its replicas. What
Sentinel watches, votes on and carries out by itself is Raft's business here, so the subcommands that rule over it are
refused. A question for the master waits for one as long as a command does (`when_led`); then none is told, and a client
asks the next sentinel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import argument
from raftkv.machines.replies import Error, NullArray, Reply, Simple, shown
from raftkv.server.commands.rows import NOT_AN_INTEGER, Handler, container, local
from raftkv.server.commands.view import Peer, host_and_port, node_id, peers, when_led
from raftkv.server.no_reply import NoReply
from raftkv.settings import join_address

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

NO_SUCH_MASTER: Final = Error("ERR No such master with that name")
Fields = dict[str, object]


# The master


def get_master_address(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if not _is_name(session, argv[2]):
        return NullArray()

    def answer(leader_id: int) -> Reply:
        host, port = host_and_port(session.server.client_address_of(leader_id))
        return [host, str(port)]

    return when_led(session, answer, otherwise=NullArray())


def masters(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    return when_led(session, lambda leader_id: [_texts(_master(session.server, leader_id))], otherwise=[])


def master(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if not _is_name(session, argv[2]):
        return NO_SUCH_MASTER
    return when_led(session, lambda leader_id: _texts(_master(session.server, leader_id)))


def _master(server: Server, leader_id: int) -> Fields:
    settings = server.settings
    host, port = host_and_port(server.client_address_of(leader_id))
    silence_ms = next((peer.silence_ms for peer in peers(server) if peer.id == leader_id), 0)
    others = len(server.replica.node.peers)
    return {
        **_instance(server, settings.cluster.sentinel_name, leader_id, host, port, "master", silence_ms),
        **_role(server, "master", silence_ms),
        "config-epoch": server.replica.node.term,
        "num-slaves": others,
        "num-other-sentinels": others,
        "quorum": server.replica.node.quorum,
        "failover-timeout": settings.raft.election_timeout_ms_max,
        "parallel-syncs": others,
    }


# The others


def replicas(session: Session, argv: list[bytes]) -> Reply:
    if not _is_name(session, argv[2]):
        return NO_SUCH_MASTER
    server = session.server
    own, leader_id = server.replica.node.id, server.reachable_leader()
    found = [_texts(_replica(server, peer)) for peer in _known_peers(server) if peer.id != leader_id]
    return found if own == leader_id else [_texts(_own_replica(server)), *found]


def _replica(server: Server, peer: Peer) -> Fields:
    host, port = peer.client_host_and_port
    return _as_replica(server, peer.id, host, port, peer.silence_ms, peer.match or 0)


def _own_replica(server: Server) -> Fields:
    own = server.replica.node.id
    return _as_replica(server, own, *host_and_port(server.client_address_of(own)), 0, server.replica.applied)


def _as_replica(server: Server, member: int, host: str, port: int, silence_ms: int | None, offset: int) -> Fields:
    leader_id = server.reachable_leader()
    master_host, master_port = host_and_port(None if leader_id is None else server.client_address_of(leader_id))
    return {
        **_instance(server, join_address(host, port), member, host, port, "slave", silence_ms),
        **_role(server, "slave", silence_ms),
        "master-link-down-time": 0,
        "master-link-status": "err" if leader_id is None else "ok",
        "master-host": master_host,
        "master-port": master_port,
        "slave-priority": 100,
        "slave-repl-offset": offset,
        "replica-announced": 1,
    }


def sentinels(session: Session, argv: list[bytes]) -> Reply:
    if not _is_name(session, argv[2]):
        return NO_SUCH_MASTER
    return [_texts(_sentinel(session.server, peer)) for peer in _known_peers(session.server)]


def _sentinel(server: Server, peer: Peer) -> Fields:
    host, port = peer.client_host_and_port
    return {
        **_instance(server, node_id(server, peer.id), peer.id, host, port, "sentinel", peer.silence_ms),
        "last-hello-message": peer.silence_ms or 0,
        "voted-leader": "?",
        "voted-leader-epoch": 0,
    }


def _known_peers(server: Server) -> list[Peer]:
    """The other members whose client address is known."""
    return [peer for peer in peers(server) if peer.client_host_and_port[0]]


# What all of them have


def _instance(
    server: Server, name: str, member: int, host: str, port: int, kind: str, silence_ms: int | None
) -> Fields:
    """`silence_ms`: since it was heard; None: it is not connected. Members say something all the time, so that any word
    counts as the answer to a ping."""
    return {
        "name": name,
        "ip": host,
        "port": port,
        "runid": node_id(server, member),
        "flags": kind if silence_ms is not None else f"s_down,{kind},disconnected",
        "link-pending-commands": 0,
        "link-refcount": 1,
        "last-ping-sent": 0,
        "last-ok-ping-reply": silence_ms or 0,
        "last-ping-reply": silence_ms or 0,
        "down-after-milliseconds": server.settings.raft.election_timeout_ms_max,
    }


def _role(server: Server, role: str, silence_ms: int | None) -> Fields:
    return {
        "info-refresh": silence_ms or 0,
        "role-reported": role,
        "role-reported-time": server.now_ms() - server.watch.since_ms,
    }


def _texts(fields: Fields) -> Reply:
    """Sentinel tells numbers as texts."""
    return {name.encode(): str(value) for name, value in fields.items()}


def _is_name(session: Session, name: bytes) -> bool:
    return name == session.server.settings.cluster.sentinel_name.encode()


# The sentinels as such


def check_quorum(session: Session, argv: list[bytes]) -> Reply:
    if not _is_name(session, argv[2]):
        return NO_SUCH_MASTER
    usable = 1 + sum(peer.is_connected for peer in peers(session.server))
    if usable >= session.server.replica.node.quorum:
        return Simple(f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached")
    return Error(
        f"NOQUORUM {usable} usable Sentinels. Not enough available Sentinels to reach the majority"
        " and authorize a failover"
    )


def my_id(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return node_id(session.server, session.server.replica.node.id)


def is_master_down(session: Session, argv: list[bytes]) -> Reply:
    """Whether the last known leader has that address and cannot be reached. Nobody votes by this."""
    port = parse_integer(argv[3])
    if port is None or parse_integer(argv[4]) is None:
        return NOT_AN_INTEGER
    server = session.server
    is_last_known = join_address(shown(argv[2]), port) == server.watch.address
    return [int(is_last_known and server.reachable_leader() is None), "*", 0]


def refused(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    word = shown(argv[1]).upper()
    return Error(f"ERR SENTINEL {word} is not possible here: Raft watches the members, and elects the leader")


HELP: Final = (
    "CKQUORUM <master-name>",
    "    Tells whether this member reaches as many as make a quorum.",
    "GET-MASTER-ADDR-BY-NAME <master-name>",
    "    Tells the leader's host and port.",
    "IS-MASTER-DOWN-BY-ADDR <host> <port> <epoch> <runid>",
    "    Tells whether the leader had that address and cannot be reached.",
    "MASTER <master-name>",
    "    Tells about the leader.",
    "MASTERS",
    "    The same in a list: there is one.",
    "MYID",
    "    Tells this member's id.",
    "REPLICAS <master-name>",
    "    Tells about the members that do not lead.",
    "SENTINELS <master-name>",
    "    Tells about the other members, each of which can be asked like this one.",
)
REFUSED: Final = {
    "config": -3,
    "debug": -2,
    "failover": 3,
    "flushconfig": 2,
    "info-cache": -3,
    "monitor": 6,
    "pending-scripts": 2,
    "remove": 3,
    "reset": 3,
    "set": -5,
    "simulate-failure": -3,
}
"""Subcommands of Sentinel that rule over what Raft does -> arity."""

_MASTER_NAME: Final = (argument("master-name", "string"),)


def _sub(
    name: str, arity: int, handler: Handler, summary: str, since: str = "2.8.4", complexity: str = "O(1)"
) -> Command:
    return local(
        f"sentinel|{name}",
        arity,
        handler,
        "admin",
        acl="admin slow dangerous",
        group="sentinel",
        since=since,
        summary=summary,
        complexity=complexity,
        arguments=_MASTER_NAME if arity == 3 else (),
    )


_PER_MEMBER: Final = "O(N) where N is the number of members"
_SUBCOMMANDS: tuple[Command, ...] = (
    _sub("ckquorum", 3, check_quorum, "Tells whether a quorum is reached"),
    _sub("get-master-addr-by-name", 3, get_master_address, "Tells the leader's address"),
    _sub("is-master-down-by-addr", 6, is_master_down, "Tells whether that leader is lost"),
    _sub("master", 3, master, "Tells about the leader"),
    _sub("masters", 2, masters, "Tells about the leader"),
    _sub("myid", 2, my_id, "Tells this member's id", "6.2.0"),
    _sub("replicas", 3, replicas, "Tells about the members that do not lead", "5.0.0", _PER_MEMBER),
    _sub("sentinels", 3, sentinels, "Tells about the other members", "2.8.4", _PER_MEMBER),
    _sub("slaves", 3, replicas, "Tells about the members that do not lead", "2.8.0", _PER_MEMBER),
    *(_sub(name, arity, refused, "Refused here") for name, arity in REFUSED.items()),
)
ROWS: tuple[Command, ...] = (
    container(
        "sentinel",
        -2,
        HELP,
        _SUBCOMMANDS,
        flags="admin",
        acl="admin slow dangerous",
        group="sentinel",
        since="2.8.4",
        summary="The members as Redis Sentinel would tell about them",
        complexity="Depends on the subcommand",
    ),
)
