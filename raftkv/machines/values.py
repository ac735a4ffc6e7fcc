"""Which types and values may be in the state of a declared machine.

Types are judged once, when the class is made (`require_immutable`, `require_key`), values where they are put in
(`checked`). A value goes through MessagePack and back: what comes out is of the declared type in all its depth, shares
nothing with what the handler holds, and can be stored in a snapshot. Only plain values of exactly their type skip it.
"""

from __future__ import annotations

import functools
import typing
from typing import Any, Final

import msgspec

from raftkv.machines.numbers import INT64_MAX, INT64_MIN
from raftkv.machines.signatures import DeclarationError, is_union

PLAIN_TYPES: Final = frozenset({bytes, str, int, float, bool, type(None)})
_KEY_TYPES: Final = frozenset({bytes, str, int, bool})
_ALWAYS_STORABLE: Final = frozenset({bytes, float, bool})
_ORDERED: Final = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__hash__")
_encode: Final = msgspec.msgpack.Encoder().encode


def checked(value: Any, wanted: Any, what: str) -> Any:
    """`value` as the declared type has it. Raises TypeError for another type, ValueError for what cannot be stored:
    an integer of more than 64 bits, text with lone surrogates. Found out only in a snapshot, it would be too late."""
    if type(value) is wanted:
        if wanted in _ALWAYS_STORABLE:
            return value
        if wanted is int:
            if INT64_MIN <= value <= INT64_MAX:
                return value
            raise ValueError(f"{what}: {value} has more than 64 bits")
    try:
        return _decoder(wanted).decode(_encode(value))
    except msgspec.ValidationError as error:
        raise TypeError(f"{what}: {error}") from error
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{what} cannot be stored: {error}") from error


@functools.cache
def _decoder(wanted: Any) -> Any:
    return msgspec.msgpack.Decoder(wanted)


def require_immutable(kind: Any, where: str) -> None:
    """Raises DeclarationError for a declared type whose values could change unnoticed, or could not be stored."""
    _require_immutable(kind, where, ())
    try:
        _decoder(kind)
    except TypeError as error:
        raise DeclarationError(f"{where}: {error}") from error


def _require_immutable(kind: Any, where: str, outer: tuple[Any, ...]) -> None:
    """outer: the Structs around it."""
    if kind in PLAIN_TYPES or kind is None:
        return
    if typing.get_origin(kind) is tuple or is_union(kind):
        for argument in typing.get_args(kind):
            if argument is not ...:
                _require_immutable(argument, where, outer)
        return
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.frozen:
        if kind in outer:
            raise DeclarationError(
                f"{where}: a {kind.__name__} within a {kind.__name__} could be nested without end; put each into a Map"
                " of its own, and refer to it by its key"
            )
        for name, field in _fields(kind, where).items():
            _require_immutable(field, f"{where}.{name}", (*outer, kind))
        return
    raise DeclarationError(
        f"{where}: values of type {kind} can be changed unnoticed, and that could be neither undone nor copied; use"
        " bytes, str, int, float, bool, tuples of these, or a frozen msgspec.Struct"
    )


def require_key(kind: Any, where: str) -> None:
    """Raises DeclarationError for a type whose values are not all in one order: keys are kept sorted."""
    if kind in _KEY_TYPES:
        return
    if typing.get_origin(kind) is tuple:
        for argument in typing.get_args(kind):
            if argument is not ...:
                require_key(argument, where)
        return
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        is_ordered = all(getattr(kind, name) is getattr(msgspec.Struct, name) for name in _ORDERED)
        if config.frozen and config.order and is_ordered:
            for name, field in _fields(kind, where).items():
                require_key(field, f"{where}.{name}")
            return
        reason = f"a {kind.__name__} has no order of its own: declare it with frozen=True, order=True and no own __eq__"
    elif kind is float:
        reason = "a float is no key: NaN stands nowhere in the order; use int (of a smaller unit), or str"
    elif is_union(kind) or kind in (None, type(None)):
        reason = f"{kind} cannot be sorted: keys must be of one type; use str, or one Map for each type"
    else:
        reason = f"{kind} cannot be sorted; use str, bytes, int, bool, tuples of these, or a frozen, ordered Struct"
    raise DeclarationError(f"{where}: in a Map's key, {reason}")


def _fields(kind: type[msgspec.Struct], where: str) -> dict[str, Any]:
    try:
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    except NameError as error:
        raise DeclarationError(
            f"{where}: {kind.__name__}: {error}; types of its fields must be defined at module level"
        ) from error
