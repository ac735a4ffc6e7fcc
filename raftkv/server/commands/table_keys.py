"""Which arguments of a command are keys, found by the key specs of its row.

A spec says where to begin (at an index, or behind a keyword) and how to go on from there (a range with a step, or a
number of keys that stands in the arguments).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raftkv.machines.interface import Command
from raftkv.machines.numbers import parse_integer

Keys = list[tuple[bytes, list[str]]]


def keys_of(row: Command, argv: list[bytes]) -> Keys | None:
    """The keys with what is done with them (Redis's flags of a key spec); None where the arguments make no sense."""
    if not row.key_specs:
        first, last, step = row.keys
        stop = last if last >= 0 else len(argv) + last
        return [(argv[position], []) for position in range(first, stop + 1, step or 1)]
    keys: Keys = []
    for spec in row.key_specs:
        positions = _positions(spec, argv)
        if positions is None:
            return None
        keys += [(argv[position], _flags(row, spec, argv)) for position in positions]
    return keys


def _positions(spec: Mapping[str, Any], argv: list[bytes]) -> range | None:
    begin = _begin(spec["begin_search"], argv)
    find = spec["find_keys"]
    if begin is None or find["type"] == "unknown":
        return range(0)
    how = find["spec"]
    if find["type"] == "keynum":
        count_at = begin + how["keynumidx"]
        count = parse_integer(argv[count_at]) if count_at < len(argv) else None
        if count is None or count < 0:
            return None
        first, step = begin + how["firstkey"], how["keystep"]
        last = first + (count - 1) * step
    else:
        first, step = begin, how["keystep"]
        last = _last_of_range(first, how["lastkey"], how["limit"], len(argv))
    return range(first, last + 1, step) if first <= last < len(argv) or first > last else None


def _last_of_range(first: int, last: int, limit: int, length: int) -> int:
    """`last` counts from `first`; below 0 from the end, of the whole or of the first 1/`limit` of what is left."""
    if last >= 0:
        return first + last
    return length + last if limit <= 1 else first + (length - first) // limit + last


def _begin(search: Mapping[str, Any], argv: list[bytes]) -> int | None:
    how = search["spec"]
    if search["type"] == "index":
        return how["index"] if how["index"] < len(argv) else None
    if search["type"] == "keyword":
        return next(_behind_keyword(how["keyword"].lower().encode(), how["startfrom"], argv), None)
    return None


def _behind_keyword(keyword: bytes, start: int, argv: list[bytes]) -> Iterator[int]:
    """Positions behind `keyword`, searched forwards from `start`, or backwards when that counts from the end."""
    positions = range(start, len(argv)) if start >= 0 else range(len(argv) + start, 0, -1)
    return (position + 1 for position in positions if argv[position].lower() == keyword)


def _flags(row: Command, spec: Mapping[str, Any], argv: list[bytes]) -> list[str]:
    flags: list[str] = [flag for flag in spec["flags"] if flag != "variable_flags"]
    if row.name == "set" and not any(word.lower() == b"get" for word in argv[3:]):
        return ["OW", "update"]  # the spec tells the most that may happen: with GET it is read too
    return flags
