"""A command's words, as programs give them, on their way to bytes."""

from __future__ import annotations

from collections.abc import Sequence

Word = bytes | str | int | float


def spelled(words: Sequence[Word]) -> list[bytes]:
    """The words as bytes. Raises TypeError for what has no obvious spelling."""
    return [_spelled(word) for word in words]


def _spelled(word: Word) -> bytes:
    if isinstance(word, bytes):
        return word
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, bool) or not isinstance(word, int | float):
        raise TypeError(f"a command's words are bytes, str, int or float, not {type(word).__name__}")
    return repr(word).encode()
