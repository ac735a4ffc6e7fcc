"""What a handler has returned, as a reply that can be sent: an allow-list of what `wire/resp_encode.py` can write.

All but a Push: that is no answer, and a RESP3 client would go on waiting for one.

Judged where the handler can still be undone. Were it found out when the reply is written, the command would be done,
and its client cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftkv.machines.numbers import INT64_MAX, INT64_MIN
from raftkv.machines.replies import Error, NullArray, Reply, SetReply, Simple, Verbatim

DEPTH_MAX: Final = 16
"""Of lists within lists: far below where Python's stack ends, and above what clients can read (hiredis: 9)."""

_READY: Final = frozenset({bytes, bool, float, type(None), NullArray})
_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    int: int.__int__,
    str: str.__str__,
    bytes: bytes.__bytes__,
    float: float.__float__,
}
"""Of subclasses, such as an IntEnum: what they are as the plain type."""


def reply_of(result: Any, depth: int = 0) -> Reply:
    """Raises TypeError or ValueError for what is no reply."""
    kind = type(result)
    if kind in _READY:
        return result  # type: ignore[no-any-return]
    if kind is int:
        if INT64_MIN <= result <= INT64_MAX:
            return result  # type: ignore[no-any-return]
        raise ValueError("an integer of more than 64 bits is no reply: return it as text")
    if kind is str:
        result.encode()  # raises for lone surrogates
        return result  # type: ignore[no-any-return]
    if depth == DEPTH_MAX:
        raise ValueError(f"a reply must not be nested more than {DEPTH_MAX} deep")
    if isinstance(result, tuple | list):
        return [reply_of(item, depth + 1) for item in result]
    if isinstance(result, dict):
        return {_key(key): reply_of(value, depth + 1) for key, value in result.items()}
    if kind is SetReply:
        return SetReply([reply_of(item, depth + 1) for item in result.items])
    if kind in (Simple, Error) and type(result.text) is str:
        result.text.encode()
        return result  # type: ignore[no-any-return]
    if kind is Verbatim and type(result.text) is bytes and len(result.format.encode("ascii")) == 3:
        return result  # type: ignore[no-any-return]
    for plain, convert in _PLAIN.items():
        if isinstance(result, plain):
            return reply_of(convert(result), depth)
    raise TypeError(f"a {kind.__name__} is no reply: return a list, a dict, or one value")


def _key(key: Any) -> Any:
    plain = reply_of(key, DEPTH_MAX)
    return plain.encode() if type(plain) is str else plain
