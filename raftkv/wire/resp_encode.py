"""RESP replies: values of `machines/replies.py` -> bytes, for RESP2 or RESP3, spelled as Redis 7.0 does.

Each type has one writer in `_WRITERS`; a writer appends pieces to a list, and one join makes the bytes, so
a nested reply is not copied once per level. What is frequent is spelled out in `_append_all`, as the look-up
and the call would cost more than the encoding.

A reply of a million members takes some 100 ms to encode, and nobody else would be served meanwhile. So what answers
clients (`encode_many`, `encode_apart`) stops when it comes to more than WEIGHT_MAX, and `encode_each`, for
other members, stops there; `encode_in_pieces` is for what is huge. The weight is counted where containers and long
values are written, which are few beside the items in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

from raftkv.machines.replies import (
    OK,
    Encoded,
    Error,
    Map,
    NullArray,
    Pairs,
    Push,
    Reply,
    SetReply,
    Simple,
    SpelledDouble,
    Verbatim,
    Walk,
)

WEIGHT_MAX: Final = 16384
"""So much is encoded at a time, 1.5 ms of work: an item of a container weighs 1, of a long value WEIGHT_BYTES do."""

WEIGHT_BYTES: Final = 128
_ITEMS_AT_ONCE: Final = WEIGHT_MAX // 4
"""Leaves room for items that are containers themselves, such as pairs; and an item by itself takes four times as long
as one of many."""

_VALUE_BYTES_AT_ONCE: Final = 1024 * 1024
_UNLIMITED: Final = 1 << 62

_JOINED_MIN: Final = 8
"""With fewer items it is not worth a look."""

_CRLF: Final = b"\r\n"
_OK: Final = b"+OK\r\n"
_NULL: Final = (b"$-1\r\n", b"_\r\n")  # indexed by resp3, as all pairs below
_NULL_ARRAY: Final = (b"*-1\r\n", b"_\r\n")
_TRUE: Final = (b":1\r\n", b"#t\r\n")
_FALSE: Final = (b":0\r\n", b"#f\r\n")
# Counters and lengths are mostly small; Redis shares its first integers in the same way.
_SMALL_MAX: Final = 1023
_SMALL_INTEGERS: Final = [b":%d\r\n" % number for number in range(_SMALL_MAX + 1)]
_SMALL_BULK_HEADERS: Final = [b"$%d\r\n" % length for length in range(_SMALL_MAX + 1)]


class HugeReply(Exception):
    """It is to be encoded in pieces."""


class Output(list[bytes]):
    """What is encoded, to be joined; and how much more may be, for it stops others meanwhile."""

    __slots__ = ("weight_left",)

    def __init__(self, weight_left: int) -> None:
        self.weight_left = weight_left

    def weigh(self, weight: int) -> None:
        """Raises HugeReply when it becomes too much."""
        self.weight_left -= weight
        if self.weight_left < 0:
            raise HugeReply


_Writer = Callable[[Output, Any, bool], None]


def encode(reply: Reply, resp3: bool) -> bytes:
    """One reply as bytes, however long. Raises TypeError for what is not a reply (such as a set)."""
    if type(reply) is Simple:
        return _status(reply.text)
    out = Output(_UNLIMITED)
    _encode_into(out, reply, resp3)
    return b"".join(out)


def _encode_into(out: Output, reply: Reply, resp3: bool) -> None:
    """Append the pieces of one encoded reply to `out`."""
    writer = _WRITERS.get(type(reply))
    if writer is None:
        writer = _inherited_writer(reply)
    writer(out, reply, resp3)


def encode_apart(replies: Iterable[Reply], resp3: bool) -> list[bytes | None]:
    """Each of `replies` for itself, None for one that is huge. Hot: what clients without a pipeline are sent, with the
    frequent replies spelled out."""
    encoded: list[bytes | None] = []
    append = encoded.append
    for reply in replies:
        if type(reply) is bytes and len(reply) <= _SMALL_MAX:
            append(_SMALL_BULK_HEADERS[len(reply)] + reply + _CRLF)
        elif reply is None:
            append(_NULL[resp3])
        elif reply is OK:
            append(_OK)
        elif type(reply) is int and 0 <= reply <= _SMALL_MAX:
            append(_SMALL_INTEGERS[reply])
        else:
            try:
                append(encode_many((reply,), resp3))
            except HugeReply:
                append(None)
    return encoded


def encode_many(replies: Iterable[Reply], resp3: bool) -> bytes:
    """`replies`, encoded one behind the other. Hot: one run per reply that leaves the server. Raises HugeReply."""
    out = Output(WEIGHT_MAX)
    _append_all(out, replies, resp3)
    return b"".join(out)


def encode_each(replies: Iterable[Reply], resp3: bool) -> list[bytes]:
    """Each of `replies`, from the first one on, as far as they are not too much together. None at all: the first is
    huge by itself."""
    encoded: list[bytes] = []
    weight_left = WEIGHT_MAX
    for reply in islice(replies, _ITEMS_AT_ONCE):
        out = Output(weight_left)
        try:
            _encode_into(out, reply, resp3)
        except HugeReply:
            break
        encoded.append(b"".join(out))
        weight_left = out.weight_left
    return encoded


def _append_all(out: Output, replies: Iterable[Any], resp3: bool) -> None:
    append = out.append
    null = _NULL[resp3]
    for reply in replies:
        if type(reply) is bytes:
            size = len(reply)
            if size <= _SMALL_MAX:
                append(_SMALL_BULK_HEADERS[size])
            else:
                out.weigh(size // WEIGHT_BYTES)
                append(b"$%d\r\n" % size)
            append(reply)
            append(_CRLF)
        elif reply is OK:
            append(_OK)
        elif reply is None:
            append(null)
        elif type(reply) is int:
            append(_SMALL_INTEGERS[reply] if 0 <= reply <= _SMALL_MAX else b":%d\r\n" % reply)
        else:
            _encode_into(out, reply, resp3)


def _append_items(out: Output, items: Iterable[Any], resp3: bool) -> None:
    """As `_append_all`; a list of many byte strings of one length, as keys, numbers and hashes often are, in a third of
    the time: by one join."""
    if type(items) is list and len(items) >= _JOINED_MIN and type(items[0]) is type(items[-1]) is bytes:
        size = len(items[0])
        if size == len(items[-1]) <= _SMALL_MAX:
            header = _SMALL_BULK_HEADERS[size]
            try:
                joined = (_CRLF + header).join(items) if len(set(map(len, items))) == 1 else None
            except TypeError:  # something else is among them
                joined = None
            if joined is not None:
                out += (header, joined, _CRLF)
                return
    _append_all(out, items, resp3)


def encode_in_pieces(replies: Iterable[Reply], resp3: bool) -> Iterator[bytes]:
    """`replies`, encoded one behind the other, at most about WEIGHT_MAX in each piece."""
    remaining = iter(replies)
    while some := list(islice(remaining, _ITEMS_AT_ONCE)):
        out = Output(WEIGHT_MAX)
        try:
            _append_items(out, some, resp3)
        except HugeReply:
            yield from _pieces_of_each(some, resp3)
        else:
            yield b"".join(out)


def _pieces_of_each(replies: list[Reply], resp3: bool) -> Iterator[bytes]:
    """As `encode_in_pieces`, where that is too much at once."""
    out = Output(WEIGHT_MAX)
    for reply in replies:
        complete = len(out)
        try:
            _encode_into(out, reply, resp3)
        except HugeReply:
            del out[complete:]
            if out:
                yield b"".join(out)
            yield from _opened(reply, resp3)
            out = Output(WEIGHT_MAX)
    if out:
        yield b"".join(out)


def _opened(reply: Any, resp3: bool) -> Iterator[bytes]:
    """The pieces of one reply: a container's header first, and then its items; of anything else its bytes."""
    for base, parts_of in _CONTAINERS.items():
        if isinstance(reply, base):
            header, _, items = parts_of(reply, resp3)
            yield header
            yield from encode_in_pieces(items, resp3)
            return
    parts: tuple[bytes, ...]
    if isinstance(reply, bytes):  # long ones are not copied as a whole
        parts = b"$%d\r\n" % len(reply), reply, _CRLF
    elif isinstance(reply, Encoded):
        parts = (reply.data,)
    else:
        parts = (encode(reply, resp3),)
    for part in parts:
        for start in range(0, len(part), _VALUE_BYTES_AT_ONCE):
            yield part[start : start + _VALUE_BYTES_AT_ONCE]


def _write_null(out: Output, _reply: None, resp3: bool) -> None:
    out.append(_NULL[resp3])


def _write_bytes(out: Output, reply: bytes, _resp3: bool) -> None:
    size = len(reply)
    out.weigh(size // WEIGHT_BYTES)
    out.append(_SMALL_BULK_HEADERS[size] if size <= _SMALL_MAX else b"$%d\r\n" % size)
    out.append(reply)
    out.append(_CRLF)


def _write_str(out: Output, reply: str, resp3: bool) -> None:
    _write_bytes(out, reply.encode("utf-8", "surrogateescape"), resp3)


def _write_int(out: Output, reply: int, _resp3: bool) -> None:
    out.append(_SMALL_INTEGERS[reply] if 0 <= reply <= _SMALL_MAX else b":%d\r\n" % reply)


def _write_bool(out: Output, reply: bool, resp3: bool) -> None:
    out.append((_TRUE if reply else _FALSE)[resp3])


def _write_float(out: Output, reply: float, resp3: bool) -> None:
    _write_double(out, double_text(reply), resp3)


def _write_spelled_double(out: Output, reply: SpelledDouble, resp3: bool) -> None:
    _write_double(out, reply.text, resp3)


def _write_double(out: Output, text: bytes, resp3: bool) -> None:
    if resp3:
        out.append(b",%b\r\n" % text)
    else:
        _write_bytes(out, text, resp3)


def double_text(number: float) -> bytes:
    """A double as Redis 7.0 writes it: 17 significant digits, so 0.1 is ``0.10000000000000001``."""
    if math.isnan(number):
        return b"nan"  # its sign bit means nothing
    return b"%.17g" % number


def _write_simple(out: Output, reply: Simple, _resp3: bool) -> None:
    out.append(_status(reply.text))


@lru_cache(maxsize=64)
def _status(text: str) -> bytes:
    """There are few: OK, QUEUED, PONG, and what machines add."""
    return b"+%b\r\n" % _line(text)


def _write_error(out: Output, reply: Error, _resp3: bool) -> None:
    out.append(b"-%b\r\n" % _line(reply.text))


def _line(text: str) -> bytes:
    """Without line ends, else what a client put into an error text would be read as further replies.
    Bytes that were not UTF-8 come back as they were (surrogateescape), other lone surrogates as "?"."""
    text = text.strip("\r\n").replace("\r", " ").replace("\n", " ")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _write_null_array(out: Output, _reply: NullArray, resp3: bool) -> None:
    out.append(_NULL_ARRAY[resp3])


_Parts = tuple[bytes, int, Iterable[Any]]
"""Of a container: its header, what its items weigh at the least, and these."""


def _list_parts(reply: list[Reply] | Walk, _resp3: bool) -> _Parts:
    return b"*%d\r\n" % len(reply), len(reply), reply


def _set_parts(reply: SetReply, resp3: bool) -> _Parts:
    count = len(reply.items)
    return (b"~%d\r\n" if resp3 else b"*%d\r\n") % count, count, reply.items


def _push_parts(reply: Push, resp3: bool) -> _Parts:
    count = len(reply.items)
    return (b">%d\r\n" if resp3 else b"*%d\r\n") % count, count, reply.items


def _pairs_parts(reply: Pairs, resp3: bool) -> _Parts:
    count = len(reply.items)
    if resp3:
        return b"*%d\r\n" % count, 2 * count, map(list, reply.items)
    return b"*%d\r\n" % (2 * count), 2 * count, chain.from_iterable(reply.items)


def _dict_parts(reply: dict[bytes, Reply], resp3: bool) -> _Parts:
    return _map_parts(len(reply), reply.items(), resp3)


def _map_parts(count: int, pairs: Iterable[tuple[Any, Any]], resp3: bool) -> _Parts:
    header = b"%%%d\r\n" % count if resp3 else b"*%d\r\n" % (2 * count)
    return header, 2 * count, chain.from_iterable(pairs)


_CONTAINERS: Final[dict[type, Callable[[Any, bool], _Parts]]] = {
    list: _list_parts,
    Walk: _list_parts,
    dict: _dict_parts,
    Map: lambda reply, resp3: _map_parts(len(reply.items), reply.items, resp3),
    SetReply: _set_parts,
    Pairs: _pairs_parts,
    Push: _push_parts,
}


def _container_writer(parts_of: Callable[[Any, bool], _Parts]) -> _Writer:
    def write(out: Output, reply: Any, resp3: bool) -> None:
        header, weight, items = parts_of(reply, resp3)
        out.weigh(weight)
        out.append(header)
        _append_items(out, items, resp3)

    return write


def _write_pairs(out: Output, reply: Pairs, resp3: bool) -> None:
    """As for any container, but in RESP3 without a list for each pair: half the time."""
    if not resp3:
        return _write_flat_pairs(out, reply, resp3)
    header, weight, _ = _pairs_parts(reply, resp3)
    out.weigh(weight)
    out.append(header)
    for pair in reply.items:
        out.append(b"*2\r\n")
        _append_all(out, pair, resp3)
    return None


_write_flat_pairs: Final = _container_writer(_pairs_parts)


def _write_encoded(out: Output, reply: Encoded, _resp3: bool) -> None:
    out.weigh(len(reply.data) // WEIGHT_BYTES)
    out.append(reply.data)


def _write_verbatim(out: Output, reply: Verbatim, resp3: bool) -> None:
    if not resp3:
        _write_bytes(out, reply.text, resp3)
        return
    out.weigh(len(reply.text) // WEIGHT_BYTES)
    out.append(b"=%d\r\n%b:" % (len(reply.text) + 4, reply.format.encode("ascii")))
    out.append(reply.text)
    out.append(_CRLF)


_WRITERS: Final[dict[type, _Writer]] = {
    type(None): _write_null,
    bytes: _write_bytes,
    str: _write_str,
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    Simple: _write_simple,
    Error: _write_error,
    NullArray: _write_null_array,
    Encoded: _write_encoded,
    Verbatim: _write_verbatim,
    SpelledDouble: _write_spelled_double,
    **{kind: _container_writer(parts_of) for kind, parts_of in _CONTAINERS.items()},
    Pairs: _write_pairs,
}


def _inherited_writer(reply: object) -> _Writer:
    """For subclasses, such as an IntEnum."""
    for base in type(reply).__mro__:
        if base in _WRITERS:
            return _WRITERS[base]
    raise TypeError(f"{type(reply).__name__} is not a reply value")
