"""Finding keys: KEYS, SCAN, RANDOMKEY; and the walk over members for HSCAN, SSCAN and ZSCAN. How they keep SCAN's
promises stands in keyindex.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.redis.keyed import Keyed
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import ALL_SHARDS, OPTIONAL, argument, row
from raftkv.machines.redis.values import LISTED_MAX, type_name
from raftkv.machines.replies import Error, Reply, own

K = TypeVar("K", bound=Keyed[Any])

SCAN_COUNT: Final = 10
RANDOM_TRIES_MAX: Final = 100
"""Draws that may hit an overdue key before RANDOMKEY takes the first live one instead."""

_INVALID_CURSOR: Final = Error("ERR invalid cursor")
_CURSOR: Final = re.compile(rb"[+-]?\d+")
_CURSOR_DIGITS_MAX: Final = 4000
_CURSOR_MAX: Final = 2**64 - 1


def keys(db: Database, argv: list[bytes]) -> Reply:
    pattern = argv[1]
    if pattern == b"*" and len(db.values) > LISTED_MAX and (names := db.walk_names()) is not None:
        return names
    found = list(db.values) if pattern == b"*" else list(filter(glob_matcher(pattern), db.values))
    return [name for name in found if not db.is_due(name)] if db.overdue else own(found)


def scan(db: Database, argv: list[bytes]) -> Reply:
    cursor = _cursor(argv[1])
    options = _options(argv, 2)
    if not db.values:
        return [b"0", []]
    cursor, page = db.key_index().page(cursor, options.names_min)
    return [b"%d" % cursor, [name for name in page if options.admits(db, name)]]


def scan_members(db: Database, argv: list[bytes], kind: type[K]) -> tuple[bytes, K | None, list[bytes]]:
    """What ``HSCAN key cursor [MATCH pattern] [COUNT n]`` and its kin find: the next cursor, the collection, names of
    members in it."""
    cursor = _cursor(argv[2])
    collection = db.peek_as(argv[1], kind)
    if collection is None:
        return b"0", None, []
    options = _options(argv, 3)
    if options.type is not None:
        raise Refused(SYNTAX)
    cursor, page = collection.page(cursor, options.names_min)
    if options.pattern != b"*":
        page = list(filter(glob_matcher(options.pattern), page))
    return b"%d" % cursor, collection, page


class _Options(NamedTuple):
    names_min: int = SCAN_COUNT
    pattern: bytes = b"*"
    type: bytes | None = None

    def admits(self, db: Database, name: bytes) -> bool:
        value = db.peek(name)
        if value is None or (self.type is not None and type_name(value).encode() != self.type):
            return False
        return self.pattern == b"*" or glob_matcher(self.pattern)(name)


def _options(argv: list[bytes], start: int) -> _Options:
    options = _Options()
    rest = iter(argv[start:])
    for argument_ in rest:
        word, value = argument_.upper(), next(rest, None)
        if value is None:
            raise Refused(SYNTAX)
        if word == b"COUNT":
            options = options._replace(names_min=integer(value))
            if options.names_min < 1:
                raise Refused(SYNTAX)
        elif word == b"MATCH":
            options = options._replace(pattern=value)
        elif word == b"TYPE":
            options = options._replace(type=value.lower())
        else:
            raise Refused(SYNTAX)
    return options


def _cursor(text: bytes) -> int:
    """As strtoul reads it: a sign is allowed, nothing at all is 0, a negative number wraps around, a NUL ends it."""
    text = text.split(b"\0", 1)[0]
    if not text:
        return 0
    if not _CURSOR.fullmatch(text) or len(text) > _CURSOR_DIGITS_MAX:
        raise Refused(_INVALID_CURSOR)
    number = int(text)
    if abs(number) > _CURSOR_MAX:
        raise Refused(_INVALID_CURSOR)
    return number & _CURSOR_MAX


def randomkey(db: Database, argv: list[bytes]) -> Reply:  # noqa: ARG001
    if not db.values:
        return None
    index, chances = db.key_index(), _chances(db)
    for _ in range(RANDOM_TRIES_MAX):
        name = index.choose(chances)
        if db.peek(name) is not None:
            return name
    return next((name for name in db.values if db.peek(name) is not None), None)


def _chances(db: Database) -> Iterator[int]:
    while True:
        yield db.space.chance()


_KEYSPACE: Final[dict[str, Any]] = {"acl": "keyspace", "group": "generic"}

ROWS: Final = (
    row(
        "keys",
        2,
        keys,
        "readonly",
        acl="keyspace dangerous",
        group="generic",
        since="1.0.0",
        summary="Lists the keys that match a pattern",
        complexity="O(N), N being the number of keys in the database",
        arguments=(argument("pattern", "pattern"),),
        tips=(ALL_SHARDS, "nondeterministic_output_order"),
    ),
    row(
        "scan",
        -2,
        scan,
        "readonly",
        since="2.8.0",
        summary="Walks over the keys in steps",
        complexity="O(COUNT) for one call; the first call on a database orders its N keys in O(N)",
        arguments=(
            argument("cursor", "integer"),
            argument("pattern", "pattern", token="MATCH", flags=OPTIONAL),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
            argument("type", "string", token="TYPE", since="6.0.0", flags=OPTIONAL),
        ),
        history=(("6.0.0", "Option TYPE"),),
        tips=("nondeterministic_output", "request_policy:special"),
        **_KEYSPACE,
    ),
    row(
        "randomkey",
        1,
        randomkey,
        "readonly",
        since="1.0.0",
        summary="Answers one key, each equally likely",
        complexity="O(1); the first call on a database orders its N keys in O(N)",
        tips=(ALL_SHARDS, "nondeterministic_output"),
        **_KEYSPACE,
    ),
)
