"""CLIENT: the connections of this member: who they are, their names, how they are answered. KILL is in kill.py.

Lines of LIST and INFO have Redis's fields. What does not exist here (such as tracking) shows as Redis shows it when it
is not in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, SetReply, Verbatim, shown
from raftkv.server.commands import kill
from raftkv.server.commands.kill import client_types
from raftkv.server.commands.login import NAME_REFUSED, is_printable_name
from raftkv.server.commands.rows import SYNTAX_ERROR, choice, container, local
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.session import Session


def client_id(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return session.id


def info(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return Verbatim(line(session))


def list_(session: Session, argv: list[bytes]) -> Reply:
    sessions = session.server.sessions
    chosen = list(sessions.values())
    if len(argv) == 4 and argv[2].lower() == b"type":
        refusal = kill.unknown_type(argv[3])
        if refusal is not None:
            return refusal
        chosen = [each for each in chosen if argv[3].lower() in client_types(each)]
    elif len(argv) > 3 and argv[2].lower() == b"id":
        ids = [parse_integer(text) for text in argv[3:]]
        if None in ids:
            return Error("ERR Invalid client ID")
        chosen = [sessions[number] for number in ids if number in sessions]
    elif len(argv) != 2:
        return SYNTAX_ERROR
    return Verbatim(b"".join(map(line, chosen)))


def line(session: Session) -> bytes:
    """A connection as CLIENT LIST shows it, line end included. Times are in seconds, sizes in bytes."""
    now_ms = session.server.now_ms()
    query_bytes = session.parser.buffered_bytes
    subscriptions, transaction = session.subscriptions, session.transaction
    fields = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.fd,
        "name": session.name.decode(),
        "age": (now_ms - session.connected_ms) // 1000,
        "idle": (now_ms - session.last_active_ms) // 1000,
        "flags": _flags(session),
        "db": session.db,
        "sub": len(subscriptions.channels) if subscriptions else 0,
        "psub": len(subscriptions.patterns) if subscriptions else 0,
        "ssub": 0,
        "multi": -1 if transaction is None else len(transaction.queue),
        "qbuf": query_bytes,
        "qbuf-free": 0,
        "argv-mem": 0,
        "multi-mem": 0 if transaction is None else transaction.size_bytes,
        "rbs": 0,
        "rbp": 0,
        "obl": session.out_bytes,
        "oll": 0,
        "omem": session.out_bytes,
        "tot-mem": query_bytes + session.out_bytes,
        "events": "rw" if session.out_bytes else "r",
        "cmd": shown(session.last_command).lower() or "NULL",
        "user": "default",
        "redir": -1,
        "resp": 3 if session.resp3 else 2,
        "lib-name": session.library_name.decode(),
        "lib-ver": session.library_version.decode(),
    }
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _flags(session: Session) -> str:
    marks = {
        "P": session.subscriptions is not None,
        "x": session.transaction is not None,
        "b": session in session.server.parked,
    }
    return "".join(mark for mark, is_so in marks.items() if is_so) or "N"


def get_name(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return session.name or None


def set_name(session: Session, argv: list[bytes]) -> Reply:
    if not is_printable_name(argv[2]):
        return NAME_REFUSED
    session.name = argv[2]
    return OK


def set_info(session: Session, argv: list[bytes]) -> Reply:
    attribute = argv[2].lower()
    if attribute not in (b"lib-name", b"lib-ver"):
        return Error(f"ERR Unrecognized option '{shown(argv[2])}'")
    if not is_printable_name(argv[3]):
        return Error(f"ERR {shown(argv[2])} cannot contain spaces, newlines or special characters.")
    if attribute == b"lib-name":
        session.library_name = argv[3]
    else:
        session.library_version = argv[3]
    return OK


def reply(session: Session, argv: list[bytes]) -> Reply | NoReply:
    """From the command after OFF until ON, or for the one after SKIP, nothing is answered."""
    mode = argv[2].lower()
    if mode == b"on":
        session.replies_off, session.reply_skip = False, 0
        return OK
    if mode == b"off":
        session.replies_off = True
    elif mode == b"skip":
        session.reply_skip = 0 if session.replies_off else 1
    else:
        return SYNTAX_ERROR
    return NO_REPLY


def on_or_off(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """NO-EVICT and NO-TOUCH: nothing is ever evicted here, so there is nothing to protect from."""
    return OK if argv[2].lower() in (b"on", b"off") else SYNTAX_ERROR


def tracking_info(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}


def get_redirection(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return -1


HELP: Final = (
    "GETNAME",
    "    Tells the connection's name.",
    "GETREDIR",
    "    Tells the client that tracking messages go to: none (-1).",
    "ID",
    "    Tells the connection's number.",
    "INFO",
    "    Describes the connection.",
    "KILL <ip:port>",
    "    Closes the connection from there.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Closes all connections that fit every option:",
    "    * ADDR <ip:port>, LADDR <ip:port>: the client's end; this member's end.",
    "    * ID <number>, TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <name>",
    "    * SKIPME (YES|NO): whether to spare the one who asks (default: yes).",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <number> ...]",
    "    Describes all connections of this member, or some.",
    "NO-EVICT (ON|OFF), NO-TOUCH (ON|OFF)",
    "    Accepted; nothing is evicted here.",
    "REPLY (ON|OFF|SKIP)",
    "    Answers everything, nothing, or everything but the next command.",
    "SETINFO (LIB-NAME|LIB-VER) <text>",
    "    Tells which client library this is.",
    "SETNAME <name>",
    "    Names the connection.",
    "TRACKINGINFO",
    "    Tells that tracking is off.",
)
_TYPES = choice("normal_master_replica_pubsub", "NORMAL", "MASTER", "REPLICA", "PUBSUB", token="TYPE")
_LIST_ARGUMENTS = (
    _TYPES | {"since": "5.0.0", "flags": OPTIONAL},
    argument(
        "id",
        "block",
        token="ID",
        since="6.2.0",
        flags=OPTIONAL,
        arguments=[argument("client-id", "integer", flags=MULTIPLE)],
    ),
)
_ENABLED = (choice("enabled", "ON", "OFF"),)
_PLAIN = {"flags": "noscript loading stale", "acl": "slow connection", "group": "connection", "complexity": "O(1)"}
_ADMIN = _PLAIN | {"flags": "admin noscript loading stale", "acl": "admin slow dangerous connection"}
_SUBCOMMANDS: tuple[Command, ...] = (
    local("client|getname", 2, get_name, since="2.6.9", summary="Tells the connection's name", **_PLAIN),
    local("client|getredir", 2, get_redirection, since="6.0.0", summary="Tells where tracking goes", **_PLAIN),
    local("client|id", 2, client_id, since="5.0.0", summary="Tells the connection's number", **_PLAIN),
    local(
        "client|info",
        2,
        info,
        since="6.2.0",
        summary="Describes the connection",
        tips=("nondeterministic_output",),
        **_PLAIN,
    ),
    kill.ROW,
    local(
        "client|list",
        -2,
        list_,
        since="2.4.0",
        summary="Describes the connections of this member",
        tips=("nondeterministic_output",),
        arguments=_LIST_ARGUMENTS,
        **_ADMIN | {"complexity": "O(N) where N is the number of connections"},
    ),
    local(
        "client|no-evict",
        3,
        on_or_off,
        since="7.0.0",
        summary="Accepted; nothing is evicted here",
        arguments=_ENABLED,
        **_ADMIN,
    ),
    local(
        "client|no-touch",
        3,
        on_or_off,
        since="7.2.0",
        summary="Accepted; nothing is evicted here",
        arguments=_ENABLED,
        **_PLAIN,
    ),
    local(
        "client|reply",
        3,
        reply,
        since="3.2.0",
        summary="Chooses what is answered: everything, nothing, or everything but the next command",
        arguments=(choice("on_off_skip", "ON", "OFF", "SKIP"),),
        **_PLAIN,
    ),
    local(
        "client|setinfo",
        4,
        set_info,
        since="7.2.0",
        summary="Tells which client library this is",
        arguments=(
            {
                "name": "attr",
                "type": "oneof",
                "arguments": [
                    argument("libname", "string", token="LIB-NAME"),
                    argument("libver", "string", token="LIB-VER"),
                ],
            },
        ),
        **_PLAIN,
    ),
    local(
        "client|setname",
        3,
        set_name,
        since="2.6.9",
        summary="Names the connection",
        arguments=(argument("connection-name", "string"),),
        **_PLAIN,
    ),
    local("client|trackinginfo", 2, tracking_info, since="6.2.0", summary="Tells that tracking is off", **_PLAIN),
)
ROWS: tuple[Command, ...] = (
    container(
        "client",
        -2,
        HELP,
        _SUBCOMMANDS,
        help_acl="slow connection",
        acl="slow",
        group="connection",
        since="2.4.0",
        summary="The connections of this member",
        complexity="Depends on the subcommand",
    ),
)
