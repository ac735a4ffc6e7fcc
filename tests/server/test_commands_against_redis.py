"""The connection's own commands beside a real redis-server: the same lines, the same replies, RESP2 and RESP3.

Compared are error texts and shapes. What is left out is what cannot be equal: numbers of clients, ports, a server's
own words (summaries, help, art). `DIFFERENT` tells which lines differ on purpose.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftkv.machines.replies import OK, Error, SetReply
from raftkv.server.commands import ROWS, cluster
from tests.server.member import Client, Cluster
from tests.support.redis_server import RespConnection, start_redis_server

pytestmark = pytest.mark.redis

LINES = """
ping a b
echo
quit x
select 15
select 16
select -1
select abc
select 01
select 2147483647
select 2147483648
select 9223372036854775808
time a
hello 4
hello -2
hello abc
hello 3 foo
hello 2 setname
hello 2 auth a
hello 2 setname "a b"
hello 2 auth foo x
hello 2 auth foo x setname "a b"
hello setname x
auth
auth a b c
auth a
auth default b
auth foo b
reset a
reset
client
client foo
client foo bar
client id x
client getname
client setname "a b"
client setname
client setname ""
client setname abc
client kill
client kill foo
client kill id
client kill id 0
client kill id abc
client kill id 5 addr
client kill addr 1.2.3.4:5
client kill laddr 1.1.1.1:1
client kill type foo
client kill type slave
client kill TYPE Pubsub
client kill user foo
client kill user default skipme foo
client kill skipme yes
client kill id 999999
client kill 127.0.0.1:1
client kill id 999999 foo bar
client list type foo
client list type master
client list id abc
client list id 0
client list id
client list foo
client list type
client list type normal id 3
client reply foo
client reply
client no-evict on
client no-evict foo
client no-evict
client trackinginfo
client getredir
config
config get
config foo
config foo bar
config set
config set a
config set a b
config set databases 5
config set maxclients abc
config set maxclients 0
config set maxclients 100 foo
config set maxclients 100 maxclients 200
config set maxclients 100 foo bar
config set requirepass "" bind
config set timeout -1
config set timeout 2147483648
config set client-query-buffer-limit abc
config set client-query-buffer-limit 2mb
config set loglevel foo
config set loglevel notice
config set enable-debug-command yes
config set save ""
config set Maxclients 10000
config set "" a
config rewrite
config rewrite a
config resetstat a
config resetstat
config get foo*
config get MAXclients
config get maxclients MAXCLIENTS
config get save
config get maxmemory
config get maxmemory-policy
config get cluster-enabled
command count a
command foo
command info foo
command info get|a client|foo a|b|c
command docs foo
command getkeys
command getkeys get
command getkeys get a b
command getkeys foo a b
command getkeys ping a b
command getkeys client kill a
command getkeys client foo a
command getkeys mset a b c d
command getkeys mset a b c
command getkeys mget a b c
command getkeys copy a b
command getkeysandflags mset a b c d
command getkeysandflags set a b
command getkeysandflags set a b get
command getkeysandflags copy a b
command getkeysandflags lcs a b
command list filterby
command list filterby foo bar
command list filterby module foo
command list filterby aclcat foo
command list filterby pattern client|k*
command list filterby pattern PIN?
command list foo
wait a b
wait 1 b
wait 1 -1
wait 0 0
wait 1 18446744073709551615
wait 99999999999999999999 1
wait 1
role a
lolwut version foo
debug
debug sleep 0
debug sleep
debug sleep abc
debug foo
cluster
cluster info
cluster slots a
cluster keyslot
cluster help
cluster foo
readonly
readwrite
asking
readonly a
info foo
info cluster
info modules
"""
CONTAINERS = ("client", "command", "config")
NOT_HERE = frozenset(b"client|caching client|pause client|tracking client|unblock client|unpause".split())
"""Subcommands that Redis 7.0 has and raftkv has not: no tracking, no pausing, and nothing that blocks but WAIT."""

REFUSED = frozenset(b"cluster|%b" % name.encode() for name in cluster.REFUSED)
"""Subcommands that only say that they are refused: how their words go together is not told."""

NEWER = frozenset({b"client|no-touch", b"client|setinfo"})
"""Subcommands of later versions, which clients try in any case."""

OWN_WORDS = (b"summary", b"complexity", b"history", b"notes")


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server() as port:
        yield port


@pytest.fixture(scope="module", params=[False, True], ids=["resp2", "resp3"])
def resp3(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def pair(redis_port: int, resp3: bool, make_cluster: Callable[..., Cluster]) -> Iterator[tuple[RespConnection, Client]]:
    """The same connection to both."""
    with RespConnection(redis_port, protocol=3 if resp3 else 2) as theirs:
        yield theirs, make_cluster(redis_enable_debug_command="yes").connect(resp3)


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_the_same_reply(pair: tuple[RespConnection, Client], line: str) -> None:
    theirs, ours = pair
    words = [word.encode() for word in shlex.split(line)]
    assert ours.call(*words) == theirs.call(*words)


def shared(rows: list[Any]) -> dict[bytes, Any]:
    """COMMAND's rows by name, subcommands by their own names, in comparable form."""
    found = {}
    for row in rows:
        name, subcommands = row[0], row[9]
        found[name] = [*row[:9], None]
        found |= shared(subcommands.items if isinstance(subcommands, SetReply) else subcommands)
    return {name: plain(row) for name, row in found.items() if name not in NOT_HERE | NEWER}


def plain(value: Any) -> Any:
    """Sets in one order, and without a server's own words."""
    if isinstance(value, SetReply):
        return SetReply(sorted(map(plain, value.items), key=repr))
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in OWN_WORDS}
    return value


def test_command_info_of_every_own_command(redis_port: int, make_cluster: Callable[..., Cluster]) -> None:
    names = [row.name.encode() for row in ROWS if not row.name.startswith(("raft.", "sentinel"))]
    ours = make_cluster().connect(resp3=True)
    with RespConnection(redis_port, protocol=3) as theirs:
        their_rows = shared(theirs.call(b"COMMAND", b"INFO", *names))
    our_rows = shared(ours.call(b"COMMAND", b"INFO", *names))
    for name in our_rows:
        columns = slice(2) if name in REFUSED else slice(None)
        assert our_rows[name][columns] == their_rows[name][columns], name
    assert their_rows.keys() == our_rows.keys()


def test_command_docs_of_every_own_command(redis_port: int, make_cluster: Callable[..., Cluster]) -> None:
    names = [row.name.encode() for row in ROWS if not row.name.startswith(("raft.", "sentinel"))]
    ours = make_cluster().connect(resp3=True)
    with RespConnection(redis_port, protocol=3) as theirs:
        their_docs = theirs.call(b"COMMAND", b"DOCS", *names)
    our_docs = ours.call(b"COMMAND", b"DOCS", *names)
    assert list(our_docs) == names
    for name in names:
        for docs in (their_docs, our_docs):
            subcommands = docs[name].pop(b"subcommands", {})
            docs[name][b"subcommands"] = {
                key: each for key, each in subcommands.items() if key not in NOT_HERE | NEWER | REFUSED
            }
        assert plain(our_docs[name]) == plain(their_docs[name])
        # The order of the entries is Redis's, too.
        ordered = [key for key in their_docs[name] if key in our_docs[name]]
        assert [key for key in our_docs[name] if key in their_docs[name]] == ordered


def test_machine_commands_look_like_redis(pair: tuple[RespConnection, Client]) -> None:
    """One of the machine's rows through the same code; all of them are compared in tests/machines."""
    theirs, ours = pair
    for name in (b"GET", b"MSET", b"COPY", b"KEYS"):
        line = (b"COMMAND", b"INFO", name)
        assert (
            ours.call(*line) == theirs.call(*line)
            if not resp3
            else plain(ours.call(*line)) == plain(theirs.call(*line))
        )


LOGIN_LINES = (
    ["hello 3"],
    ["hello"],
    ["hello 4"],
    ['hello 3 setname "a b"'],
    ["hello 3 auth default wrong"],
    ["hello 2 auth default pw foo", "client getname"],
    ["hello 2 setname abc", "auth pw", "client getname"],
    ["get a"],
    ["auth a", "auth default a", "auth foo pw", "ping"],
    ["auth pw", "auth bad", "get a", "client setname x", "reset", "get a", "auth default pw", "client getname"],
    ["auth pw", "config get requirepass"],
)


@pytest.mark.parametrize("lines", LOGIN_LINES, ids=lambda lines: ";".join(lines))
def test_the_same_login(lines: list[str], make_cluster: Callable[..., Cluster]) -> None:
    ours = make_cluster(client_requirepass="pw").connect()
    with start_redis_server("--requirepass", "pw") as port, RespConnection(port) as theirs:
        for line in lines:
            words = [word.encode() for word in shlex.split(line)]
            assert ours.call(*words) == theirs.call(*words), line


def test_setting_and_removing_a_password(redis_port: int, cluster: Cluster) -> None:
    ours = cluster.connect()
    with RespConnection(redis_port) as theirs:
        for client in (ours, theirs):
            assert client.call(b"CONFIG", b"SET", b"requirepass", b"pw") == OK
            assert client.call(b"CONFIG", b"GET", b"requirepass") == [b"requirepass", b"pw"]
            assert client.call(b"CONFIG", b"SET", b"requirepass", b"") == OK
            assert isinstance(client.call(b"AUTH", b"pw"), Error)


THRESHOLDS = ("hash-max-ziplist-entries", "hash-max-listpack-value", "set-max-intset-entries", "hll-sparse-max-bytes")
VALUES = ("x", "-1", "9223372036854775807", "9223372036854775808", "1k", "1KB", "", "07", "100", "kb", "1.5")


@pytest.mark.parametrize("name", THRESHOLDS)
def test_setting_a_threshold(redis_port: int, cluster: Cluster, name: str) -> None:
    ours = cluster.connect()
    with RespConnection(redis_port) as theirs:
        for value in VALUES:
            for line in (
                (b"SET", name.encode(), value.encode()),
                (b"GET", name.replace("ziplist", "listpack").encode()),
            ):
                assert ours.call(b"CONFIG", *line) == theirs.call(b"CONFIG", *line), (name, value)


def test_info_fields_are_those_of_redis(redis_port: int, cluster: Cluster) -> None:
    """Sections stand in Redis's order, and a field that Redis has too is in the same section."""

    def places(text: bytes) -> dict[str, str]:
        section, found = "", {}
        for line in text.decode().splitlines():
            if line.startswith("# "):
                section = line
            elif ":" in line:
                found[line.partition(":")[0]] = section
        return found

    with RespConnection(redis_port) as theirs:
        their_text = theirs.call(b"INFO")
    our_text = cluster.connect().call(b"INFO")
    known, ours = places(their_text), places(our_text)
    assert {field: section for field, section in ours.items() if field in known}.items() <= known.items()
    assert len(ours.keys() & known.keys()) > 50
    sections = [line for line in our_text.splitlines() if line.startswith(b"# ") and line != b"# Raft"]
    assert sections == [line for line in their_text.splitlines() if line.startswith(b"# ")]
