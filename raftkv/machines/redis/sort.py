"""SORT and SORT_RO: the elements of a list, set or sorted set in order, by themselves or by what other keys say.

A pattern such as ``weight_*`` or ``data_*->field`` means, for an element, the string at the key that is made by putting
it in the asterisk's place, or a field of the hash there; ``#`` means the element itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key, partial
from typing import Any, Final, NamedTuple

from raftkv.machines.redis.arguments import integer
from raftkv.machines.redis.chunks import Chunks
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.doubles import c_text, parse_double
from raftkv.machines.redis.hashes import Hash
from raftkv.machines.redis.lists import List
from raftkv.machines.redis.refusals import SYNTAX, WRONG_TYPE, Refused
from raftkv.machines.redis.rows import OPTIONAL, argument, flag, key, key_spec, row, unknown_keys
from raftkv.machines.redis.sets import Set
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.values import Value
from raftkv.machines.replies import Error, Reply

_NOT_NUMBERS: Final = Error("ERR One or more scores can't be converted into double")
_WORD_ALONE: Final = frozenset({b"ASC", b"DESC", b"ALPHA"})


class _Options(NamedTuple):
    """by: a pattern; None: the elements themselves. as_they_come: some BY had no asterisk, whatever a later one has.
    most: negative for all. gets: patterns."""

    descending: bool = False
    by_text: bool = False
    by: bytes | None = None
    as_they_come: bool = False
    start: int = 0
    most: int = -1
    gets: tuple[bytes, ...] = ()
    target: bytes | None = None


def _options(words: list[bytes], *, may_store: bool) -> _Options:
    options, at = _Options(), 0
    while at < len(words):
        word, left = words[at].upper(), len(words) - at - 1
        if word in _WORD_ALONE:
            options = (
                options._replace(by_text=True) if word == b"ALPHA" else options._replace(descending=word == b"DESC")
            )
        elif word == b"LIMIT" and left >= 2:
            options = options._replace(start=integer(words[at + 1]), most=integer(words[at + 2]))
            at += 2
        elif word == b"STORE" and left >= 1 and may_store:
            options = options._replace(target=words[at + 1])
            at += 1
        elif word == b"BY" and left >= 1:
            options = options._replace(by=words[at + 1], as_they_come=options.as_they_come or b"*" not in words[at + 1])
            at += 1
        elif word == b"GET" and left >= 1:
            options = options._replace(gets=(*options.gets, words[at + 1]))
            at += 1
        else:
            raise Refused(SYNTAX)
        at += 1
    return options


def _sort(db: Database, argv: list[bytes], *, may_store: bool) -> Reply:
    options = _options(argv[2:], may_store=may_store)
    found = db.peek(argv[1])
    elements = _elements(found)
    if options.as_they_come:
        if isinstance(found, Set) and options.target is not None:
            # What is stored must not depend on an order that nobody promises.
            elements = _ordered(db, elements, options._replace(by=None, by_text=True))
        elif options.descending and not isinstance(found, Set):
            elements.reverse()
    else:
        elements = _ordered(db, elements, options)
    elements = _limited(elements, options)
    values: list[bytes | None] = [*elements]
    if options.gets:
        values = [_look_up(db, pattern, element) for element in elements for pattern in options.gets]
    if options.target is None:
        return [*values]
    if values:
        db.replace(options.target, List(Chunks(value or b"" for value in values)))
    elif db.fetch(options.target) is not None:
        db.remove(options.target)
    return len(values)


def _elements(found: Value | None) -> list[bytes]:
    if found is None:
        return []
    if isinstance(found, List):
        return list(found.elements)
    if isinstance(found, Set):
        return found.listed()
    if isinstance(found, SortedSet):
        return [name for _, name in found.pairs(0, len(found))]
    raise Refused(WRONG_TYPE)


def _limited(elements: list[bytes], options: _Options) -> list[bytes]:
    start = max(0, options.start)
    return elements[start:] if options.most < 0 else elements[start : start + options.most]


def _ordered(db: Database, elements: list[bytes], options: _Options) -> list[bytes]:
    by = options.by
    judged: list[tuple[bytes, bytes | None]] = [
        (element, element if by is None else _look_up(db, by, element)) for element in elements
    ]
    if not options.by_text:
        numbered = [(_number(value), element) for element, value in judged]
        numbered.sort(reverse=options.descending)
        return [element for _, element in numbered]
    compare = _compare_bytes if options.target is not None else _compare_as_c
    in_order = cmp_to_key(compare)
    judged.sort(key=lambda pair: in_order(pair[1]), reverse=options.descending)
    return [element for element, _ in judged]


def _number(text: bytes | None) -> float:
    if text is None:
        return 0.0
    text = c_text(text)
    number = parse_double(text) if text else 0.0
    if number is None:
        raise Refused(_NOT_NUMBERS)
    return number


def _compare_bytes(left: bytes | None, right: bytes | None) -> int:
    """What is missing comes first."""
    if left is None or right is None:
        return (left is not None) - (right is not None)
    return (left > right) - (left < right)


def _compare_as_c(left: bytes | None, right: bytes | None) -> int:
    """As the C library compares texts (in the locale "C"): up to the first NUL."""
    cut = [None if text is None else text.split(b"\0", 1)[0] for text in (left, right)]
    return _compare_bytes(cut[0], cut[1])


def _look_up(db: Database, pattern: bytes, element: bytes) -> bytes | None:
    if pattern == b"#":
        return element
    before, star, behind = pattern.partition(b"*")
    if not star:
        return None
    behind, arrow, field = behind.partition(b"->")
    if arrow and not field:
        behind += arrow
    found = db.peek(before + element + behind)
    if field:
        return found.members.get(field) if isinstance(found, Hash) else None
    return found if isinstance(found, bytes) else None


Handler = Callable[[Database, list[bytes]], Reply]
sort: Final[Handler] = partial(_sort, may_store=True)
sort_ro: Final[Handler] = partial(_sort, may_store=False)

_GENERIC: Final[dict[str, Any]] = {"acl": "set sortedset list dangerous", "group": "generic"}

ROWS: Final = (
    row(
        "sort",
        -2,
        sort,
        "write denyoom movablekeys",
        keys=(
            key_spec("RO access"),
            unknown_keys("RO access"),
            unknown_keys("OW update"),
        ),
        since="1.0.0",
        summary="Lists or stores the elements of a list, set or sorted set in order",
        complexity="O(N+M*log(M)), N being the number of elements and M of those returned",
        arguments=(
            key(),
            argument("pattern", "pattern", key_spec_index=1, token="BY", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
            argument(
                "pattern", "pattern", key_spec_index=1, token="GET", flags=["optional", "multiple", "multiple_token"]
            ),
            argument("order", "oneof", flags=OPTIONAL, arguments=[flag("ASC"), flag("DESC")]),
            argument("sorting", "pure-token", token="ALPHA", flags=OPTIONAL),
            key("destination", spec=2, token="STORE", flags=OPTIONAL),
        ),
        **_GENERIC,
    ),
    row(
        "sort_ro",
        -2,
        sort_ro,
        "readonly movablekeys",
        keys=(
            key_spec("RO access"),
            unknown_keys("RO access"),
        ),
        since="7.0.0",
        summary="Lists the elements of a list, set or sorted set in order",
        complexity="O(N+M*log(M)), N being the number of elements and M of those returned",
        arguments=(
            key(),
            argument("pattern", "pattern", key_spec_index=1, token="BY", flags=OPTIONAL),
            argument(
                "offset_count",
                "block",
                token="LIMIT",
                flags=OPTIONAL,
                arguments=[argument("offset", "integer"), argument("count", "integer")],
            ),
            argument(
                "pattern", "pattern", key_spec_index=1, token="GET", flags=["optional", "multiple", "multiple_token"]
            ),
            argument("order", "oneof", flags=OPTIONAL, arguments=[flag("ASC"), flag("DESC")]),
            argument("sorting", "pure-token", token="ALPHA", flags=OPTIONAL),
        ),
        **_GENERIC,
    ),
)
