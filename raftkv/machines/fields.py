"""From a class's annotations to the state of a declared machine: which fields there are, and what they begin with.

The annotations of all bases count, as their commands do: also of those that are no machines (mixins). Where two bases
have the same field, the first one in the order of Python's look-up says its type and its first value.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any, ClassVar, Final

from raftkv.machines.signatures import DeclarationError
from raftkv.machines.state import Map
from raftkv.machines.values import checked, require_immutable, require_key

_NO_STATE: Final = frozenset({"name", "version", "commands", "context", "time_ms"})


def declared_fields(cls: type, root: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Name -> type of all the state, and name -> first value of the plain fields, as `values.checked` returns it.

    root: the base of all machines, whose annotations are none. Raises DeclarationError, and TypeError or ValueError
    for a first value of another type.
    """
    bases = [base for base in reversed(cls.__mro__) if base not in root.__mro__]
    annotated = [name for base in bases for name in inspect.get_annotations(base)]
    names = [name for name in dict.fromkeys(annotated) if not name.startswith("_") and name not in _NO_STATE]
    try:
        kinds = typing.get_type_hints(cls) if names else {}
    except NameError as error:
        raise DeclarationError(
            f"{cls.__name__}: {error}; types of its fields must be defined at module level"
        ) from error
    fields = {name: kinds[name] for name in names if typing.get_origin(kinds[name]) is not ClassVar}
    first_values = {}
    for name, kind in fields.items():
        if Map in (kind, typing.get_origin(kind)):
            _require_map(kind, f"{cls.__name__}.{name}")
        else:
            first_values[name] = _first_value(cls, name, kind)
    return fields, first_values


def _require_map(kind: Any, where: str) -> None:
    if kind is Map:
        raise DeclarationError(f"{where}: say of what: Map[str, int]")
    key_type, value_type = typing.get_args(kind)
    require_key(key_type, where)
    for part in (key_type, value_type):
        require_immutable(part, where)


def _first_value(cls: type, name: str, kind: Any) -> Any:
    where = f"{cls.__name__}.{name}"
    require_immutable(kind, where)
    if not hasattr(cls, name):
        raise DeclarationError(f"{where} needs a first value: {name}: {getattr(kind, '__name__', kind)} = ...")
    return checked(getattr(cls, name), kind, where)
