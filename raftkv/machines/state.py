"""The state of a declared machine: fields whose changes can be undone, and written out while they go on changing.

    class Bank(raftkv.Machine):
        accounts: raftkv.Map[str, int]      a Map: keys in order, any number of them
        transfers: int = 0                  a plain field

Three things follow from one rule, that every change goes through `Journal.note`:

- a command that raises leaves nothing behind: the journal puts back what it has changed, in O(changes);
- a change anywhere but in a write handler is refused where it is made: it would differ from member to member;
- a snapshot is taken in slices while writes go on: a Map keeps what is overwritten before its slice has come.

For that, values must not change behind the Map's back. They are immutable: numbers, text, bytes, tuples, frozen
msgspec Structs. To change one, put a new one in its place. A Map goes through its keys in their order, not in the
order of insertion, so that nothing depends on what was deleted, undone or restored before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedList

from raftkv.machines.values import checked
from raftkv.machines.walk import MISSING, MapWalk

K = TypeVar("K")
V = TypeVar("V")


class StateError(Exception):
    """The machine's code handles its state in a way that could not be the same on all members."""


class Journal:
    """What the present command has changed: (how to put it back, with what)."""

    def __init__(self) -> None:
        self.is_open = False
        self._undo: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def note(self, undo: Callable[..., None], *arguments: Any) -> None:
        """Raises StateError when nothing may be changed now."""
        if not self.is_open:
            raise StateError(
                "state is changed outside of a write: only @write handlers, init and on_time may change it"
            )
        self._undo.append((undo, arguments))

    def keep(self) -> None:
        """What was changed stands."""
        self._undo.clear()

    def undo(self) -> None:
        """Put everything back, the newest change first."""
        while self._undo:
            undo, arguments = self._undo.pop()
            undo(*arguments)


class Map(MutableMapping[K, V], Generic[K, V]):
    """A mapping as part of a machine's state. Made by the machine from its annotation, as `Map[key type, value type]`.

    Keys are of one type that can be sorted (`values.require_key`); it iterates in their order. Look-ups cost what they
    cost in a dict, a new or deleted key O(log n). Raises TypeError for a key or value of another type than declared.
    """

    def __init__(self, journal: Journal, name: str, key_type: Any, value_type: Any) -> None:
        self.value_type = value_type
        self.key_type = key_type
        self._journal = journal
        self._name = name
        self._values: dict[K, V] = {}
        self._keys: Any = SortedList()
        self._changes = 0
        self._walks: list[MapWalk] = []

    # ---- reading

    def __getitem__(self, key: K) -> V:
        return self._values[key]

    def get(self, key: K, default: Any = None) -> Any:
        return self._values.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        return self.between()

    def between(self, first: K | None = None, stop: K | None = None) -> Iterator[K]:
        """The keys from `first` on, up to but without `stop`, in order. Raises StateError when the Map is changed on
        the way: go through a list of it then."""
        changes = self._changes
        for key in self._keys.irange(first, stop, (True, False)):
            yield key
            if self._changes != changes:
                raise StateError(f"{self._name} was changed while it was gone through: go through list({self._name})")

    def __repr__(self) -> str:
        return f"Map({{{', '.join(f'{key!r}: {value!r}' for key, value in self.items())}}})"

    # ---- changing

    def __setitem__(self, key: K, value: V) -> None:
        value = checked(value, self.value_type, f"a value of {self._name}")
        if type(key) is not self.key_type or key not in self._values:
            key = self._checked_key(key)
        self._journal.note(self._put, key, self._values.get(key, MISSING))
        self._put(key, value)

    def __delitem__(self, key: K) -> None:
        if type(key) is not self.key_type and key in self._values:
            key = self._checked_key(key)
        self._journal.note(self._put, key, self._values[key])
        self._put(key, MISSING)

    def clear(self) -> None:
        """Take everything out, at the cost of one change."""
        self._journal.note(self._hold, self._values, self._keys, self._walks)
        self._hold({}, SortedList(), [])

    def _checked_key(self, key: K) -> K:
        """Never a bool in place of the equal int, nor a subclass with an order of its own: one such key, and the
        order of all is lost."""
        return checked(key, self.key_type, f"a key of {self._name}")  # type: ignore[no-any-return]

    def _put(self, key: K, value: Any) -> None:
        """The one place where the content changes key by key. MISSING: take the key out. The sorted keys come first:
        they alone compare, so whatever raises there leaves both as they were."""
        before = self._values.get(key, MISSING)
        for walk in self._walks:
            walk.keep(key, before)
        if value is MISSING:
            if before is not MISSING:
                self._keys.remove(key)
                del self._values[key]
                self._changes += 1
            return
        if before is MISSING:
            self._keys.add(key)
            self._changes += 1
        self._values[key] = value

    def _hold(self, values: dict[K, V], keys: Any, walks: list[MapWalk]) -> None:
        """Have other content as a whole. Walks stay with the content that they go through: nobody changes it while it
        is put aside, so there is nothing to tell them; if it is put back, they are told of changes again."""
        self._values, self._keys, self._walks = values, keys, walks
        self._changes += 1

    # ---- the whole

    def begin_walk(self) -> MapWalk:
        """The items as they are now, to be gone through in slices; until `end_walk`, changes cost O(log n)."""
        walk = MapWalk(self._keys, self._values)
        self._walks.append(walk)
        return walk

    def end_walk(self, walk: MapWalk) -> None:
        """Nothing is kept for it any more. Also for one that has ended already."""
        if walk in self._walks:
            self._walks.remove(walk)

    def load(self, items: list[tuple[K, V]]) -> None:
        """Take over items of a snapshot."""
        self._values.update(items)
        self._keys.update(key for key, _ in items)

    def empty(self) -> None:
        """Forget everything, without a way back: for restoring."""
        self._hold({}, SortedList(), [])
