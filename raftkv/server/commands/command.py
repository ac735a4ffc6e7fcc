"""COMMAND: the command table as clients ask for it. The replies are made from the rows in table_replies.py.

The table is the machine's commands and the connection's own together (`Server.commands`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from raftkv.machines.interface import Command
from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument
from raftkv.machines.replies import Error, Reply
from raftkv.server.commands.rows import SYNTAX_ERROR, container, local
from raftkv.server.commands.table_keys import keys_of
from raftkv.server.commands.table_replies import command_docs, command_info, words

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

NO_SUCH_COMMAND: Final = Error("ERR Invalid command specified")
NO_KEYS: Final = Error("ERR The command has no key arguments")
WRONG_COUNT: Final = Error("ERR Invalid number of arguments specified for command")
UNCLEAR_KEYS: Final = Error("ERR Invalid arguments specified for command")


def rows_of(server: Server) -> list[Command]:
    """Each row of the table once, however many spellings it is found by."""
    return list({row.name: row for row in server.commands.values()}.values())


def find(server: Server, argv: list[bytes]) -> Command | None:
    """The row that [name] or [container, subcommand, ...] means; further words are arguments."""
    row = server.lookup(argv[0])
    if row is None or not row.subcommands or len(argv) == 1:
        return row
    return row.subcommand(argv[1])


def find_full_name(server: Server, name: bytes) -> Command | None:
    """The row of a name such as `get` or `client|kill`."""
    parts = name.split(b"|")
    if len(parts) > 2:
        return None
    row = find(server, parts)
    return None if row is not None and len(parts) == 2 and not _is_subcommand(row) else row


def _is_subcommand(row: Command) -> bool:
    return "|" in row.name


def everything(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return [command_info(row) for row in rows_of(session.server)]


def count(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return len(rows_of(session.server))


def info(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        return everything(session, argv)
    rows = (find_full_name(session.server, name) for name in argv[2:])
    return [None if row is None else command_info(row) for row in rows]


def docs(session: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        rows = rows_of(session.server)
    else:
        found = (find_full_name(session.server, name) for name in argv[2:])
        rows = [row for row in found if row is not None]
    return {row.name.encode(): command_docs(row) for row in rows}


def list_(session: Session, argv: list[bytes]) -> Reply:
    fits: Callable[[Command], bool] | None = None
    if len(argv) == 5 and argv[2].lower() == b"filterby":
        fits = _filter(argv[3].lower(), argv[4])
    elif len(argv) == 2:
        fits = _any
    if fits is None:
        return SYNTAX_ERROR
    return [row.name.encode() for row in _with_subcommands(rows_of(session.server)) if fits(row)]


def _filter(kind: bytes, value: bytes) -> Callable[[Command], bool] | None:
    if kind == b"module":
        return lambda row: False  # noqa: ARG005 (there are no modules)
    if kind == b"aclcat":
        category = "@" + value.decode("utf-8", "replace").lower()
        return lambda row: category in row.categories
    if kind == b"pattern":
        matches = glob_matcher(value.lower())
        return lambda row: matches(row.name.encode())
    return None


def _any(row: Command) -> bool:  # noqa: ARG001
    return True


def _with_subcommands(rows: list[Command]) -> Iterator[Command]:
    for row in rows:
        yield row
        yield from row.subcommands


def get_keys(session: Session, argv: list[bytes]) -> Reply:
    found = _find_keys(session, argv[2:])
    return found if isinstance(found, Error) else [key for key, _ in found]


def get_keys_and_flags(session: Session, argv: list[bytes]) -> Reply:
    found = _find_keys(session, argv[2:])
    if isinstance(found, Error):
        return found
    return [[key, words(flags)] for key, flags in found]


def _find_keys(session: Session, argv: list[bytes]) -> list[tuple[bytes, list[str]]] | Error:
    row = find(session.server, argv)
    if row is None:
        return NO_SUCH_COMMAND
    if not row.key_specs and not row.keys[0]:
        return NO_KEYS
    if not row.takes(len(argv)):
        return WRONG_COUNT
    keys = keys_of(row, argv)
    return UNCLEAR_KEYS if keys is None else keys


HELP: Final = (
    "(no subcommand)",
    "    Tells all commands: arity, flags, key positions, categories.",
    "COUNT",
    "    Tells how many commands there are.",
    "DOCS [<name> ...]",
    "    Documents these commands, or all.",
    "GETKEYS <command> <argument> ...",
    "    Tells which of the arguments are keys.",
    "GETKEYSANDFLAGS <command> <argument> ...",
    "    Also tells what is done with each key.",
    "INFO [<name> ...]",
    "    Tells these commands as the bare COMMAND does.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Tells the names of all commands, or of some.",
)
_FILTER_ARGUMENT = {
    "name": "filterby",
    "type": "oneof",
    "token": "FILTERBY",
    "flags": OPTIONAL,
    "arguments": [
        argument("module-name", "string", token="MODULE"),
        argument("category", "string", token="ACLCAT"),
        argument("pattern", "pattern", token="PATTERN"),
    ],
}
_NAMES = (argument("command-name", "string", flags=[*OPTIONAL, *MULTIPLE]),)
_UNORDERED = ("nondeterministic_output_order",)
_PLAIN = {"flags": "loading stale", "acl": "slow connection", "group": "server"}
_PER_COMMAND: dict[str, Any] = {**_PLAIN, "complexity": "O(N) where N is the number of commands asked for"}
_PER_ARGUMENT = {**_PLAIN, "complexity": "O(N) where N is the number of arguments"}
_SUBCOMMANDS: tuple[Command, ...] = (
    local("command|count", 2, count, since="2.8.13", summary="Counts the commands", complexity="O(1)", **_PLAIN),
    local(
        "command|docs",
        -2,
        docs,
        since="7.0.0",
        summary="Documents commands",
        tips=_UNORDERED,
        arguments=_NAMES,
        **_PER_COMMAND,
    ),
    local("command|getkeys", -4, get_keys, since="2.8.13", summary="Finds the keys of a command", **_PER_ARGUMENT),
    local(
        "command|getkeysandflags",
        -4,
        get_keys_and_flags,
        since="7.0.0",
        summary="Finds the keys of a command and what is done with them",
        **_PER_ARGUMENT,
    ),
    local(
        "command|info",
        -2,
        info,
        since="2.8.13",
        summary="Tells arity, flags, key positions and categories of commands",
        history=(("7.0.0", "Without a name: all commands"),),
        tips=_UNORDERED,
        arguments=_NAMES,
        **_PER_COMMAND,
    ),
    local(
        "command|list",
        -2,
        list_,
        since="7.0.0",
        summary="Tells the names of commands",
        tips=_UNORDERED,
        arguments=(_FILTER_ARGUMENT,),
        **_PER_COMMAND,
    ),
)
ROWS: tuple[Command, ...] = (
    container(
        "command",
        -1,
        HELP,
        _SUBCOMMANDS,
        otherwise=everything,
        help_acl="slow connection",
        since="2.8.13",
        summary="The command table",
        tips=_UNORDERED,
        **_PER_COMMAND,
    ),
)
