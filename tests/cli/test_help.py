"""`raftkv help`: from the command table, for Redis's commands and one's own."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from raftkv.cli.main import app
from raftkv.errors import ConfigError, YourFault

DECLARED = "tests.machines.declared_examples:Counter"


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["help", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_all_commands_one_a_line() -> None:
    lines = shown().splitlines()
    assert "GET key\tread\tAnswers the string under a key" in lines
    assert len(lines) > 40
    assert lines == sorted(lines, key=lambda line: line.split("\t")[0].split()[0].lower())


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("getrange", "GETRANGE key start end"),
        ("mset", "MSET key value [key value ...]"),
        ("del", "DEL key [key ...]"),
        ("SETEX", "SETEX key seconds value"),
        (
            "getex",
            "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        ),
    ],
)
def test_one_command(command: str, usage: str) -> None:
    assert shown(command).splitlines()[0] == usage


def test_a_declared_machine() -> None:
    listed = shown("--machine", DECLARED)
    assert "DROP [keys ...]\twrite\t\n" in listed
    assert "ITEM.PUT key text [TRIES tries] [QUIET]\twrite\t\n" in listed
    told = shown("incr", "--machine", DECLARED)
    assert told.splitlines()[:4] == [
        "INCR name [by]",
        "  Add to a counter and return its new value",
        "",
        "  More about it.",
    ]
    assert "version 2 of the machine" in shown("item.put", "--machine", DECLARED)


def test_a_machine_that_has_its_table_only_when_it_is_made() -> None:
    assert "GET\tread\tReads the value" in shown("--machine", "register")


def test_what_is_not_there() -> None:
    with pytest.raises(YourFault, match="no command 'nosuch'"):
        shown("nosuch")
    with pytest.raises(ConfigError, match="No module named"):
        shown("--machine", "nosuch.module:Class")
