"""Replies at hand, and those that come later, end up in the order of their commands."""

from __future__ import annotations

from raftkv.machines.replies import Encoded
from raftkv.server.reply_slots import ReplySlots


def test_replies_that_come_later_take_their_places() -> None:
    slots = ReplySlots()
    slots.append(b"+first\r\n")
    slots.expect(is_hidden=False)
    slots.append(b"+third\r\n")
    slots.expect(is_hidden=False)
    assert slots.filled([2, [4]]) == [Encoded(b"+first\r\n"), 2, Encoded(b"+third\r\n"), [4]]
    assert len(slots) == 4


def test_a_hidden_reply_takes_its_place_and_is_not_shown() -> None:
    """Whatever is in it: a client may well be answered what the slot itself holds."""
    slots = ReplySlots()
    slots.expect(is_hidden=True)
    slots.append(b"hidden")
    slots.expect(is_hidden=False)
    assert slots.filled([b"not this", b"hidden"]) == [Encoded(b"hidden"), b"hidden"]


def test_all_at_hand() -> None:
    slots = ReplySlots()
    assert (slots.at_hand, slots.filled([])) == (b"", [])
    for encoded in (b"+a\r\n", b"", b":2\r\n"):
        slots.append(encoded)
    assert slots.at_hand == b"+a\r\n:2\r\n"
