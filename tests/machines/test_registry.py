"""The command table against COMMAND INFO and COMMAND DOCS of a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from raftkv.machines.interface import Command, Kind
from raftkv.machines.redis.differences import ONLY_HERE, OWN_WORDS
from raftkv.machines.redis.registry import COMMANDS, ROWS
from raftkv.machines.replies import Simple
from tests.support.redis_server import RespConnection, start_redis_server

SHARED = [each for row in ROWS if row.name not in ONLY_HERE for each in (row, *row.subcommands)]


@pytest.fixture(scope="module")
def connection() -> Iterator[RespConnection]:
    with start_redis_server() as port, RespConnection(port, protocol=3) as connection:
        yield connection


def plain(value: Any) -> Any:
    """Text instead of bytes and statuses, lists instead of sets and tuples, without the fields in own words."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Simple):
        return value.text
    if isinstance(value, dict):
        pairs = [(plain(key), plain(item)) for key, item in value.items()]
        return {key: item for key, item in pairs if key not in OWN_WORDS}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return plain(value.items) if hasattr(value, "items") else value


@pytest.mark.redis
@pytest.mark.parametrize("row", SHARED, ids=lambda row: row.name)
def test_info_equals_redis(row: Command, connection: RespConnection) -> None:
    [info] = connection.call(b"COMMAND", b"INFO", row.name.encode())
    name, arity, flags, first, last, step, categories, tips, key_specs, _ = plain(info)
    assert (row.name, row.arity, list(row.flags)) == (name, arity, flags)
    assert row.keys == (first, last, step)
    assert list(row.categories) == categories
    assert list(row.tips) == tips
    assert plain(row.key_specs) == key_specs


@pytest.mark.redis
@pytest.mark.parametrize("row", SHARED, ids=lambda row: row.name)
def test_docs_equal_redis(row: Command, connection: RespConnection) -> None:
    docs = plain(connection.call(b"COMMAND", b"DOCS", row.name.encode()))[row.name]
    assert {each.name for each in row.subcommands} <= set(docs.get("subcommands", ()))
    assert (row.since, row.group) == (docs["since"], docs["group"])
    # As text, because the order of fields is compared too.
    assert str(plain(row.arguments)) == str(docs.get("arguments", []))
    assert [version for version, _ in row.history] == [version for version, _ in docs.get("history", [])]
    assert list(row.doc_flags) == docs.get("doc_flags", [])
    assert row.deprecated_since == docs.get("deprecated_since", "")


def test_rows_are_complete_and_consistent() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert COMMANDS[row.name.encode()] is COMMANDS[row.name.upper().encode()] is row
        assert (row.kind is Kind.WRITE) == ("write" in row.flags)
        assert row.summary
        assert row.complexity
