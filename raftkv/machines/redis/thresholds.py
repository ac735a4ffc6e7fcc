"""Up to which size a collection has its compact encoding: Redis's names and defaults.

Here an encoding is only a word that OBJECT ENCODING and DUMP show: memory is the same. But it is shown, so members must
agree on it, and the thresholds are part of the replicated state. CONFIG SET changes them by the internal command
CONFIGURE, which no client can send: it is in no table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from raftkv.machines.numbers import parse_integer

CONFIGURE: Final = b"CONFIGURE"


class Thresholds(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Entries count members (of hashes: fields), values are lengths in bytes."""

    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    set_max_intset_entries: int = 512
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64
    hll_sparse_max_bytes: int = 3000


def configure_command(changes: Mapping[str, int]) -> list[bytes]:
    """The internal command that changes thresholds by their names here. Its reply is OK."""
    return [CONFIGURE, *(word for name, value in changes.items() for word in (name.encode(), b"%d" % value))]


def changed(thresholds: Thresholds, words: Sequence[bytes]) -> Thresholds | None:
    """With what stands behind CONFIGURE; None when that makes no sense."""
    names = [name.decode(errors="replace") for name in words[::2]]
    values = [parse_integer(value) for value in words[1::2]]
    known = all(name in Thresholds.__struct_fields__ for name in names)
    if len(words) % 2 or not known or any(value is None or value < 0 for value in values):
        return None
    return msgspec.structs.replace(thresholds, **dict(zip(names, values, strict=True)))
