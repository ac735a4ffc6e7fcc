"""Requests. The invariant, for any bytes at all: nothing but ProtocolError is ever raised, every call returns,
what is held stays within what was fed (plus a fixed cost per argument), commands before an error are delivered
before it is raised, and neither the way the bytes are chopped nor the way commands are asked for matters.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftkv.errors import ProtocolError
from raftkv.wire.resp import RequestParser, whole_command
from tests.wire.conftest import Exchange, steady

Outcome = tuple[list[list[bytes]], str | None]

SET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"
GET = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
KIB = 1024


def command(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def run(parser: RequestParser, feeds: Iterable[bytes], commands_max: int = 1000) -> Outcome:
    """Feed piece after piece, and after each ask until nothing more is pending."""
    commands: list[list[bytes]] = []
    fed_bytes = 0
    for piece in feeds:
        fed_bytes += len(piece)
        parser.feed(piece)
        while parser.pending:
            try:
                found = parser.parse(commands_max)
            except ProtocolError as error:
                return commands, str(error)
            assert len(found) <= commands_max
            assert all(type(argument) is bytes for argv in found for argument in argv)
            commands += found
            assert parser.buffered_bytes <= 9 * fed_bytes
    assert parser.parse(commands_max) == []
    return commands, None


def chop(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def without_hot_path() -> RequestParser:
    """The dumb twin: reads everything piece by piece."""
    parser = RequestParser()
    parser._fast = parser._fresh = False
    return parser


def all_ways(data: bytes) -> Outcome:
    """The outcome, whole, byte by byte, in odd pieces, one command at a time, and without the hot path."""
    outcome = run(RequestParser(), [data])
    assert run(RequestParser(), chop(data, 1)) == outcome
    assert run(RequestParser(), chop(data, 7)) == outcome
    assert run(RequestParser(), [data], commands_max=1) == outcome
    assert run(without_hot_path(), [data]) == outcome
    return outcome


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"*1\r\n$4\r\nPING\r\n", [[b"PING"]]),
        (SET, [[b"SET", b"k", b"value"]]),
        (GET, [[b"GET", b"k"]]),
        (command(b"HSET", b"h", b"f", b"v"), [[b"HSET", b"h", b"f", b"v"]]),
        (command(b"SET", b"", b""), [[b"SET", b"", b""]]),
        (command(b"SET", b"k", b"\r\n"), [[b"SET", b"k", b"\r\n"]]),
        (command(b"\r\n", b"\r\n\r\n", b"a\r\nb\r\n"), [[b"\r\n", b"\r\n\r\n", b"a\r\nb\r\n"]]),
        (command(b"SET", b"k", GET), [[b"SET", b"k", GET]]),
        (command(b"SET", b"k\r", b"\nv"), [[b"SET", b"k\r", b"\nv"]]),
        (command(b"SET", b"k", bytes(range(256)) * 100), [[b"SET", b"k", bytes(range(256)) * 100]]),
        (command(*[b"%d" % n for n in range(2000)]), [[b"%d" % n for n in range(2000)]]),
        (b"*0\r\n", []),
        (b"*-1\r\n", []),
        (b"*-5\r\n", []),
        (b"\r\n", []),
        (b"\n", []),
        (b"   \r\n", []),
        (b"PING\r\n", [[b"PING"]]),
        (b"PING\n", [[b"PING"]]),
        (b"PING\r\r\n", [[b"PING"]]),
        (b"set k 'v w'\r\n", [[b"set", b"k", b"v w"]]),
        # Redis does not look at what ends an argument, nor at what follows a carriage return.
        (b"*1\r\n$4\r\nPINGxx", [[b"PING"]]),
        (b"*1\rx$4\ryPING\r\n", [[b"PING"]]),
    ],
)
def test_well_formed(data: bytes, expected: list[list[bytes]]) -> None:
    assert all_ways(data) == (expected, None)
    # ... and with something behind it, and something before it.
    assert all_ways(data + SET) == ([*expected, [b"SET", b"k", b"value"]], None)
    assert all_ways(GET + data + b"PING\n" + SET) == (
        [[b"GET", b"k"], *expected, [b"PING"], [b"SET", b"k", b"value"]],
        None,
    )


BAD = [
    (b"*\r\n", "invalid multibulk length"),
    (b"*x\r\n", "invalid multibulk length"),
    (b"*+1\r\n", "invalid multibulk length"),
    (b"* 1\r\n", "invalid multibulk length"),
    (b"*01\r\n", "invalid multibulk length"),
    (b"*-0\r\n", "invalid multibulk length"),
    (b"*1_0\r\n", "invalid multibulk length"),
    (b"*2147483648\r\n", "invalid multibulk length"),
    (b"*99999999999999999999999\r\n", "invalid multibulk length"),
    (b"*-9223372036854775809\r\n", "invalid multibulk length"),
    (b"*1\r\nx\r\n", "expected '$', got 'x'"),
    (b"*1\r\n\r\n", "expected '$', got ' '"),
    (b"*1\r\n:1\r\n", "expected '$', got ':'"),
    (b"*1\r\n+OK\r\n", "expected '$', got '+'"),
    (b"*1\r\n=5\r\ntxt:a\r\n", "expected '$', got '='"),
    (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
    (b"*1\r\n~4000000000\r\n", "expected '$', got '~'"),
    (b"*2\r\n$3\r\nGET\r\n_\r\n", "expected '$', got '_'"),
    (b"*1\r\n\xff\r\n", "expected '$', got '\udcff'"),
    (b"*1\r\n$\r\n", "invalid bulk length"),
    (b"*1\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$+1\r\n", "invalid bulk length"),
    (b"*1\r\n$01\r\n", "invalid bulk length"),
    (b"*1\r\n$1x\r\n", "invalid bulk length"),
    (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    (b"*" + b"1" * (64 * KIB), "too big mbulk count string"),
    (b"*1\r\n$" + b"1" * (64 * KIB), "too big bulk count string"),
    (b"x" * (64 * KIB + 1), "too big inline request"),
    (b"SET k \"v\r\n", "unbalanced quotes in request"),
    (b"SET k 'v\r\n", "unbalanced quotes in request"),
    (b"SET k \"v\"w\r\n", "unbalanced quotes in request"),
    (b"SET k 'v'w\r\n", "unbalanced quotes in request"),
    (b"SET k \"v\\\r\n", "unbalanced quotes in request"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), BAD)
def test_errors_come_after_the_commands_before_them(data: bytes, text: str) -> None:
    ways = all_ways if len(data) < 100 else lambda data: run(RequestParser(), [data])
    assert ways(data) == ([], text)
    assert ways(SET + b"PING\r\n" + data) == ([[b"SET", b"k", b"value"], [b"PING"]], text)


@pytest.mark.parametrize(("data", "text"), BAD)
@pytest.mark.redis
def test_redis_says_the_same(redis_exchange: Exchange, data: bytes, text: str) -> None:
    line = f"-ERR Protocol error: {text}\r\n".encode("utf-8", "surrogateescape")
    assert redis_exchange(b"PING\r\n" + data) == b"+PONG\r\n" + line


@pytest.mark.parametrize("data", [b"PI\0NG\nPING\r\n", b"*1\0\r\n$4\r\nPING\r\n", b"*1\r\n$4\0\r\nPING\r\n"])
def test_a_zero_byte_hides_the_rest_of_a_line(data: bytes) -> None:
    assert all_ways(GET + data) == ([[b"GET", b"k"]], None)
    assert run(RequestParser(), [data + b"x" * (64 * KIB)])[1] is not None


@pytest.mark.redis
@pytest.mark.parametrize("data", [b"PI\0NG\nPING\r\n", b"*1\0\r\n$4\r\nPING\r\n", b"*1\r\n$4\0\r\nPING\r\n"])
def test_a_zero_byte_hides_the_rest_of_a_line_from_redis_too(redis_exchange: Exchange, data: bytes) -> None:
    assert redis_exchange(b"PING\r\n" + data) == b"+PONG\r\n"


STREAM = b"".join(
    [SET, GET, command(b"HSET", b"h", b"f", b"v"), command(b"SET", b"k", GET), command(b"SET", b"\r\n", b"v")]
)


def test_cut_in_two_anywhere() -> None:
    expected = run(without_hot_path(), [STREAM])
    assert len(expected[0]) == 5
    for cut in range(len(STREAM)):
        assert run(RequestParser(), [STREAM[:cut], STREAM[cut:]]) == expected
        together = RequestParser()
        together.feed(STREAM[:cut])
        assert run(together, [STREAM[cut:]]) == expected
        assert run(RequestParser(), [STREAM[:cut]]) == run(without_hot_path(), [STREAM[:cut]])


def test_any_byte_replaced() -> None:
    """Nothing that is not canonical gets through the hot path."""
    for position in range(len(STREAM)):
        for replacement in b"01234569$*\r\n":
            stream = STREAM[:position] + bytes([replacement]) + STREAM[position + 1 :]
            assert run(RequestParser(), [stream]) == run(without_hot_path(), [stream])


def test_more_arguments_than_redis_ever_takes_are_refused_by_the_count_alone() -> None:
    assert run(RequestParser(), [b"*1048577\r\n"]) == ([], "invalid multibulk length")
    assert run(RequestParser(), [b"*1048576\r\n"]) == ([], None)
    assert run(RequestParser(multibulk_count_max=2), [GET, SET]) == ([[b"GET", b"k"]], "invalid multibulk length")
    assert run(RequestParser(bulk_bytes_max=4), [GET, SET]) == ([[b"GET", b"k"]], "invalid bulk length")


def test_an_error_is_final() -> None:
    parser = RequestParser()
    parser.feed(GET + b"*x\r\n" + GET)
    assert parser.parse(10) == [[b"GET", b"k"]]
    for _ in range(3):
        assert parser.pending
        with pytest.raises(ProtocolError, match=r"^invalid multibulk length$"):
            parser.parse(10)
        parser.feed(GET)
        assert parser.buffered_bytes == 0


def test_never_more_commands_than_asked_for_and_none_forgotten() -> None:
    parser = RequestParser()
    parser.feed(GET * 1000)
    counts = []
    while parser.pending:
        counts.append(len(parser.parse(300)))
    assert counts == [300, 300, 300, 100]
    assert parser.buffered_bytes == 0


def test_feeds_gather_until_someone_asks() -> None:
    parser = RequestParser()
    for piece in chop(SET * 1000, 100):
        parser.feed(piece)
    assert parser.buffered_bytes == len(SET) * 1000
    assert len(parser.parse(5000)) == 1000
    assert not parser.pending


def test_an_incomplete_command_is_not_pending_but_counted() -> None:
    parser = RequestParser()
    parser.feed(SET[:-4])
    assert parser.parse(1) == []
    assert not parser.pending
    assert parser.buffered_bytes > 0
    parser.feed(SET[-4:])
    assert parser.parse(1) == [[b"SET", b"k", b"value"]]
    assert parser.buffered_bytes == 0


@pytest.mark.parametrize("prefix", [b"*1048576\r\n", b"*2\r\n$536870912\r\n", b"*1\r\n*4000000000\r\n~4000000000\r\n"])
def test_a_promise_reserves_no_memory(prefix: bytes) -> None:
    tracemalloc.start()
    run(RequestParser(), [prefix])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * KIB


def test_arguments_do_not_keep_the_receive_buffer_alive() -> None:
    data = command(b"SET", b"k", b"v" * 50)
    parser = RequestParser()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = []
    for n in range(100):
        parser.feed(data + b"SET %d " % n + b"x" * 20_000 + b"\n")
        kept.append(parser.parse(10)[0])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200 * KIB


def test_before_authentication_little_is_taken() -> None:
    def stranger(data: bytes) -> Outcome:
        parser = RequestParser()
        parser.authenticated = False
        return run(parser, [data])

    assert stranger(command(*[b"x"] * 10)) == ([[b"x"] * 10], None)
    assert stranger(command(*[b"x"] * 11)) == ([], "unauthenticated multibulk length")
    assert stranger(GET + command(*[b"x"] * 11)) == ([[b"GET", b"k"]], "unauthenticated multibulk length")
    assert stranger(command(b"x" * 16384)) == ([[b"x" * 16384]], None)
    assert stranger(command(b"x" * 16385)) == ([], "unauthenticated bulk length")


def test_auth_in_a_pipeline_lifts_the_limits_for_what_follows() -> None:
    parser = RequestParser()
    parser.authenticated = False
    parser.feed(command(b"AUTH", b"secret") + command(*[b"x"] * 11) + SET)
    assert parser.parse(10) == [[b"AUTH", b"secret"]]
    assert parser.pending
    parser.authenticated = True
    assert parser.parse(10) == [[b"x"] * 11, [b"SET", b"k", b"value"]]


def test_a_line_is_too_long_however_it_arrives() -> None:
    for size, text in ((64 * KIB, None), (64 * KIB + 1, "too big inline request")):
        line = b"PING " + b"x" * (size - 5) + b"\n"
        for piece_size in (len(line), 16 * KIB, 1000):
            assert run(RequestParser(), chop(line, piece_size))[1] == text


arguments = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"\r\n", b"$1\r\n", b"*1\r\n$4\r\nPING\r\n", b"\r", b"\n", b"x" * 5000, b"\r\n" * 3000]),
)
commands = st.lists(arguments, min_size=1, max_size=6)
odd_bits = st.sampled_from([
    b"*", b"$", b"\r\n", b"\r", b"\n", b"0", b"1", b"2", b"-", b"+", b":", b"~", b"_", b"#", b"(", b"=", b"%", b"|",
    b"*1\r\n", b"*2\r\n", b"*3\r\n", b"*0\r\n", b"*-1\r\n", b"$1\r\n", b"$4\r\nPING\r\n", b"$3\r\n", b"SET", b"x",
    b'"', b"'", b"\\", b" ", b"\0", b"PING\r\n", SET, GET, b"*99999999999\r\n", b"$-1\r\n", b"*1048577\r\n",
])  # fmt: skip
streams = st.lists(st.one_of(odd_bits, commands.map(lambda argv: command(*argv)), st.binary(max_size=8))).map(b"".join)


@steady
@given(st.lists(commands))
def test_what_was_encoded_comes_back(argvs: list[list[bytes]]) -> None:
    data = b"".join(command(*argv) for argv in argvs)
    assert run(RequestParser(), [data]) == (argvs, None)
    assert run(RequestParser(), chop(data, 4096)) == (argvs, None)


@steady
@given(streams, st.lists(st.integers(1, 6000), min_size=1, max_size=5), st.integers(1, 5))
@example(b"*1\r\n$1\r\na\r\x00PING\n", [1], 1)
def test_any_bytes(data: bytes, sizes: list[int], commands_max: int) -> None:
    outcome = run(RequestParser(), [data])
    pieces: list[bytes] = []
    rest = data
    while rest:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(rest[:size])
        rest = rest[size:]
    assert run(RequestParser(), pieces, commands_max) == outcome
    assert run(without_hot_path(), [data]) == outcome


@steady
@given(st.lists(commands, min_size=1, max_size=4), st.data())
def test_one_wrong_byte(argvs: list[list[bytes]], data: st.DataObject) -> None:
    stream = bytearray(b"".join(command(*argv) for argv in argvs))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    assert run(RequestParser(), [bytes(stream)]) == run(without_hot_path(), chop(bytes(stream), 1000))


@pytest.mark.parametrize("argv", [(b"GET", b"k"), (b"set", b"k", b""), (b"SET", b"", b"a\rb\nc")])
def test_a_whole_command(argv: tuple[bytes, ...]) -> None:
    assert whole_command(command(*argv)) == list(argv)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PING\r\n",
        command(b"GET"),
        command(b"SET", b"k", b"a\r\nb"),
        command(b"SET", b"k", b"v", b"NX"),
        command(b"GET", b"k") + command(b"GET", b"k"),
        command(b"GET", b"k")[:-1],
        command(b"GET", b"k" * 5000),
    ],
)
def test_what_is_left_to_the_parser(data: bytes) -> None:
    assert whole_command(data) is None


def test_one_wrong_byte_makes_no_whole_command_of_another_meaning() -> None:
    for argv in ((b"GET", b"key:12"), (b"SET", b"a", b"12")):
        data = command(*argv)
        for position in range(len(data)):
            for byte in (0, 10, 13, 36, 42, 48, 49, 50, 57, 97):
                changed = data[:position] + bytes([byte]) + data[position + 1 :]
                found = whole_command(changed)
                assert found is None or ([found], None) == run(without_hot_path(), [changed])
