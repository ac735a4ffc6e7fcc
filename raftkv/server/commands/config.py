"""CONFIG: this member's settings, as they are now. SET reaches this member only, and lasts until it stops; except for
those of the machine (thresholds of encodings), which are replicated: they go through the log, and stay.

All values of one SET are read and checked before the first takes effect: either all of them do or none. Replicated ones
go first, since they may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from raftkv import config
from raftkv.errors import ConfigError
from raftkv.machines.interface import Command, Kind
from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.redis.rows import MULTIPLE, argument
from raftkv.machines.redis.thresholds import configure_command
from raftkv.machines.replies import OK, Encoded, Error, Reply, shown
from raftkv.server.asking import Asked
from raftkv.server.commands.config_names import NAMES, BadValue, Name
from raftkv.server.commands.login import set_authenticated
from raftkv.server.commands.rows import SYNTAX_ERROR, container, local
from raftkv.server.logs import set_level
from raftkv.server.no_reply import NoReply
from raftkv.server.refusals import MUST_NOT_WAIT
from raftkv.settings import Settings
from raftkv.wire.resp_encode import encode

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

NO_FILE: Final = Error("ERR The server is running without a config file")


def get(session: Session, argv: list[bytes]) -> Reply:
    names = _names(session.server)
    found: dict[str, tuple[bytes, Name]] = {}
    for pattern in argv[2:]:
        for asked, name in _matching(pattern, names):
            found.setdefault(name.name, (asked, name))
    return {asked: _present(session.server, name) for asked, name in found.values()}


def _names(server: Server) -> dict[str, Name]:
    """Without those of another machine."""
    replicated = server.replica.machine.settings()
    return {name: each for name, each in NAMES.items() if not each.replicated or each.replicated in replicated}


def _present(server: Server, name: Name) -> bytes:
    if name.replicated:
        return b"%d" % server.replica.machine.settings()[name.replicated]
    return name.show(server.settings).encode("utf-8", "surrogateescape")


def _matching(pattern: bytes, names: dict[str, Name]) -> list[tuple[bytes, Name]]:
    """The names that fit, each as it is to be shown: one that is spelled out, as the client spelled it."""
    if any(mark in pattern for mark in (b"*", b"?", b"[")):
        fits = glob_matcher(pattern.lower())
        return [(name.encode(), each) for name, each in names.items() if fits(name.encode())]
    known = names.get(_text(pattern).lower())
    return [(pattern, known)] if known is not None else []


def set_(session: Session, argv: list[bytes]) -> Reply | NoReply:
    if len(argv) % 2:
        return SYNTAX_ERROR
    chosen: dict[str, tuple[Name, str]] = {}
    names, settings = _names(session.server), session.server.settings
    for asked, value in zip(argv[2::2], argv[3::2], strict=True):
        name = names.get(_text(asked).lower())
        if name is None:
            return Error(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown(asked)}'")
        if name.name in chosen:
            return _failed(name, "duplicate parameter")
        if not name.is_changeable and (name.setting or name.show(settings) != _text(value)):
            return _failed(name, "can't set immutable config")
        chosen[name.name] = (name, _text(value))
    replicated: dict[str, int] = {}
    for name, text in chosen.values():
        try:
            if name.replicated:
                replicated[name.replicated] = int(name.read(text))
            elif name.setting:
                settings = config.changed(settings, name.setting, name.read(text))
        except BadValue as error:
            return _failed(name, str(error))
        except ConfigError as error:
            return _failed(name, error.reason)
    if replicated:
        return Configuring(session, replicated, settings).begin()
    take_effect(session.server, settings)
    return OK


class Configuring(Asked):
    """CONFIG SET of what is replicated; `settings` take effect after it."""

    def __init__(self, session: Session, replicated: dict[str, int], settings: Settings) -> None:
        super().__init__(session)
        self._argv = configure_command(replicated)
        self._settings = settings

    def begin(self) -> Reply | NoReply:
        return self.ask(Kind.WRITE, self._argv, sum(map(len, self._argv))) if self.session.may_wait else MUST_NOT_WAIT

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:  # noqa: ARG002
        self.on_encoded([encode(replies[start], self.resp3)])

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        [encoded] = replies
        if not encoded.startswith(b"-"):
            take_effect(self.session.server, self._settings)
        self.session.answer(Encoded(encoded), self.resp3)

    def argv(self) -> list[bytes]:
        return self._argv


def _failed(name: Name, reason: str) -> Error:
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{name.name}') - {reason}")


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def take_effect(server: Server, settings: Settings) -> None:
    """Let a running member follow `settings`, which differ from its present ones in changeable settings only."""
    server.settings = settings
    replica = server.replica
    replica.follow_settings(
        msgspec.structs.replace(
            replica.settings,
            forwards=settings.client.routing == "forward",
            reads_locally=settings.client.follower_reads == "local",
            proposals_inflight_max=settings.raft.proposals_inflight_max,
            no_leader_wait_ms=settings.raft.no_leader_wait_ms,
            request_timeout_ms=settings.raft.request_timeout_ms,
        )
    )
    server.look_at_memory()
    set_level(settings.log.level)
    if not settings.client.requirepass:
        for session in server.sessions.values():
            set_authenticated(session, True)


def reset_statistics(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    stats = session.server.stats
    for counter in vars(stats):
        setattr(stats, counter, 0)
    return OK


def rewrite(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    """Refused: a file is one of several sources, and changing it would not change what stands above it."""
    return NO_FILE


HELP: Final = (
    "GET <pattern> [<pattern> ...]",
    "    Tells the settings whose names fit.",
    "SET <name> <value> [<name> <value> ...]",
    "    Changes settings of this member until it stops; thresholds of encodings for the whole cluster.",
    "RESETSTAT",
    "    Sets INFO's counters to zero.",
    "REWRITE",
    "    Not possible here.",
)
_PLAIN = {"flags": "admin noscript loading stale", "acl": "admin slow dangerous", "group": "server"}
_PER_NAME = {**_PLAIN, "complexity": "O(N) where N is the number of settings"}
_PAIR = argument(
    "parameter_value",
    "block",
    flags=MULTIPLE,
    arguments=[argument("parameter", "string"), argument("value", "string")],
)
_SUBCOMMANDS: tuple[Command, ...] = (
    local(
        "config|get",
        -3,
        get,
        since="2.0.0",
        summary="Tells settings",
        history=(("7.0.0", "Several patterns"),),
        arguments=(argument("parameter", "block", flags=MULTIPLE, arguments=[argument("parameter", "string")]),),
        **_PER_NAME,
    ),
    local(
        "config|resetstat",
        2,
        reset_statistics,
        since="2.0.0",
        summary="Sets INFO's counters to zero",
        complexity="O(1)",
        **_PLAIN,
    ),
    local("config|rewrite", 2, rewrite, since="2.8.0", summary="Refused here", complexity="O(1)", **_PLAIN),
    local(
        "config|set",
        -4,
        set_,
        since="2.0.0",
        summary="Changes settings of this member",
        history=(("7.0.0", "Several settings at once"),),
        tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
        arguments=(_PAIR,),
        **_PER_NAME,
    ),
)
ROWS: tuple[Command, ...] = (
    container(
        "config",
        -2,
        HELP,
        _SUBCOMMANDS,
        acl="slow",
        group="server",
        since="2.0.0",
        summary="This member's settings",
        complexity="Depends on the subcommand",
    ),
)
