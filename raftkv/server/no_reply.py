"""What a handler of the connection's own commands returns in place of a reply: it sends none, or will answer later
(`Session.park`, `Session.wait_for_answer`)."""

from __future__ import annotations

from typing import Final


class NoReply:
    """A type of its own, as None is a reply."""


NO_REPLY: Final = NoReply()
