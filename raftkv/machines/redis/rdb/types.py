"""The types of values in RDB, by their numbers.

One type of value has several: its compact form and its large one, and what these were in older versions of Redis.
Streams (15, 19) and the values of modules (6, 7) are not among them.
"""

from __future__ import annotations

from typing import Final

STRING: Final = 0
LIST: Final = 1
SET: Final = 2
ZSET: Final = 3
HASH: Final = 4
ZSET_2: Final = 5
HASH_ZIPMAP: Final = 9
LIST_ZIPLIST: Final = 10
SET_INTSET: Final = 11
ZSET_ZIPLIST: Final = 12
HASH_ZIPLIST: Final = 13
LIST_QUICKLIST: Final = 14
HASH_LISTPACK: Final = 16
ZSET_LISTPACK: Final = 17
LIST_QUICKLIST_2: Final = 18

PLAIN: Final = 1
"""A node of LIST_QUICKLIST_2 that is one element."""

PACKED: Final = 2
"""A node of LIST_QUICKLIST_2 that is a listpack of elements."""
