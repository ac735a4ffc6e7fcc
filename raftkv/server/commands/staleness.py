"""RAFT.STALENESS, and dirty reads that ask for something not too old (`server/staleness.py` tells what is promised)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.replies import Reply
from raftkv.server.commands.rows import local
from raftkv.server.no_reply import NO_REPLY, NoReply

if TYPE_CHECKING:
    from raftkv.server.session import Session


def staleness(session: Session, argv: list[bytes]) -> Reply | NoReply:  # noqa: ARG001
    """As the leader answers to a question asked after this one; without an answer in time, what was known before."""
    server = session.server
    now_ms = server.now_ms()
    due_ms = now_ms + server.settings.raft.no_leader_wait_ms
    server.staleness.want()

    def poll() -> Reply | NoReply:
        fresh_ms = server.staleness.fresh_ms
        is_known = fresh_ms is not None and fresh_ms >= now_ms
        return server.staleness.ms if is_known or server.stopping or server.now_ms() >= due_ms else NO_REPLY

    return session.park(poll)


ROWS: tuple[Command, ...] = (
    local(
        "raft.staleness",
        1,
        staleness,
        "loading stale fast",
        acl="fast",
        group="server",
        since="7.0.0",
        summary="Tells how many milliseconds old what this member has may be; null when that is not known",
        tips=("nondeterministic_output",),
        complexity="O(1)",
    ),
)
