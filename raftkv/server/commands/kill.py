"""CLIENT KILL: the old form names one client's address, the new one has filters that must all fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, shown
from raftkv.server.commands.login import DEFAULT_USER
from raftkv.server.commands.rows import SYNTAX_ERROR, local

if TYPE_CHECKING:
    from raftkv.server.session import Session

CLIENT_TYPES: Final = frozenset({b"normal", b"master", b"slave", b"replica", b"pubsub"})

Filter = Callable[["Session"], bool]


def client_types(session: Session) -> frozenset[bytes]:
    """The names of the client's type. Members do not come through the client port."""
    return frozenset({b"pubsub" if session.subscriptions else b"normal"})


def unknown_type(name: bytes) -> Error | None:
    return None if name.lower() in CLIENT_TYPES else Error(f"ERR Unknown client type '{shown(name)}'")


def kill(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 3:
        address = argv[2].decode("utf-8", "surrogateescape")
        victims = [each for each in session.server.sessions.values() if each.address == address]
        _close(session, victims)
        return OK if victims else Error("ERR No such client")
    filters: list[Filter] = []
    spares_me = True
    for position in range(2, len(argv), 2):
        if position + 1 == len(argv):
            return SYNTAX_ERROR
        option, value = argv[position].lower(), argv[position + 1]
        if option == b"skipme" and value.lower() in (b"yes", b"no"):
            spares_me = value.lower() == b"yes"
            continue
        made = _filter(option, value)
        if isinstance(made, Error):
            return made
        filters.append(made)
    sessions = session.server.sessions.values()
    victims = [each for each in sessions if all(fits(each) for fits in filters)]
    if spares_me:
        victims = [each for each in victims if each is not session]
    _close(session, victims)
    return len(victims)


def _filter(option: bytes, value: bytes) -> Filter | Error:
    text = value.decode("utf-8", "surrogateescape")
    if option == b"id":
        number = parse_integer(value)
        if number is None or number < 1:
            return Error("ERR client-id should be greater than 0")
        return lambda session: session.id == number
    if option == b"type":
        return unknown_type(value) or (lambda session: value.lower() in client_types(session))
    if option == b"addr":
        return lambda session: session.address == text
    if option == b"laddr":
        return lambda session: session.local_address == text
    if option == b"user":
        # Whoever has not logged in yet has no user.
        return _is_authenticated if value == DEFAULT_USER else Error(f"ERR No such user '{shown(value)}'")
    return SYNTAX_ERROR


def _is_authenticated(session: Session) -> bool:
    return session.authenticated


def _close(session: Session, victims: list[Session]) -> None:
    for victim in victims:
        if victim is session:
            session.close_when_sent = True  # it still gets the answer to its own wish
        else:
            victim.close("killed by another client")


_TYPE = {
    "name": "normal_master_slave_pubsub",
    "type": "oneof",
    "token": "TYPE",
    "since": "2.8.12",
    "flags": OPTIONAL,
    "arguments": [
        argument("normal", "pure-token", token="NORMAL"),
        argument("master", "pure-token", token="MASTER", since="3.2.0"),
        argument("slave", "pure-token", token="SLAVE"),
        argument("replica", "pure-token", token="REPLICA", since="5.0.0"),
        argument("pubsub", "pure-token", token="PUBSUB"),
    ],
}
_FILTERS = {
    "name": "new-format",
    "type": "oneof",
    "flags": MULTIPLE,
    "arguments": [
        argument("client-id", "integer", token="ID", since="2.8.12", flags=OPTIONAL),
        _TYPE,
        argument("username", "string", token="USER", flags=OPTIONAL),
        argument("ip:port", "string", token="ADDR", flags=OPTIONAL),
        argument("ip:port", "string", token="LADDR", since="6.2.0", flags=OPTIONAL),
        argument("yes/no", "string", token="SKIPME", flags=OPTIONAL),
    ],
}
_OLD_FORM = {"name": "ip:port", "type": "string", "deprecated_since": "2.8.12"}
ROW: Final[Command] = local(
    "client|kill",
    -3,
    kill,
    "admin noscript loading stale",
    acl="admin slow dangerous connection",
    since="2.4.0",
    group="connection",
    summary="Closes connections",
    complexity="O(N) where N is the number of connections",
    history=(
        ("2.8.12", "Filters"),
        ("3.2.0", "Type master"),
        ("5.0.0", "Type replica"),
        ("6.2.0", "Filter LADDR"),
    ),
    arguments=({"name": "filter", "type": "oneof", "arguments": [_OLD_FORM, _FILTERS]},),
)
