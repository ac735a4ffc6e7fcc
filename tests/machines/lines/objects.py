"""How values are stored."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.machines.words import Argv, key, line, words

_subcommand = st.sampled_from([b"ENCODING", b"encoding", b"REFCOUNT", b"IDLETIME", b"FREQ", b"foo", b""])
_samples = st.sampled_from([b"0", b"5", b"-1", b"x", b"9223372036854775808"])

LINES: dict[str, st.SearchStrategy[Argv]] = {
    "object": line("object", _subcommand, st.lists(key, min_size=1, max_size=1) | st.lists(key, max_size=2)),
    "memory": line(
        "memory", st.sampled_from([b"USAGE", b"usage", b"foo"]), key, words((b"SAMPLES", _samples), b"foo", most=2)
    ),
}
