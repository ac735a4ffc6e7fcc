"""A walk through a Map for a snapshot: the items as they were at its begin, in slices, while the Map goes on changing.

The Map tells of each change before it makes it (`keep`), and what lies ahead of the walk is kept as it was. The walk
then goes through two sorted rows of keys side by side, the Map's and the kept ones, and drops what it has passed. A Map
that is cleared leaves its old content to the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedDict

MISSING: Final = object()
SLICE_ITEMS: Final = 1000
"""Keys that are looked at for one slice of a snapshot: about a millisecond of work."""


class MapWalk:
    """keys, values: the Map's own, which it goes on changing."""

    def __init__(self, keys: Any, values: dict[Any, Any]) -> None:
        self._keys = keys
        self._values = values
        self._passed: Any = MISSING
        self._kept: Any = SortedDict()
        """What has changed ahead of the walk: key -> its value when the walk began, MISSING if it was not there."""

    def keep(self, key: Any, before: Any) -> None:
        if (self._passed is MISSING or key > self._passed) and key not in self._kept:
            self._kept[key] = before

    def slices(self) -> Iterator[list[tuple[Any, Any]]]:
        """To the end. A slice may be empty: where new keys alone have come."""
        while ahead := self._ahead():
            yield [(key, value) for key, value in map(self._pass, ahead) if value is not MISSING]

    def _ahead(self) -> list[Any]:
        """The next keys of both rows together, each once."""
        first = None if self._passed is MISSING else self._passed
        present = islice(self._keys.irange(first, None, (self._passed is MISSING, True)), SLICE_ITEMS)
        return sorted({*present, *islice(self._kept, SLICE_ITEMS)})[:SLICE_ITEMS]

    def _pass(self, key: Any) -> tuple[Any, Any]:
        self._passed = key
        return key, self._kept.pop(key) if key in self._kept else self._values[key]
