"""Every kind of reply comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.machines.replies import (
    NULL_ARRAY,
    OK,
    Error,
    Map,
    Pairs,
    Push,
    Reply,
    SetReply,
    Simple,
    SpelledDouble,
    Verbatim,
    Walk,
)
from raftkv.replica.packing import pack, unpack
from raftkv.wire.resp_encode import encode

_PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.binary() | st.text()
_TEXT = st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
_LEAF = _PLAIN | _TEXT | st.sampled_from([OK, NULL_ARRAY]) | _TEXT.map(Simple) | _TEXT.map(Error)
_LEAVES = _LEAF | st.binary().map(Verbatim) | st.just(SpelledDouble(b"0.5"))
_REPLIES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.binary(), inner)
        | st.lists(inner).map(SetReply)
        | st.lists(inner).map(Push)
        | st.lists(st.tuples(inner, inner)).map(Pairs)
    ),
    max_leaves=10,
)


@settings(max_examples=300, derandomize=True, database=None)
@given(_REPLIES)
def test_there_and_back(reply: Reply) -> None:
    again = unpack(pack(reply))
    assert again == reply
    assert [encode(again, resp3) for resp3 in (False, True)] == [encode(reply, resp3) for resp3 in (False, True)]


def test_what_is_walked_is_packed_as_a_whole() -> None:
    items, pairs = [b"a", 1, None], [(b"a", b"1"), (b"b", b"2")]
    walk, walked_pairs = Walk(3, lambda: items), Walk(2, lambda: pairs)
    walked: list[Reply] = [walk, SetReply(walk), Map(walked_pairs), Pairs(walked_pairs)]
    assert unpack(pack(walked)) == [items, SetReply(items), dict(pairs), Pairs(pairs)]


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not a reply value"):
        pack({1, 2})  # type: ignore[arg-type]
