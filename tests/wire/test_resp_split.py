"""Encoded arrays taken apart: the elements together are what they were made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.machines.replies import NULL_ARRAY, OK, Error, Pairs, Push, SetReply, SpelledDouble, Verbatim
from raftkv.wire.resp_encode import encode
from raftkv.wire.resp_split import split_array

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
@given(values=st.lists(VALUES, max_size=5))
def test_elements_are_found_byte_for_byte(resp3: bool, values: list[Any]) -> None:
    assert split_array(encode(values, resp3)) == [encode(value, resp3) for value in values]
