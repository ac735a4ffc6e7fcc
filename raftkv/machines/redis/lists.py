"""Lists: elements in an order, cheap at both ends (chunks.py). The blocking commands are not here yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from raftkv.machines.redis.arguments import count_of_either_sign, integer
from raftkv.machines.redis.chunks import Chunks
from raftkv.machines.redis.database import Database
from raftkv.machines.redis.refusals import INDEX_OUT_OF_RANGE, NO_SUCH_KEY, NOT_POSITIVE, SYNTAX, Refused
from raftkv.machines.redis.rows import (
    MULTIPLE,
    OPTIONAL,
    argument,
    counted_keys,
    flag,
    key,
    key_spec,
    row,
)
from raftkv.machines.redis.sizes import block_bytes
from raftkv.machines.redis.values import LISTED_MAX, Collection
from raftkv.machines.replies import NULL_ARRAY, OK, Error, Reply, Walk, own, wrong_arity


class List(Collection):
    """`elements` may be changed by whoever has the list from `fetch_as`."""

    __slots__ = ("elements",)
    type_name = "list"
    encoding = "quicklist"

    def __init__(self, elements: Chunks | None = None) -> None:
        self.elements = Chunks() if elements is None else elements

    def __len__(self) -> int:
        return len(self.elements)

    def copy(self) -> Self:
        return type(self)(self.elements.copy())

    def digest_parts(self) -> Iterator[bytes]:
        return iter(self.elements)

    def pieces(self) -> Iterator[bytes]:
        return iter(self.elements)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        return cls(Chunks(pieces))

    def size_bytes(self, samples: int) -> int:
        return block_bytes(self) + self.elements.size_bytes(samples)


# Ends


def _push(db: Database, argv: list[bytes], *, left: bool, only_existing: bool = False) -> Reply:
    name = argv[1]
    found = db.fetch_as(name, List)
    if found is None and only_existing:
        return 0
    target = List() if found is None else found
    push = target.elements.push_left if left else target.elements.push_right
    for element in argv[2:]:
        push(element)
    if found is None:
        db.put(name, target)
    else:
        db.touch(name)
    return len(target)


def lpush(db: Database, argv: list[bytes]) -> Reply:
    return _push(db, argv, left=True)


def rpush(db: Database, argv: list[bytes]) -> Reply:
    return _push(db, argv, left=False)


def lpushx(db: Database, argv: list[bytes]) -> Reply:
    return _push(db, argv, left=True, only_existing=True)


def rpushx(db: Database, argv: list[bytes]) -> Reply:
    return _push(db, argv, left=False, only_existing=True)


def _pop(db: Database, argv: list[bytes], *, left: bool) -> Reply:
    if len(argv) > 3:
        return wrong_arity("lpop" if left else "rpop")
    count = None
    if len(argv) == 3:
        count = integer(argv[2], NOT_POSITIVE)
        if count < 0:
            return NOT_POSITIVE
    target = db.fetch_as(argv[1], List)
    if target is None:
        return None if count is None else NULL_ARRAY
    if count is None:
        element = target.elements.pop_left() if left else target.elements.pop_right()
        db.settle(argv[1], target)
        return element
    return _take(db, argv[1], target, count, left=left) if count else []


def _take(db: Database, name: bytes, target: List, count: int, *, left: bool) -> list[Reply] | Walk:
    length = len(target)
    count = min(count, length)
    if count > LISTED_MAX:
        return _take_many(db, name, target, count, left=left)
    pop = target.elements.pop_left if left else target.elements.pop_right
    taken = [pop() for _ in range(count)]
    db.settle(name, target)
    return own(taken)


def _take_many(db: Database, name: bytes, target: List, count: int, *, left: bool) -> Walk:
    elements, length = target.elements, len(target)
    taken = elements.part(0, count) if left else elements.part(length - count, length)
    if count == length:
        db.remove(name)
    else:
        elements.trim(*((count, length) if left else (0, length - count)))
        db.touch(name)
    return Walk(count, lambda: taken if left else reversed(taken))


def lpop(db: Database, argv: list[bytes]) -> Reply:
    return _pop(db, argv, left=True)


def rpop(db: Database, argv: list[bytes]) -> Reply:
    return _pop(db, argv, left=False)


def lmpop(db: Database, argv: list[bytes]) -> Reply:
    count = integer(argv[1], _NO_KEYS)
    if count < 1:
        return _NO_KEYS
    names, rest = argv[2 : 2 + count], argv[2 + count :]
    if not rest or len(names) < count:
        return SYNTAX
    left = _is_left(rest[0])
    most = 1
    if len(rest) > 1:
        if len(rest) != 3 or rest[1].upper() != b"COUNT":
            return SYNTAX
        most = integer(rest[2], _NO_COUNT)
        if most < 1:
            return _NO_COUNT
    for name in names:
        target = db.fetch_as(name, List)
        if target is not None:
            return [name, _take(db, name, target, most, left=left)]
    return NULL_ARRAY


_NO_KEYS: Final = Error("ERR numkeys should be greater than 0")
_NO_COUNT: Final = Error("ERR count should be greater than 0")


def _is_left(word: bytes) -> bool:
    side = word.upper()
    if side not in (b"LEFT", b"RIGHT"):
        raise Refused(SYNTAX)
    return side == b"LEFT"


def lmove(db: Database, argv: list[bytes]) -> Reply:
    return _move(db, argv[1], argv[2], from_left=_is_left(argv[3]), to_left=_is_left(argv[4]))


def rpoplpush(db: Database, argv: list[bytes]) -> Reply:
    return _move(db, argv[1], argv[2], from_left=False, to_left=True)


def _move(db: Database, source_name: bytes, target_name: bytes, *, from_left: bool, to_left: bool) -> Reply:
    source = db.fetch_as(source_name, List)
    if source is None:
        return None
    target = db.fetch_as(target_name, List)
    element = source.elements.pop_left() if from_left else source.elements.pop_right()
    if target is None:
        db.put(target_name, List(Chunks([element])))
    else:
        (target.elements.push_left if to_left else target.elements.push_right)(element)
        db.touch(target_name)
    db.settle(source_name, source)
    return element


# Middle


def llen(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], List)
    return 0 if found is None else len(found)


def _index(text: bytes, length: int) -> int | None:
    """The index from the left that `text` means; None: outside."""
    index = integer(text)
    if index < 0:
        index += length
    return index if 0 <= index < length else None


def _range(start: int, stop: int, length: int) -> tuple[int, int]:
    """The range from `start` up to and with `stop`, as (first, behind the last); empty when these are equal."""
    first = max(0, start + length if start < 0 else start)
    behind = min(length, (stop + length if stop < 0 else stop) + 1)
    return (first, behind) if first < behind else (0, 0)


def lindex(db: Database, argv: list[bytes]) -> Reply:
    found = db.peek_as(argv[1], List)
    if found is None:
        return None
    index = _index(argv[2], len(found))
    return None if index is None else found.elements.get(index)


def lset(db: Database, argv: list[bytes]) -> Reply:
    target = db.fetch_as(argv[1], List)
    if target is None:
        return NO_SUCH_KEY
    index = _index(argv[2], len(target))
    if index is None:
        return INDEX_OUT_OF_RANGE
    target.elements.set(index, argv[3])
    db.touch(argv[1])
    return OK


def lrange(db: Database, argv: list[bytes]) -> Reply:
    start, stop = integer(argv[2]), integer(argv[3])
    found = db.peek_as(argv[1], List)
    if found is None:
        return []
    first, behind = _range(start, stop, len(found))
    if behind - first > LISTED_MAX:
        part = found.elements.part(first, behind)
        return Walk(len(part), lambda: part)
    return own(found.elements.range(first, behind)) if behind else []


def ltrim(db: Database, argv: list[bytes]) -> Reply:
    start, stop = integer(argv[2]), integer(argv[3])
    target = db.fetch_as(argv[1], List)
    if target is None:
        return OK
    first, behind = _range(start, stop, len(target))
    if behind:
        target.elements.trim(first, behind)
        db.touch(argv[1])
    else:
        db.remove(argv[1])
    return OK


def linsert(db: Database, argv: list[bytes]) -> Reply:
    _, name, where, pivot, element = argv
    where = where.upper()
    if where not in (b"BEFORE", b"AFTER"):
        return SYNTAX
    target = db.fetch_as(name, List)
    if target is None:
        return 0
    index = target.elements.index_of(pivot)
    if index is None:
        return -1
    target.elements.insert(index + (where == b"AFTER"), element)
    db.touch(name)
    return len(target)


def lrem(db: Database, argv: list[bytes]) -> Reply:
    count = integer(argv[2])
    target = db.fetch_as(argv[1], List)
    if target is None:
        return 0
    removed = target.elements.remove(argv[3], abs(count) or len(target), from_right=count < 0)
    if removed:
        db.settle(argv[1], target)
    return removed


def lpos(db: Database, argv: list[bytes]) -> Reply:
    rank, count, length_max = _position_options(argv[3:])
    found = db.peek_as(argv[1], List)
    if found is None:
        return None if count is None else []
    length, element = len(found), argv[2]
    elements = reversed(found.elements) if rank < 0 else iter(found.elements)
    to_skip, most = abs(rank) - 1, count if count is not None else 1
    positions: list[Reply] = []
    for at, each in enumerate(elements):
        if length_max and at >= length_max:
            break
        if each == element:
            if to_skip:
                to_skip -= 1
                continue
            positions.append(length - 1 - at if rank < 0 else at)
            if len(positions) == most:
                break
    if count is None:
        return positions[0] if positions else None
    return positions


_ZERO_RANK: Final = Error(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start"
    " from the end of the list"
)


def _position_options(words: list[bytes]) -> tuple[int, int | None, int]:
    """(rank, count, most elements to look at; 0: all)"""
    rank, count, length_max = 1, None, 0
    rest = iter(words)
    for argument_ in rest:
        word, text = argument_.upper(), next(rest, None)
        if text is None:
            raise Refused(SYNTAX)
        if word == b"RANK":
            rank = count_of_either_sign(text)
            if rank == 0:
                raise Refused(_ZERO_RANK)
        elif word == b"COUNT":
            count = _not_negative(text, "COUNT")
        elif word == b"MAXLEN":
            length_max = _not_negative(text, "MAXLEN")
        else:
            raise Refused(SYNTAX)
    return rank, count, length_max


def _not_negative(text: bytes, name: str) -> int:
    refusal = Error(f"ERR {name} can't be negative")
    number = integer(text, refusal)
    if number < 0:
        raise Refused(refusal)
    return number


_LIST: Final[dict[str, Any]] = {"acl": "list", "group": "list"}

ROWS: Final = (
    row(
        "lpush",
        -3,
        lpush,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="1.0.0",
        summary="Puts elements at the left end of a list",
        complexity="O(N), N being the number of elements given",
        arguments=(
            key(),
            argument("element", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "rpush",
        -3,
        rpush,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="1.0.0",
        summary="Puts elements at the right end of a list",
        complexity="O(N), N being the number of elements given",
        arguments=(
            key(),
            argument("element", "string", flags=MULTIPLE),
        ),
        history=(("2.4.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "lpushx",
        -3,
        lpushx,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="2.2.0",
        summary="Puts elements at the left end of a list that exists",
        complexity="O(N), N being the number of elements given",
        arguments=(
            key(),
            argument("element", "string", flags=MULTIPLE),
        ),
        history=(("4.0.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "rpushx",
        -3,
        rpushx,
        "write denyoom fast",
        keys=(key_spec("RW insert"),),
        since="2.2.0",
        summary="Puts elements at the right end of a list that exists",
        complexity="O(N), N being the number of elements given",
        arguments=(
            key(),
            argument("element", "string", flags=MULTIPLE),
        ),
        history=(("4.0.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "lpop",
        -2,
        lpop,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="1.0.0",
        summary="Takes elements from the left end of a list",
        complexity="O(N), N being the number of elements taken",
        arguments=(
            key(),
            argument("count", "integer", since="6.2.0", flags=OPTIONAL),
        ),
        history=(("6.2.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "rpop",
        -2,
        rpop,
        "write fast",
        keys=(key_spec("RW access delete"),),
        since="1.0.0",
        summary="Takes elements from the right end of a list",
        complexity="O(N), N being the number of elements taken",
        arguments=(
            key(),
            argument("count", "integer", since="6.2.0", flags=OPTIONAL),
        ),
        history=(("6.2.0", "Several elements"),),
        **_LIST,
    ),
    row(
        "llen",
        2,
        llen,
        "readonly fast",
        keys=(key_spec("RO"),),
        since="1.0.0",
        summary="Counts the elements of a list",
        complexity="O(1)",
        arguments=(key(),),
        **_LIST,
    ),
    row(
        "lindex",
        3,
        lindex,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="Answers the element at an index",
        complexity="O(N/512), N being the distance to the nearer end",
        arguments=(
            key(),
            argument("index", "integer"),
        ),
        **_LIST,
    ),
    row(
        "lset",
        4,
        lset,
        "write denyoom",
        keys=(key_spec("RW update"),),
        since="1.0.0",
        summary="Replaces the element at an index",
        complexity="O(N/512), N being the distance to the nearer end",
        arguments=(
            key(),
            argument("index", "integer"),
            argument("element", "string"),
        ),
        **_LIST,
    ),
    row(
        "lrange",
        4,
        lrange,
        "readonly",
        keys=(key_spec("RO access"),),
        since="1.0.0",
        summary="Lists a range of elements",
        complexity="O(S/512+N), S being the distance of the range to the nearer end and N its length",
        arguments=(
            key(),
            argument("start", "integer"),
            argument("stop", "integer"),
        ),
        **_LIST,
    ),
    row(
        "ltrim",
        4,
        ltrim,
        "write",
        keys=(key_spec("RW delete"),),
        since="1.0.0",
        summary="Keeps a range of elements, takes out all others",
        complexity="O(N), N being the number of elements taken out",
        arguments=(
            key(),
            argument("start", "integer"),
            argument("stop", "integer"),
        ),
        **_LIST,
    ),
    row(
        "linsert",
        5,
        linsert,
        "write denyoom",
        keys=(key_spec("RW insert"),),
        since="2.2.0",
        summary="Puts an element before or behind another",
        complexity="O(N), N being the distance of the other to the left end",
        arguments=(
            key(),
            argument("where", "oneof", arguments=[flag("BEFORE"), flag("AFTER")]),
            argument("pivot", "string"),
            argument("element", "string"),
        ),
        **_LIST,
    ),
    row(
        "lrem",
        4,
        lrem,
        "write",
        keys=(key_spec("RW delete"),),
        since="1.0.0",
        summary="Takes out elements that equal a value",
        complexity="O(N), N being the length of the list",
        arguments=(
            key(),
            argument("count", "integer"),
            argument("element", "string"),
        ),
        **_LIST,
    ),
    row(
        "lpos",
        -3,
        lpos,
        "readonly",
        keys=(key_spec("RO access"),),
        since="6.0.6",
        summary="Tells where elements are that equal a value",
        complexity="O(N), N being the length of the list",
        arguments=(
            key(),
            argument("element", "string"),
            argument("rank", "integer", token="RANK", flags=OPTIONAL),
            argument("num-matches", "integer", token="COUNT", flags=OPTIONAL),
            argument("len", "integer", token="MAXLEN", flags=OPTIONAL),
        ),
        **_LIST,
    ),
    row(
        "lmove",
        5,
        lmove,
        "write denyoom",
        keys=(
            key_spec("RW access delete"),
            key_spec("RW insert", index=2),
        ),
        since="6.2.0",
        summary="Moves an element from the end of a list to the end of one",
        complexity="O(1)",
        arguments=(
            key("source"),
            key("destination", spec=1),
            argument("wherefrom", "oneof", arguments=[flag("LEFT"), flag("RIGHT")]),
            argument("whereto", "oneof", arguments=[flag("LEFT"), flag("RIGHT")]),
        ),
        **_LIST,
    ),
    row(
        "rpoplpush",
        3,
        rpoplpush,
        "write denyoom",
        keys=(
            key_spec("RW access delete"),
            key_spec("RW insert", index=2),
        ),
        since="1.2.0",
        summary="Moves the last element of a list to the front of one",
        complexity="O(1)",
        arguments=(
            key("source"),
            key("destination", spec=1),
        ),
        doc_flags=("deprecated",),
        deprecated_since="6.2.0",
        replaced_by="LMOVE with RIGHT and LEFT",
        **_LIST,
    ),
    row(
        "lmpop",
        -4,
        lmpop,
        "write movablekeys",
        keys=(counted_keys("RW access delete"),),
        since="7.0.0",
        summary="Takes elements from the first of several lists that has any",
        complexity="O(N+M), N being the number of keys and M of elements taken",
        arguments=(
            argument("numkeys", "integer"),
            key(flags=MULTIPLE),
            argument("where", "oneof", arguments=[flag("LEFT"), flag("RIGHT")]),
            argument("count", "integer", token="COUNT", flags=OPTIONAL),
        ),
        **_LIST,
    ),
)
