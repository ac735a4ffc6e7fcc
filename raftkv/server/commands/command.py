"""COMMAND."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.replies import Reply
from raftkv.server.commands.rows import local

if TYPE_CHECKING:
    from raftkv.server.session import Session


def command(session: Session, argv: list[bytes]) -> Reply:  # noqa: ARG001
    return []


ROWS: tuple[Command, ...] = (local("command", -1, command, "loading stale", acl="slow connection", group="server"),)
