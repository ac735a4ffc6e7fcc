"""RESP requests: bytes of a client connection -> commands, each a flat list of bytes.

    feed(bytes) ---> unparsed bytes ---> whole commands, canonically spelled: `_take_window` (the hot path)
                                    \\--> everything else, byte for byte as Redis: `RequestParser._step`

The hot path cuts a window of the unparsed bytes at every CRLF with one `bytes.split` and then only checks
that the pieces fit: piece 0 must be a count, pieces 1, 3, 5 ... the headers that belong to the lengths of
pieces 2, 4, 6 ... What fits is proven to be a command (the headers are compared with the ones that would
have been written, nothing is guessed), so nothing has to be checked afterwards. It stops, without having
consumed anything of it, at the first command that does not fit: a part is still to come, a value is
large, the command is inline or wrong. (A value that contains CRLF is put together again.) That one goes
through `_step`, which reads a command piece by piece, keeps what it has over any number of feeds, and
knows Redis's error texts.

Why not hiredis, which is a client's parser: it takes any RESP type at any depth and hides which one it saw
(a simple string and a bulk string are both bytes), reserves the memory for a declared count before anyone
can look at it (``~100000000`` inside a command reserves 800 MB, and freeing them took over a second), and
refuses inline commands. Checking all of that around it costs as much as it saves.

The result does not depend on how the bytes are chopped into feeds, with one intended exception: before
authentication commands are handed out one by one, as AUTH changes the limits for what follows it.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Final

from raftkv.errors import ProtocolError
from raftkv.wire.inline import split_arguments
from raftkv.wire.limits import (
    BULK_BYTES_MAX,
    INLINE_BYTES_MAX,
    MULTIBULK_COUNT_MAX,
    UNAUTHENTICATED_BULK_BYTES_MAX,
    UNAUTHENTICATED_COUNT_MAX,
)

# A window larger than a typical deep pipeline's share of cache only costs: when a command does not fit, the
# rest of its window was cut in vain.
_WINDOW_BYTES: Final = 4096
_COUNT_FAST_MAX: Final = 1023
# Indexed by length. One entry for each length that a window can hold.
_BULK_HEADERS: Final = [b"$%d" % length for length in range(_WINDOW_BYTES + 1)]
_BULK_LENGTHS: Final = {header: length for length, header in enumerate(_BULK_HEADERS)}
# Count header -> number of pieces of such a command.
_PIECES: Final = {b"*%d" % count: 2 * count + 1 for count in range(1, _COUNT_FAST_MAX + 1)}

# Held arguments are counted with CPython's own cost for a small bytes object and its place in the list:
# a million empty arguments are 6 MB on the wire and must not look like nothing here.
_ARGUMENT_OVERHEAD_BYTES: Final = 41

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch
_STAR: Final = ord("*")
_CR: Final = ord("\r")


def whole_command(data: bytes) -> list[bytes] | None:
    """The command, when `data` is exactly one of two or three arguments, canonically spelled and short; else None,
    and a `RequestParser` has to say what it is. Hot: what a client without a pipeline sends, nearly always."""
    if len(data) > _WINDOW_BYTES:
        return None
    pieces = data.split(b"\r\n")
    headers = _BULK_HEADERS
    if len(pieces) == 6:
        count, header_0, name, header_1, key, rest = pieces
        if count == b"*2" and not rest and headers[len(key)] == header_1 and headers[len(name)] == header_0:
            return [name, key]
    elif len(pieces) == 8:
        count, header_0, name, header_1, key, header_2, value, rest = pieces
        if (
            count == b"*3"
            and not rest
            and headers[len(key)] == header_1
            and headers[len(value)] == header_2
            and headers[len(name)] == header_0
        ):
            return [name, key, value]
    return None


class RequestParser:
    """Parses what one client sends. Not a task, not a buffer manager: feed, then parse until not `pending`.

    bulk_bytes_max: longest argument, in bytes.
    multibulk_count_max: most arguments of one command, its name included.
    inline_bytes_max: longest inline command and longest header line, in bytes.
    """

    __slots__ = (
        "_argv",
        "_argv_bytes",
        "_bulk",
        "_bulk_bytes",
        "_bulk_bytes_max",
        "_counts_left",
        "_data",
        "_error",
        "_fast",
        "_fresh",
        "_inline_bytes_max",
        "_more",
        "_multibulk_count_max",
        "_position",
        "_ready",
        "_step_until",
        "_waiting",
        "authenticated",
    )

    def __init__(
        self,
        *,
        bulk_bytes_max: int = BULK_BYTES_MAX,
        multibulk_count_max: int = MULTIBULK_COUNT_MAX,
        inline_bytes_max: int = INLINE_BYTES_MAX,
    ) -> None:
        self._bulk_bytes_max = bulk_bytes_max
        self._multibulk_count_max = multibulk_count_max
        self._inline_bytes_max = inline_bytes_max
        # The hot path checks no limits; it needs none as long as the limits allow all that fits a window.
        self._fast = bulk_bytes_max >= _WINDOW_BYTES and multibulk_count_max >= _COUNT_FAST_MAX
        self.authenticated = True
        """False: the limits for strangers hold, and `parse` returns one command at a time."""

        self._data = b""  # unparsed from _position on
        self._position = 0
        self._more = bytearray()  # fed while _data was not used up
        self._fresh = self._fast  # nothing is held but perhaps one feed: the state between most feeds
        self._waiting = False  # what is in _data cannot be completed before the next feed
        self._step_until = 0  # the hot path failed somewhere before this position
        self._ready: list[list[bytes]] = []  # complete, not handed out yet
        self._error: str | None = None  # the end of the stream, after all that is ready

        self._argv: list[bytes] = []  # the command that is being read by _step ...
        self._argv_bytes = 0
        self._counts_left = 0  # ... the arguments it still lacks ...
        self._bulk_bytes = -1  # ... the length of the next one, -1: header not read yet ...
        self._bulk = bytearray()  # ... and what has come of it, when it came in parts

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for this client: unparsed, of commands under way, and of commands not handed out."""
        ready_bytes = sum(map(len, chain.from_iterable(self._ready)))
        unparsed_bytes = len(self._data) - self._position + len(self._more)
        return ready_bytes + unparsed_bytes + self._argv_bytes + len(self._bulk)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing at all is held, and a command may go through `whole_command` instead."""
        return self._fresh and not self._data and self.authenticated

    @property
    def pending(self) -> bool:
        """Whether `parse` may have more to say (commands or an error) without another feed. A hint: True
        may turn out to be an incomplete command; False is certain."""
        unparsed = self._data and not self._waiting
        return bool(unparsed or self._ready or self._error is not None)

    def feed(self, data: bytes) -> None:
        """Take what arrived. After a protocol error everything is dropped: the stream has lost its place."""
        if not self._data:
            self._data = data
        elif data:
            self._more += data
            self._waiting = self._fresh = False
        if self._error is not None:
            self._drop()

    def parse(self, commands_max: int) -> list[list[bytes]]:
        """The next complete commands, at most `commands_max`; empty: feed more.

        Raises ProtocolError (then and on every later call) when all commands before the error have been
        returned; its text is what Redis puts behind "Protocol error: ".
        """
        if self._fresh and self.authenticated:
            data = self._data
            if len(data) <= _WINDOW_BYTES:
                commands: list[list[bytes]] = []
                used = _parse_window(data, commands)
                if used == len(data) and len(commands) <= commands_max:
                    self._data = b""
                    return commands
                self._ready = commands
                self._position = used
        return self._parse_held(commands_max if self.authenticated else 1)

    def _parse_held(self, commands_max: int) -> list[list[bytes]]:
        """`parse`, when something is left of earlier feeds or calls."""
        self._fresh = False
        if len(self._ready) < commands_max:
            self._fill(commands_max)
        ready = self._ready
        if not ready and self._error is not None:
            raise ProtocolError(self._error)
        if len(ready) > commands_max:
            self._ready = ready[commands_max:]
            return ready[:commands_max]
        self._ready = []
        self._fresh = self._fast and not (self._data or self._counts_left or self._error is not None)
        return ready

    def _fill(self, commands_max: int) -> None:
        """Parse until `commands_max` commands are ready or no further one can be."""
        if self._more:
            self._data = self._data[self._position :] + bytes(self._more)
            self._position = self._step_until = 0
            self._more = bytearray()
        data = self._data
        while len(self._ready) < commands_max and not self._waiting:
            if self._position >= len(data):
                self._data = b""
                self._position = self._step_until = 0
                return
            if not self._take_window(data) and not self._step_safely():
                return

    def _take_window(self, data: bytes) -> bool:
        """Go through one window the fast way; False when that is not possible here."""
        position = self._position
        if self._counts_left or position < self._step_until or not (self._fast and self.authenticated):
            return False
        window = data[position : position + _WINDOW_BYTES]
        used = 0
        if len(window) < _WINDOW_BYTES or _CR in window[_WINDOW_BYTES // 4 :]:
            used = _parse_window(window, self._ready)
        self._position += used
        if not used:
            # One failed attempt per window: otherwise a run of odd commands would cost a split for each.
            self._step_until = position + len(window)
        return used > 0

    def _step_safely(self) -> bool:
        try:
            advanced = self._step()
        except ProtocolError as error:
            self._error = str(error)
            self._drop()
            return False
        if not advanced and self._position >= len(self._data):
            self._data = b""  # all of it went into the argument under way
            self._position = self._step_until = 0
        self._waiting = not advanced and bool(self._data)
        return advanced

    def _drop(self) -> None:
        self._data = b""
        self._position = 0
        self._more = bytearray()
        self._bulk = bytearray()
        self._argv = []
        self._argv_bytes = self._counts_left = 0
        self._fresh = False

    def _step(self) -> bool:
        """Read on to the end of one command, or of nothing (``*0``, an empty line). False: bytes are missing."""
        if not self._counts_left:
            if self._data[self._position] != _STAR:
                return self._inline()
            if not self._count():
                return False
        while self._counts_left:
            if not self._argument():
                return False
        if self._argv:
            self._ready.append(self._argv)
            self._argv = []
            self._argv_bytes = 0
        return True

    def _inline(self) -> bool:
        data, start = self._data, self._position
        end = data.find(b"\n", start, start + self._inline_bytes_max + 1)
        # A zero byte hides the rest of the line from Redis: it waits for more until the limit is reached.
        if end < 0 or data.find(b"\0", start, end) >= 0:
            if len(data) - start > self._inline_bytes_max:
                raise ProtocolError("too big inline request")
            return False
        argv = split_arguments(data[start:end].removesuffix(b"\r"))
        if argv is None:
            raise ProtocolError("unbalanced quotes in request")
        if argv:
            self._ready.append(argv)
        self._position = end + 1
        return True

    def _count(self) -> bool:
        header = self._header("too big mbulk count string")
        if header is None:
            return False
        count = _integer(header[1:])
        if count is None or count > self._multibulk_count_max:
            raise ProtocolError("invalid multibulk length")
        if count > UNAUTHENTICATED_COUNT_MAX and not self.authenticated:
            raise ProtocolError("unauthenticated multibulk length")
        self._counts_left = max(count, 0)
        return True

    def _argument(self) -> bool:
        if self._bulk_bytes < 0 and not self._bulk_header():
            return False
        data, start = self._data, self._position
        end = start + self._bulk_bytes + 2 - len(self._bulk)  # like Redis, any two bytes end an argument
        self._position = min(end, len(data))
        if end > len(data):
            self._bulk += memoryview(data)[start:]
            return False
        if self._bulk:
            self._bulk += memoryview(data)[start:end]
            argument = bytes(memoryview(self._bulk)[: self._bulk_bytes])
            self._bulk = bytearray()
        else:
            argument = data[start : end - 2]
        self._argv.append(argument)
        self._argv_bytes += len(argument) + _ARGUMENT_OVERHEAD_BYTES
        self._counts_left -= 1
        self._bulk_bytes = -1
        return True

    def _bulk_header(self) -> bool:
        start = self._position
        header = self._header("too big bulk count string")
        if header is None:
            return False
        if header[:1] != b"$":
            got = self._data[start : start + 1].replace(b"\r", b" ").replace(b"\n", b" ")
            raise ProtocolError(f"expected '$', got '{got.decode('utf-8', 'surrogateescape')}'")
        length = _integer(header[1:])
        if length is None or length < 0 or length > self._bulk_bytes_max:
            raise ProtocolError("invalid bulk length")
        if length > UNAUTHENTICATED_BULK_BYTES_MAX and not self.authenticated:
            raise ProtocolError("unauthenticated bulk length")
        self._bulk_bytes = length
        return True

    def _header(self, too_big: str) -> bytes | None:
        """The line at the position, which moves behind it; None: not complete. Like Redis, a carriage return
        and any one byte end a line, and a zero byte hides the rest."""
        data, start = self._data, self._position
        end = data.find(b"\r", start, start + self._inline_bytes_max + 1)
        if end < 0 or 0 in (header := data[start:end]):
            if len(data) - start > self._inline_bytes_max:
                raise ProtocolError(too_big)
            return None
        if end + 2 > len(data):
            return None
        self._position = end + 2
        return header


def _integer(text: bytes) -> int | None:
    """A 64-bit integer spelled in the one canonical way: no plus sign, no leading zeros, no blanks."""
    if not _INTEGER(text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def _parse_window(window: bytes, commands: list[list[bytes]]) -> int:
    """Append the complete, canonical commands at the start of `window`; returns how many bytes they take.

    Hot: runs once per command. Commands of two and three arguments are spelled out, which is twice as fast
    as the general way.
    """
    pieces = window.split(b"\r\n")
    headers, pieces_of = _BULK_HEADERS, _PIECES
    append = commands.append
    last = len(pieces) - 1  # the piece behind the last CRLF: the start of something incomplete, or empty
    at = 0
    while at < last:
        count = pieces[at]
        if count == b"*3" and at + 7 <= last:
            _, header_0, name, header_1, key, header_2, value = pieces[at : at + 7]
            if headers[len(key)] == header_1 and headers[len(value)] == header_2 and headers[len(name)] == header_0:
                append([name, key, value])
                at += 7
                continue
        elif count == b"*2" and at + 5 <= last:
            _, header_0, name, header_1, key = pieces[at : at + 5]
            if headers[len(key)] == header_1 and headers[len(name)] == header_0:
                append([name, key])
                at += 5
                continue
        else:
            end = at + pieces_of.get(count, last + 1)
            if end > last:
                break
            argv = pieces[at + 2 : end : 2]
            header_at = at + 1
            for argument in argv:
                if headers[len(argument)] != pieces[header_at]:
                    break
                header_at += 2
            else:
                append(argv)
                at = end
                continue
        argv, at = _take_cut_command(pieces, at)
        if not argv:
            break
        append(argv)
    if at == last and not pieces[last]:
        return len(window)
    return len(window) - sum(map(len, pieces[at:])) - 2 * (last - at)


def _take_cut_command(pieces: list[bytes], start: int) -> tuple[list[bytes], int]:
    """The command whose count is piece `start`, and the place behind it; ([], start) when it is not all there
    or not canonical. Puts values together again that contain CRLF and so were cut."""
    count = _PIECES.get(pieces[start], 0) // 2
    argv: list[bytes] = []
    at = start + 1
    while len(argv) < count:
        if at + 1 >= len(pieces) - 1:
            return [], start
        length = _BULK_LENGTHS.get(pieces[at], -1)
        first = at = at + 1
        missing = length - len(pieces[at])
        while missing > 0:
            at += 1
            if at >= len(pieces) - 1:
                return [], start
            missing -= 2 + len(pieces[at])
        if missing:
            return [], start
        argv.append(pieces[at] if at == first else b"\r\n".join(pieces[first : at + 1]))
        at += 1
    return argv, at
