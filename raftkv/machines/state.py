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

import types
import typing
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from sortedcontainers import SortedList

from raftkv.machines.numbers import INT64_MAX, INT64_MIN

K = TypeVar("K")
V = TypeVar("V")

MISSING: Final = object()
SLICE_ITEMS: Final = 1000
"""Items of a Map in one slice of a snapshot: about a millisecond of work."""

_ALWAYS_STORABLE: Final = frozenset({bytes, float, bool, type(None)})
_encode: Final = msgspec.msgpack.Encoder().encode

PLAIN_TYPES: Final = frozenset({bytes, str, int, float, bool, type(None)})


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

    Keys are str, bytes, int or tuples of them; it iterates in their order. Look-ups cost what they cost in a dict, a
    new or deleted key O(log n). Raises TypeError for a key or value of another type than declared.
    """

    def __init__(self, journal: Journal, name: str, key_type: Any, value_type: Any) -> None:
        self.value_type = value_type
        self.key_type = key_type
        self._journal = journal
        self._name = name
        self._values: dict[K, V] = {}
        self._keys: Any = SortedList()
        self._changes = 0
        self._snapshot: _MapSnapshot | None = None

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
        if type(value) is not self.value_type:
            value = checked(value, self.value_type, f"a value of {self._name}")
        else:
            require_storable(value, self._name)
        if key not in self._values:
            checked(key, self.key_type, f"a key of {self._name}")
        self._journal.note(self._put, key, self._values.get(key, MISSING))
        self._put(key, value)

    def __delitem__(self, key: K) -> None:
        self._journal.note(self._put, key, self._values[key])
        self._put(key, MISSING)

    def _put(self, key: K, value: Any) -> None:
        """The one place where the content changes. MISSING: take the key out."""
        before = self._values.get(key, MISSING)
        if self._snapshot is not None:
            self._snapshot.keep(key, before)
        if value is MISSING:
            if before is not MISSING:
                del self._values[key]
                self._keys.remove(key)
                self._changes += 1
            return
        self._values[key] = value
        if before is MISSING:
            self._keys.add(key)
            self._changes += 1

    # ---- the whole

    def begin_snapshot(self) -> Iterator[list[tuple[K, V]]]:
        """The items as they are now, in slices."""
        self._snapshot = snapshot = _MapSnapshot(self._keys, self._values)
        return self._slices(snapshot)

    def _slices(self, snapshot: _MapSnapshot) -> Iterator[list[tuple[K, V]]]:
        try:
            while items := snapshot.next_slice():
                yield items
        finally:
            if self._snapshot is snapshot:
                self._snapshot = None

    def load(self, items: list[tuple[K, V]]) -> None:
        """Take over items of a snapshot."""
        self._values.update(items)
        self._keys.update(key for key, _ in items)

    def empty(self) -> None:
        """Forget everything, without a way back: for restoring."""
        self._values.clear()
        self._keys.clear()
        self._snapshot = None


class _MapSnapshot:
    """A walk through a Map's keys in order, beside which the Map goes on changing."""

    def __init__(self, keys: Any, values: dict[Any, Any]) -> None:
        self._keys = keys
        self._values = values
        self._passed: Any = MISSING
        self._kept: dict[Any, Any] = {}
        """What was overwritten ahead of the walk: key -> its value when the walk began, MISSING if it was not there."""

    def keep(self, key: Any, before: Any) -> None:
        if (self._passed is MISSING or key > self._passed) and key not in self._kept:
            self._kept[key] = before

    def next_slice(self) -> list[tuple[Any, Any]]:
        """The next items; empty at the end."""
        items: list[tuple[Any, Any]] = []
        while not items:
            ahead = self._ahead()
            kept = self._kept
            last = ahead[-1] if len(ahead) == SLICE_ITEMS else MISSING
            also = [key for key in kept if last is MISSING or key <= last]
            for key in sorted({*ahead, *also}):
                value = kept.pop(key) if key in kept else self._values[key]
                if value is not MISSING:
                    items.append((key, value))
                self._passed = key
            if last is MISSING:
                break
        return items

    def _ahead(self) -> list[Any]:
        first = None if self._passed is MISSING else self._passed
        walk = self._keys.irange(first, None, (self._passed is MISSING, True))
        return [key for key, _ in zip(walk, range(SLICE_ITEMS), strict=False)]


def checked(value: Any, wanted: Any, what: str) -> Any:
    """`value`, if it is of the declared type and can be stored. Raises TypeError, ValueError."""
    try:
        converted = msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError as error:
        raise TypeError(f"{what}: {error}") from error
    require_storable(converted, what)
    return converted


def require_storable(value: Any, what: str) -> None:
    """Raises ValueError for what no snapshot could hold: an integer of more than 64 bits, text with lone surrogates.
    Found out only when the snapshot is taken, it would be too late."""
    kind = type(value)
    if kind is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueError(f"{what}: {value} has more than 64 bits")
    elif kind not in _ALWAYS_STORABLE:
        try:
            _encode(value)
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{what} cannot be stored: {error}") from error


def require_immutable(kind: Any, where: str) -> None:
    """Raises StateError for a declared type whose values could change unnoticed."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN_TYPES or kind is None:
        return
    if origin is tuple or origin is typing.Union or isinstance(kind, types.UnionType):
        for argument in arguments:
            if argument is not ...:
                require_immutable(argument, where)
        return
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.frozen:
        for field in msgspec.structs.fields(kind):
            require_immutable(field.type, f"{where}.{field.name}")
        return
    raise StateError(
        f"{where}: values of type {kind} can be changed unnoticed, and that could be neither undone nor copied; use"
        " bytes, str, int, float, bool, tuples of these, or a frozen msgspec.Struct"
    )
