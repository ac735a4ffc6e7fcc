"""CONFIG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.replies import Reply
from raftkv.server.commands.rows import container, local
from raftkv.settings import SETTINGS

if TYPE_CHECKING:
    from raftkv.server.session import Session


def get(session: Session, argv: list[bytes]) -> Reply:
    values = {s.dashed.encode(): s.text(s.get(session.server.settings)) for s in SETTINGS}
    values |= {b"save": "", b"appendonly": "yes"}
    found: dict[bytes, Reply] = {}
    for pattern in argv[2:]:
        found.update((name, text) for name, text in values.items() if glob_matcher(pattern.lower())(name))
    return found


ROWS: tuple[Command, ...] = (
    container("config", (), (local("config|get", -3, get, since="2.0.0", group="server"),), since="2.0.0"),
)
