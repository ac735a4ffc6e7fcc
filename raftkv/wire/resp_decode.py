"""Replies are read by hiredis; this is what its readers must be told, or a member's "no" is taken for silence."""

from __future__ import annotations

from typing import Final

NOTHING_YET: Final = object()
"""What a reader of replies says when no whole one is there (`notEnoughData`). Without it hiredis says False, which is
also a RESP3 value."""
