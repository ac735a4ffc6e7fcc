"""What a key can hold.

A string is the plain bytes object itself: no wrapper, so that a small key costs nothing but its dict slot and two
bytes objects. Every other type is a class derived from `Collection`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Self


class Collection(ABC):
    """A value made of members. Never empty while it is stored: the command that takes the last member
    removes the key."""

    type_name: ClassVar[str]
    """As TYPE answers it."""

    @abstractmethod
    def copy(self) -> Self:
        """An independent value with equal content."""

    @abstractmethod
    def digest_parts(self) -> Iterable[bytes]:
        """The content as bytes for `state_hash`: equal on all members, whatever the order of insertion."""


Value = bytes | Collection


def type_name(value: Value | None) -> str:
    """The type as TYPE answers it; "none" for a missing key."""
    if value is None:
        return "none"
    return "string" if isinstance(value, bytes) else value.type_name
