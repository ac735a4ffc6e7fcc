"""A dict that keeps its size while it is listed, and takes its changes all the same.

Python walks a dict only as long as nothing is inserted or deleted, and cannot go on at a position. So while a snapshot
lists the keys of a database, some at a time, an `Overlay` stands in for the dict: it notes changes aside and looks
there first. When the keys are listed, the changes are merged into the dict, some at a time again (from `thaw` on new
ones go into it directly), and the dict takes its place back. Only meanwhile do commands pay for it: a look-up about 50
nanoseconds, a change a third of a microsecond.

What was not done: a list of keys kept up with the dict costs 8 bytes a key for ever and a part of each insert;
walking in the order of the key index costs more of both, and finds values all over the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from raftkv.machines.redis.values import Value


class Overlay(MutableMapping[bytes, Value]):
    """`base` with the changes that it does not have yet.

    base: must be changed by nobody else; of constant keys until `thaw`.
    """

    __slots__ = ("_changes", "_length", "base", "is_thawed")

    def __init__(self, base: dict[bytes, Value]) -> None:
        self.base = base
        self._changes: dict[bytes, Value | None] = {}  # None: deleted
        self.is_thawed = False
        self._length = len(base)

    def __getitem__(self, key: bytes) -> Value:
        if key not in self._changes:
            return self.base[key]
        value = self._changes[key]
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: Value) -> None:
        self._length += key not in self
        self._change(key, value)

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        self._length -= 1
        self._change(key, None)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        changes = self._changes
        yield from (key for key in self.base if key not in changes)
        yield from (key for key, value in changes.items() if value is not None)

    def thaw(self) -> None:
        """The base may change from now on."""
        self.is_thawed = True

    def merge(self, budget: int) -> int:
        """Carry at most `budget` changes into the base; returns what is left of it, above 0 only when all is merged.
        Only after `thaw`, or when nobody lists the keys any more."""
        changes = self._changes
        merged = min(budget, len(changes))
        for _ in range(merged):
            self._apply(*changes.popitem())
        return budget - merged

    def _change(self, key: bytes, value: Value | None) -> None:
        if self.is_thawed:
            self._changes.pop(key, None)
            self._apply(key, value)
        else:
            self._changes[key] = value

    def _apply(self, key: bytes, value: Value | None) -> None:
        if value is None:
            self.base.pop(key, None)
        else:
            self.base[key] = value
