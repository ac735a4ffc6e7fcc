"""Must show 1: Redis's own tools against real members, on the leader and on a follower."""

from __future__ import annotations

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


def test_other_databases_and_repeats(member: Member) -> None:
    cli(member, "flushall")
    assert cli(member, "-n", "3", "-r", "5", "incr", "a") == "1\n2\n3\n4\n5\n"
    assert cli(member, "get", "a") == "\n"
    assert cli(member, "-n", "3", "get", "a") == "5\n"


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
