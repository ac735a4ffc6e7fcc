"""What a key can hold.

A string is the plain bytes object itself: no wrapper, so that a small key costs nothing but its dict slot and two
bytes objects. Every other type is a class derived from `Collection`.

Handlers get a collection by `Database.peek_as` or `fetch_as`, change it in place (only one that came from `fetch_as`),
and then say so by `Database.touch`, or by `Database.settle` when members may have gone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Final, Self


class Collection(ABC):
    """A value made of members. Never empty while it is stored: the command that takes the last member
    removes the key."""

    __slots__ = ()

    type_name: ClassVar[str]
    """As TYPE answers it."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """As OBJECT ENCODING answers it. Part of the state: Redis changes it when a threshold is passed, and not back
        when members go or thresholds change."""

    @abstractmethod
    def size_bytes(self, samples: int) -> int:
        """About so much memory it takes, judged by so many members; 0: by all."""

    @abstractmethod
    def copy(self) -> Self:
        """An independent value with equal content."""

    def frozen(self) -> Self:
        """What it is now, to be read only, whatever becomes of the value itself: for what walks it a slice at a time
        while writes come. A type that may grow very large shares what does not change, as a copy would stop everybody.
        To be called by `Space.frozen` alone."""
        return self.copy()

    def thaw(self, budget: int) -> bool:  # noqa: ARG002
        """After `frozen`: carry at most `budget` changes that were kept aside to where they belong. Whether none is
        left, and nobody reads the frozen value any more."""
        return True

    @abstractmethod
    def digest_parts(self) -> Iterable[bytes]:
        """The content as bytes for `state_hash`: equal on all members, whatever the order of insertion."""

    @abstractmethod
    def __len__(self) -> int:
        """How many members."""

    @abstractmethod
    def pieces(self) -> Iterable[bytes]:
        """The whole state for a snapshot, the encoding too, about one or two pieces for each member, lazily. Equal on
        all members of the cluster, in their order too, also where it was restored: RAFT.VERIFY hashes them."""

    @classmethod
    @abstractmethod
    def from_pieces(cls, pieces: list[bytes]) -> Self:
        """The value that these pieces were made of, in the order in which `pieces` gave them."""


LISTED_MAX: Final = 1024
"""So many members are listed at once for a reply: 8 microseconds. More are walked (`Space.walk`): one turn may bring a
thousand such replies."""

Value = bytes | Collection


def type_name(value: Value | None) -> str:
    """The type as TYPE answers it; "none" for a missing key."""
    if value is None:
        return "none"
    return "string" if isinstance(value, bytes) else value.type_name
