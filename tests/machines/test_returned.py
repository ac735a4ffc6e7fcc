"""Replies of handlers: what passes can be encoded, and nothing else passes."""

from __future__ import annotations

import enum
from collections import Counter
from typing import Any

import pytest

from raftkv.machines.replies import NULL_ARRAY, OK, Error, Push, SetReply, Simple, Verbatim
from raftkv.machines.returned import DEPTH_MAX, reply_of
from raftkv.wire.resp_encode import encode


class Number(enum.IntEnum):
    ONE = 1


class Colour(enum.StrEnum):
    RED = "red"


def nested(depth: int) -> Any:
    return [] if depth == 1 else [nested(depth - 1)]


@pytest.mark.parametrize(
    ("result", "reply"),
    [
        *((each, each) for each in (None, True, 1, -(2**63), 1.5, b"x", "x", OK, NULL_ARRAY, Error("ERR x"), [1, "x"])),
        ((1, (2,)), [1, [2]]),
        ({"a": (1,), b"b": None, 3: 4}, {b"a": [1], b"b": None, 3: 4}),
        (Counter("aa"), {b"a": 2}),
        (Number.ONE, 1),
        (Colour.RED, "red"),
        (SetReply([Number.ONE]), SetReply([1])),
        (Verbatim(b"x"), Verbatim(b"x")),
        (nested(DEPTH_MAX), nested(DEPTH_MAX)),
    ],
)
def test_what_is_a_reply(result: Any, reply: Any) -> None:
    made = reply_of(result)
    assert made == reply
    assert type(made) is type(reply)
    assert encode(made, resp3=False)
    assert encode(made, resp3=True)


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
WRONG: Any = 7


@pytest.mark.parametrize(
    "result",
    [
        *(object(), iter([1]), {1, 2}, 2**63, -(2**63) - 1, 2**70, 1j, bytearray(b"x"), "\ud800", int),
        *([object()], {"a": 2**70}, {(1, 2): 1}, {"\ud800": 1}, {2**70: 1}, {None: object()}, ENDLESS),
        *(
            nested(DEPTH_MAX + 1),
            Simple(WRONG),
            Error("\ud800"),
            SetReply([{1}]),
            Push([b"x"]),
            [Push([b"x"])],
            Verbatim(WRONG),
            Verbatim(b"", "long"),
        ),
    ],
)
def test_what_is_none(result: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        reply_of(result)
