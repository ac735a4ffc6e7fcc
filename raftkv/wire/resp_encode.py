"""RESP replies: values of `machines/replies.py` -> bytes, for RESP2 or RESP3, spelled as Redis 7.0 does.

Each type has one writer in `_WRITERS`; a writer appends pieces to a list, and one join makes the bytes, so
a nested reply is not copied once per level. What is frequent is spelled out in `_append_all`, as the look-up
and the call would cost more than the encoding.

A reply of a million members takes some 100 ms to encode, and nobody else would be served meanwhile. So `encode_one` and
`encode_many`, which answer clients, raise HugeReply for one of more than ITEMS_MAX; `encode_in_pieces` is for those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from raftkv.machines.replies import (
    OK,
    Encoded,
    Error,
    NullArray,
    Pairs,
    Push,
    Reply,
    SetReply,
    Simple,
    SpelledDouble,
    Verbatim,
)

ITEMS_MAX: Final = 8192
"""So many items are encoded at a time: about a millisecond's work."""

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
    """There is a reply that is to be encoded in pieces."""


def encode(reply: Reply, resp3: bool) -> bytes:
    """One reply as bytes. Raises TypeError for what is not a reply (such as a set)."""
    out: list[bytes] = []
    encode_into(out, reply, resp3)
    return b"".join(out)


def encode_into(out: list[bytes], reply: Reply, resp3: bool) -> None:
    """Append the pieces of one encoded reply to `out`."""
    writer = _WRITERS.get(type(reply))
    if writer is None:
        writer = _inherited_writer(reply)
    writer(out, reply, resp3)


def encode_one(reply: Reply, resp3: bool) -> bytes:
    """As `encode`, with the frequent replies spelled out. Hot: what a client without a pipeline is sent. Raises
    HugeReply."""
    if type(reply) is bytes:
        size = len(reply)
        return (_SMALL_BULK_HEADERS[size] if size <= _SMALL_MAX else b"$%d\r\n" % size) + reply + _CRLF
    if reply is OK:
        return _OK
    if type(reply) is int:
        return _SMALL_INTEGERS[reply] if 0 <= reply <= _SMALL_MAX else b":%d\r\n" % reply
    if is_huge(reply):
        raise HugeReply
    return encode(reply, resp3)


def encode_many(replies: list[Reply], start: int, stop: int, resp3: bool) -> bytes:
    """`replies[start:stop]`, encoded one behind the other. Hot: one run per reply that leaves the server. Raises
    HugeReply."""
    out: list[bytes] = []
    _append_all(out, replies[start:stop], resp3, limited=True)
    return b"".join(out)


def _append_all(out: list[bytes], replies: Iterable[Any], resp3: bool, *, limited: bool = False) -> None:
    append = out.append
    null = _NULL[resp3]
    for reply in replies:
        if type(reply) is bytes:
            size = len(reply)
            append(_SMALL_BULK_HEADERS[size] if size <= _SMALL_MAX else b"$%d\r\n" % size)
            append(reply)
            append(_CRLF)
        elif reply is OK:
            append(_OK)
        elif reply is None:
            append(null)
        elif type(reply) is int:
            append(_SMALL_INTEGERS[reply] if 0 <= reply <= _SMALL_MAX else b":%d\r\n" % reply)
        elif limited and is_huge(reply):
            raise HugeReply
        else:
            encode_into(out, reply, resp3)


def is_huge(reply: Any) -> bool:
    """Whether it would stop others for longer than a slice of work."""
    kind = type(reply)
    if kind is list or kind is dict:
        return len(reply) > ITEMS_MAX
    return (kind is Pairs or kind is SetReply) and len(reply.items) > ITEMS_MAX


def encode_in_pieces(replies: Iterable[Reply], resp3: bool) -> Iterator[bytes]:
    """`replies`, encoded one behind the other; of a huge one ITEMS_MAX items in each piece."""
    for reply in replies:
        if is_huge(reply):
            yield from _pieces(reply, resp3)
        else:
            yield encode(reply, resp3)


def _pieces(reply: Any, resp3: bool) -> Iterator[bytes]:
    items: Iterator[Any]
    append: Callable[[list[bytes], list[Any], bool], None] = _append_all
    if isinstance(reply, Pairs):
        header, items, append = _pairs_header(reply, resp3), iter(reply.items), _append_pairs
    elif isinstance(reply, dict):
        header, items = _map_header(reply, resp3), chain.from_iterable(reply.items())
    else:
        word = b"~" if resp3 and isinstance(reply, SetReply) else b"*"
        listed = reply.items if isinstance(reply, SetReply) else reply
        header, items = b"%b%d\r\n" % (word, len(listed)), iter(listed)
    yield header
    while some := list(islice(items, ITEMS_MAX)):
        out: list[bytes] = []
        append(out, some, resp3)
        yield b"".join(out)


def _write_null(out: list[bytes], _reply: None, resp3: bool) -> None:
    out.append(_NULL[resp3])


def _write_bytes(out: list[bytes], reply: bytes, _resp3: bool) -> None:
    size = len(reply)
    out.append(_SMALL_BULK_HEADERS[size] if size <= _SMALL_MAX else b"$%d\r\n" % size)
    out.append(reply)
    out.append(_CRLF)


def _write_str(out: list[bytes], reply: str, resp3: bool) -> None:
    _write_bytes(out, reply.encode("utf-8", "surrogateescape"), resp3)


def _write_int(out: list[bytes], reply: int, _resp3: bool) -> None:
    out.append(_SMALL_INTEGERS[reply] if 0 <= reply <= _SMALL_MAX else b":%d\r\n" % reply)


def _write_bool(out: list[bytes], reply: bool, resp3: bool) -> None:
    out.append((_TRUE if reply else _FALSE)[resp3])


def _write_float(out: list[bytes], reply: float, resp3: bool) -> None:
    _write_double(out, double_text(reply), resp3)


def _write_spelled_double(out: list[bytes], reply: SpelledDouble, resp3: bool) -> None:
    _write_double(out, reply.text, resp3)


def _write_double(out: list[bytes], text: bytes, resp3: bool) -> None:
    if resp3:
        out.append(b",%b\r\n" % text)
    else:
        _write_bytes(out, text, resp3)


def double_text(number: float) -> bytes:
    """A double as Redis 7.0 writes it: 17 significant digits, so 0.1 is ``0.10000000000000001``."""
    if math.isnan(number):
        return b"nan"  # its sign bit means nothing
    return b"%.17g" % number


def _write_simple(out: list[bytes], reply: Simple, _resp3: bool) -> None:
    out.append(b"+%b\r\n" % _line(reply.text))


def _write_error(out: list[bytes], reply: Error, _resp3: bool) -> None:
    out.append(b"-%b\r\n" % _line(reply.text))


def _line(text: str) -> bytes:
    """Without line ends, else what a client put into an error text would be read as further replies.
    Bytes that were not UTF-8 come back as they were (surrogateescape), other lone surrogates as "?"."""
    text = text.strip("\r\n").replace("\r", " ").replace("\n", " ")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _write_null_array(out: list[bytes], _reply: NullArray, resp3: bool) -> None:
    out.append(_NULL_ARRAY[resp3])


def _write_items(out: list[bytes], header: bytes, items: list[Reply], resp3: bool) -> None:
    out.append(b"%b%d\r\n" % (header, len(items)))
    _append_all(out, items, resp3)


def _write_list(out: list[bytes], reply: list[Reply], resp3: bool) -> None:
    _write_items(out, b"*", reply, resp3)


def _write_set(out: list[bytes], reply: SetReply, resp3: bool) -> None:
    _write_items(out, b"~" if resp3 else b"*", reply.items, resp3)


def _write_push(out: list[bytes], reply: Push, resp3: bool) -> None:
    _write_items(out, b">" if resp3 else b"*", reply.items, resp3)


def _write_pairs(out: list[bytes], reply: Pairs, resp3: bool) -> None:
    out.append(_pairs_header(reply, resp3))
    _append_pairs(out, reply.items, resp3)


def _pairs_header(reply: Pairs, resp3: bool) -> bytes:
    return b"*%d\r\n" % (len(reply.items) if resp3 else 2 * len(reply.items))


def _append_pairs(out: list[bytes], pairs: Iterable[tuple[Reply, Reply]], resp3: bool) -> None:
    if not resp3:
        return _append_all(out, chain.from_iterable(pairs), resp3)
    for pair in pairs:
        out.append(b"*2\r\n")
        _append_all(out, pair, resp3)
    return None


def _write_dict(out: list[bytes], reply: dict[bytes, Reply], resp3: bool) -> None:
    out.append(_map_header(reply, resp3))
    _append_all(out, chain.from_iterable(reply.items()), resp3)


def _map_header(reply: dict[bytes, Reply], resp3: bool) -> bytes:
    return b"%%%d\r\n" % len(reply) if resp3 else b"*%d\r\n" % (2 * len(reply))


def _write_encoded(out: list[bytes], reply: Encoded, _resp3: bool) -> None:
    out.append(reply.data)


def _write_verbatim(out: list[bytes], reply: Verbatim, resp3: bool) -> None:
    if not resp3:
        _write_bytes(out, reply.text, resp3)
        return
    out.append(b"=%d\r\n%b:" % (len(reply.text) + 4, reply.format.encode("ascii")))
    out.append(reply.text)
    out.append(_CRLF)


_Writer = Callable[[list[bytes], Any, bool], None]
_WRITERS: Final[dict[type, _Writer]] = {
    type(None): _write_null,
    bytes: _write_bytes,
    str: _write_str,
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    list: _write_list,
    dict: _write_dict,
    Simple: _write_simple,
    Error: _write_error,
    NullArray: _write_null_array,
    SetReply: _write_set,
    Pairs: _write_pairs,
    Push: _write_push,
    Encoded: _write_encoded,
    Verbatim: _write_verbatim,
    SpelledDouble: _write_spelled_double,
}


def _inherited_writer(reply: object) -> _Writer:
    """For subclasses, such as an IntEnum."""
    for base in type(reply).__mro__:
        if base in _WRITERS:
            return _WRITERS[base]
    raise TypeError(f"{type(reply).__name__} is not a reply value")
