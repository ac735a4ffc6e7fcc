"""docs/redis-compatibility.md tells the truth."""

from __future__ import annotations

import pytest

from tests.support.compatibility import DOCUMENT, LIST, REFUSED, document, entries
from tests.support.redis_server import RespConnection, start_redis_server


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text("utf-8") == document(), "run `make fix`"


def test_what_is_refused_is_a_command_of_redis() -> None:
    assert set(REFUSED) <= {each.name for each in entries()}


@pytest.mark.redis
def test_the_list_has_every_command_of_redis() -> None:
    with start_redis_server() as port, RespConnection(port, protocol=3) as connection:
        docs = connection.call(b"COMMAND", b"DOCS")
    found = {
        f"{told[b'group'].decode()} {name.decode()} {told[b'since'].decode()}"
        for top, row in docs.items()
        for name, told in ((top, row), *row.get(b"subcommands", {}).items())
    }
    assert sorted(found) == LIST.read_text("utf-8").splitlines()
