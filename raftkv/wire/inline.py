"""Inline commands: a line typed by a person (telnet, nc) is split into arguments as a shell would.

Rules, the same as Redis's: arguments are separated by white space; double quotes understand backslash
escapes (``\\n \\r \\t \\b \\a \\xHH``, any other escaped character stands for itself); single quotes understand
only ``\\'``; a quote may open in the middle of an argument, and after a closing quote white space or the
end must follow.

Strategy: each alternative of one regular expression matches one piece of an argument, so the loop runs
once per piece and not once per byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Skipped between arguments; vertical tab and form feed do not end a bare word, as in Redis.
_BLANKS: Final = re.compile(rb"[ \t\n\v\f\r]*")
_BARE: Final = re.compile(rb"[^ \t\n\r\"']+")
_DOUBLE_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(?=[ \t\n\v\f\r]|\Z)', re.DOTALL)
_SINGLE_QUOTED: Final = re.compile(rb"'((?:[^'\\]|\\'|\\(?!'))*)'(?=[ \t\n\v\f\r]|\Z)", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_arguments(line: bytes) -> list[bytes] | None:
    """The arguments of `line` (without its line end); None when the quotes are unbalanced."""
    argv: list[bytes] = []
    try:
        argv.extend(_arguments(line))
    except _Unbalanced:
        return None
    return argv


class _Unbalanced(Exception):
    pass


def _arguments(line: bytes) -> Iterator[bytes]:
    position = _skip_blanks(line, 0)
    while position < len(line):
        argument, position = _argument(line, position)
        yield argument
        position = _skip_blanks(line, position)


def _skip_blanks(line: bytes, position: int) -> int:
    match = _BLANKS.match(line, position)
    return match.end() if match else position


def _argument(line: bytes, position: int) -> tuple[bytes, int]:
    pieces: list[bytes] = []
    while position < len(line):
        first = line[position : position + 1]
        if first == b'"':
            match = _DOUBLE_QUOTED.match(line, position)
            if match is None:
                raise _Unbalanced
            pieces.append(_ESCAPE.sub(_unescape, match[1]))
        elif first == b"'":
            match = _SINGLE_QUOTED.match(line, position)
            if match is None:
                raise _Unbalanced
            pieces.append(match[1].replace(b"\\'", b"'"))
        else:
            match = _BARE.match(line, position)
            if match is None:
                break
            pieces.append(match[0])
        position = match.end()
        if first in b"\"'":
            break
    return b"".join(pieces), position


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes.fromhex(match[1].decode())
    return _ESCAPED.get(match[2], match[2])
