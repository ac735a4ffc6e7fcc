"""Words for writing rows of the command table.

A row stands at the end of the file of its handler. What follows from other columns is derived here: the kind from
the flags, the ACL categories from flags and group, the (first, last, step) key positions from the key specs.
Arguments and key specs have the shapes of COMMAND DOCS and COMMAND INFO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from raftkv.machines.interface import Command, Kind
from raftkv.machines.replies import Reply

Argument = Mapping[str, Any]
KeySpec = Mapping[str, Any]


def row(
    name: str,
    arity: int,
    handler: Callable[..., Reply],
    flags: str,
    *,
    acl: str,
    kind: Kind | None = None,
    keys: tuple[KeySpec, ...] = (),
    **documentation: Any,
) -> Command:
    """A row. `flags` in Redis's order, separated by spaces; `acl`: the categories that flags do not tell."""
    words = tuple(flags.split())
    if kind is None:
        kind = Kind.WRITE if "write" in words else Kind.READ
    categories = _categories(words, set(acl.split()))
    return Command(
        name=name,
        arity=arity,
        kind=kind,
        handler=handler,
        flags=words,
        keys=_positions(keys),
        key_specs=keys,
        categories=categories,
        **documentation,
    )


_CATEGORY_ORDER: Final = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo"),
    *("stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting"),
)
"""As Redis tells them."""


def _categories(flags: tuple[str, ...], more: set[str]) -> tuple[str, ...]:
    told = {"fast" if "fast" in flags else "slow"}
    told |= {word for word, flag in (("write", "write"), ("read", "readonly")) if flag in flags}
    return tuple(f"@{name}" for name in _CATEGORY_ORDER if name in told | more)


def _positions(specs: tuple[KeySpec, ...]) -> tuple[int, int, int]:
    """Of those specs that this old form can tell; the others make a command "movablekeys"."""
    types = [(each["begin_search"]["type"], each["find_keys"]["type"]) for each in specs]
    specs = tuple(each for each, type_ in zip(specs, types, strict=True) if type_ == ("index", "range"))
    if not specs:
        return (0, 0, 0)
    first = specs[0]["begin_search"]["spec"]["index"]
    begin, find = specs[-1]["begin_search"]["spec"]["index"], specs[-1]["find_keys"]["spec"]
    last = find["lastkey"]
    return (first, last if last < 0 else begin + last, find["keystep"])


# Key specs


def key_spec(flags: str, index: int = 1, last: int = 0, step: int = 1, notes: str = "") -> KeySpec:
    """Keys from position `index` on; `last` counts from there, or from the end when negative."""
    spec: dict[str, Any] = {
        "flags": flags.split(),
        "begin_search": {"type": "index", "spec": {"index": index}},
        "find_keys": {"type": "range", "spec": {"lastkey": last, "keystep": step, "limit": 0}},
    }
    return {"notes": notes, **spec} if notes else spec


def counted_keys(flags: str, index: int = 1) -> KeySpec:
    """As many keys as the number at position `index` says, right behind it."""
    return {
        "flags": flags.split(),
        "begin_search": {"type": "index", "spec": {"index": index}},
        "find_keys": {"type": "keynum", "spec": {"keynumidx": 0, "firstkey": 1, "keystep": 1}},
    }


def keyword_key(flags: str, keyword: str, start: int) -> KeySpec:
    """The key right behind an optional word, searched from position `start` on."""
    return {
        "flags": flags.split(),
        "begin_search": {"type": "keyword", "spec": {"keyword": keyword, "startfrom": start}},
        "find_keys": {"type": "range", "spec": {"lastkey": 0, "keystep": 1, "limit": 0}},
    }


def unknown_keys(flags: str) -> KeySpec:
    """Keys that only the command itself can tell, as by a pattern."""
    nothing = {"type": "unknown", "spec": {}}
    return {"flags": flags.split(), "begin_search": nothing, "find_keys": nothing}


# Arguments


def argument(name: str, type_: str, **more: Any) -> Argument:
    """An argument. more: token, since, flags, arguments, key_spec_index, as COMMAND DOCS names them."""
    order = ("key_spec_index", "token", "since", "flags", "arguments")
    return {"name": name, "type": type_} | {field: more[field] for field in order if field in more}


def key(name: str = "key", spec: int = 0, **more: Any) -> Argument:
    return argument(name, "key", key_spec_index=spec, **more)


def flag(token: str, **more: Any) -> Argument:
    """A word that stands for itself."""
    return argument(token.lower(), "pure-token", token=token, **more)


def one_of(name: str, *choices: Argument, **more: Any) -> Argument:
    return argument(name, "oneof", flags=OPTIONAL, arguments=list(choices), **more)


OPTIONAL: Final = ["optional"]
MULTIPLE: Final = ["multiple"]
KEY: Final = (key(),)
KEYS: Final = (key(flags=MULTIPLE),)
PAIRS: Final = (argument("key_value", "block", flags=MULTIPLE, arguments=[key(), argument("value", "string")]),)
ALL_SHARDS: Final = "request_policy:all_shards"
MULTI_SHARD: Final = "request_policy:multi_shard"
SUM: Final = "response_policy:agg_sum"
ALL_SUCCEED: Final = "response_policy:all_succeeded"
