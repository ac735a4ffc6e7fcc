"""A dict that stays as it is while it is walked, and takes its changes all the same.

Python walks a dict only as long as nothing is inserted or deleted, and cannot go on at a position. So while a snapshot
lists the keys of a database, or the members of a large collection leave for a client, some at a time, an `Overlay`
stands in for the dict: it notes changes aside and looks there first. When nobody walks the dict any more, the changes
are merged into it, some at a time again, and it takes its place back. Only meanwhile do commands pay for it: a look-up
about 100 nanoseconds, a change half a microsecond.

The order is at each moment that of a dict that had taken the changes at once: for collections it is part of the state.

What was not done: a list of keys kept up with the dict costs 8 bytes a key for ever and a part of each insert;
walking in the order of the key index costs more of both, and finds values all over the memory. A copy when the first
change comes stops everybody for 60 milliseconds where there are a million members.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from sys import getsizeof
from typing import Any, Final, TypeVar

V = TypeVar("V")

_GONE: Final[Any] = object()
_UNCHANGED: Final[Any] = object()

_MERGED_MEANWHILE: Final = 2
"""Changes that each new key merges: more than one, or writers that are quick enough would never let the merge end."""


class View(Mapping[bytes, V]):
    """`base` with changes that it does not have.

    changes: of keys in `base`: another value, or _GONE. added: what comes behind them.
    """

    __slots__ = ("_added", "_changes", "_length", "base")

    def __init__(
        self, base: dict[bytes, V], changes: dict[bytes, V], added: OrderedDict[bytes, V], length: int
    ) -> None:
        self.base = base
        self._changes = changes
        self._added = added
        self._length = length

    def __getitem__(self, key: bytes) -> V:
        if key in self._added:
            return self._added[key]
        value: V = self._changes.get(key, _UNCHANGED)
        if value is _UNCHANGED:
            return self.base[key]
        if value is _GONE:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._added or (key in self.base and self._changes.get(key) is not _GONE)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        changes = self._changes
        if changes:
            yield from (key for key in self.base if key not in changes or changes[key] is not _GONE)
        else:
            yield from self.base
        yield from self._added

    def items(self) -> ItemsView[bytes, V]:
        return _Items(self)

    def __sizeof__(self) -> int:
        return getsizeof(self.base) + getsizeof(self._changes) + getsizeof(self._added)

    def pairs(self) -> Iterator[tuple[bytes, V]]:
        changes = self._changes
        if changes:
            for key, value in self.base.items():
                present = changes.get(key, value)
                if present is not _GONE:
                    yield key, present
        else:
            yield from self.base.items()
        yield from self._added.items()


class _Items(ItemsView[bytes, V]):
    """Without a look-up for each."""

    _mapping: View[V]

    def __iter__(self) -> Iterator[tuple[bytes, V]]:
        return self._mapping.pairs()


class Overlay(View[V], MutableMapping[bytes, V]):
    """Takes changes. `base` must be changed by nobody else, and is not changed while anybody holds it."""

    __slots__ = ("holders",)

    def __init__(self, base: dict[bytes, V]) -> None:
        super().__init__(base, {}, OrderedDict(), len(base))
        self.holders = 0

    def view(self) -> View[V]:
        """What this is now, whatever becomes of it. Holds the base as long as it lives."""
        return _Holding(self)

    def __setitem__(self, key: bytes, value: V) -> None:
        if key in self._added:
            self._added[key] = value
        elif key not in self:
            self._length += 1
            if self.holders or self._changes or self._added:
                self._added[key] = value
                if not self.holders:
                    self.merge(_MERGED_MEANWHILE)
            else:
                self.base[key] = value
        elif self.holders:
            self._changes[key] = value
        else:
            self._changes.pop(key, None)
            self.base[key] = value

    def __delitem__(self, key: bytes) -> None:
        if key in self._added:
            del self._added[key]
        elif key not in self:
            raise KeyError(key)
        elif self.holders:
            self._changes[key] = _GONE
        else:
            self._changes.pop(key, None)
            del self.base[key]
        self._length -= 1

    def merge(self, budget: int) -> int:
        """Carry at most `budget` changes into the base; returns what is left of it, above 0 only when all is merged.
        Nothing while anybody holds the base."""
        if self.holders:
            return 0
        while budget and self._changes:
            key, value = self._changes.popitem()
            if value is _GONE:
                del self.base[key]
            else:
                self.base[key] = value
            budget -= 1
        while budget and self._added:
            key, value = self._added.popitem(last=False)
            self.base[key] = value
            budget -= 1
        return budget


class _Holding(View[V]):
    __slots__ = ("_overlay",)

    def __init__(self, overlay: Overlay[V]) -> None:
        super().__init__(overlay.base, overlay._changes.copy(), overlay._added.copy(), len(overlay))
        self._overlay = overlay
        overlay.holders += 1

    def __del__(self) -> None:
        self._overlay.holders -= 1
