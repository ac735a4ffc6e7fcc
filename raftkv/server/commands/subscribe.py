"""SUBSCRIBE and its kin, for the one thing that is published here: the events that Sentinel tells (`server/watch.py`).

Clients that know Sentinel subscribe to several of its events; +switch-master is the one that comes. Whatever else
somebody wants to subscribe to is refused, instead of staying silent for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument
from raftkv.machines.replies import Error, Push, Reply
from raftkv.server.commands.rows import local
from raftkv.server.no_reply import NO_REPLY, NoReply
from raftkv.server.watch import Subscriptions

if TYPE_CHECKING:
    from raftkv.server.session import Session

_EVENT_NAMES: Final = (
    b"dup-sentinel elected-leader failover-detected failover-end failover-end-for-timeout failover-state-reconf-slaves "
    b"failover-state-select-slave failover-state-send-slaveof-noone new-epoch no-good-slave odown reset-master sdown "
    b"selected-slave sentinel slave slave-reconf-done slave-reconf-inprog slave-reconf-sent switch-master tilt "
    b"try-failover"
)
_EVENTS: Final = [sign + name for sign in (b"", b"+", b"-") for name in _EVENT_NAMES.split()]
"""Also without their sign, as Sentinel's manual calls some of them: node-redis would otherwise be refused, try again
a second later, and not listen at all."""

NOT_AN_EVENT: Final = Error(
    "ERR only the events of SENTINEL, such as +switch-master, can be subscribed to: there is no publish/subscribe yet"
)


def subscribe(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if not all(name.startswith((b"+", b"-")) or name in _EVENTS for name in argv[1:]):
        return NOT_AN_EVENT
    return _add(session, argv, is_pattern=False)


def psubscribe(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if not all(name.startswith((b"+", b"-")) or any(map(glob_matcher(name), _EVENTS)) for name in argv[1:]):
        return NOT_AN_EVENT
    return _add(session, argv, is_pattern=True)


def _add(session: Session, argv: list[bytes], *, is_pattern: bool) -> NoReply:
    mine = session.subscriptions = session.subscriptions or Subscriptions()
    session.server.watch.look()
    session.server.watch.subscribers[session.id] = session
    names = mine.patterns if is_pattern else mine.channels
    for name in argv[1:]:
        names[name] = None
        session.push(Push([argv[0].lower(), name, len(mine)]))
    return NO_REPLY


def unsubscribe(session: Session, argv: list[bytes]) -> Reply | NoReply:
    return _remove(session, argv, is_pattern=False)


def punsubscribe(session: Session, argv: list[bytes]) -> Reply | NoReply:
    return _remove(session, argv, is_pattern=True)


def _remove(session: Session, argv: list[bytes], *, is_pattern: bool) -> NoReply:
    """Without names: all of them; and one answer in any case."""
    mine = session.subscriptions or Subscriptions()
    names = mine.patterns if is_pattern else mine.channels
    had_any = bool(names)
    for name in argv[1:] or list(names):
        names.pop(name, None)
        session.push(Push([argv[0].lower(), name, len(mine)]))
    if len(argv) == 1 and not had_any:
        session.push(Push([argv[0].lower(), None, len(mine)]))
    if not mine:
        end(session)
    return NO_REPLY


def end(session: Session) -> None:
    """Drop all subscriptions without a word."""
    session.subscriptions = None
    session.server.watch.subscribers.pop(session.id, None)


_PLAIN: Final = {"flags": "pubsub noscript loading stale", "acl": "pubsub slow", "group": "pubsub", "since": "2.0.0"}
_COST: Final = {"complexity": "O(N) where N is the number of names"}
_PATTERNS: Final = argument("pattern", "block", flags=MULTIPLE, arguments=[argument("pattern", "pattern")])
ROWS: tuple[Command, ...] = (
    local(
        "subscribe",
        -2,
        subscribe,
        summary="Has events of SENTINEL told to this connection",
        arguments=(argument("channel", "string", flags=MULTIPLE),),
        **_PLAIN | _COST,
    ),
    local(
        "unsubscribe",
        -1,
        unsubscribe,
        summary="Ends SUBSCRIBE",
        arguments=(argument("channel", "string", flags=[*OPTIONAL, *MULTIPLE]),),
        **_PLAIN | _COST,
    ),
    local(
        "psubscribe",
        -2,
        psubscribe,
        summary="Has events of SENTINEL whose names fit told to this connection",
        arguments=(_PATTERNS,),
        **_PLAIN | _COST,
    ),
    local(
        "punsubscribe",
        -1,
        punsubscribe,
        summary="Ends PSUBSCRIBE",
        arguments=(argument("pattern", "pattern", flags=[*OPTIONAL, *MULTIPLE]),),
        **_PLAIN | _COST,
    ),
)
