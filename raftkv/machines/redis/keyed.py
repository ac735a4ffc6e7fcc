"""What hashes, sets and sorted sets have in common: members found by their names, in a dict.

Two needs go beyond a dict: a position to continue from (HSCAN, SSCAN, ZSCAN) and a member at random (SPOP and its kin).
Both are answered by an index in the order of a hash of the names (keyindex.py), made at its first use and kept up from
then on; a compact collection answers without it, as Redis does: a scan gives all at once.

Members that are walked for a reply or a snapshot stay in their dict as they are, with an `Overlay` (overlay.py) for the
changes, until nobody walks them any more.

What is drawn is a function of the members and of the chance given, never of the history of the index, which differs
between members of the cluster: SPOP changes the state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, MutableMapping
from itertools import islice
from random import Random
from typing import Any, Final, Generic, Self, TypeVar, cast

from raftkv.machines.redis.graveyard import bury
from raftkv.machines.redis.keyindex import INDEX_BYTES, KeyIndex
from raftkv.machines.redis.overlay import Overlay
from raftkv.machines.redis.sizes import block_bytes
from raftkv.machines.redis.values import LISTED_MAX, Collection

V = TypeVar("V")

WALK_MEMBERS_MAX: Final = 512
"""Up to so many members one at random is found by walking."""


class Keyed(Collection, Generic[V]):
    """`members`: name -> what belongs to it. Read it freely; change it by the methods of the derived class alone.
    Its order is part of the state (`pieces` and `copy` keep it).

    is_compact: whether the encoding is still the compact one.
    """

    __slots__ = ("_index", "is_compact", "members")

    def __init__(self, members: dict[bytes, V] | None = None, *, is_compact: bool = True) -> None:
        self.members: MutableMapping[bytes, V] = {} if members is None else members
        self.is_compact = is_compact
        self._index: KeyIndex | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __del__(self, bury: Callable[[dict[Any, Any]], None] = bury) -> None:
        # Bound early: at the end of the process the module's names may be gone.
        if type(self.members) is dict:
            bury(self.members)

    def put(self, name: bytes, value: V) -> None:
        """Add a member, or give it another value."""
        if self._index is not None and name not in self.members:
            self._index.add(name)
        self.members[name] = value

    def discard(self, name: bytes) -> bool:
        """Take a member out; whether it was there."""
        if name not in self.members:
            return False
        del self.members[name]
        if self._index is not None:
            self._index.discard(name)
        return True

    def replace_members(self, members: dict[bytes, V]) -> None:
        """`members`: some of those that there are, in their order."""
        if type(self.members) is dict:
            bury(self.members)
        self.members = members
        self._index = None

    def frozen(self) -> Self:
        if len(self.members) <= LISTED_MAX:
            return self.copy()
        if not isinstance(self.members, Overlay):
            self.members = Overlay(cast(dict[bytes, V], self.members))
        frozen = type(self)(is_compact=self.is_compact)
        frozen.members = cast(MutableMapping[bytes, V], self.members.view())
        return frozen

    def thaw(self, budget: int) -> bool:
        members = self.members
        if isinstance(members, Overlay):
            if members.merge(budget) == 0:
                return False
            self.members = members.base
        return True

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About `count` names from `cursor` on, and the cursor to go on with; 0: nothing is left. Of a compact
        collection all at once."""
        if self.is_compact:
            return 0, list(self.members)
        return self._hash_order().page(cursor, count)

    def draw(self, chance: Random) -> bytes:
        """The name of a member, each equally likely; the same on all members of the cluster. There must be one."""
        length = len(self.members)
        if length <= WALK_MEMBERS_MAX:
            return next(islice(self.members, chance.randrange(length), None))
        return self._hash_order().draw(chance, length)

    def sample(self, chance: Random, count: int) -> list[bytes]:
        """The names of `count` different members, all if there are not more."""
        length = len(self.members)
        if count >= length:
            return list(self.members)
        if count * 3 >= length or length <= WALK_MEMBERS_MAX:
            return chance.sample(list(self.members), count)
        drawn: dict[bytes, None] = {}
        while len(drawn) < count:
            drawn[self.draw(chance)] = None
        return list(drawn)

    def _hash_order(self) -> KeyIndex:
        if self._index is None:
            self._index = KeyIndex(self.members)
        return self._index

    def size_bytes(self, samples: int) -> int:
        count = len(self.members)
        looked_at = min(samples, count) or count
        parts = islice(self.members.items(), looked_at)
        each = sum(block_bytes(name) + self.value_bytes(value) for name, value in parts) / max(1, looked_at)
        if self._index is not None:
            each += INDEX_BYTES
        return block_bytes(self) + block_bytes(self.members) + int(each * count)

    @staticmethod
    @abstractmethod
    def value_bytes(value: Any) -> int:
        """The memory that belongs to one member beside its name."""

    def sorted_members(self) -> Iterator[tuple[bytes, V]]:
        """By name: for digests."""
        for name in sorted(self.members):
            yield name, self.members[name]
