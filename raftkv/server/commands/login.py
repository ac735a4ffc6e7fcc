"""Who the client is and which protocol it speaks: AUTH, HELLO, RESET.

There is one user, `default`, and one password, `client.requirepass`. The options of HELLO take effect one by one, as
in Redis: a later option that is wrong does not undo a login.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.rows import OPTIONAL, argument
from raftkv.machines.replies import OK, Error, Reply, Simple, shown
from raftkv.raft.roles import Role
from raftkv.server.commands.rows import REDIS_VERSION, SYNTAX_ERROR, local
from raftkv.server.commands.subscribe import end as end_subscriptions
from raftkv.server.commands.view import mode

if TYPE_CHECKING:
    from raftkv.server.session import Session

DEFAULT_USER: Final = b"default"
WRONG_PASSWORD: Final = Error("WRONGPASS invalid username-password pair or user is disabled.")
NO_PASSWORD_SET: Final = Error(
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)
NAME_REFUSED: Final = Error("ERR Client names cannot contain spaces, newlines or special characters.")
HELLO_NEEDS_AUTH: Final = Error(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass>"
    " option can be used to authenticate the client and select the RESP protocol version at the same time"
)


def log_in(session: Session, user: bytes, password: bytes) -> bool:
    """Whether that was right; the session is authenticated then. Without a password set, any password is right."""
    wanted = session.server.settings.client.requirepass.encode("utf-8", "surrogateescape")
    # Both are compared always, in constant time: a refusal tells nothing about how near the guess was.
    user_is_right = hmac.compare_digest(user, DEFAULT_USER)
    password_is_right = hmac.compare_digest(password, wanted) or not wanted
    if user_is_right and password_is_right:
        set_authenticated(session, True)
        return True
    return False


def set_authenticated(session: Session, authenticated: bool) -> None:
    session.authenticated = authenticated
    # The parser has limits of its own for strangers.
    session.parser.authenticated = authenticated


def is_printable_name(text: bytes) -> bool:
    """Whether `text` can stand in a line of CLIENT LIST: visible ASCII without spaces."""
    return all(33 <= byte <= 126 for byte in text)


def auth(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        return SYNTAX_ERROR
    if len(argv) == 2 and not session.server.settings.client.requirepass:
        return NO_PASSWORD_SET
    user, password = argv[1:] if len(argv) == 3 else (DEFAULT_USER, argv[1])
    return OK if log_in(session, user, password) else WRONG_PASSWORD


def hello(session: Session, argv: list[bytes]) -> Reply:
    version = parse_integer(argv[1]) if len(argv) > 1 else None
    if len(argv) > 1 and version is None:
        return Error("ERR Protocol version is not an integer or out of range")
    if version not in (None, 2, 3):
        return Error("NOPROTO unsupported protocol version")
    refusal = _take_options(session, argv)
    if refusal is not None:
        return refusal
    if not session.authenticated:
        return HELLO_NEEDS_AUTH
    if version is not None:
        session.resp3 = version == 3
    return _greeting(session)


def _take_options(session: Session, argv: list[bytes]) -> Error | None:
    position = 2
    while position < len(argv):
        option = argv[position].lower()
        values = len(argv) - 1 - position
        if option == b"auth" and values >= 2:
            if not log_in(session, argv[position + 1], argv[position + 2]):
                return WRONG_PASSWORD
            position += 3
        elif option == b"setname" and values >= 1:
            if not is_printable_name(argv[position + 1]):
                return NAME_REFUSED
            session.name = argv[position + 1]
            position += 2
        else:
            return Error(f"ERR Syntax error in HELLO option '{shown(argv[position])}'")
    return None


def _greeting(session: Session) -> Reply:
    leads = session.server.replica.node.role is Role.LEADER
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": 3 if session.resp3 else 2,
        b"id": session.id,
        b"mode": mode(session.server).encode(),
        b"role": b"master" if leads else b"replica",
        b"modules": [],
    }


def reset(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    session.db = 0
    session.resp3 = False
    session.readonly = False
    end_subscriptions(session)
    session.end_transaction()
    session.name = b""
    session.replies_off = False
    session.reply_skip = 0
    if session.server.settings.client.requirepass:
        set_authenticated(session, False)
    return Simple("RESET")


_HELLO_ARGUMENTS = argument(
    "arguments",
    "block",
    flags=OPTIONAL,
    arguments=[
        argument("protover", "integer"),
        argument(
            "username_password",
            "block",
            token="AUTH",
            flags=OPTIONAL,
            arguments=[argument("username", "string"), argument("password", "string")],
        ),
        argument("clientname", "string", token="SETNAME", flags=OPTIONAL),
    ],
)
_LOGIN = {
    "flags": "noscript loading stale fast no_auth allow_busy",
    "acl": "fast connection",
    "group": "connection",
    "complexity": "O(1)",
}
ROWS: tuple[Command, ...] = (
    local(
        "auth",
        -2,
        auth,
        summary="Logs the connection in",
        history=(("6.0.0", "A user name may be given"),),
        arguments=(
            argument("username", "string", since="6.0.0", flags=OPTIONAL),
            argument("password", "string"),
        ),
        **_LOGIN,
    ),
    local(
        "hello",
        -1,
        hello,
        since="6.0.0",
        summary="Chooses the protocol version, logs in and names the connection; tells about the server",
        history=(("6.2.0", "The version may be left out"),),
        arguments=(_HELLO_ARGUMENTS,),
        **_LOGIN,
    ),
    local(
        "reset",
        1,
        reset,
        since="6.2.0",
        summary="Brings the connection back to the state of a new one",
        **_LOGIN,
    ),
)
