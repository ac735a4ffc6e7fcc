"""Replies: each type for RESP2 and RESP3, and the same values as a real redis-server answers them."""

from __future__ import annotations

import enum
import math
import struct
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.replies import (
    NULL_ARRAY,
    OK,
    Encoded,
    Error,
    Pairs,
    Push,
    Reply,
    SetReply,
    Simple,
    SpelledDouble,
    Verbatim,
)
from raftkv.wire.resp_encode import (
    WEIGHT_BYTES,
    WEIGHT_MAX,
    HugeReply,
    double_text,
    encode,
    encode_apart,
    encode_each,
    encode_in_pieces,
    encode_many,
)
from tests.wire.conftest import Exchange, steady

TABLE: list[tuple[Reply, bytes, bytes]] = [
    (OK, b"+OK\r\n", b"+OK\r\n"),
    (Simple("PONG"), b"+PONG\r\n", b"+PONG\r\n"),
    (Error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
    (Error("ERR a\r\nb\n"), b"-ERR a  b\r\n", b"-ERR a  b\r\n"),
    (Error("ERR '\udcff' \ud800"), b"-ERR '?' ?\r\n", b"-ERR '?' ?\r\n"),
    (Error("ERR '\udcff'"), b"-ERR '\xff'\r\n", b"-ERR '\xff'\r\n"),
    (None, b"$-1\r\n", b"_\r\n"),
    (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
    (b"\r\n\xff", b"$3\r\n\r\n\xff\r\n", b"$3\r\n\r\n\xff\r\n"),
    (b"x" * 5000, b"$5000\r\n" + b"x" * 5000 + b"\r\n", b"$5000\r\n" + b"x" * 5000 + b"\r\n"),
    ("\xe4", b"$2\r\n\xc3\xa4\r\n", b"$2\r\n\xc3\xa4\r\n"),
    (0, b":0\r\n", b":0\r\n"),
    (1023, b":1023\r\n", b":1023\r\n"),
    (1024, b":1024\r\n", b":1024\r\n"),
    (-1, b":-1\r\n", b":-1\r\n"),
    (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
    (True, b":1\r\n", b"#t\r\n"),
    (False, b":0\r\n", b"#f\r\n"),
    (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
    (3.0, b"$1\r\n3\r\n", b",3\r\n"),
    (-0.0, b"$2\r\n-0\r\n", b",-0\r\n"),
    (math.inf, b"$3\r\ninf\r\n", b",inf\r\n"),
    (-math.inf, b"$4\r\n-inf\r\n", b",-inf\r\n"),
    (-math.nan, b"$3\r\nnan\r\n", b",nan\r\n"),
    ([], b"*0\r\n", b"*0\r\n"),
    ([b"a", None, [True]], b"*3\r\n$1\r\na\r\n$-1\r\n*1\r\n:1\r\n", b"*3\r\n$1\r\na\r\n_\r\n*1\r\n#t\r\n"),
    ({}, b"*0\r\n", b"%0\r\n"),
    ({b"k": 1, b"m": None}, b"*4\r\n$1\r\nk\r\n:1\r\n$1\r\nm\r\n$-1\r\n", b"%2\r\n$1\r\nk\r\n:1\r\n$1\r\nm\r\n_\r\n"),
    (SetReply([b"a", 1.5]), b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", b"~2\r\n$1\r\na\r\n,1.5\r\n"),
    (Push([b"message", b"c"]), b"*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n", b">2\r\n$7\r\nmessage\r\n$1\r\nc\r\n"),
    (Verbatim(b"some text"), b"$9\r\nsome text\r\n", b"=13\r\ntxt:some text\r\n"),
    (SpelledDouble(b"0.00000268"), b"$10\r\n0.00000268\r\n", b",0.00000268\r\n"),
    (Verbatim(b"# x", "mkd"), b"$3\r\n# x\r\n", b"=7\r\nmkd:# x\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "resp2", "resp3"), TABLE)
def test_each_type(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    assert encode(reply, resp3=False) == resp2
    assert encode(reply, resp3=True) == resp3


@pytest.mark.parametrize("resp3", [False, True])
def test_many_are_one_behind_the_other(resp3: bool) -> None:
    replies = [row[0] for row in TABLE]
    encoded = [encode(reply, resp3) for reply in replies]
    assert encode_many(replies, resp3) == b"".join(encoded)
    assert encode_many(replies[3:7], resp3) == b"".join(encoded[3:7])
    assert encode_many([], resp3) == b""
    assert encode_each(replies, resp3) == encoded
    assert encode_apart(replies, resp3) == encoded


def test_subclasses_are_what_they_are_made_of() -> None:
    class Color(enum.IntEnum):
        RED = 7

    assert encode(Color.RED, resp3=False) == b":7\r\n"


@pytest.mark.parametrize("value", [{b"a"}, frozenset(), object(), [object()]])
def test_what_is_no_reply_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not a reply value"):
        encode(value, resp3=False)
    with pytest.raises(TypeError):
        encode_many([value], resp3=False)


doubles = st.floats(allow_nan=False, allow_infinity=False)


@steady
@given(doubles)
def test_a_double_comes_back_exactly(number: float) -> None:
    assert struct.pack("d", float(double_text(number))) == struct.pack("d", number)


@steady
@given(st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary() | st.booleans() | doubles,
    lambda inner: st.lists(inner) | st.dictionaries(st.binary(), inner),
))  # fmt: skip
def test_a_client_reads_what_was_meant(reply: Reply) -> None:
    reader = hiredis.Reader()
    reader.feed(encode(reply, resp3=True))
    assert reader.gets() == reply


REDIS: list[tuple[bytes, Reply]] = [
    (b"SET k v", OK),
    (b"GET absent", None),
    (b"LPOP absent 1", NULL_ARRAY),
    (b"DEBUG PROTOCOL string", b"Hello World"),
    (b"DEBUG PROTOCOL integer", 12345),
    (b"DEBUG PROTOCOL double", 3.141),
    (b"DEBUG PROTOCOL null", None),
    (b"DEBUG PROTOCOL array", [0, 1, 2]),
    (b"DEBUG PROTOCOL set", SetReply([0, 1, 2])),
    (b"DEBUG PROTOCOL map", {0: False, 1: True, 2: False}),  # type: ignore[dict-item]
    (b"DEBUG PROTOCOL verbatim", Verbatim(b"This is a verbatim\nstring")),
    (b"DEBUG PROTOCOL true", True),
    (b"DEBUG PROTOCOL false", False),
    (b"CONFIG GET port", {b"port": b"0"}),
    (b"EVAL \"return {err='ERR a\\\\nb\\\\r\\\\n'}\" 0", Error("ERR a\nb\r\n")),
    (b"EVAL \"return {'a', 1, false, {}}\" 0", [b"a", 1, None, []]),
    (b"get", Error("ERR wrong number of arguments for 'get' command")),
]


@pytest.mark.redis
@pytest.mark.parametrize(("command", "reply"), REDIS)
@pytest.mark.parametrize("resp3", [False, True])
def test_redis_encodes_the_same(redis_exchange: Exchange, command: bytes, reply: Reply, resp3: bool) -> None:
    hello = b"HELLO %d\nECHO mark\n" % (3 if resp3 else 2)
    _, _, answer = redis_exchange(hello + command + b"\n").partition(b"$4\r\nmark\r\n")
    assert answer == encode(reply, resp3)


@pytest.mark.redis
@pytest.mark.parametrize(
    "text", ["0.1", "3", "1e20", "1e21", "1e300", "5e-324", "inf", "-inf", "17179869184.5", "1e-5"]
)
def test_redis_writes_doubles_the_same(redis_exchange: Exchange, text: str) -> None:
    answer = redis_exchange(f"DEL z\nZADD z {text} m\nZSCORE z m\n".encode())
    assert answer.endswith(b":1\r\n" + encode(float(text), resp3=False))


def test_pairs_are_flat_in_resp2_and_nested_in_resp3() -> None:
    pairs = Pairs([(b"a", 1.0), (b"b", 2.5)])
    assert encode(pairs, resp3=False) == b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n"
    assert encode(pairs, resp3=True) == b"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n"


MANY = [b"%d" % number for number in range(3 * WEIGHT_MAX + 5)]
HUGE: list[Any] = [
    MANY,
    SetReply(list(MANY)),
    {name: [1, name] for name in MANY},
    Pairs([(name, float(name)) for name in MANY]),
    [MANY[:3], MANY, *MANY[: WEIGHT_MAX + 1]],
    [MANY[: WEIGHT_MAX // 2], 1, MANY[: WEIGHT_MAX // 2], OK, MANY[: WEIGHT_MAX // 2]],
    [[name, [name, 1.5]] for name in MANY],
    Push(list(MANY)),
    b"x" * 9 * WEIGHT_MAX * WEIGHT_BYTES,
    [b"x" * (WEIGHT_MAX * WEIGHT_BYTES // 2)] * 9,
    "x" * 9 * WEIGHT_MAX * WEIGHT_BYTES,
    ["x" * 5 * WEIGHT_BYTES] * WEIGHT_MAX,
    Verbatim(b"x" * 9 * WEIGHT_MAX * WEIGHT_BYTES, "txt"),
    Encoded(encode([b"x" * 9 * WEIGHT_MAX * WEIGHT_BYTES], False)),
]


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("reply", HUGE, ids=lambda reply: type(reply).__name__)
def test_a_huge_reply_is_encoded_in_pieces(reply: Any, resp3: bool) -> None:
    with pytest.raises(HugeReply):
        encode_many([OK, reply], resp3)
    assert encode_apart([OK, reply, None], resp3) == [encode(OK, resp3), None, encode(None, resp3)]
    assert encode_each([OK, reply, 7], resp3) == [encode(OK, resp3)]
    assert encode_each([reply, 7], resp3) == []
    pieces = list(encode_in_pieces([OK, reply, 7], resp3))
    assert b"".join(pieces) == encode(OK, resp3) + encode(reply, resp3) + encode(7, resp3)
    assert len(pieces) > 4
    assert all(pieces)
    assert max(map(len, pieces)) <= 2 * WEIGHT_MAX * WEIGHT_BYTES


def test_many_replies_are_huge_together() -> None:
    replies: list[Any] = [MANY[: WEIGHT_MAX // 4], 5, b"x" * (WEIGHT_MAX * WEIGHT_BYTES // 4)] * 2
    encoded = [encode(reply, False) for reply in replies]
    assert encode_each(replies, False) == encoded
    assert encode_each([*replies, *replies], False) == encoded
    with pytest.raises(HugeReply):
        encode_many([*replies, *replies], False)


_EQUAL = [b"%03d" % number for number in range(20)]


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize(
    "items",
    [
        _EQUAL,
        [b""] * 20,
        [b"x" * 1023] * 20,
        [b"x" * 1024] * 20,
        *(
            [*_EQUAL, other, *_EQUAL]
            for other in (b"1234", 123, None, "abc", 0.5, True, [b"a", b"b", b"c"], OK, {b"a": 1})
        ),
    ],
)
def test_items_of_one_length_are_written_as_each_by_itself(items: list[Reply], resp3: bool) -> None:
    each = b"".join(encode(item, resp3) for item in items)
    assert encode(items, resp3) == b"*%d\r\n" % len(items) + each
    assert encode(SetReply(items), resp3)[1:] == encode(items, resp3)[1:]
    assert b"".join(encode_in_pieces(items, resp3)) == each
