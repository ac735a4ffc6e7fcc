"""Joining a cluster that is there already (`cluster.join`, RAFT.CLUSTER JOIN), through the client port of any of its
members.

Before it serves, the new member learns from one of them which cluster it is and how that began (`ask_to_join`): it will
get the log from its first entry on, or a snapshot. Once it serves, it asks to be added (`ask_to_be_added`); the leader
then finds it at its peer address, and makes it a voter when it has caught up. Started again as a member, it does
neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio

from raftkv.client.client import connect
from raftkv.cluster.founding import Founding
from raftkv.errors import CommandError, ConfigError, NotDone, OutcomeUnknown, RaftkvError, YourFault
from raftkv.settings import Settings
from raftkv.wire.words import Word

PATIENCE_S = 30
"""So long a member that is to join by its settings waits for one that takes it in."""

RETRY_S = 0.5
ANSWER_S_MAX = 5


def peer_address(settings: Settings) -> str:
    """Where the other members reach this one."""
    return settings.cluster.members.get(settings.node.id) or settings.peer.address


def addresses_in(text: str) -> list[str]:
    """Those of the setting cluster.join."""
    return [address.strip() for address in text.split(",") if address.strip()]


@contextmanager
def blamed_on_settings(settings: Settings) -> Iterator[None]:
    """Where cluster.join says whom to ask, a refusal is that setting's fault: raises ConfigError."""
    try:
        yield
    except (CommandError, NotDone) as error:
        raise ConfigError("cluster", "join", settings.cluster.join, str(error)) from error


async def ask_to_join(settings: Settings, addresses: Sequence[str], patience_s: float, log: Any) -> Founding:
    """How the cluster began. Raises NotDone when within `patience_s` none of the addresses answers as it should."""
    last: Exception | None = None
    with trio.move_on_after(patience_s):
        while True:
            for address in addresses:
                try:
                    began = await cluster_at(settings, address)
                except (OSError, RaftkvError, trio.TooSlowError) as error:
                    last = error
                else:
                    log.info("joining", cluster_id=began.cluster_id, by=address)
                    return began
            await trio.sleep(RETRY_S)
    raise NotDone(f"none of these members takes this one in: {last}")


async def cluster_at(settings: Settings, address: str) -> Founding:
    """The cluster that the member at this address belongs to, for an empty member to join. Raises OSError,
    trio.TooSlowError, RaftkvError."""
    fields = await status_of(settings, address)
    own_id, cluster_id = settings.node.id, fields[b"cluster_id"].decode()
    if own_id in fields[b"voters"]:
        # It has promised votes and entries that an empty one knows nothing of; and if it is somebody else with the
        # same number, adding this one would take that one's place.
        raise YourFault(
            f"member {own_id} votes in cluster {cluster_id} already, and this one is empty: give it a number that was"
            " never used there (node.id), or start it with cluster.rebuild if it is the same one without its data"
        )
    founders = {int(member_id): peer.decode() for member_id, peer in fields[b"founders"].items()}
    return Founding(cluster_id, founders, began_empty=own_id)


async def status_of(settings: Settings, address: str) -> dict[bytes, Any]:
    """RAFT.STATUS of a member of a cluster. Raises OSError, trio.TooSlowError, RaftkvError."""
    with trio.fail_after(ANSWER_S_MAX):
        async with connect([address], password=settings.client.requirepass or None) as client:
            fields: dict[bytes, Any] = await client.call("RAFT.STATUS")
    if not fields[b"cluster_id"]:
        raise NotDone(f"the member at {address} waits itself for RAFT.CLUSTER INIT or RAFT.CLUSTER JOIN")
    return fields


async def ask_to_be_added(settings: Settings, addresses: Sequence[str], log: Any) -> None:
    """Returns when this member is one of the cluster. Raises CommandError when it is refused for good."""
    command: list[Word] = ["RAFT.NODE", "ADD", settings.node.id, peer_address(settings)]
    if settings.cluster.learner:
        command.append("LEARNER")
    await _ask(settings, addresses, command, log)
    log.info("joined", as_learner=settings.cluster.learner)


async def ask_to_be_demoted(settings: Settings, addresses: Sequence[str], log: Any) -> None:
    """Returns when this member has no vote any more. Raises CommandError when it is refused, as for the only voter."""
    await _ask(settings, addresses, ["RAFT.NODE", "DEMOTE", settings.node.id], log)


async def _ask(settings: Settings, addresses: Sequence[str], command: Sequence[Word], log: Any) -> None:
    """Have one of the members carry it out; again until it is done."""
    while True:
        for address in addresses:
            try:
                async with connect([address], password=settings.client.requirepass or None) as client:
                    await client.call(*command)
            except (OSError, NotDone, OutcomeUnknown) as error:
                log.warning("joining_delayed", by=address, reason=str(error))
            except CommandError as error:
                if error.code == "ERR":
                    raise
                log.warning("joining_delayed", by=address, reason=str(error))
            else:
                return
        await trio.sleep(RETRY_S)
