"""A row of the command table as COMMAND INFO and COMMAND DOCS show it.

Key specs and arguments are plain mappings in the rows already. What remains is to say, for each kind of list, which
RESP3 type Redis gives it: lists of words (flags, categories) are sets of status lines, others are sets or arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raftkv.machines.interface import Command
from raftkv.machines.replies import Reply, SetReply, Simple


def command_info(row: Command) -> Reply:
    """[name, arity, flags, first key, last key, step, categories, tips, key specs, subcommands]"""
    return [
        row.name.encode(),
        row.arity,
        words(row.flags),
        *row.keys,
        words(row.categories),
        SetReply([tip.encode() for tip in row.tips]),
        SetReply([described(spec) for spec in row.key_specs]),
        SetReply([command_info(each) for each in row.subcommands]),
    ]


def command_docs(row: Command) -> Reply:
    """The map of one command; what is not known of it has no entry."""
    reply: dict[bytes, Reply] = {
        b"summary": row.summary.encode(),
        b"since": row.since.encode(),
        b"group": row.group.encode(),
    }
    if row.complexity:
        reply[b"complexity"] = row.complexity.encode()
    if row.doc_flags:
        reply[b"doc_flags"] = words(row.doc_flags)
    if row.deprecated_since:
        reply[b"deprecated_since"] = row.deprecated_since.encode()
    if row.replaced_by:
        reply[b"replaced_by"] = row.replaced_by.encode()
    if row.history:
        reply[b"history"] = SetReply([[since.encode(), change.encode()] for since, change in row.history])
    if row.arguments:
        reply[b"arguments"] = [described(each) for each in row.arguments]
    if row.subcommands:
        reply[b"subcommands"] = {each.name.encode(): command_docs(each) for each in row.subcommands}
    return reply


def words(names: Iterable[str]) -> SetReply:
    return SetReply([Simple(name) for name in names])


def described(value: Any) -> Reply:
    """A key spec or an argument, as deep as it goes."""
    if isinstance(value, Mapping):
        return {name.encode(): words(part) if name == "flags" else described(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    return value.encode() if isinstance(value, str) else int(value)
