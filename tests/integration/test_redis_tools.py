"""Must show 1: Redis's own tools against real members, on the leader and on a follower."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from raftkv.machines.replies import OK
from tests.integration.cluster import Cluster, Member
from tests.support.redis_server import RespConnection, start_redis_server

pytestmark = [pytest.mark.processes, pytest.mark.redis]


def run(*argv: str, stdin: bytes | None = None) -> str:
    """Standard output of a tool that has to end well and say nothing on its error output."""
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    assert done.stderr == b"", output
    return done.stdout.decode()


def try_cli(
    member: Member, *argv: str, stdin: bytes = b"", directory: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """redis-cli that may fail, but must come to an end."""
    command = ["redis-cli", "-p", str(member.port), *argv]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=15, check=False, cwd=directory)


def cli(member: Member, *argv: str, stdin: bytes | None = None) -> str:
    return run("redis-cli", "-p", str(member.port), *argv, stdin=stdin)


def test_the_first_commands_of_a_newcomer(cluster: Cluster) -> None:
    first, second, third = cluster
    assert cli(first, "set", "a", "1") == "OK\n"
    assert cli(second, "get", "a") == "1\n"
    cluster.wait_equal()
    assert cli(third, "dirtyget", "a") == "1\n"


def test_output_of_every_type(member: Member) -> None:
    cli(member, "flushall")
    assert cli(member, "--no-raw", "set", "a", "x y") == "OK\n"
    assert cli(member, "--no-raw", "get", "a") == '"x y"\n'
    assert cli(member, "--no-raw", "get", "b") == "(nil)\n"
    assert cli(member, "--no-raw", "strlen", "a") == "(integer) 3\n"
    assert cli(member, "--no-raw", "mget", "a", "b") == '1) "x y"\n2) (nil)\n'
    assert cli(member, "--no-raw", "incr", "a") == "(error) ERR value is not an integer or out of range\n"


def test_resp3(member: Member) -> None:
    assert cli(member, "-3", "set", "a", "1") == "OK\n"
    assert cli(member, "-3", "--no-raw", "get", "missing") == "(nil)\n"
    assert cli(member, "-3", "--no-raw", "config", "get", "port") == f'1# "port" => "{member.port}"\n'


def test_scan(member: Member) -> None:
    cli(member, "flushall")
    lines = "".join(f"SET key:{number} {number}\n" for number in range(300))
    assert cli(member, stdin=lines.encode()) == "OK\n" * 300
    assert set(cli(member, "--scan", "--pattern", "key:1*").split()) == {
        f"key:{number}" for number in range(300) if str(number).startswith("1")
    }


@pytest.fixture
def filled(member: Member) -> Member:
    """A member with one key of every type."""
    commands = """
        flushall
        set text 12345
        set number 1
        rpush list 1 2 3 4 5
        sadd set a b
        zadd zset 1 a 1.5 b 2 c
        hset hash field value
        setbit bits 100 1
        pfadd hyperloglog a
    """
    cli(member, stdin=commands.encode())
    return member


def test_bigkeys(filled: Member) -> None:
    output = cli(filled, "--bigkeys")
    assert "Sampled 8 keys in the keyspace!" in output
    assert "Biggest   list found '\"list\"' has 5 items" in output
    assert "Biggest   hash found '\"hash\"' has 1 fields" in output
    assert "Biggest    set found '\"set\"' has 2 members" in output
    assert "Biggest   zset found '\"zset\"' has 3 members" in output
    assert "4 strings with " in output


def test_memkeys(filled: Member) -> None:
    """It asks MEMORY USAGE of every key."""
    output = cli(filled, "--memkeys")
    assert "Sampled 8 keys in the keyspace!" in output
    for key, kind in [("list", "list"), ("hash", "hash"), ("set", "set"), ("zset", "zset"), ("hyperloglog", "string")]:
        assert re.search(rf"Biggest +{kind} found '\"{key}\"' has [1-9][0-9]* bytes", output), output
    assert "Biggest string" in cli(filled, "--memkeys-samples", "3")


def test_forms_of_output(filled: Member) -> None:
    assert cli(filled, "--csv", "lrange", "list", "0", "1") == '"1","2"\n'
    assert cli(filled, "-d", "|", "lrange", "list", "0", "2") == "1|2|3\n"
    assert cli(filled, "--json", "hgetall", "hash") == '{"field":"value"}\n'
    assert cli(filled, "--json", "-2", "hgetall", "hash") == '["field","value"]\n'
    assert cli(filled, "--json", "zrange", "zset", "0", "1", "withscores") == '[["a",1],["b",1.5]]\n'
    assert cli(filled, "--json", "mget", "text", "missing") == '["12345",null]\n'
    assert cli(filled, "-3", "--csv", "smismember", "set", "a", "c") == "1,0\n"
    assert cli(filled, "-3", "--no-raw", "smembers", "set") in ('1~ "a"\n2~ "b"\n', '1~ "b"\n2~ "a"\n')
    assert cli(filled, "-3", "--no-raw", "zscore", "zset", "b") == "(double) 1.5\n"


def test_arguments_from_standard_input(member: Member) -> None:
    everything = bytes(range(256)) * 2
    assert cli(member, "-x", "set", "bytes", stdin=everything) == "OK\n"
    with member.client() as client:
        assert client("GET", "bytes") == everything
    assert cli(member, "-X", "HERE", "hset", "hash", "HERE", "value", stdin=b"a field") in ("0\n", "1\n")
    assert cli(member, "hget", "hash", "a field") == "value\n"


def test_errors_in_the_exit_code(member: Member) -> None:
    """`-e` is for scripts: an error reply is a failure."""
    done = try_cli(member, "-e", "incrby", "a", "x")
    assert (done.returncode, done.stderr) == (1, b"ERR value is not an integer or out of range\n")


def test_latency(member: Member) -> None:
    """Where no terminal is, it measures for the interval, and ends."""
    least, most, average, samples = cli(member, "-i", "0.1", "--latency", "--csv").split(",")
    assert 0 <= int(least) <= float(average) <= int(most)
    assert int(samples) > 1


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["monitor"], b"ERR unknown command 'monitor'"),
        (["eval", "return 1", "0"], b"ERR unknown command 'eval', with args beginning with: 'return 1' '0' "),
        (["--eval", "/dev/stdin", "key", ",", "word"], b"ERR unknown command 'EVAL'"),
        (["--ldb", "--eval", "/dev/stdin"], b"ERR unknown command 'EVAL'"),
        (["--replica"], b"SYNC with master failed: -ERR unknown command 'SYNC'"),
        (["--rdb", "copy.rdb"], b"SYNC with master failed: -ERR unknown command 'SYNC'"),
        (["--functions-rdb", "copy.rdb"], b"Failed requesting functions only RDB from server, aborting"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_not_there_is_refused_at_once(member: Member, tmp_path: Path, flags: list[str], error: bytes) -> None:
    """Commands that would take over the connection: the client must hear of it, instead of waiting for a stream."""
    done = try_cli(member, *flags, stdin=b"return 1", directory=tmp_path)
    assert error in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_databases_and_repeats(member: Member) -> None:
    cli(member, "flushall")
    assert cli(member, "-n", "3", "-r", "5", "incr", "a") == "1\n2\n3\n4\n5\n"
    assert cli(member, "-r", "3", "-i", "0.01", "incr", "paced") == "1\n2\n3\n"
    assert cli(member, "get", "a") == "\n"
    assert cli(member, "-n", "3", "get", "a") == "5\n"
    assert cli(member, "-u", f"redis://127.0.0.1:{member.port}/3", "get", "a") == "5\n"


def test_pipe(member: Member, tmp_path: Path) -> None:
    """Mass insertion: ten thousand commands, of which not one may be lost."""
    cli(member, "flushall")
    commands = b"".join(
        b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$5\r\nvalue\r\n" % (len(key), key)
        for key in (b"key:%d" % number for number in range(10_000))
    )
    output = cli(member, "--pipe", stdin=commands)
    assert "errors: 0, replies: 10000" in output
    assert cli(member, "dbsize") == "10000\n"


def test_pipe_counts_errors(member: Member) -> None:
    commands = b"SET text x\r\n*2\r\n$4\r\nINCR\r\n$4\r\ntext\r\nNOSUCH\r\nSADD words a b\r\n"
    done = try_cli(member, "--pipe", stdin=commands)
    assert b"errors: 2, replies: 4" in done.stdout
    assert done.returncode == 1


def test_a_redis_moves_its_keys_to_a_member_and_gets_them_back(member: Member) -> None:
    """MIGRATE is a command of Redis, which sends RESTORE to whatever listens."""
    cli(member, "flushall")
    with start_redis_server() as port, RespConnection(port) as redis:
        redis.call(b"SET", b"string", b"some text " * 100, b"PX", b"1000000")
        redis.call(b"HSET", b"hash", *(b"%d" % number for number in range(2000)))
        redis.call(b"ZADD", b"zset", b"1.5", b"one", b"-inf", b"other")
        target = [b"127.0.0.1", b"%d" % member.port]
        for key in (b"string", b"hash", b"zset"):
            assert redis.call(b"MIGRATE", *target, key, b"0", b"5000") == OK
        assert redis.call(b"DBSIZE") == 0
        assert cli(member, "hlen", "hash") == "1000\n"
        assert 900 < int(cli(member, "ttl", "string")) <= 1000
        with RespConnection(member.port) as connection:
            for key in (b"string", b"hash", b"zset"):
                assert redis.call(b"RESTORE", key, b"0", connection.call(b"DUMP", key)) == OK
        assert redis.call(b"GET", b"string") == b"some text " * 100
        assert redis.call(b"HLEN", b"hash") == 1000
        assert redis.call(b"ZRANGE", b"zset", b"0", b"-1") == [b"other", b"one"]


@pytest.mark.parametrize("depth", [1, 16])
def test_benchmark(member: Member, depth: int) -> None:
    tests = "ping_inline,ping_mbulk,set,get,incr,mset"
    flags = ["-n", "20000", "-c", "50", "-P", str(depth), "-t", tests, "--csv"]
    output = run("redis-benchmark", "-p", str(member.port), *flags)
    header, *rows = output.strip().splitlines()
    assert header.startswith('"test"')
    assert len(rows) == 6, output
    assert "rror" not in output
    assert "WARN" not in output


def test_benchmark_with_random_keys(member: Member) -> None:
    run("redis-benchmark", "-p", str(member.port), "-n", "5000", "-r", "100000", "-c", "20", "-q", "-t", "set,get")
    run("redis-benchmark", "-p", str(member.port), "-n", "5000", "-q", "-3", "-c", "5", "get", "a")
