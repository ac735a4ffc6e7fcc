"""Who the client is and which protocol it speaks: AUTH, HELLO, RESET."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.replies import OK, Error, Reply, Simple
from raftkv.raft.roles import Role
from raftkv.server.commands.rows import SYNTAX_ERROR, integer, local

if TYPE_CHECKING:
    from raftkv.server.session import Session

REDIS_VERSION: Final = "7.0.15"
"""The version whose behaviour is the model; client libraries choose their features by it."""

DEFAULT_USER: Final = b"default"
WRONG_PASSWORD: Final = Error("WRONGPASS invalid username-password pair or user is disabled.")
NO_PASSWORD_SET: Final = Error(
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)
NAME_REFUSED: Final = Error("ERR Client names cannot contain spaces, newlines or special characters.")


def log_in(session: Session, user: bytes, password: bytes) -> bool:
    """Whether that was right; the session is authenticated then. Without a password set, any password is right."""
    wanted = session.server.settings.client.requirepass.encode("utf-8", "surrogateescape")
    # Both are compared always, in constant time: a refusal tells nothing about how near the guess was.
    user_right = hmac.compare_digest(user, DEFAULT_USER)
    password_right = not wanted or hmac.compare_digest(password, wanted)
    if user_right and password_right:
        set_authenticated(session, True)
        return True
    return False


def set_authenticated(session: Session, authenticated: bool) -> None:
    session.authenticated = authenticated
    session.parser.authenticated = authenticated


def is_printable_name(text: bytes) -> bool:
    """Whether `text` can stand in a line of CLIENT LIST: visible ASCII without spaces."""
    return all(33 <= byte <= 126 for byte in text)


def auth(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        return SYNTAX_ERROR
    if len(argv) == 2:
        if not session.server.settings.client.requirepass:
            return NO_PASSWORD_SET
        user, password = DEFAULT_USER, argv[1]
    else:
        user, password = argv[1], argv[2]
    return OK if log_in(session, user, password) else WRONG_PASSWORD


def hello(session: Session, argv: list[bytes]) -> Reply:
    version = None
    if len(argv) > 1:
        version = integer(argv[1])
        if version is None:
            return Error("ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            return Error("NOPROTO unsupported protocol version")
    credentials, name = None, None
    position = 2
    while position < len(argv):
        more = len(argv) - 1 - position
        option = argv[position].lower()
        if option == b"auth" and more >= 2:
            credentials = (argv[position + 1], argv[position + 2])
            position += 3
        elif option == b"setname" and more >= 1:
            name = argv[position + 1]
            if not is_printable_name(name):
                return NAME_REFUSED
            position += 2
        else:
            shown = argv[position].decode("utf-8", "surrogateescape")
            return Error(f"ERR Syntax error in HELLO option '{shown}'")
    if credentials is not None and not log_in(session, *credentials):
        return WRONG_PASSWORD
    if not session.authenticated:
        return Error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto>"
            " AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version"
            " at the same time"
        )
    if name is not None:
        session.name = name
    if version is not None:
        session.resp3 = version == 3
    return greeting(session)


def greeting(session: Session) -> Reply:
    leads = session.server.replica.node.role is Role.LEADER
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": 3 if session.resp3 else 2,
        b"id": session.id,
        b"mode": b"standalone",
        b"role": b"master" if leads else b"replica",
        b"modules": [],
    }


def reset(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.db = 0
    session.resp3 = False
    session.name = b""
    session.replies_off = False
    session.reply_skip = 0
    if session.server.settings.client.requirepass:
        set_authenticated(session, False)
    return Simple("RESET")


ROWS: tuple[Command, ...] = (
    local(
        "auth",
        -2,
        auth,
        "noscript loading stale fast no_auth allow_busy",
        acl="fast connection",
        group="connection",
        summary="Logs the connection in.",
    ),
    local(
        "hello",
        -1,
        hello,
        "noscript loading stale fast no_auth allow_busy",
        acl="fast connection",
        group="connection",
        since="6.0.0",
        summary="Chooses the protocol version, logs in and names the connection; tells about the server.",
    ),
    local(
        "reset",
        1,
        reset,
        "noscript loading stale fast no_auth allow_busy",
        acl="fast connection",
        group="connection",
        since="6.2.0",
        summary="Brings the connection back to the state of a new one.",
    ),
)
