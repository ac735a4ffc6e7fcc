"""Up to which size a collection has its compact encoding: Redis's names and defaults.

Here an encoding is only a word that OBJECT ENCODING and DUMP show: memory is the same. But it is shown, so members must
agree on it, and the thresholds are part of the replicated state.
"""

from __future__ import annotations

import msgspec


class Thresholds(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Entries count members (of hashes: fields), values are lengths in bytes."""

    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    set_max_intset_entries: int = 512
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64
    hll_sparse_max_bytes: int = 3000
