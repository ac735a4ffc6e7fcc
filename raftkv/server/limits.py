"""Limits that follow from settings rather than being ones."""

from __future__ import annotations

from raftkv.replica.forwarding import FRAME_SLACK_BYTES
from raftkv.settings import Settings
from raftkv.wire.limits import BULK_BYTES_MAX


def command_bytes_max(settings: Settings) -> int:
    """The largest command, and value: Redis's own limit, or what fits into a frame between members if that is less."""
    return min(BULK_BYTES_MAX, settings.peer.frame_bytes_max - FRAME_SLACK_BYTES)
