"""Reply values: what a command answers, before anyone asks for which RESP version it is encoded.

Plain Python values stand for themselves: bytes is a bulk string, int an integer, None the null, list an
array, dict a map (RESP2: a flat array), float a double (RESP2: a bulk string), bool a boolean (RESP2: 0/1),
set or frozenset never (their order is not deterministic). What Python has no word for has a class here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, cast

import msgspec


class Simple(msgspec.Struct, frozen=True, gc=False):
    """A status line such as +OK."""

    text: str


class Error(msgspec.Struct, frozen=True, gc=False):
    """An error line: `text` starts with its code word, such as ``ERR`` or ``WRONGTYPE``, without the dash."""

    text: str


class NullArray(msgspec.Struct, frozen=True, gc=False):
    """RESP2's ``*-1`` (RESP3: the one null). Redis answers it where an array was asked for."""


class Walk:
    """An array (or what is in a SetReply, Map or Pairs) of so many items that to list them would stop everybody: they
    are taken one by one while the reply leaves. It must give the same items each time, whatever becomes of the state
    meanwhile."""

    __slots__ = ("_begin", "_count")

    def __init__(self, count: int, begin: Callable[[], Iterable[Any]]) -> None:
        self._count = count
        self._begin = begin

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        # What has no items itself keeps this alive, and with it what is walked: an iterator may know no more of that
        # than a list which its owner, when nobody holds it, gives away to be freed.
        return chain(self._begin(), islice((self,), 0))


class SetReply(msgspec.Struct, frozen=True, gc=False):
    """A RESP3 set (RESP2: array). The order of `items` is the machine's and must be deterministic."""

    items: list[Reply] | Walk


class Map(msgspec.Struct, frozen=True, gc=False):
    """As a dict, of pairs that are walked."""

    items: Walk


class Pairs(msgspec.Struct, frozen=True, gc=False):
    """Pairs, such as members with their scores. RESP3: an array of arrays of two; RESP2: one flat array."""

    items: list[tuple[Reply, Reply]] | Walk


class Verbatim(msgspec.Struct, frozen=True, gc=False):
    """RESP3 verbatim string of a three-letter `format` (RESP2: bulk string)."""

    text: bytes
    format: str = "txt"


class SpelledDouble(msgspec.Struct, frozen=True, gc=False):
    """A RESP3 double (RESP2: bulk string) that is spelled otherwise than a float would be: coordinates of places have
    17 digits behind the point, which make another number when it is small."""

    text: bytes


class Push(msgspec.Struct, frozen=True, gc=False):
    """RESP3 push (RESP2: array)."""

    items: list[Reply]


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A reply that another member has encoded already, for the RESP version of who asks. Not for machines."""

    data: bytes


Reply = (
    None
    | int
    | bytes
    | float
    | bool
    | str
    | list["Reply"]
    | dict[bytes, "Reply"]
    | Simple
    | Error
    | NullArray
    | Walk
    | SetReply
    | Map
    | Pairs
    | Verbatim
    | SpelledDouble
    | Push
    | Encoded
)


def own(items: list[bytes]) -> list[Reply]:
    """A list that nobody else holds is a reply as it stands; the type checker wants a copy, lest somebody else finds
    other replies in it. To copy a million would stop everybody for 10 ms."""
    return cast(list[Reply], items)


OK: Final = Simple("OK")
NULL_ARRAY: Final = NullArray()
NO_ANSWER: Final = Error("NOANSWER the machine has no answer to this command")
"""For a machine that does not want to answer (ExRaft's ``:noreply``). A Redis client must get something, or it would
take all later replies for earlier ones."""


def wrong_arity(name: str) -> Error:
    """The refusal of a known command with too few or too many arguments; `name` in lower case."""
    return Error(f"ERR wrong number of arguments for '{name}' command")


def unknown_command(argv: list[bytes]) -> Error:
    """The refusal of a name that is in no table. Shows the start of the arguments, at most some 128 bytes.

    Line ends become spaces, or the text would end its own error line early; bytes that are not UTF-8 are
    replaced, since an error is text here.
    """
    shown = b""
    for argument in argv[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % _printable(argument, 128 - len(shown))
    name = _printable(argv[0], 128) if argv else b""
    text = b"ERR unknown command '%b', with args beginning with: %b" % (name, shown)
    return Error(text.translate(_LINE_ENDS_TO_SPACES).decode(errors="replace"))


def shown(word: bytes) -> str:
    """A client's word, as error texts quote it: its first 128 bytes, as C prints them."""
    return _printable(word, 128).decode("utf-8", "surrogateescape")


_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")


def _printable(data: bytes, length_max: int) -> bytes:
    """As C prints it: up to the first NUL."""
    return data[:length_max].split(b"\0", 1)[0]
