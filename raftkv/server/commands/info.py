"""INFO: chooses the sections and writes them down. What stands in them is in info_sections.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.machines.interface import Command
from raftkv.machines.redis.rows import MULTIPLE, OPTIONAL, argument
from raftkv.machines.replies import Reply, Verbatim
from raftkv.server.commands.info_sections import SECTIONS
from raftkv.server.commands.rows import local

if TYPE_CHECKING:
    from raftkv.server.session import Session

EVERYTHING = frozenset({"default", "all", "everything"})


def info(session: Session, argv: list[bytes]) -> Reply:
    wanted = {word.decode("utf-8", "replace").lower() for word in argv[1:]}
    if not wanted or wanted & EVERYTHING:
        wanted = set(SECTIONS)
    texts = []
    for name, fields in SECTIONS.items():
        if name in wanted:
            lines = [f"{field}:{value}\r\n" for field, value in fields(session.server).items()]
            texts.append(f"# {name.capitalize() if name != 'cpu' else 'CPU'}\r\n{''.join(lines)}")
    return Verbatim("\r\n".join(texts).encode("utf-8", "surrogateescape"))


ROWS: tuple[Command, ...] = (
    local(
        "info",
        -1,
        info,
        "loading stale",
        acl="slow dangerous",
        group="server",
        summary="Tells about this member: version, clients, memory, replication, keys",
        history=(("7.0.0", "Several sections"),),
        tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
        arguments=(argument("section", "string", flags=[*OPTIONAL, *MULTIPLE]),),
        complexity="O(1)",
    ),
)
