"""How a handler refuses a command, and the texts that several commands share.

A handler raises `Refused` before it has changed anything; the machine's loop turns it into the reply. The texts
are Redis's own, byte for byte, because clients match on them.
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.replies import Error


class Refused(Exception):
    """The command is answered with `reply` and has changed nothing."""

    def __init__(self, reply: Error) -> None:
        super().__init__(reply.text)
        self.reply = reply


WRONG_TYPE: Final = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
SYNTAX: Final = Error("ERR syntax error")
NOT_AN_INTEGER: Final = Error("ERR value is not an integer or out of range")
NOT_A_FLOAT: Final = Error("ERR value is not a valid float")
NOT_POSITIVE: Final = Error("ERR value is out of range, must be positive")
OUT_OF_RANGE: Final = Error("ERR value is out of range")
WOULD_OVERFLOW: Final = Error("ERR increment or decrement would overflow")
INDEX_OUT_OF_RANGE: Final = Error("ERR index out of range")
NO_SUCH_KEY: Final = Error("ERR no such key")
SAME_OBJECT: Final = Error("ERR source and destination objects are the same")
DATABASE_OUT_OF_RANGE: Final = Error("ERR DB index is out of range")
STRING_TOO_LONG: Final = Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def invalid_expire_time(name: str) -> Error:
    """The refusal of an expiry that is not positive where it must be, or beyond what 64 bits hold."""
    return Error(f"ERR invalid expire time in '{name}' command")
