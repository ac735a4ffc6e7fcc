"""Which commands change a watched key and which do not: tables, for the machine and for a real redis-server.

Random sequences ask the same of every line, see the mode WATCH of side_by_side.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.machines.replies import NullArray
from tests.machines.casework import words
from tests.machines.test_transactions import Client
from tests.support.redis_server import RespConnection, start_redis_server


@pytest.fixture
def client() -> Client:
    return Client()


SETUP = (
    "MSET a 1 b 2 text abc",
    "SET due 1 PX 5000",
    "HSET hash f 1 g x",
    "SADD set x y",
    "SADD one x",
    "RPUSH list x y x",
    "ZADD zset 1 a 2 b",
    "ZADD lex 0 a 0 b",
    "SETBIT bits 7 1",
    "PFADD hll a b",
    "GEOADD geo 13 38 a 15 37 b",
)
CHANGES = {
    "geo": (
        *("GEOADD geo 14 38 a", "GEOADD geo NX 1 1 c", "GEOADD geo XX 1 1 b", "GEOADD geo NX CH 13 38 c", "ZREM geo a"),
        *(
            "GEOSEARCHSTORE geo geo FROMMEMBER a BYRADIUS 1 km",
            "GEOSEARCHSTORE geo geo FROMMEMBER a BYRADIUS 9999 km",
            "GEOSEARCHSTORE geo none FROMLONLAT 1 1 BYBOX 1 1 km",
            "GEORADIUS geo 13 38 1 km STORE geo",
            "GEORADIUSBYMEMBER geo a 1 km STOREDIST geo",
        ),
    ),
    "zset": (
        *("ZADD zset 3 c", "ZADD zset 5 a", "ZADD zset XX 5 a", "ZADD zset GT 5 a", "ZADD zset INCR 1 a"),
        *("ZINCRBY zset 1 a", "ZINCRBY zset 0 c", "ZREM zset a", "ZREM zset a b", "ZREMRANGEBYRANK zset 0 0"),
        *("ZREMRANGEBYSCORE zset 1 1", "ZPOPMIN zset", "ZPOPMAX zset 9", "ZMPOP 2 none zset MIN"),
        *("ZRANGESTORE zset zset 0 -1", "ZRANGESTORE zset none 0 -1", "ZUNIONSTORE zset 1 set"),
        *("ZINTERSTORE zset 2 zset none", "ZDIFFSTORE zset 1 zset", "SORT list ALPHA STORE zset", "DEL zset"),
    ),
    "lex": ("ZREMRANGEBYLEX lex [a [a", "ZREMRANGEBYLEX lex - +"),
    "bits": (
        *("SETBIT bits 0 1", "SETBIT bits 8 0", "BITFIELD bits SET u8 0 2", "BITFIELD bits SET u8 0 2 SET u8 0 1"),
        *(
            "BITFIELD bits SET u8 8 0",
            "BITFIELD bits OVERFLOW FAIL INCRBY u8 8 300 SET u8 0 1",
            "BITOP NOT bits a",
            "BITOP AND bits none none",
        ),
    ),
    "hll": ("PFADD hll c", "PFMERGE hll", "PFMERGE hll hll", "PFMERGE hll none"),
    "list": (
        *("LPUSH list x", "RPUSHX list x", "LPOP list", "RPOP list 2", "LREM list 0 x", "LSET list 0 x"),
        *(
            "RPUSH list z",
            "LPUSHX list x",
            "SORT set ALPHA STORE list",
            "SORT none STORE list",
            "LMPOP 1 list RIGHT COUNT 9",
        ),
        *("LINSERT list BEFORE x x", "LTRIM list 0 0", "LTRIM list 0 -1", "LMOVE list other LEFT LEFT"),
        *("RPOPLPUSH list list", "LMPOP 2 none list LEFT", "LMPOP 1 list RIGHT COUNT 9", "DEL list"),
    ),
    "set": (
        *("SADD set z", "SREM set x", "SREM set x y", "SPOP set", "SPOP set 1", "SPOP set 9", "SMOVE set one y"),
        *("SUNIONSTORE set one", "SINTERSTORE set set none", "SDIFFSTORE set set", "DEL set"),
        *("SMOVE set new x", "SADD set x z", "SORT list ALPHA STORE set", "SINTERSTORE set one"),
    ),
    "hash": (
        *("HSET hash f 1", "HMSET hash f 1", "HSETNX hash h 1", "HDEL hash f", "HDEL hash f g", "HINCRBY hash f 0"),
        *("HINCRBYFLOAT hash f 0", "SET hash 1", "DEL hash", "RENAME hash other", "COPY a hash REPLACE"),
        *("HSET hash f 1 h 2", "HSET hash h 1", "HINCRBY hash h 5", "HINCRBYFLOAT hash h 5", "BITOP NOT hash a"),
    ),
    "a": (
        *("SET a 1", "SET a 1 EX 9", "SET a 1 KEEPTTL", "SET a 1 GET", "SET a 1 XX", "SET a 1 PXAT 1", "SETEX a 9 1"),
        *(
            "MSET b 1 a 1",
            "GETSET a 1",
            "GETDEL a",
            "APPEND a x",
            'APPEND a ""',
            "SETRANGE a 0 1",
            "INCR a",
            "DECRBY a 0",
        ),
        *("INCRBYFLOAT a 0", "DEL a", "UNLINK b a", "EXPIRE a 9", "EXPIREAT a 1", "PEXPIRE a -1", "GETEX a EX 9"),
        *("RENAME a b", "RENAME b a", "RENAMENX a new", "COPY b a REPLACE", "MOVE a 1"),
        *("FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "SWAPDB 1 0"),
    ),
    "due": ("PERSIST due", "GETEX due PERSIST", "SET due 1", "EXPIRE due 9 GT", "@advance 5000", "@advance 9000"),
    "missing": (
        *("SET missing 1", "SETNX missing 1", "MSETNX missing 1", "APPEND missing x", "SETRANGE missing 1 x"),
        *("INCR missing", "INCRBYFLOAT missing 0", "GETSET missing 1", "SETEX missing 9 1", "SET missing 1 PXAT 1"),
        *("COPY a missing", "RENAME a missing", "RENAMENX a missing"),
        *("HSET missing f 1", "HSETNX missing f 1", "HMSET missing f 1", "HINCRBY missing f 0"),
        *("HINCRBYFLOAT missing f 0", "RPUSH missing x", "LMOVE list missing LEFT RIGHT", "RPOPLPUSH list missing"),
        *("SORT list ALPHA STORE missing", "SADD missing x", "SMOVE set missing x", "SUNIONSTORE missing set"),
        *("SINTERSTORE missing set one", "SDIFFSTORE missing set one", "ZADD missing 1 a", "ZINCRBY missing 0 a"),
        *("ZADD missing NX 1 a", "ZADD missing INCR 0 a", "ZRANGESTORE missing zset 0 -1", "ZUNIONSTORE missing 1 set"),
        *("ZINTERSTORE missing 2 set one", "ZDIFFSTORE missing 1 zset", "SETBIT missing 1 0", "BITOP NOT missing a"),
        *("BITFIELD missing SET u8 0 0", "BITFIELD missing INCRBY u8 0 0", "PFADD missing", "PFADD missing a"),
        *("PFMERGE missing", "PFMERGE missing none"),
    ),
}
NO_CHANGES = {
    "geo": (
        *("GEOADD geo 13 38 a", "GEOADD geo NX 14 39 a", "GEOADD geo XX 1 1 c", "GEOADD geo 999 1 c", "GEOHASH geo a"),
        *(
            "GEOSEARCH geo FROMMEMBER a BYRADIUS 9999 km",
            "GEOSEARCHSTORE other geo FROMMEMBER a BYRADIUS 9999 km",
            "GEOSEARCHSTORE geo geo FROMMEMBER nobody BYRADIUS 1 km",
            "GEORADIUS geo 13 38 1 km STORE other",
        ),
    ),
    "zset": (
        *("ZADD zset 1 a", "ZADD zset NX 5 a", "ZADD zset XX 3 c", "ZADD zset GT 0 a", "ZADD zset LT 5 a"),
        *("ZADD zset GT INCR -1 a", "ZADD zset x a", "ZINCRBY zset 0 a", "ZREM zset c", "ZREMRANGEBYRANK zset 5 9"),
        *("ZREMRANGEBYSCORE zset 5 9", "ZPOPMIN zset 0", "ZMPOP 1 none MIN", "ZRANGE zset 0 -1", "ZSCAN zset 0"),
        *(
            "ZRANDMEMBER zset",
            "ZUNIONSTORE new 1 zset",
            "ZRANGESTORE new zset 0 -1",
            "SORT zset BY nosort",
            "SADD zset x",
        ),
    ),
    "lex": ("ZREMRANGEBYLEX lex (b +", "ZLEXCOUNT lex - +", "ZREMRANGEBYLEX lex a b"),
    "bits": (
        *("GETBIT bits 7", "BITCOUNT bits", "BITPOS bits 1", "BITFIELD bits GET u8 0", "BITFIELD bits"),
        *(
            "BITFIELD bits OVERFLOW FAIL INCRBY u8 0 300",
            "BITFIELD_RO bits GET u8 0",
            "SETBIT bits x 1",
            "SETBIT bits 7 1",
        ),
        *("BITFIELD bits SET u8 0 1", "BITFIELD bits INCRBY u8 0 0", "BITFIELD bits OVERFLOW FAIL INCRBY u8 8 300"),
        *("BITFIELD bits OVERFLOW FAIL INCRBY u8 0 300 SET u8 0 1",),
        *("BITOP NOT new bits", "BITOP NOT bits a b"),
    ),
    "hll": ("PFADD hll a", "PFADD hll", "PFCOUNT hll none", "PFMERGE new hll", "PFMERGE hll text", "PFADD text a"),
    "list": (
        *("LPUSHX none x", "LREM list 0 none", "LINSERT list BEFORE none x", "LPOP list 0", "LRANGE list 0 -1"),
        *("LSET list 9 x", "LPOS list x", "RPUSH a x", "LMOVE none list LEFT LEFT"),
        *("RPOPLPUSH none list", "LLEN list", "LINDEX list 0", "SORT list ALPHA", "SORT list ALPHA STORE new"),
        *("LMPOP 1 none LEFT", "LMPOP 1 list LEFT COUNT 0", "LPUSH list", "HSET list f 1"),
    ),
    "set": (
        *("SADD set x", "SREM set none", "SMOVE set one none", "SMOVE set set x", "SPOP set 0", "SRANDMEMBER set"),
        *("SUNIONSTORE new set", "SMOVE one set x", "SADD a x", "SINTERSTORE a set one EX"),
        *(
            "SINTERCARD 2 set one",
            "SDIFFSTORE new set one",
            "SPOP set -1",
            "SMOVE set a x",
            "SORT set ALPHA",
            "SSCAN set 0",
        ),
        *("ZUNIONSTORE new 1 set", "SUNIONSTORE set a"),
    ),
    "hash": (
        *("HSETNX hash f 2", "HDEL hash none", "HGETALL hash", "HINCRBY hash g 1", "HINCRBYFLOAT hash g 1"),
        *("SET hash 1 NX", "INCR hash", "HRANDFIELD hash", "HSCAN hash 0"),
        *("HGET hash f", "HMGET hash f", "HKEYS hash", "HINCRBY hash f x", "HSET hash f", "HSET hash f 1 g"),
    ),
    "a": (
        *("SET a 1 NX", "SETNX a 1", "MSETNX b 1 a 1", "GET a", "STRLEN a", "TYPE a", "EXISTS a", "TOUCH a", "GETEX a"),
        *("PERSIST a", "EXPIRE a 9 XX", "GETEX a PERSIST", "RENAME a a", "RENAMENX a a", "RENAMENX a b", "COPY a new"),
        *("COPY b a", 'SETRANGE a 0 ""', "INCRBY a x", "SET a 1 EX 0", "SET b 1", "DEL b", "SWAPDB 1 2", "SWAPDB 0 0"),
        *("MOVE a 0", "@advance 60000", "SCAN 0", "RANDOMKEY", "DBSIZE"),
    ),
    "text": ("INCR text", "INCRBYFLOAT text 1"),
    "due": ("@advance 4999", "EXPIRE due 1 GT", "TTL due"),
    "missing": (
        *(
            "SDIFFSTORE missing none none",
            "SREM missing x",
            "SPOP missing",
            "SMOVE missing one x",
            "LPOP missing",
            "LTRIM missing 0 0",
        ),
        *("DEL missing", "GETDEL missing", "PERSIST missing", "EXPIRE missing 1", "RENAME missing a", "MOVE missing 1"),
        *("HDEL missing f", "LPUSHX missing x", "LINSERT missing BEFORE x y", "LREM missing 0 x", "LSET missing 0 x"),
        *(
            "LMPOP 1 missing LEFT",
            "LMOVE missing list LEFT LEFT",
            "SORT none STORE missing",
            "SINTERSTORE missing none set",
        ),
        *("ZREM missing a", "ZADD missing XX 1 a", "ZADD missing GT XX 1 a", "ZPOPMIN missing", "ZMPOP 1 missing MIN"),
        *("ZREMRANGEBYRANK missing 0 -1", "ZRANGESTORE missing none 0 -1", "ZUNIONSTORE missing 1 none"),
        *("ZINTERSTORE missing 2 set none", "ZDIFFSTORE missing 1 none", "BITOP AND missing none", "GETBIT missing 1"),
        *("BITFIELD missing GET u8 0", "BITFIELD missing OVERFLOW FAIL INCRBY u8 0 300", "PFCOUNT missing none"),
        *('SETRANGE missing 0 ""', "SET missing 1 XX", "GETEX missing EX 5", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1"),
    ),
}


def _cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(key, line) for key, lines in table.items() for line in lines]


def _happens(client: Client, line: str) -> None:
    if line.startswith("@advance"):
        client.advance(int(line.split()[1]))
    else:
        client.call(*words(line))


@pytest.mark.parametrize(("key", "line"), _cases(CHANGES))
def test_a_change_is_seen(client: Client, key: str, line: str) -> None:
    for setup in SETUP:
        client.call(*words(setup))
    watched = client.watch(key.encode())
    _happens(client, line)
    assert client.fails(watched)


@pytest.mark.parametrize(("key", "line"), _cases(NO_CHANGES))
def test_what_changes_nothing_is_not(client: Client, key: str, line: str) -> None:
    for setup in SETUP:
        client.call(*words(setup))
    watched = client.watch(key.encode())
    _happens(client, line)
    assert not client.fails(watched)


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with start_redis_server() as port:
        yield port


@pytest.mark.redis
def test_redis_sees_the_same_changes(redis_port: int) -> None:
    judged = [(*case, True) for case in _cases(CHANGES)] + [(*case, False) for case in _cases(NO_CHANGES)]
    wrong = []
    with RespConnection(redis_port) as watcher, RespConnection(redis_port) as other:
        for key, line, is_change in judged:
            if line.startswith("@"):
                continue
            other.pipeline([words(setup) for setup in ("FLUSHALL", *SETUP)])
            watcher.call(b"WATCH", key.encode())
            other.call(*words(line))
            watcher.call(b"MULTI")
            if watcher.call(b"EXEC") != (NullArray() if is_change else []):
                wrong.append((key, line))
    assert wrong == []
