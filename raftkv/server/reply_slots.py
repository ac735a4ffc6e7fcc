"""The replies to one chunk in the order of its commands: those that are at hand, and between them the places of those
that come later, all together, from the machine."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.machines.replies import Encoded, Reply

_HIDDEN = bytes(bytearray(b"hidden"))
"""In a slot: a reply will come and is not to be shown. Known by identity."""


class ReplySlots(list[bytes | None]):
    """Append a reply that is at hand, encoded; b"" where it is not to be shown."""

    __slots__ = ()

    def expect(self, *, is_hidden: bool) -> None:
        """The place of a reply that is to come."""
        self.append(_HIDDEN if is_hidden else None)

    @property
    def at_hand(self) -> bytes:
        """All of them, while none is to come."""
        return b"".join(slot for slot in self if slot)

    def filled(self, replies: Sequence[Reply]) -> list[Reply]:
        """All of them, in order, when the expected `replies` have come."""
        remaining = iter(replies)
        shown: list[Reply] = []
        for slot in self:
            if slot is None:
                shown.append(next(remaining))
            elif slot is _HIDDEN:
                next(remaining)
            else:
                shown.append(Encoded(slot))
        return shown
