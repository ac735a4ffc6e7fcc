"""Extended floats against a real server, whose C library is the reference."""

from __future__ import annotations

import random

import pytest

from raftkv.machines.redis.longdouble import decimal_of, parse_long_double
from tests.machines.casework import MachineClient
from tests.support.redis_server import RespConnection, start_redis_server

EDGES = [
    *(b"0 -0 +0 00.10 1e0 1E+2 1e-2 .5 5. 1e-17 1e-18 5e-18 4.9e-18 0.30000000000000004").split(),
    *(b"0x10 0X1.8p1 -0x.8P-1 0x1p-16445 0x1p-16446 0x1.8p-16446 0x1p16383 0x1p16384").split(),
    *(b"9223372036854775807 18446744073709551615 18446744073709551617 36893488147419103233").split(),
    *(
        b"1e19 1e300 1e4932 1.18973149535723176e4932 1.2e4932 3.6e-4951 1.8e-4951 1e-4960 1e99999999999999999999"
    ).split(),
    *(b"0e99999999999999999999 1e-99999999999999999999 0x1p99999999999999 1_0 1e1.5 1e+ --1 1d 0xg 0x.p1").split(),
    b"9" * 4900,
    b"0." + b"0" * 4000 + b"1",
    b"1" + b"0" * 5200,
    b"0" * 5118 + b"1",
    b"0" * 5120 + b"1",
]


def random_number(chance: random.Random) -> bytes:
    whole, fraction = chance.randrange(10 ** chance.randrange(1, 22)), chance.randrange(10 ** chance.randrange(1, 20))
    exponent = chance.choice(["", "", "", f"e{chance.randrange(-25, 25)}", f"E+{chance.randrange(400)}"])
    return f"{chance.choice(['', '-', '+'])}{whole}.{fraction}{exponent}".encode()


@pytest.mark.redis
def test_sums_equal_those_of_redis() -> None:
    chance = random.Random(11)
    pairs = [(b"0", edge) for edge in EDGES] + [(edge, b"1") for edge in EDGES]
    pairs += [(random_number(chance), random_number(chance)) for _ in range(1500)]
    client = MachineClient()
    with start_redis_server() as port, RespConnection(port) as connection:
        for before, increment in pairs:
            steps = [[b"SET", b"a", before], [b"INCRBYFLOAT", b"a", increment], [b"INCRBYFLOAT", b"a", b"0.1"]]
            assert [client.call(*argv) for argv in steps] == connection.pipeline(steps), (before, increment)


def test_a_tenth_is_rounded_to_64_bits() -> None:
    tenth = parse_long_double(b"0.1")
    assert isinstance(tenth, tuple)
    assert tenth[0].bit_length() == 64
    assert str(decimal_of(tenth)).startswith("0.1000000000000000000013552527")
