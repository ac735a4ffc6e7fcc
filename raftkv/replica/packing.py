"""Reply values as bytes and back, to be kept: so that a repeated command can be given its first reply again.

Packed is MessagePack. What it has no word for is an extension whose code says the type. Text is packed with
"surrogatepass", since an error may quote a client's bytes that are no UTF-8 (as lone surrogates).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.msgpack import Ext

from raftkv.machines.replies import (
    NULL_ARRAY,
    OK,
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

NO_REPLY: Final = Error("ERR the machine answered with what is no reply; what the command did stands")

_SIMPLE, _ERROR, _NULL_ARRAY, _SET, _VERBATIM, _PUSH, _TEXT, _LARGE, _PAIRS, _DOUBLE = range(1, 11)
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


def pack(reply: Reply) -> bytes:
    """Raises TypeError for what is not a reply."""
    return _encode(_plain(reply))


def unpack(packed: bytes) -> Reply:
    reply: Reply = _decoder.decode(packed)
    return reply


def _plain(reply: Reply) -> Any:
    if reply is None or isinstance(reply, bytes | float | bool):
        return reply
    if isinstance(reply, int):
        return int(reply) if _INT_MIN <= reply <= _INT_MAX else Ext(_LARGE, b"%d" % reply)
    if isinstance(reply, str):
        return Ext(_TEXT, _bytes(reply))
    if isinstance(reply, list | Walk):
        return [_plain(item) for item in reply]
    if isinstance(reply, dict | Map):
        pairs = reply.items() if isinstance(reply, dict) else reply.items
        return {key: _plain(value) for key, value in pairs}
    writer = _WRITERS.get(type(reply))
    if writer is None:
        raise TypeError(f"{type(reply).__name__} is not a reply value")
    return writer(reply)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_WRITERS: Final[dict[type, Callable[[Any], Ext]]] = {
    Simple: lambda reply: Ext(_SIMPLE, _bytes(reply.text)),
    Error: lambda reply: Ext(_ERROR, _bytes(reply.text)),
    NullArray: lambda reply: Ext(_NULL_ARRAY, b""),  # noqa: ARG005
    SetReply: lambda reply: Ext(_SET, pack([*reply.items])),
    Verbatim: lambda reply: Ext(_VERBATIM, reply.format.encode() + b"\0" + reply.text),
    SpelledDouble: lambda reply: Ext(_DOUBLE, reply.text),
    Push: lambda reply: Ext(_PUSH, pack(reply.items)),
    Pairs: lambda reply: Ext(_PAIRS, pack([item for pair in reply.items for item in pair])),
}


def _verbatim(data: bytes) -> Verbatim:
    format_, _, text = data.partition(b"\0")
    return Verbatim(text, format_.decode())


def _pairs(flat: list[Reply]) -> Pairs:
    return Pairs(list(zip(flat[::2], flat[1::2], strict=True)))


_READERS: Final[dict[int, Callable[[bytes], Reply]]] = {
    _SIMPLE: lambda data: OK if data == b"OK" else Simple(_text(data)),
    _ERROR: lambda data: Error(_text(data)),
    _NULL_ARRAY: lambda data: NULL_ARRAY,  # noqa: ARG005
    _SET: lambda data: SetReply(_decoder.decode(data)),
    _VERBATIM: _verbatim,
    _DOUBLE: SpelledDouble,
    _PUSH: lambda data: Push(_decoder.decode(data)),
    _TEXT: _text,
    _PAIRS: lambda data: _pairs(_decoder.decode(data)),
    _LARGE: int,
}

_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(
    ext_hook=lambda code, data: _READERS[code](bytes(data))
)
