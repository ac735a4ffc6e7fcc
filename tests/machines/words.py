"""Words and options for random command lines.

The words come from small sets, so that sequences meet the same few keys again and again, and from the edges
where mistakes live: wrong counts of arguments, integers that almost are, limits of 64 bits. Deadlines are either long
past or far away, because two servers never share a clock.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Argv = list[bytes]

KEYS = [b"a", b"b", b"c", b"key:1", b"", b"\x00\xff"]
DATABASES = 16

key = st.sampled_from(KEYS)
integer_text = st.one_of(
    st.integers(-20, 20).map(lambda number: b"%d" % number),
    st.sampled_from(
        [
            *(b"9223372036854775807 -9223372036854775808 9223372036854775808 9223372036854775").split(),
            *(b"01 +1 -0 1.0 x 0x1 1_0 4294967296 -2147483649").split(),
            *(b" 1", b"1 ", b""),
        ]
    ),
)
small_integer_text = st.one_of(
    st.integers(-12, 40).map(lambda number: b"%d" % number), st.sampled_from([b"x", b"01", b""])
)
float_text = st.one_of(
    st.sampled_from(
        [b"0.1", b"-0.1", b"1e3", b"3.0", b"inf", b"nan", b"1e-20", b".5", b"5.", b"0x1p-3", b"", b"x", b"1e4932"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-10000, max_value=10000).map(
        lambda d: str(d).encode()
    ),
    integer_text,
)
value = st.one_of(
    integer_text, float_text, st.sampled_from([b"Hello", b"World", b"ohmytext", b"mynewtext"]), st.binary(max_size=12)
)
pattern = st.one_of(
    st.sampled_from([b"*", b"**", b"?", b"key:*", b"[ab]", b"[^a]*", b"\\a", b"x", b""]), st.binary(max_size=4)
)
relative_s = st.sampled_from(
    [b"100000", b"200000", b"300000", b"0", b"-1", b"9223372036854775807", b"9223372036854776", b"x"]
)
relative_ms = st.sampled_from([b"100000000", b"200000000", b"0", b"-1", b"9223372036854775807", b"x", b""])
absolute_s = st.sampled_from([b"9999999999", b"9999999998", b"1", b"0", b"-1", b"9223372036854775807", b"x"])
absolute_ms = st.sampled_from([b"9999999999999", b"9999999998001", b"1", b"-1", b"9223372036854775807", b"x"])
database = st.sampled_from([b"0", b"1", b"2", b"15", b"16", b"-1", b"x", b"4294967296"])


def line(name: str, *parts: Any) -> st.SearchStrategy[Argv]:
    """A command line. A part is a strategy for a word or for a list of words, or the word itself."""
    strategies = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*strategies).map(lambda drawn: [name.encode(), *_flat(drawn)])


def _flat(drawn: tuple[Any, ...]) -> Argv:
    flat: Argv = []
    for part in drawn:
        flat += part if isinstance(part, list) else [part]
    return flat


def words(*choices: Any, most: int = 3) -> st.SearchStrategy[Argv]:
    """Up to `most` options; a choice is a word or a tuple of words and strategies."""
    options = [_option(choice) for choice in choices]
    return st.lists(st.one_of(options), max_size=most).map(lambda drawn: [word for option in drawn for word in option])


def _option(choice: Any) -> st.SearchStrategy[Argv]:
    parts = choice if isinstance(choice, tuple) else (choice,)
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map(list)


keys = st.lists(key, min_size=1, max_size=4)
pairs = st.lists(st.tuples(key, value), min_size=1, max_size=3).map(
    lambda drawn: [word for pair in drawn for word in pair]
)
units = ((b"EX", relative_s), (b"px", relative_ms), (b"EXAT", absolute_s), (b"PXAT", absolute_ms))
conditions = words(b"NX", b"XX", b"gt", b"LT", most=2)
flush_mode = words(b"SYNC", b"async", b"foo", most=1)
