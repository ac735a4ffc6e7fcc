"""redis-cli as a person uses it: on a terminal, with its hints, its prompt and its meters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Member
from tests.integration.terminal import Terminal

pytestmark = [pytest.mark.processes, pytest.mark.redis]

CLEAR_LINE = "\x15"


class Shell:
    """redis-cli at its prompt."""

    def __init__(self, terminal: Terminal, member: Member) -> None:
        self.terminal = terminal
        self.name = f"127.0.0.1:{member.port}"
        terminal.wait_shown(f"{self.name}> ")

    def enter(self, line: str, prompt: str | None = None) -> str:
        """What is answered to a line. `prompt`: what must follow the address in the next one."""
        self.terminal.type(line)
        self.terminal.wait_shown(line)
        self.terminal.type("\r")
        # Enter draws the line once more, without its hint: the next prompt is the one behind an end of line.
        return self.terminal.wait_shown(f"\n{self.name}{prompt or ''}> ")

    def hint(self, start: str, expected: str) -> None:
        self.terminal.type(start)
        self.terminal.wait_shown(f"{start}{expected}")
        self.terminal.type(CLEAR_LINE)
        self.terminal.wait_shown(f"{self.name}> ")


@pytest.fixture
def shell(member: Member, tmp_path: Path) -> Iterator[Shell]:
    with Terminal(tmp_path, "redis-cli", "-p", str(member.port)) as terminal:
        yield Shell(terminal, member)


def test_hints_come_from_our_command_table(shell: Shell) -> None:
    """redis-cli knows Redis's own commands by heart; that it shows ours says that it has asked COMMAND DOCS."""
    shell.hint("zadd ", "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]")
    shell.hint("zadd k ", "[NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]")
    shell.hint("config get ", "parameter [parameter ...]")
    shell.hint("dirtyget ", "key [MAXLAG milliseconds]")


def test_help(shell: Shell) -> None:
    zadd = shell.enter("help zadd")
    assert "ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]" in zadd
    assert "summary: Adds members with scores to a sorted set, or changes their scores" in zadd
    assert "since: 1.2.0" in zadd
    assert "group: sorted-set" in zadd
    assert "HSETNX key field value" in shell.enter("help @hash")
    assert "group: server" in shell.enter("help raft.status")


def test_the_prompt_tells_of_transactions_and_databases(shell: Shell) -> None:
    assert "OK" in shell.enter("flushall")
    assert "OK" in shell.enter("multi", "(TX)")
    assert "QUEUED" in shell.enter("set a 1", "(TX)")
    assert "QUEUED" in shell.enter("incr a", "(TX)")
    assert "1) OK\r\n2) (integer) 2" in shell.enter("exec")
    assert "OK" in shell.enter("select 3", "[3]")
    assert "OK" in shell.enter("multi", "[3](TX)")
    assert "(error) ERR unknown command 'nosuch'" in shell.enter("nosuch", "[3](TX)")
    assert "(error) EXECABORT Transaction discarded because of previous errors." in shell.enter("exec", "[3]")
    assert "OK" in shell.enter("multi", "[3](TX)")
    assert "OK" in shell.enter("discard", "[3]")


def test_the_protocol_changes_on_the_way(shell: Shell) -> None:
    assert "OK" in shell.enter("flushall")
    assert "(integer) 1" in shell.enter("zadd z 1.5 m")
    assert '2) "1.5"' in shell.enter("zrange z 0 -1 withscores")
    assert '1# "server" => "redis"' in shell.enter("hello 3")
    assert "2) (double) 1.5" in shell.enter("zrange z 0 -1 withscores")


def test_what_watches_or_copies_the_server_is_told_that_it_cannot(shell: Shell) -> None:
    """MONITOR and SUBSCRIBE put redis-cli into a mode that only ends by a key; an error must bring the prompt back."""
    assert "(error) ERR unknown command 'monitor'" in shell.enter("monitor")
    assert "PONG" in shell.enter("ping")


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--stat", "-i", "0.02"], "(+1)"),
        (["--latency"], "(3 samples)"),
        (["--latency-history", "-i", "0.05"], "seconds range"),
    ],
)
def test_meters(member: Member, tmp_path: Path, flags: list[str], shown: str) -> None:
    with Terminal(tmp_path, "redis-cli", "-p", str(member.port), *flags) as terminal:
        terminal.wait_shown(shown)
