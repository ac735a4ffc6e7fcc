"""Elements put between those of an encoded array: as if all had been encoded together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.replies import NULL_ARRAY, OK, Error, Pairs, Push, SetReply, SpelledDouble, Verbatim
from raftkv.wire import resp_split
from raftkv.wire.resp_encode import encode
from raftkv.wire.resp_split import interleaved

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=20),
    st.booleans(),
    st.floats(allow_nan=False),
    st.sampled_from([OK, Error("ERR no"), NULL_ARRAY, Verbatim(b"a\r\nb"), SpelledDouble(b"0.5")]),
    st.sampled_from([b"\r\n", b"$3\r\n", b"*1\r\n", 1 << 70]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.binary(max_size=3), inner, max_size=3),
        st.lists(inner, max_size=2).map(SetReply),
        st.lists(inner, max_size=2).map(Push),
        st.lists(st.tuples(inner, inner), max_size=2).map(Pairs),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("resp3", [False, True])
@given(elements=st.lists(st.tuples(VALUES, st.booleans()), max_size=8), at_once=st.sampled_from([1, 2, 5, 4096]))
def test_as_if_all_had_been_encoded_together(resp3: bool, elements: list[tuple[Any, bool]], at_once: int) -> None:
    slots = [encode(value, resp3) if is_own else None for value, is_own in elements]
    of_leader = encode([value for value, is_own in elements if not is_own], resp3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resp_split, "_VALUES_AT_ONCE", at_once)
        pieces = list(interleaved(of_leader, slots))
    assert b"".join(pieces) == encode([value for value, _ in elements], resp3)
    assert all(pieces)


NESTED = [[number, [b"a", {b"b": None}]] for number in range(50)]


@pytest.mark.parametrize(
    ("elements", "slots"),
    [
        ([NESTED], [b"+a\r\n", None, b"+b\r\n"]),
        ([*range(300)], [b"+a\r\n", *[None] * 300]),
        ([1, 2], [None, *[b"+a\r\n"] * 300, None]),
        ([b"x" * 12_000], [b"+a\r\n", None]),
        ([1], [b"$12000\r\n%b\r\n" % (b"x" * 12_000), None]),
        ([[b"x" * 100] * 50, b"x" * 3000, [b"y" * 100] * 50], [None] * 3),
    ],
    ids=["nested", "flat", "own", "one-value", "own-value", "values"],
)
def test_a_piece_is_little_work(
    monkeypatch: pytest.MonkeyPatch, elements: list[Any], slots: list[bytes | None]
) -> None:
    """Nothing beyond it is walked before it is made."""
    monkeypatch.setattr(resp_split, "_VALUES_AT_ONCE", 10)
    monkeypatch.setattr(resp_split, "_BYTES_AT_ONCE", 1280)
    pieces = list(interleaved(encode(elements, True), slots))
    assert len(pieces) > 8
    assert max(piece.count(b"\r\n") for piece in pieces) <= 40
    assert max(map(len, pieces)) <= 3 * 1280


def test_small_arrays_are_one_piece() -> None:
    own: list[bytes | None] = [b"+PONG\r\n", None]
    assert len(list(interleaved(encode([[b"x"] * 10] * 50, False), own * 50))) == 1
