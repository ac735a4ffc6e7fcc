"""Joining a cluster that is there already (`cluster.join`), through the client port of any of its members.

Before it serves, the new member learns from one of them which cluster it is and how that began: it will get the log
from its first entry on, or a snapshot. Once it serves, it asks to be added (`ask_to_be_added`); the leader then finds
it at its peer address, and makes it a voter when it has caught up. Started again as a member it does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from raftkv.client.client import connect
from raftkv.cluster.founding import Founding
from raftkv.errors import ConfigError, NotDone, OutcomeUnknown, RaftkvError
from raftkv.settings import Settings
from raftkv.wire.words import Word

PATIENCE_S = 30
RETRY_S = 0.5


def peer_address(settings: Settings) -> str:
    """Where the other members reach this one."""
    return settings.cluster.members.get(settings.node.id) or settings.peer.address


def _addresses(settings: Settings) -> list[str]:
    return [address.strip() for address in settings.cluster.join.split(",") if address.strip()]


async def ask_to_join(settings: Settings, log: Any) -> Founding:
    """How the cluster began. Raises ConfigError when none of the addresses answers in time."""
    last: Exception | None = None
    with trio.move_on_after(PATIENCE_S):
        while True:
            for address in _addresses(settings):
                try:
                    status = await _status(settings, address)
                    log.info("joining", cluster_id=status["cluster_id"], by=address)
                    return Founding(status["cluster_id"], status["founders"])
                except (OSError, RaftkvError, trio.TooSlowError) as error:
                    last = error
            await trio.sleep(RETRY_S)
    raise ConfigError("cluster", "join", settings.cluster.join, f"none of these members answers: {last}")


async def _status(settings: Settings, address: str) -> dict[str, Any]:
    with trio.fail_after(5):
        async with connect([address], password=settings.client.requirepass or None) as client:
            reply = await client.call("RAFT.STATUS")
    fields = {key.decode(): value for key, value in reply.items()}
    founders = {int(member_id): peer.decode() for member_id, peer in fields["founders"].items()}
    return {"cluster_id": fields["cluster_id"].decode(), "founders": founders}


async def ask_to_be_added(settings: Settings, log: Any) -> None:
    """Returns when this member is one of the cluster. Raises ConfigError when it is refused for good."""
    command: list[Word] = ["RAFT.NODE", "ADD", settings.node.id, peer_address(settings)]
    if settings.cluster.learner:
        command.append("LEARNER")
    await _ask(settings, command, log)
    log.info("joined", as_learner=settings.cluster.learner)


async def ask_to_be_demoted(settings: Settings, log: Any) -> None:
    """Returns when this member has no vote any more. Raises ConfigError when that is refused, as for the only voter."""
    await _ask(settings, ["RAFT.NODE", "DEMOTE", settings.node.id], log)


async def _ask(settings: Settings, command: Sequence[Word], log: Any) -> None:
    """Have one of the members carry it out; again until it is done."""
    while True:
        for address in _addresses(settings):
            try:
                async with connect([address], password=settings.client.requirepass or None) as client:
                    await client.call(*command)
            except (OSError, NotDone, OutcomeUnknown) as error:
                log.warning("joining_delayed", by=address, reason=str(error))
            except RaftkvError as error:
                if str(error).startswith("ERR"):
                    raise ConfigError("cluster", "join", settings.cluster.join, str(error)) from error
                log.warning("joining_delayed", by=address, reason=str(error))
            else:
                return
        await trio.sleep(RETRY_S)
