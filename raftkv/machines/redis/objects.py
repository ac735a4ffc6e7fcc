"""OBJECT and MEMORY: how a value is stored here, and how much memory that takes.

A string's encoding follows from its content alone; that of a collection is a part of its state (values.py). Reads
change nothing here, so neither access times nor frequencies are kept.
"""

from __future__ import annotations

from typing import Any, Final

from raftkv.machines.numbers import parse_integer
from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.containers import container
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.overlay import Overlay
from raftkv.machines.redis.refusals import SYNTAX, Refused
from raftkv.machines.redis.rows import KEY, OPTIONAL, argument, key, key_spec, row
from raftkv.machines.redis.sizes import block_bytes, slot_bytes
from raftkv.machines.redis.values import Value
from raftkv.machines.replies import Error, Reply

EMBEDDED_BYTES_MAX: Final = 44
"""Longer strings are "raw" in Redis: they have a piece of memory of their own."""

SHARED_BELOW: Final = 10_000
SHARED_REFERENCES: Final = 2**31 - 1
"""What Redis answers for the integers that it shares among all keys."""

SAMPLES_DEFAULT: Final = 5
NOT_TRACKED: Final = Error(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    "between policies at runtime LRU and LFU data will take some time to adjust."
)


def encoding_of(value: Value) -> str:
    """As OBJECT ENCODING answers it."""
    if not isinstance(value, bytes):
        return value.encoding
    if parse_integer(value) is not None:
        return "int"
    return "embstr" if len(value) <= EMBEDDED_BYTES_MAX else "raw"


def encoding(db: Database, argv: list[bytes]) -> Reply:
    value = db.peek(argv[2])
    return None if value is None else encoding_of(value).encode()


def refcount(db: Database, argv: list[bytes]) -> Reply:
    value = db.peek(argv[2])
    if value is None:
        return None
    number = parse_integer(value) if isinstance(value, bytes) else None
    return SHARED_REFERENCES if number is not None and 0 <= number < SHARED_BELOW else 1


def idletime(db: Database, argv: list[bytes]) -> Reply:
    return None if db.peek(argv[2]) is None else 0


def freq(db: Database, argv: list[bytes]) -> Reply:
    return None if db.peek(argv[2]) is None else NOT_TRACKED


def usage(db: Database, argv: list[bytes]) -> Reply:
    samples = _samples(argv[3:])
    name = argv[2]
    value = db.peek(name)
    if value is None:
        return None
    size = block_bytes(value) if isinstance(value, bytes) else value.size_bytes(samples)
    size += block_bytes(name) + slot_bytes(db.values.base if isinstance(db.values, Overlay) else db.values)
    if name in db.expires:
        size += slot_bytes(db.expires) + _DEADLINE_BYTES
    return size


_DEADLINE_BYTES: Final = 32 + 8 + 56
"""The number, and the heap's pair of number and name with its slot."""


def _samples(options: list[bytes]) -> int:
    """How many members to look at; 0: all."""
    samples = SAMPLES_DEFAULT
    rest = iter(options)
    for word in rest:
        number = next(rest, None)
        if word.upper() != b"SAMPLES" or number is None:
            raise Refused(SYNTAX)
        samples = integer(number)
        if samples < 0:
            raise Refused(SYNTAX)
    return samples


_OF_A_KEY: Final[dict[str, Any]] = {
    "keys": (key_spec("RO", index=2),),
    "group": "generic",
    "complexity": "O(1)",
    "arguments": KEY,
    "tips": ("nondeterministic_output",),
    "acl": "keyspace",
}
_OBJECT_HELP: Final = (
    "ENCODING <key>",
    "    The name of the form in which Redis would store the value.",
    "FREQ <key>",
    "    Refused: no frequencies are kept.",
    "IDLETIME <key>",
    "    0 for a key that exists: no access times are kept.",
    "REFCOUNT <key>",
    "    How many refer to the value: 1, except for small integers.",
)
_MEMORY_HELP: Final = (
    "USAGE <key> [SAMPLES <count>]",
    "    About so many bytes the key and its value take up, judged by <count> members (default: 5, 0: all).",
)
ROWS: Final = (
    container(
        "object",
        _OBJECT_HELP,
        (
            row("object|encoding", 3, encoding, "readonly", since="2.2.3", summary="Names the encoding", **_OF_A_KEY),
            row("object|freq", 3, freq, "readonly", since="4.0.0", summary="Refused: not counted", **_OF_A_KEY),
            row(
                "object|idletime",
                3,
                idletime,
                "readonly",
                since="2.2.3",
                summary="0: no access times are kept",
                **_OF_A_KEY,
            ),
            row(
                "object|refcount",
                3,
                refcount,
                "readonly",
                since="2.2.3",
                summary="Counts the references to a value",
                **_OF_A_KEY,
            ),
        ),
        acl="keyspace",
        help_since="6.2.0",
        group="generic",
        since="2.2.3",
        summary="How values are stored",
    ),
    container(
        "memory",
        _MEMORY_HELP,
        (
            row(
                "memory|usage",
                -3,
                usage,
                "readonly",
                acl="",
                keys=(key_spec("RO", index=2),),
                group="server",
                since="4.0.0",
                summary="Estimates the memory that a key and its value take up",
                complexity="O(N) where N is the number of samples",
                arguments=(key(), argument("count", "integer", token="SAMPLES", flags=OPTIONAL)),
            ),
        ),
        help_since="4.0.0",
        group="server",
        since="4.0.0",
        summary="How much memory keys take up",
    ),
)
