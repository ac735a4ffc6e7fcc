"""Where the Redis machine knowingly answers otherwise than Redis 7.0. Everything else that differs is a defect.

The tests that compare with a real server read the sets below, so a difference is granted in this file alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """What differs and why."""

    about: str
    here: str
    reason: str


ONLY_HERE: Final = frozenset({"dirtyget"})
"""Commands that Redis does not have."""

OWN_WORDS: Final = frozenset({"summary", "complexity", "notes", "replaced_by"})
"""Fields of the command table with the same meaning in other words; of `history` the versions agree."""

_OF_SETS: Final = ("smembers", "sscan", "sinter", "sunion", "sdiff", "spop", "srandmember", "zscan")
UNORDERED: Final = frozenset({"keys", "scan", "hkeys", "hvals", "hgetall", "hscan", *_OF_SETS})
"""Commands whose reply has the same members in another order."""

OVERDUE_COUNTED: Final = frozenset({"dbsize", "randomkey"})
"""Commands that show, in Redis, keys whose deadline has passed unnoticed."""

REENCODING: Final = frozenset({"sort", "sort_ro"})
REENCODED: Final = (b"listpack", b"skiplist")
"""Commands after which OBJECT ENCODING of a sorted set may say the first here and the second in Redis."""

STORED_DISTANCES: Final = 1e-12
"""By what part of itself a stored distance may differ. Mostly by less than 1e-15; near the opposite side of the earth
the arc sine makes more of a last bit."""

ENCODINGS_HERE: Final = {b"raw": {b"embstr", b"int"}, b"embstr": {b"int"}}
"""What OBJECT ENCODING of a string may say here, by what Redis says."""

DIFFERENCES: Final = (
    Difference("DIRTYGET", "reads the asked member's state", "the cheap read beside GET, which is linearizable here"),
    Difference("expiry", "a key is gone at its deadline, in Redis 1 ms later", "one comparison for log time and heap"),
    Difference(
        "SET, GETEX ... with a deadline in the past",
        "the key is removed at once; Redis may keep it until something looks",
        "the state must not depend on who looks; shows only in DBSIZE",
    ),
    Difference(
        "HKEYS, HVALS, HGETALL, HSCAN, SMEMBERS, SSCAN, SINTER, SUNION, SDIFF of a hash or set that is not compact",
        "the order in which the fields or members came, other cursors",
        "an order that all members share",
    ),
    Difference("KEYS, SCAN", "another order, other cursors", "an order that all members share, see keyindex.py"),
    Difference("TYPE option of SCAN", "any unknown type matches nothing", "as in Redis 7.0; newer versions refuse it"),
    Difference("UNLINK, FLUSHALL ASYNC", "done at once", "there is no second thread to free memory in"),
    Difference("TOUCH", "only counts", "access times would be written by reads, which change no state here"),
    Difference(
        "APPEND, SETRANGE, SETBIT, BITFIELD", "copy the string", "a string is an immutable bytes object, to be small"
    ),
    Difference(
        "OBJECT ENCODING of a string",
        "follows from its content alone; in Redis one that APPEND, SETRANGE, SETBIT ... made is raw, one that"
        " INCRBYFLOAT made embstr, until it is loaded",
        "a string is a plain bytes object, to be small",
    ),
    Difference(
        "OBJECT REFCOUNT",
        "1 or 2147483647; in Redis 2 inside the transaction that stored the value",
        "there it tells who else holds the memory, such as the queue",
    ),
    Difference("OBJECT IDLETIME", "0", "as for TOUCH: no access times are kept"),
    Difference("MEMORY USAGE", "what the value takes up here", "an estimate, as in Redis"),
    Difference(
        "CONFIG SET of thresholds of encodings",
        "goes through the log, for all members, and stays; not inside MULTI",
        "members must agree on encodings",
    ),
    Difference(
        "list-max-listpack-size, list-compress-depth",
        "fixed",
        "lists are not made of listpacks here; seen in DUMP only",
    ),
    Difference("proto-max-bulk-len", "fixed at 512 MiB", "members must agree on which commands are refused"),
    Difference("SORT, SORT_RO of a sorted set", "leave its encoding as it is", "a read changes no state here"),
    Difference("SORT, SORT_RO with ALPHA and BY", "equal texts keep their order", "in Redis it is chance"),
    Difference("PFCOUNT", "does not keep its result in the key", "a read changes no state here"),
    Difference(
        "GEORADIUS, GEORADIUSBYMEMBER and GEOSEARCHSTORE that store distances",
        "one distance in some hundred differs in the last of its 17 digits",
        "Redis takes the sine of its C library; members whose libraries differ must store the same",
    ),
    Difference("LCS", "the first string is at most 256 KiB", "a read must not stop the member for long"),
    Difference(
        "DUMP of a hash or set that is not compact, of a list and of a set of integers",
        "other bytes, of which RESTORE makes the same: members in the order in which they came, a list cut as if "
        "pushed at its right end, integers as narrow as they are",
        "in Redis the bytes depend on how the value came about, and on chance",
    ),
    Difference(
        "DUMP of a compact sorted set whose scores RESTORE was given in unusual texts",
        "their usual texts",
        "a score is a number here; Redis keeps the text",
    ),
    Difference(
        "DUMP of a long value",
        "at most 256 KiB of it are compressed, the rest stands as it is",
        "a read must not stop the member for long",
    ),
    Difference(
        "RESTORE",
        "payloads are always checked, as with `sanitize-dump-payload yes`; their compressed strings may become 512 MiB "
        "together; IDLETIME and FREQ are checked and forgotten; streams are bad data",
        "nothing that comes may break a member later; there is no eviction",
    ),
    Difference("patterns", "at most 8 KiB", "as for LCS: they are compiled"),
    Difference(
        "error texts that quote arguments",
        "bytes that are not UTF-8 appear as U+FFFD",
        "an error is text, and travels between members as text",
    ),
    Difference("options with a NUL inside", "are unknown", "Redis compares them as C strings, up to the NUL"),
    Difference(
        "SUBSCRIBE, PSUBSCRIBE",
        "only the events of SENTINEL, such as +switch-master; all else is refused",
        "there is no publish/subscribe yet, and a refusal is better than silence for ever",
    ),
    Difference(
        "subscriptions inside MULTI",
        "refused, as RAFT.* are; what would wait for others is an error in EXEC's reply",
        "messages have no place among replies; nothing waits inside a transaction, in Redis neither",
    ),
    Difference(
        "WATCH",
        "holds for 10 minutes, and for 16384 keys at a time; later EXEC answers null",
        "watched keys are replicated state: what is forgotten lets a transaction fail",
    ),
    Difference("COMMAND DOCS", "own summaries and complexities", "written for what happens here"),
)
