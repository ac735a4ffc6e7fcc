"""A payload of DUMP: type (1 byte), value, version of RDB (2 bytes), checksum of all before it (8 bytes).

Nothing tells where the value ends. What stands between it and the version is not looked at, as in Redis.
"""

from __future__ import annotations

from typing import Final

from raftkv.machines.redis.rdb.crc64 import crc64
from raftkv.machines.redis.rdb.fields import Reader, Writer
from raftkv.machines.redis.rdb.read import read
from raftkv.machines.redis.rdb.write import write
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import Value

VERSION: Final = 10
"""Of RDB, in Redis 7.0."""

_VERSION_BYTES, _CHECKSUM_BYTES = 2, 8


class WrongFooter(Exception):
    """The version is newer than this one, or the checksum is not that of the bytes."""


def payload_of(value: Value) -> bytes:
    writer = Writer()
    type_number = write(writer, value)
    content = bytes((type_number,)) + b"".join(writer.parts) + VERSION.to_bytes(_VERSION_BYTES, "little")
    return content + crc64(content).to_bytes(_CHECKSUM_BYTES, "little")


def value_of(payload: bytes, thresholds: Thresholds) -> Value:
    """The value in a payload; raises WrongFooter or Malformed."""
    _check_footer(payload)
    reader = Reader(payload)
    return read(reader.byte(), reader, thresholds)


def _check_footer(payload: bytes) -> None:
    content, checksum = payload[:-_CHECKSUM_BYTES], payload[-_CHECKSUM_BYTES:]
    if len(content) < _VERSION_BYTES or int.from_bytes(content[-_VERSION_BYTES:], "little") > VERSION:
        raise WrongFooter
    if crc64(content) != int.from_bytes(checksum, "little"):
        raise WrongFooter
